"""Activations of 16 bits: the file's integers, run by TensorFlow Lite Micro, are those of the forward pass."""

import keras
import numpy as np
import pytest

import keras_gates
from keras_gates.edge.tflite import read
from keras_gates.exporting.verify.tflm import run_tflm

pytest.importorskip("tflite_micro")
EVENTS = np.random.default_rng(0).normal(size=(40, 10, 3)).astype("float32")
exports = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export traces with TensorFlow")


def randomized(*layers):
    model = keras.Sequential([keras.Input((10, 3)), *layers])
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(scale=0.6, size=w.shape) for w in model.get_weights()])
    return model


def small():
    return randomized(keras_gates.GateLSTM(5), keras.layers.Dense(3))


def convolutions():
    return randomized(
        keras.layers.Conv1D(4, 3, activation="relu"),
        keras.layers.DepthwiseConv1D(3),
        keras.layers.Bidirectional(keras_gates.GateLSTM(5, return_sequences=True)),
        keras.layers.LSTM(4, return_sequences=True),
        keras.layers.Dense(3, activation="relu"),
    )


@exports
@pytest.mark.parametrize("build", [small, pytest.param(convolutions, marks=pytest.mark.slow)])
def test_every_integer_of_the_file_is_that_of_the_forward_pass(build, tmp_path):
    model = build()
    aware = keras_gates.quantize_aware(model, "int16x8", calibration=EVENTS)
    report = keras_gates.export(aware, tmp_path, ["tflite"], "int16x8", target="micro")
    assert not report.warnings
    data = (tmp_path / "model.tflite").read_bytes()
    graph = read(data).subgraphs[0]
    source, target = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    assert (source.dtype, target.dtype) == ("int16", "int16")
    numbers = np.clip(np.rint(EVENTS.astype("float64") / source.scale), -32768, 32767).astype("int16")
    answers = np.stack([outputs[0][0] for outputs in run_tflm(data, [[[sample[None]]] for sample in numbers])[0]])
    mine = aware.predict(EVENTS, verbose=0)
    assert np.ptp(answers.astype(int)) > 10_000  # not all saturated or empty
    np.testing.assert_array_equal(np.rint(mine / target.scale), answers.reshape(mine.shape))
    plain = model.predict(EVENTS, verbose=0)
    assert 0 < np.abs(mine - plain).max() < 0.03 * np.abs(plain).max()


@exports
def test_it_is_exported_for_tflm_only(tmp_path):
    aware = keras_gates.quantize_aware(small(), "int16x8", calibration=EVENTS)
    with pytest.raises(keras_gates.ExportError, match="target='micro'"):
        keras_gates.export(aware, tmp_path, ["tflite"], "int16x8")
    with pytest.raises(keras_gates.ExportError, match="precision='int16x8', not 'int8'"):
        keras_gates.export(aware, tmp_path, ["tflite"], "int8")


def test_layers_that_tflm_lacks_in_16_bits_are_refused():
    for layer in (
        keras_gates.GateLSTM(3, formulation="article", return_sequences=True),
        keras.layers.GlobalAveragePooling1D(),
    ):
        with pytest.raises(keras_gates.InvalidArgument, match="activations of 8 bits only"):
            keras_gates.quantize_aware(randomized(layer), "int16x8", calibration=EVENTS)
