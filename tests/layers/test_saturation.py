"""`saturation`: in training, what the events add to the gates' inputs is clipped; inference and other layers are as before."""

import keras
import numpy as np
import pytest
from helpers import BATCH, FEATURES, TIME, UNITS, assert_close, data, numpy, randomise

import keras_gates
from keras_gates import GateLSTM


def stepped(layer, events, limit):
    """The last hidden state by NumPy, with the events' part of a gate's input within ±limit."""
    weights = layer.cell.joint_weights()
    kernel, recurrent, bias = (numpy(each) for each in weights[:3])
    h = c = np.zeros((len(events), UNITS))
    for time in range(events.shape[1]):
        added = np.clip(events[:, time] @ kernel + bias, -limit, limit)
        i, f, g, o = np.split(added + h @ recurrent, 4, axis=-1)
        kept, learned = c / (1 + np.exp(-f)), np.tanh(g) / (1 + np.exp(-i))
        c = kept + learned
        source = c if weights.kept_kernel is None else kept @ numpy(weights.kept_kernel) + numpy(weights.kept_bias)
        h = np.tanh(source) / (1 + np.exp(-o))
    return h


@pytest.mark.parametrize("formulation", ["standard", "article"])
def test_training_clips_and_inference_does_not(formulation):
    layer = GateLSTM(UNITS, saturation=0.5, formulation=formulation)
    layer.build((BATCH, TIME, FEATURES))
    randomise(layer)
    events = data(BATCH, TIME, FEATURES)
    clipped, whole = (numpy(layer(events, training=training)) for training in (True, False))
    assert_close(clipped, stepped(layer, events, 0.5), "training")
    assert_close(whole, stepped(layer, events, np.inf), "inference")
    assert np.abs(clipped - whole).max() > 0.01


def test_explain_names_the_clip_as_the_reason():
    layer = GateLSTM(UNITS, saturation=8)
    layer.build((BATCH, TIME, FEATURES))
    assert layer.explain(BATCH, TIME).name == GateLSTM(UNITS).explain(BATCH, TIME).name
    choice = layer.explain(BATCH, TIME, training=True)
    assert choice.name == "portable"
    assert "saturation" in choice.reason
    again = GateLSTM(UNITS, saturation=8, loop="general")
    with pytest.raises(ValueError, match=r"does not clip .*'portable'"):
        again(data(BATCH, TIME, FEATURES), training=True)


def test_the_config_holds_it_and_keras_has_no_such_argument():
    layer = GateLSTM(UNITS, saturation=8)
    assert GateLSTM(**layer.get_config()).saturation == 8.0
    assert GateLSTM(UNITS).get_config()["saturation"] is None
    layer.build((BATCH, TIME, FEATURES))
    events = data(BATCH, TIME, FEATURES)
    plain = keras_gates.to_keras(layer)
    assert type(plain) is keras.layers.LSTM
    assert_close(numpy(plain(events)), numpy(layer(events)), "of Keras")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"saturation": 0}, "positive number or None, got 0"),
        ({"saturation": "8"}, "positive number or None, got '8'"),
        ({"saturation": float("nan")}, "positive number"),
        ({"saturation": 8, "recurrent_dropout": 0.1}, "one dropout mask for all"),
        ({"saturation": 8, "forget": keras_gates.CoupledForgetGate(UNITS)}, "got a custom gate"),
    ],
)
def test_what_cannot_be_clipped_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GateLSTM(UNITS, **arguments)
