"""The article's formulation in integers: the one-step file's answers are the model's, and gradients pass."""

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
        (per_event, "int8"),
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
    # LiteRT's default kernels round a few numbers otherwise, and the memories carry that on.
    assert np.abs((default if mine.ndim == 3 else default[:, -1]) - numbers).mean() < 1


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="gradients by tf.GradientTape")
def test_gradients_pass_the_roundings():
    import tensorflow as tf

    model = stacked()
    gradients = []
    for each in (model, keras_gates.quantize_aware(model, calibration=EVENTS)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(each(EVENTS[:16, :5], training=False) - 1.0))
        gradients.append(np.concatenate([np.ravel(g) for g in tape.gradient(loss, each.trainable_variables)]))
    plain, aware = gradients
    assert plain @ aware / np.linalg.norm(plain) / np.linalg.norm(aware) > 0.99
    assert np.linalg.norm(aware) == pytest.approx(np.linalg.norm(plain), rel=0.1)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: keras_gates.GateLSTM(3, formulation="article", go_backwards=True), "runs forwards"),
        (
            lambda: keras.layers.Bidirectional(keras_gates.GateLSTM(3, formulation="article")),
            "article's formulation backwards",
        ),
        (lambda: keras_gates.GateLSTM(3), "same formulation"),
    ],
)
def test_what_the_one_step_file_cannot_run_is_refused(layer, words):
    first = keras_gates.GateLSTM(4, formulation="article", return_sequences=True)
    model = keras.Sequential([keras.Input((10, 3)), first, layer()])
    with pytest.raises(keras_gates.InvalidArgument, match=words):
        keras_gates.quantize_aware(model, calibration=EVENTS)


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export traces with TensorFlow")
def test_the_arithmetic_of_tflm(tmp_path):
    pytest.importorskip("tflite_micro")
    aware = keras_gates.quantize_aware(per_event(), calibration=EVENTS, arithmetic="tflm")
    keras_gates.export(aware, tmp_path, ["tflite"], "int8", target="micro")
    numbers, scale, zero = step_answers((tmp_path / "model.tflite").read_bytes(), EVENTS, "tflm")
    np.testing.assert_array_equal(np.rint(aware.predict(EVENTS, verbose=0) / scale + zero), numbers)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export traces with TensorFlow")
def test_a_layer_that_needs_the_whole_sequence_is_named_by_the_export(tmp_path):
    layers = [
        keras_gates.GateLSTM(4, formulation="article", return_sequences=True),
        keras.layers.GlobalAveragePooling1D(),
    ]
    aware = keras_gates.quantize_aware(keras.Sequential([keras.Input((10, 3)), *layers]), calibration=EVENTS)
    with pytest.raises(keras_gates.ExportError, match=r"event by event, but this model is unrolled"):
        keras_gates.export(aware, tmp_path, ["tflite"], "int8")
