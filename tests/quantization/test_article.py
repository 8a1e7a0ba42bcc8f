"""The article's formulation in integers: the one-step file's answers are the model's, and the model trains."""

import keras
import numpy as np
import pytest
from support.reference_kernels import step_answers

import keras_gates

EVENTS = np.random.default_rng(0).normal(size=(40, 10, 3)).astype("float32")


def stacked(**options):
    layers = [
        keras_gates.GateLSTM(5, formulation="article", return_sequences=True),
        keras.layers.Dropout(0.1),
        keras_gates.GateLSTM(4, formulation="article", **options),
        keras.layers.Dense(3),
    ]
    return randomized(keras.Sequential([keras.Input((10, 3)), *layers]))


def per_event():
    layer = keras_gates.GateLSTM(6, formulation="article", return_sequences=True, use_bias=False)
    return randomized(keras.Sequential([keras.Input((10, 3)), layer, keras.layers.Dense(4, activation="relu")]))


def randomized(model):
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(scale=0.6, size=w.shape) for w in model.get_weights()])
    return model


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export traces with TensorFlow")
@pytest.mark.parametrize(
    ("build", "precision"),
    [
        (stacked, "int8"),
        pytest.param(per_event, "int8", marks=pytest.mark.slow),
        pytest.param(stacked, "int4", marks=pytest.mark.slow),
    ],
)
def test_the_answers_of_the_file_are_those_of_the_model(build, precision, tmp_path):
    aware = keras_gates.quantize_aware(build(), precision, calibration=EVENTS)
    report = keras_gates.export(aware, tmp_path, ["tflite"], "int8")
    assert report.lowering == "step"
    assert not report.warnings
    data, mine = (tmp_path / "model.tflite").read_bytes(), aware.predict(EVENTS, verbose=0)
    numbers, scale, zero = step_answers(data, EVENTS)
    numbers = numbers if mine.ndim == 3 else numbers[:, -1]
    assert np.ptp(numbers) > 50  # not all saturated or empty
    np.testing.assert_array_equal(np.rint(mine / scale + zero), numbers)
    default, *_ = step_answers(data, EVENTS, "default")
    assert np.abs((default if mine.ndim == 3 else default[:, -1]) - numbers).max() <= 4


def test_training_in_integers_follows_the_float_gradient():
    model, targets = stacked(), EVENTS[:, -1] * 0.3
    losses = []
    for each in (model, keras_gates.quantize_aware(model, calibration=EVENTS)):
        each.compile(keras.optimizers.SGD(0.2), "mse")
        losses.append(each.fit(EVENTS, targets, epochs=4, shuffle=False, verbose=0).history["loss"])
    plain, aware = np.array(losses)
    assert plain[-1] < 0.7 * plain[0]
    np.testing.assert_allclose(aware, plain, rtol=0.1)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: keras_gates.GateLSTM(3, formulation="article", go_backwards=True), "runs forwards"),
        (lambda: keras.layers.Bidirectional(keras_gates.GateLSTM(3, formulation="article")), "article's formulation backwards"),
        (lambda: keras_gates.GateLSTM(3), "same formulation"),
    ],
)
def test_what_the_one_step_file_cannot_run_is_refused(layer, words):
    first = keras_gates.GateLSTM(4, formulation="article", return_sequences=True)
    model = keras.Sequential([keras.Input((10, 3)), first, layer()])
    with pytest.raises(keras_gates.InvalidArgument, match=words):
        keras_gates.quantize_aware(model, calibration=EVENTS)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export traces with TensorFlow")
def test_a_layer_that_needs_the_whole_sequence_is_named_by_the_export(tmp_path):
    layers = [keras_gates.GateLSTM(4, formulation="article", return_sequences=True), keras.layers.GlobalAveragePooling1D()]
    aware = keras_gates.quantize_aware(keras.Sequential([keras.Input((10, 3)), *layers]), calibration=EVENTS)
    with pytest.raises(keras_gates.ExportError, match=r"event by event, but this model is unrolled"):
        keras_gates.export(aware, tmp_path, ["tflite"], "int8")
