"""The teaching notebook runs in Jupyter from top to bottom, shows every figure, and what it says is what happens."""

import json
from pathlib import Path

import keras
import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "dog_or_wolf.ipynb"
# Run in the notebook's kernel after its last cell.
FACTS = """
import json
bear = words.index("bear")
held = np.abs(traced["memory"].still_held()).sum(-1)
scores = {f"{row['factor']} {row['held']}": float(row["scores"]["accuracy"]) for row in worth}
print(json.dumps({
    "accuracy": accuracy, "scores": scores, "bear": float(held[bear]), "after": float(held[bear + 1 : bear + 6].max()),
    "page": "bear" in page.read_text(encoding="utf-8"),
}))
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the notebook is written for the default backend")
def test_what_the_notebook_says_and_shows(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any("%matplotlib" in cell.source for cell in notebook.cells)
    notebook.cells.append(nbformat.v4.new_code_cell(FACTS))
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 4, "each figure once"
    assert not [output for output in outputs if output.output_type == "stream" and output.name == "stderr"]

    facts = json.loads(outputs[-1].text)
    accuracy, scores = facts["accuracy"], facts["scores"]
    assert max(accuracy["no memory"]) < 0.65, "without memory it guesses"
    assert min(accuracy["GateLSTM"]) > 0.9, "the LSTM remembers at every lag"
    assert max(accuracy["SimpleRNN"]) < 0.75, "the bear of long ago is lost to the plain network"
    assert facts["bear"] > facts["after"], "more is held of the bear than of the words after it"
    assert scores["forget closed"] < 0.65 < 0.9 < scores["None None"]
    assert facts["page"]
