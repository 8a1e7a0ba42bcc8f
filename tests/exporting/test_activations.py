"""Activations without an integer kernel: what the export makes of them, against Keras."""

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="export needs TensorFlow")
pytest.importorskip("ai_edge_litert", reason="verification needs ai-edge-litert")
if keras.backend.backend() != "tensorflow":
    pytest.skip("export traces with TensorFlow", allow_module_level=True)

from keras import layers

from keras_gates import export
from keras_gates._patch import patched
from keras_gates.exporting.lowering.activations import integer_activation

SHRINKING = ("soft_shrink", "tanh_shrink", "softsign")
X = np.linspace(-30, 30, 4001, dtype="float32")[None]


@pytest.mark.parametrize(
    "name", ["elu", "celu", "selu", "softplus", "log_sigmoid", "mish", "gelu", "hard_silu", *SHRINKING]
)
def test_the_integer_form_is_the_activation(name):
    wanted = keras.ops.convert_to_numpy(getattr(keras.activations, name)(X))
    events = keras.Input((4001,))
    operation = getattr(keras.ops, name, None)  # mish is none
    forms = [layers.Activation(name), *([keras.Model(events, operation(events)).operations[-1]] if operation else [])]
    for layer in forms:
        changes = integer_activation(layer, tflm16=True)
        assert len(changes) == 1
        with patched(changes):
            np.testing.assert_allclose(layer(X), wanted, atol=7e-3 if name == "softsign" else 4e-3)


def test_layers_that_are_an_activation_and_others():
    for layer, change in ((layers.ELU(alpha=0.5), "call"), (layers.Dense(2, activation="gelu"), "activation")):
        ((_, name, form),) = integer_activation(layer)
        assert name == change
    np.testing.assert_allclose(integer_activation(layers.ELU(alpha=0.5))[0][2](X), layers.ELU(alpha=0.5)(X), atol=4e-3)
    assert form is not keras.activations.gelu
    for layer in (layers.Dense(2, activation="relu"), layers.Dense(2, activation=lambda x: x), layers.LSTM(2)):
        assert not integer_activation(layer)


class Elu(layers.Layer):
    """A class of the user's own that has the name of an activation."""

    def call(self, x):
        return x


def test_a_class_of_the_users_own_is_left_alone():
    Elu.__name__ = "elu"
    assert not integer_activation(Elu())


class Own(layers.Layer):
    """A negation and a clip to -1 … 1 that no functional model shows."""

    def call(self, x):
        return keras.ops.clip(-x, -1.0, 1.0) - keras.ops.negative(x)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cpu", "micro"])
def test_negation_and_limits_in_a_layer_of_the_users_own_in_16_bits(tmp_path, target):
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(60, 6, 3)).astype("float32")
    events = keras.Input((6, 3))
    model = keras.Model(events, layers.Dense(2)(layers.LSTM(6)(Own()(events))))
    report = export(model, tmp_path, ["tflite"], "int16x8", "sequence", target, calibration=x)
    figures = report.outputs["prediction"]
    assert figures["mean"] < 0.02 * figures["spread"]
    assert not {"NEG", "RELU_N1_TO_1", "MINIMUM", "MAXIMUM"} & set(report.operators)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "precision"), [("softplus", "int8"), ("elu", "int8"), ("hard_silu", "int16x8")])
def test_at_a_large_scale_in_integers_on_microcontrollers(tmp_path, name, precision):
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(60, 6, 3)).astype("float32")
    events = keras.Input((6, 3))
    hidden = layers.Rescaling(8.0)(layers.Dense(6)(layers.LSTM(6)(events)))
    model = keras.Model(events, layers.Dense(2)(layers.Activation(name)(hidden)))
    report = export(model, tmp_path, ["tflite"], precision, "sequence", "micro", calibration=x)
    figures = report.outputs["prediction"]
    assert figures["mean"] < 0.1 * figures["spread"]
    assert not report.warnings


@pytest.mark.slow
def test_a_decoder_of_grus_and_a_maximum_over_time_in_integers(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 6, 3)).astype("float32")
    events = keras.Input((6, 3))
    _, state = layers.GRU(6, return_state=True)(events)
    hidden = layers.GRU(6, return_sequences=True)(layers.RepeatVector(4)(state), initial_state=state)
    decoder = keras.Model(events, layers.Dense(2)(hidden))
    largest = layers.GlobalMaxPooling1D()(layers.LSTM(6, return_sequences=True)(events))
    pooled = keras.Model(events, layers.Dense(2)(largest))
    again = layers.LSTM(4, return_sequences=True)(layers.RepeatVector(5)(layers.LSTM(4)(events)))
    repeated = keras.Model(events, layers.Dense(2)(again))
    for model, precision in ((decoder, "int8"), (repeated, "int8"), (pooled, "int16x8")):
        report = export(model, tmp_path, ["tflite"], precision, "sequence", "micro", calibration=x)
        figures = report.outputs["prediction"]
        assert figures["mean"] < 0.2 * figures["spread"]
    assert "SPLIT" not in report.operators
    assert report.operators["MAX_POOL_2D"] == 1
