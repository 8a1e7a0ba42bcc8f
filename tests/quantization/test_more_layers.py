"""Convolutions, both directions, averages, masks and normalizations in integers: the file's answers are the model's."""

import keras
import numpy as np
import pytest
from support.reference_kernels import answers

import keras_gates

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export traces with TensorFlow")
EVENTS = np.random.default_rng(0).normal(size=(40, 12, 3)).astype("float32")
LENGTHS = np.random.default_rng(1).integers(1, 13, 40)
TOKENS = np.where(np.arange(12) < LENGTHS[:, None], np.random.default_rng(2).integers(1, 20, (40, 12)), 0).astype(
    "int32"
)


def sequential(layers, data=EVENTS):
    """A model with random weights and statistics, and its data."""
    model = keras.Sequential([keras.Input(data.shape[1:], dtype=data.dtype), *layers])
    generator = np.random.default_rng(0)
    for weight in model.weights:
        values = generator.normal(scale=0.6, size=weight.shape)
        weight.assign(np.abs(values) + 0.3 if "variance" in weight.path else values)
    return model, data


def convolutions():
    return sequential(
        [
            keras.layers.Conv1D(5, 3, padding="causal", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.MaxPooling1D(2),
            keras.layers.DepthwiseConv1D(3, padding="same", depth_multiplier=2),
            keras.layers.AveragePooling1D(2, strides=1),
            keras.layers.Bidirectional(keras_gates.GateLSTM(4, return_sequences=True)),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(3),
        ]
    )


def normalizations():
    return sequential(
        [
            keras_gates.GateLSTM(4, return_sequences=True),
            keras.layers.Dense(5, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.1),
            keras.layers.Bidirectional(keras.layers.LSTM(3, use_bias=False)),
            keras.layers.Dense(4),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
            keras.layers.Dense(3),
        ]
    )


def strides():
    return sequential(
        [
            keras.layers.Conv1D(5, 3, strides=2, padding="same"),
            keras.layers.Conv1D(4, 2, dilation_rate=2, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.LSTM(4, go_backwards=True, return_sequences=True),
        ]
    )


def masks():
    return sequential(
        [
            keras.layers.Embedding(20, 4, mask_zero=True),
            keras_gates.GateLSTM(4, return_sequences=True),
            keras.layers.Dropout(0.1),
            keras.layers.Bidirectional(keras.layers.LSTM(3)),
            keras.layers.Dense(2),
        ],
        TOKENS,
    )


def both_ways_over_masks():
    bidirectional = keras.layers.Bidirectional(keras_gates.GateLSTM(4, return_sequences=True))
    backwards = keras_gates.GateLSTM(3, go_backwards=True)
    return sequential([keras.layers.Embedding(20, 4, mask_zero=True), bidirectional, backwards], TOKENS)


def compared(build, folder, **options):
    """Return how many integers of the file's answers differ from the model's, by the kernels that compute them."""
    model, x = build()
    aware = keras_gates.quantize_aware(model, calibration=x, **options)
    tflm = options.get("arithmetic") == "tflm"
    report = keras_gates.export(aware, folder, ["tflite"], "int8", steps=x.shape[1], target="micro" if tflm else "cpu")
    assert not report.warnings
    data, mine = (folder / "model.tflite").read_bytes(), aware.predict(x, verbose=0)
    lengths = LENGTHS if x is TOKENS else None
    differences = {}
    for kernels in ("tflm",) if tflm else ("reference", "default"):
        numbers, scale, zero = answers(data, x, lengths, kernels)
        assert np.ptp(numbers) > 50  # not all saturated or empty
        differences[kernels] = np.abs(np.rint(mine / scale + zero) - numbers)
    return differences


@pytest.mark.parametrize(
    "build",
    [
        convolutions,
        *(pytest.param(b, marks=pytest.mark.slow) for b in (normalizations, strides, masks, both_ways_over_masks)),
    ],
)
def test_the_answers_of_the_file_are_those_of_the_model(build, tmp_path):
    differences = compared(build, tmp_path)
    assert differences["reference"].max() == 0
    assert differences["default"].max() <= 2


@pytest.mark.slow
@pytest.mark.parametrize("build", [normalizations, masks])
def test_the_arithmetic_of_tflm(build, tmp_path):
    pytest.importorskip("tflite_micro")
    assert compared(build, tmp_path, arithmetic="tflm")["tflm"].max() == 0


@pytest.mark.slow
def test_a_stream_continues_with_the_integers_of_the_call_before(tmp_path):
    model, x = sequential([keras_gates.GateLSTM(4, return_sequences=True), keras.layers.LSTM(3, return_sequences=True)])
    aware = keras_gates.quantize_aware(model, calibration=x)
    keras_gates.export(aware, tmp_path, ["tflite"], "int8", mode="stream", steps=4)
    data, mine = (tmp_path / "model.tflite").read_bytes(), aware.predict(x, verbose=0)
    for sample, wanted in zip(x[:10], mine):
        numbers, scale, zero = answers(data, sample.reshape(3, 4, 3), continued=True)
        np.testing.assert_array_equal(numbers.reshape(12, 3), np.rint(wanted / scale + zero))
