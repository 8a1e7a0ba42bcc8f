"""Influence: against finite differences, completeness and shap; the clue of `show`; the horizon of a model made so."""

import re

import keras
import numpy as np
import pytest
from helpers import data, randomise

import keras_gates
from keras_gates import GateLSTM, GateLSTMCell, influence, influence_matrix, memory_horizon

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
    result = influence(model, x, target=1, method="gradient")
    wanted = by_differences(lambda v: model.predict_on_batch(v)[:, 1], x)
    assert np.abs(result.events - wanted).max() < 5e-3
    assert np.allclose(result.strength, np.linalg.norm(result.events, axis=-1))


def test_memory_by_finite_differences():
    cell = GateLSTMCell(2)
    model, x = model_of(keras.layers.RNN(cell, name="memory")), data(1, TIME, 3)
    result = influence(model, x, target=0, method="gradient")
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


def log_odds(probabilities):
    probabilities = probabilities.astype("float64")
    return np.log(probabilities) - np.log1p(-probabilities)


@pytest.mark.parametrize(
    ("make", "activation"),
    [
        (lambda: GateLSTM(3), "softmax"),
        (lambda: GateLSTM(3), None),
        (lambda: GateLSTM(3, formulation="article"), "sigmoid"),
        (lambda: keras.layers.SimpleRNN(3), "softmax"),
    ],
)
def test_attributions_add_up(make, activation):
    """Their sum is what is explained minus its mean over the background: log-odds of probabilities, else the prediction."""
    model, x, background = model_of(make()), data(2, TIME, 3), data(3, TIME, 3)[1:]
    model.layers[-1].activation = keras.activations.get(activation)
    result = influence(model, x, target=1, background=background, memory=False, steps=32)
    value = (lambda v: v) if activation is None else log_odds
    of_x, of_background = (value(model.predict(v, verbose=0)[:, 1]) for v in (x, background))
    np.testing.assert_allclose(result.explained, of_x, atol=1e-4)
    np.testing.assert_allclose(result.neutral, of_background.mean(), atol=1e-4)
    np.testing.assert_allclose(result.strength.sum(axis=1), of_x - of_background.mean(), atol=2e-3)
    np.testing.assert_allclose(result.by_feature.sum(axis=1), of_x - of_background.mean(), atol=2e-3)
    assert np.abs(result.gap).max() < 2e-3
    assert result.of == ("prediction" if activation is None else "log-odds")


def test_a_layer_with_gates_of_ones_own_next_to_a_plain_one():
    """On JAX the one is compiled, the other computes in NumPy where all layers are plain."""
    own = GateLSTM(2, forget=keras_gates.ForgetGate(2, recurrent_activation="hard_sigmoid"), name="own")
    model, x = model_of(GateLSTM(3, return_sequences=True, name="plain"), own), data(2, TIME, 3)
    result = influence(model, x, target=1, method="gradient", of="prediction")
    wanted = by_differences(lambda v: model.predict_on_batch(v)[:, 1], x)
    assert np.abs(result.events - wanted).max() < 5e-3
    assert {name: array.shape for name, array in result.ltm.items()} == {"plain": (2, TIME, 3), "own": (2, TIME, 2)}


def test_the_neutral_events_are_those_of_other_examples_or_the_mean_event():
    model, x = model_of(GateLSTM(3)), data(3, TIME, 3)
    predicted = model.predict(x, verbose=0)[:, 0]
    others = influence(model, x, target=0)
    np.testing.assert_allclose(others.neutral, (predicted.sum() - predicted) / 2, atol=1e-5)
    alone = influence(model, x[:1], target=0)
    mean = np.repeat(x[:1].mean(axis=1, keepdims=True), TIME, axis=1)
    np.testing.assert_allclose(alone.neutral, model.predict(mean, verbose=0)[:, 0], atol=1e-5)


def test_features_that_are_not_read_get_nothing():
    model = model_of(GateLSTM(3, name="memory"))
    for gate in (model.layers[0].cell.learn, model.layers[0].cell.forget, model.layers[0].cell.use):
        gate.kernel.assign(np.asarray(gate.kernel) * np.array([[1.0], [0.0], [1.0]], "float32"))
    result = influence(model, data(2, TIME, 3))
    assert not result.events[..., 1].any()
    assert (np.abs(result.by_feature[:, [0, 2]]) > 1e-4).all()


def test_a_layer_before_the_events_runs_once():
    """What comes before the recurrent layer is kept between the passes; the result is that of the whole model."""

    class Counted(keras.layers.Dense):
        calls = 0

        def call(self, inputs):
            Counted.calls += 1
            return super().call(inputs)

    inputs = keras.Input((TIME, 3))
    front = Counted(2, name="front")
    model = randomise(keras.Model(inputs, keras.layers.Dense(1)(GateLSTM(3, name="memory")(front(inputs)))), scale=0.7)
    x, Counted.calls = data(2, TIME, 3), 0
    result = influence(model, x, background=x[:1])
    assert Counted.calls == 2, "once for the input, once for the background"
    assert "call" not in vars(front)
    difference = model.predict(x, verbose=0)[:, 0] - model.predict(x[:1], verbose=0)[0, 0]
    np.testing.assert_allclose(result.strength.sum(axis=1), difference, atol=1e-3)


def hits(count, seed, **options):
    """The share of `show` sequences with the clue 40 frames back whose largest past bar is on the clue."""
    models, show = pytest.importorskip("keras_gates.models"), pytest.importorskip("keras_gates.models.show")
    x, _ = show.data().at("test", 40, count, seed)
    result = influence(models.load("show"), x, memory=False, **options)
    return (np.abs(result.strength[:, :-1]).argmax(axis=1) == x.shape[1] - 1 - 40).mean()


def test_the_largest_bar_is_on_the_clue():
    assert hits(64, seed=0, steps=4) >= 0.9
    assert hits(64, seed=0, method="gradient", of="prediction") < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_largest_bar_of_256_sequences_is_on_the_clue(seed):
    assert hits(256, seed) >= 0.9


def test_a_matrix_of_answers_and_events():
    model, x = model_of(GateLSTM(3)), data(2, TIME, 3)
    matrix = influence_matrix(model, x)
    assert (matrix.values.shape, matrix.answers) == ((2, 2, TIME), (0, 1))
    for k in range(2):
        np.testing.assert_allclose(matrix.values[:, k], influence(model, x, target=k).strength, atol=1e-6)
    every = randomise(
        keras.Sequential([keras.Input((TIME, 3)), GateLSTM(3, return_sequences=True), keras.layers.Dense(2)])
    )
    matrix = influence_matrix(every, x, target=1, steps=2)
    assert (matrix.values.shape, matrix.answers) == ((2, TIME, TIME), tuple(range(TIME)))
    assert not np.triu(matrix.values, 1).any(), "an answer does not depend on later events"
    np.testing.assert_allclose(matrix.values[:, 2], influence(every, x, target=1, at=2, steps=2).strength, atol=1e-6)
    assert "<svg" in matrix._repr_html_()


def test_shap_agrees():
    """Shapley values by shap's own estimate, of every event's every feature."""
    shap = pytest.importorskip("shap")
    time = 3
    model = randomise(
        keras.Sequential([keras.Input((time, 2)), GateLSTM(3), keras.layers.Dense(2, "softmax")]), scale=0.5
    )
    x, background = data(4, time, 2), 0.2 * data(2, time, 2)
    result = influence(model, x, target=0, background=background, steps=16)

    def flat(rows):
        return log_odds(model.predict_on_batch(rows.reshape(-1, time, 2).astype("float32"))[:, 0])

    explainer = shap.KernelExplainer(flat, background.reshape(2, -1))
    wanted = explainer.shap_values(x.reshape(4, -1), silent=True)
    assert np.corrcoef(result.events.reshape(-1), wanted.reshape(-1))[0, 1] > 0.98
    np.testing.assert_allclose(result.strength.sum(axis=1), wanted.sum(axis=1), atol=2e-3)
    explanation = result.to_shap(["a", "b"])
    np.testing.assert_array_equal(explanation.values, result.events)
    np.testing.assert_array_equal(explanation.data, x)
    np.testing.assert_allclose(explanation.base_values + explanation.values.sum(axis=(1, 2)), flat(x), atol=2e-3)


def test_default_is_the_largest_answer():
    model, x = model_of(GateLSTM(2, name="memory")), data(2, TIME, 3)
    assert np.allclose(influence(model, x, memory=False).score, model.predict(x, verbose=0).max(axis=1), atol=1e-5)


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
    keeps, forgets = (memory_horizon(forgetful(bias), x, method="gradient") for bias in (5.0, -1.0))
    assert forgets.events <= 4 < 20 <= keeps.events
    assert np.isclose(keeps.share.sum(), 1)
    factor = 1 / (1 + np.exp(1.0))
    assert np.allclose(forgets.share[1:5] / forgets.share[:4], factor, rtol=0.25)


def test_horizon_of_attributions():
    x = data(2, 30, 3)
    assert memory_horizon(forgetful(-1.0), x).events <= 5 < 20 <= memory_horizon(forgetful(5.0), x).events


def test_skipped_events_at_the_end_do_not_count():
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, keras.layers.Dense(1)(GateLSTM(4, name="memory")(keras.layers.Masking(0.0)(inputs))))
    x = data(4, 6, 3)
    padded = np.concatenate([x, np.zeros((4, 5, 3), "float32")], axis=1)
    short, long = memory_horizon(model, x), memory_horizon(model, padded)
    assert short.events == long.events
    assert np.allclose(short.share, long.share[:6], atol=1e-5)


def test_short_repr_and_notebook_form():
    model, x = model_of(GateLSTM(2, name="memory")), data(2, TIME, 3)
    result = influence(model, x, method="gradient")
    wanted = "<Influence (gradient, prediction) of memory: 2 sequences, 5 events, 3 features, LTM of memory>"
    assert repr(result) == wanted
    result, horizon = influence(model, x), memory_horizon(model, x)
    assert re.search(r"^<Influence \(integrated, .* sums are off by at most \d", repr(result))
    assert result._repr_html_().count("<rect") == 2 * TIME
    assert repr(horizon).startswith("<Horizon: 90% of the influence lies within the last ")
    assert horizon._repr_html_().count("<rect") == TIME


def test_errors():
    model = model_of(GateLSTM(2, name="memory"))
    with pytest.raises(keras_gates.GatesError, match="'integrated' or 'gradient'"):
        influence(model, data(1, TIME, 3), method="guess")
    with pytest.raises(ValueError, match="there are: memory"):
        influence(model, data(1, TIME, 3), layer="other")
    with pytest.raises(ValueError, match=r"target=9 is outside .* 2 numbers per example \(0 to 1\)"):
        influence(model, data(1, TIME, 3), target=9)
    every = keras.Sequential([keras.Input((TIME, 3)), GateLSTM(2, return_sequences=True)])
    with pytest.raises(ValueError, match="at=5 is outside"):
        influence(every, data(1, TIME, 3), at=5)
    open_length = keras.Sequential([keras.Input((None, 3)), GateLSTM(2)])
    with pytest.raises(ValueError, match="give a background of the same length"):
        influence(open_length, data(1, TIME, 3), background=data(1, TIME + 1, 3))
    with pytest.raises(ValueError, match="does not add up"):
        influence(model, data(1, TIME, 3), method="gradient").to_shap()
    with pytest.raises(ValueError, match="a share above 0"):
        memory_horizon(model, data(1, TIME, 3), within=2)
    with pytest.raises(ValueError, match="no recurrent layer that ran"):
        keras_gates.influence(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]), data(1, 3))
