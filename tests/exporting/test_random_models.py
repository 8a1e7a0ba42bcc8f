"""A dozen of the random models of benchmarks/export.py through the export; KERAS_GATES_RANDOM_MODELS=200 runs more.

Half of them are stacks of layers, half have the structures that people were refused.
"""

import os

import keras
import pytest

pytest.importorskip("tensorflow", reason="export needs TensorFlow")
pytest.importorskip("ai_edge_litert", reason="verification needs ai-edge-litert")
pytest.importorskip("tflite_micro", reason="a third of the models is for TFLM: pip install --pre tflite-micro")
if keras.backend.backend() != "tensorflow":
    pytest.skip("export traces with TensorFlow", allow_module_level=True)
from export_models import judged, random_case
from export_structures import structured_case

COUNT = int(os.environ.get("KERAS_GATES_RANDOM_MODELS", "12"))


@pytest.mark.parametrize(
    ("draw", "seed"),
    [(random_case, 1000 + i) for i in range((COUNT + 1) // 2)]
    + [(structured_case, 4232 + 31 * i) for i in range(COUNT // 2)],
)
def test_random_models_export_and_agree(tmp_path, draw, seed):
    case = draw(seed)
    _, difference, allowed = judged(case, tmp_path)
    assert difference <= allowed, case.text
