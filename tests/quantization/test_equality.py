"""A file of a model of `quantize_aware` computes what the model computes: integer by integer, in LiteRT's reference kernels."""

import keras
import numpy as np
import pytest
from support.reference_kernels import numbers_of

import keras_gates
from keras_gates.models import load

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export traces with TensorFlow")
LSTM, DENSE = "UNIDIRECTIONAL_SEQUENCE_LSTM", "FULLY_CONNECTED"


def random_weights(model, seed=0, size=0.6):
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(scale=size, size=w.shape) for w in model.get_weights()])
    return model


def tokens_model(units=8, words=20):
    layers = [
        keras.Input((None,), dtype="int32"),
        keras.layers.Embedding(words, 6),
        keras.layers.Dropout(0.1),
        keras_gates.GateLSTM(units, return_sequences=True),
        keras.layers.Dense(words, activation="softmax"),
    ]
    return keras.Sequential(layers), np.random.default_rng(0).integers(0, words, (40, 15)).astype("int32")


def events_model():
    events = x = keras.Input((10, 3), name="movement")
    x = keras.layers.LSTM(8, return_sequences=True, use_bias=False)(x)
    x = keras.layers.Dropout(0.2)(x)
    x = keras_gates.GateLSTM(5)(x)
    x = keras.layers.Dense(6, activation="relu")(x)
    model = keras.Model(events, keras.layers.Dense(4)(x))
    return model, np.random.default_rng(0).normal(size=(40, 10, 3)).astype("float32")


def differences(aware, data, x, events=None):
    """Return how many numbers of the last LSTM and of the last dense layer differ, and how many there are.

    Args:
        aware: The model.
        data: Bytes of its file.
        x: Inputs of the model.
        events: The same as the file takes them, if a layer stays outside.
    """
    lstm = [layer for layer in aware.layers if type(layer).__name__ == "QuantizedLSTM"][-1]
    dense = [layer for layer in aware.layers if type(layer).__name__ == "QuantizedDense"][-1]
    hidden, features = keras.Model(aware.inputs, [lstm.output, dense.input]).predict(x, verbose=0)
    counted = {}
    for kind, mine in ((LSTM, hidden), (DENSE, keras.ops.convert_to_numpy(dense.sums(features)))):
        numbers, scale, zero = numbers_of(data, kind, x if events is None else events)
        numbers = numbers[:, -1] if numbers.ndim > mine.ndim else numbers  # only the last time step is read
        counted[kind] = (int((np.rint(mine / scale + zero) != numbers).sum()), numbers.size)
        assert np.ptp(numbers) > 20  # not all saturated or empty
    return counted


@pytest.mark.parametrize(
    ("build", "precision"),
    [
        pytest.param(tokens_model, "int8", marks=pytest.mark.slow),
        (events_model, "int8"),
        pytest.param(events_model, "int4", marks=pytest.mark.slow),
    ],
)
def test_every_integer_of_the_file_is_that_of_the_forward_pass(build, precision, tmp_path):
    model, x = build()
    aware = keras_gates.quantize_aware(random_weights(model), precision, calibration=x)
    report = keras_gates.export(aware, tmp_path, ["tflite"], "int8", steps=x.shape[1])
    assert not report.warnings
    found = differences(aware, (tmp_path / "model.tflite").read_bytes(), x)
    assert [different for different, _ in found.values()] == [0, 0], found


def zoo_data(name):
    """Random inputs of a model of the zoo."""
    generator = np.random.default_rng(0)
    if name == "language":
        return generator.integers(0, 60, (20, 64)).astype("int32")
    if name == "digits":
        return generator.integers(0, 256, (40, 28, 28)).astype("float32")
    return generator.normal(scale=4.0, size=(40, 51, 3)).astype("float32")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["language", "gesture", "digits"])
def test_models_of_the_zoo(name, tmp_path):
    x = zoo_data(name)
    aware = keras_gates.quantize_aware(load(name, "nano"), calibration=x)
    if name == "language":  # a scale that the export raises for models not trained in integers
        aware.get_layer("memory_1").scales["cell"] = 2.0**-11
    keras_gates.export(aware, tmp_path, ["tflite"], "int8", steps=x.shape[1])
    events = aware.get_layer("scale")(x).numpy() if name == "gesture" else x  # the file takes normalized events
    found = differences(aware, (tmp_path / "model.tflite").read_bytes(), x, events)
    assert [different for different, _ in found.values()] == [0, 0], found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 3))
def test_random_models(seed, tmp_path):
    generator = np.random.default_rng(seed)
    units, words = (int(n) for n in generator.integers(3, 40, 2))
    model, x = tokens_model(units, words)
    aware = keras_gates.quantize_aware(random_weights(model, seed, size=generator.uniform(0.1, 2)), calibration=x)
    keras_gates.export(aware, tmp_path, ["tflite"], "int8", steps=x.shape[1])
    found = differences(aware, (tmp_path / "model.tflite").read_bytes(), x)
    assert [different for different, _ in found.values()] == [0, 0], found
