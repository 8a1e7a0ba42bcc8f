"""Influence: against finite differences and against completeness; the horizon of a model made to look so far back."""

import keras
import numpy as np
import pytest
from helpers import data, randomise

import keras_gates
from keras_gates import GateLSTM, GateLSTMCell, influence, memory_horizon

TIME = 5


def model_of(*layers):
    return randomise(keras.Sequential([keras.Input((TIME, 3)), *layers, keras.layers.Dense(2)]), scale=0.7)


def by_differences(score, x, step=1e-2):
    """The gradient of the sum of `score(x)` by central differences."""
    result = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        change = np.zeros_like(x)
        change[place] = step
        result[place] = (score(x + change).sum() - score(x - change).sum()) / (2 * step)
    return result


@pytest.mark.parametrize(
    "make",
    [
        lambda: GateLSTM(2, name="memory"),
        lambda: GateLSTM(2, formulation="article", name="memory"),
        lambda: keras.layers.Bidirectional(keras.layers.LSTM(2), name="both"),
        lambda: keras.layers.SimpleRNN(2),
    ],
)
def test_events_by_finite_differences(make):
    model, x = model_of(make()), data(2, TIME, 3)
    result = influence(model, x, target=1)
    wanted = by_differences(lambda v: model.predict_on_batch(v)[:, 1], x)
    assert np.abs(result.events - wanted).max() < 5e-3
    assert np.allclose(result.strength, np.linalg.norm(result.events, axis=-1))


def test_memory_by_finite_differences():
    cell = GateLSTMCell(2)
    model, x = model_of(keras.layers.RNN(cell, name="memory")), data(1, TIME, 3)
    result = influence(model, x, target=0)
    dense = model.layers[-1]

    def score(nudge):
        stm = ltm = keras.ops.zeros((1, 2))
        nudge = keras.ops.convert_to_tensor(nudge)
        for t in range(TIME):
            step = cell.step(x[:, t], stm, ltm, held={"remembered": lambda value, t=t: value + nudge[:, t]})
            stm, ltm = step["used"], step["remembered"]
        return keras.ops.convert_to_numpy(dense(stm))[:, 0]

    wanted = by_differences(score, np.zeros((1, TIME, 2), "float32"))
    assert np.abs(result.ltm["memory"] - wanted).max() < 5e-3


def test_integrated_gradients_add_up():
    model, x = model_of(GateLSTM(3, name="memory")), data(2, TIME, 3)
    result = influence(model, x, target=0, method="integrated", steps=64)
    difference = model.predict(x, verbose=0)[:, 0] - model.predict(np.zeros_like(x), verbose=0)[:, 0]
    assert np.allclose(result.strength.sum(axis=1), difference, atol=1e-3)


def test_default_is_the_largest_answer():
    model, x = model_of(GateLSTM(2, name="memory")), data(2, TIME, 3)
    assert np.allclose(influence(model, x).score, model.predict(x, verbose=0).max(axis=1), atol=1e-5)


def forgetful(bias):
    """A GateLSTM whose forget factor is nearly the same always."""
    layer = GateLSTM(4, name="memory")
    model = keras.Sequential([keras.Input((30, 3)), layer, keras.layers.Dense(1)])
    layer.cell.forget.bias.assign(np.full(4, bias, "float32"))
    for gate in (layer.cell.learn, layer.cell.forget, layer.cell.use):
        gate.recurrent_kernel.assign(np.zeros(gate.recurrent_kernel.shape, "float32"))
    layer.cell.forget.kernel.assign(np.zeros((3, 4), "float32"))
    return model


def test_horizon_follows_the_forget_factor():
    x = 0.3 * data(8, 30, 3)
    keeps, forgets = memory_horizon(forgetful(5.0), x), memory_horizon(forgetful(-1.0), x)
    assert forgets.events <= 4 < 20 <= keeps.events
    assert np.isclose(keeps.share.sum(), 1)
    factor = 1 / (1 + np.exp(1.0))
    assert np.allclose(forgets.share[1:5] / forgets.share[:4], factor, rtol=0.25)


def test_skipped_events_at_the_end_do_not_count():
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, keras.layers.Dense(1)(GateLSTM(4, name="memory")(keras.layers.Masking(0.0)(inputs))))
    x = data(4, 6, 3)
    padded = np.concatenate([x, np.zeros((4, 5, 3), "float32")], axis=1)
    short, long = memory_horizon(model, x), memory_horizon(model, padded)
    assert short.events == long.events
    assert np.allclose(short.share, long.share[:6], atol=1e-5)


def test_short_repr():
    model, x = model_of(GateLSTM(2, name="memory")), data(2, TIME, 3)
    wanted = "<Influence (gradient) of memory: 2 sequences, 5 events, 3 features, LTM of memory>"
    assert repr(influence(model, x)) == wanted
    assert repr(memory_horizon(model, x)).startswith("<Horizon: 90% of the influence lies within the last ")


def test_errors():
    model = model_of(GateLSTM(2, name="memory"))
    with pytest.raises(ValueError, match="'gradient' or 'integrated'"):
        influence(model, data(1, TIME, 3), method="guess")
    with pytest.raises(ValueError, match="there are: memory"):
        influence(model, data(1, TIME, 3), layer="other")
    with pytest.raises(ValueError, match=r"target=9 is outside .* 2 numbers per example \(0 to 1\)"):
        influence(model, data(1, TIME, 3), target=9)
    with pytest.raises(ValueError, match="no recurrent layer that ran"):
        keras_gates.influence(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]), data(1, 3))
