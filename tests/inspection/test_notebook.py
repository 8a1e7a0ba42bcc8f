"""The teaching notebook runs from top to bottom, and what it says is what happens."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

NOTEBOOK = Path(__file__).parents[2] / "examples" / "dog_or_wolf.ipynb"


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    """The names of the notebook after its last cell, and the value of each cell that ends in an expression."""
    import ast
    import os

    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    names, values, before = {"__name__": "notebook"}, [], os.getcwd()
    os.chdir(tmp_path_factory.mktemp("notebook"))
    try:
        for number, cell in enumerate(cells):
            code = ast.parse("".join(cell["source"]), f"cell {number}")
            last = code.body.pop() if isinstance(code.body[-1], ast.Expr) else None
            exec(compile(code, f"cell {number}", "exec"), names)
            if last is not None:
                values.append(eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names))
        names["page_text"] = names["page"].read_text(encoding="utf-8")
    finally:
        os.chdir(before)
    return names, values


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the notebook is written for the default backend")
def test_what_the_notebook_says(after):
    names, values = after
    accuracy = names["accuracy"]
    assert max(accuracy["no memory"]) < 0.65, "without memory it guesses"
    assert min(accuracy["GateLSTM"]) > 0.9, "the LSTM remembers at every lag"
    assert max(accuracy["SimpleRNN"]) < 0.75, "the bear of long ago is lost to the plain network"
    bear = names["words"].index("bear")
    held = np.abs(names["traced"]["memory"].still_held()).sum(-1)
    assert held[bear] > held[bear + 1 : bear + 6].max(), "more is held of the bear than of the words after it"
    scores = {(row["factor"], row["held"]): row["scores"]["accuracy"] for row in names["worth"]}
    assert scores["forget", "closed"] < 0.65 < 0.9 < scores[None, None]
    assert sum(isinstance(value, Figure) for value in values) == 4
    assert "bear" in names["page_text"]
