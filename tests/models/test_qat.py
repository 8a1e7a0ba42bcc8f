"""`python train.py MODEL --qat`: a short training in integers, and an int8 file that computes just that."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_gates
from keras_gates.edge import EdgeModel
from keras_gates.models.registry import UserError, find
from keras_gates.models.training import main
from keras_gates.models.training.integers import train_in_integers
from keras_gates.models.training.options import QAT, configuration, parser
from keras_gates.quantization.aware import file_numbers
from keras_gates.quantization.numbers import WEIGHT_BITS

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export traces with TensorFlow")
SMALL = ["digits", "--preset", "nano", "--units", "8", "--epochs", "1", "--no-baselines"]


@pytest.mark.slow
def test_a_run_with_qat(tmp_path):
    assert main([*SMALL, "--qat", "--out", str(tmp_path)]) == 0
    (folder,) = Path(tmp_path).iterdir()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["config"]["qat"] == "int8"
    (row,) = [row for row in metrics["exports"] if row["file"].endswith(".tflite")]
    assert row["max_difference"] < 0.01  # the file's softmax; XNNPACK rounds some sums by one step otherwise
    assert type(keras.saving.load_model(folder / "model.keras").get_layer("memory_1")).__name__ == "QuantizedLSTM"
    assert EdgeModel(folder / row["file"]).predict([[[0.0] * 8] * 8]).shape[-1] == 10


def test_options():
    with_litert = [bits for bits in WEIGHT_BITS if bits != "int16x8"]  # whose LSTM only microcontrollers run
    assert tuple(with_litert) == QAT
    config = configuration(parser().parse_args([*SMALL, "--qat", "int4"]))
    assert (config.qat, config.precision) == ("int4", ("int4",))
    assert configuration(parser().parse_args(SMALL)).qat is None
    for wrong, words in ((["--precision", "float16"], "in int8"), (["--distribute", "mirrored"], "one process")):
        with pytest.raises(UserError, match=words):
            configuration(parser().parse_args([*SMALL, "--qat", *wrong]))


def test_a_model_that_integers_cannot_represent_is_told_in_one_line():
    zoo = find("digits")
    data = zoo.data("builtin", None, 0)
    model = zoo.build(**{**zoo.presets["nano"]["build"], **data.build, "variant": "refine"})
    with pytest.raises(UserError, match="not the built-in one"):
        train_in_integers(zoo, model, data, configuration(parser().parse_args([*SMALL, "--qat"])))


@pytest.mark.slow
def test_what_the_device_runs_keeps_its_integers():
    x = np.random.default_rng(0).normal(scale=4.0, size=(20, 51, 3)).astype("float32")
    aware = keras_gates.quantize_aware(keras_gates.models.load("gesture", "nano"), calibration=x)
    device = keras_gates.models.find("gesture").device(aware, "int8")
    assert [numbers.layer for numbers in file_numbers(device.core)] == ["memory_1", "which"]
    np.testing.assert_array_equal(device.core.predict(device.prepare(x), verbose=0), aware.predict(x, verbose=0))
