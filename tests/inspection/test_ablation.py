"""Ablation and units: against the oracle with a factor held; the caller's model stays as it is."""

import keras
import numpy as np
import pytest
from helpers import BACKEND, EVENTS, FEATURES, TIME, UNITS, assert_close, data, numpy, randomise
from reference import plain_step, sigmoid, weights_of

import keras_gates
from keras_gates import GateLSTM, ablate, find_units, trace, worth_of_gates


def last_stm(x, w, held, mask=None):
    """The last STM of the standard form with factors held, written out."""
    stm = ltm = np.zeros((len(x), UNITS))
    for t in range(x.shape[1]):
        step = plain_step(x[:, t].astype("float64"), stm, ltm, w)
        factors = {name: held.get(name, step[name]) for name in ("ignore", "forget", "use")}
        new_ltm = ltm * factors["forget"] + step["candidate"] * factors["ignore"]
        seen = np.ones((len(x), 1), bool) if mask is None else mask[:, t, None]
        stm, ltm = np.where(seen, np.tanh(new_ltm) * factors["use"], stm), np.where(seen, new_ltm, ltm)
    return stm


@pytest.mark.parametrize("make", [GateLSTM, keras.layers.LSTM])
@pytest.mark.parametrize("held", [{"forget": "open"}, {"ignore": "closed"}, {"use": 0.3, "forget": "closed"}])
def test_held_factors(make, held):
    layer = make(UNITS, name="memory")
    model = keras.Sequential([keras.Input((None, FEATURES)), keras.layers.Masking(0.0), layer])
    randomise(model)
    x = EVENTS.copy()
    x[1, 3:] = 0
    before, weights = model.predict(x, verbose=0), model.get_weights()
    numbers = {name: {"open": 1.0, "closed": 0.0}.get(value, value) for name, value in held.items()}
    wanted = last_stm(x, weights_of(layer), numbers, np.any(x != 0, axis=-1))
    ablated = ablate(model, **held)
    assert_close(ablated.predict(x, verbose=0), wanted, "compiled")
    assert_close(numpy(ablated(x)), wanted, "called")
    assert_close(model.predict(x, verbose=0), before, "the model itself", absolute=0)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights))
    assert "inner_loop" not in vars(layer)


def test_mean_and_choice_of_layers():
    first, second = GateLSTM(UNITS, return_sequences=True, name="first"), GateLSTM(UNITS, name="second")
    model = randomise(keras.Sequential([keras.Input((TIME, FEATURES)), first, second]))
    means = trace(model, EVENTS)["second"].forget.mean(axis=(0, 1))
    got = ablate(model, x=EVENTS, layers=["second"], forget="mean").predict(EVENTS, verbose=0)
    events = first(EVENTS)
    assert_close(got, last_stm(numpy(events), weights_of(second), {"forget": means}), "mean of one layer")


def test_worth_of_gates_on_a_task_that_needs_them():
    layer = GateLSTM(1, name="memory")
    dense = keras.layers.Dense(1)
    model = keras.Sequential([keras.Input((6, 2)), layer, dense])
    model.compile(loss="mse", metrics=["mae"])
    for gate in (layer.cell.learn, layer.cell.forget, layer.cell.use):
        for weight in gate.weights:
            weight.assign(np.zeros(weight.shape, "float32"))
    layer.cell.learn.kernel.assign(np.array([[20.0, 0.0], [0.0, 1.0]], "float32"))  # learns only where feature 0 is 1
    layer.cell.learn.bias.assign(np.array([-10.0, 0.0], "float32"))
    layer.cell.forget.bias.assign(np.full(1, 10.0, "float32"))
    layer.cell.use.bias.assign(np.full(1, 10.0, "float32"))
    dense.kernel.assign(np.ones((1, 1), "float32"))
    x = np.random.default_rng(0).uniform(-1, 1, (32, 6, 2)).astype("float32")
    x[..., 0] = 0
    x[:, 1, 0] = 1
    y = model.predict(x, verbose=0)
    rows = {(row["factor"], row["held"]): row["scores"]["loss"] for row in worth_of_gates(model, x, y)}
    assert len(rows) == 10
    assert rows[None, None] < 1e-8
    assert rows["forget", "open"] < 1e-4 < 0.01 < rows["ignore", "open"]
    assert rows["forget", "closed"] > 0.005
    assert rows["use", "open"] < 1e-4


def test_losses_and_metrics_of_ones_own_are_kept():
    class Worst(keras.metrics.Metric):
        def update_state(self, y, said, sample_weight=None):
            self.worst = keras.ops.max(keras.ops.abs(y - said))

        def result(self):
            return self.worst

    def cubed(y, said):
        return keras.ops.mean(keras.ops.abs(y - said) ** 3)

    model = randomise(keras.Sequential([keras.Input((TIME, FEATURES)), GateLSTM(UNITS)]))
    model.compile(loss=cubed, metrics=[Worst(name="worst")], run_eagerly=True)
    scores = ablate(model, use="closed").evaluate(
        EVENTS, np.full((len(EVENTS), UNITS), 2.0), verbose=0, return_dict=True
    )
    assert np.allclose([scores["loss"], scores["worst"]], [8, 2])


@pytest.mark.skipif(BACKEND != "tensorflow", reason="texts are TensorFlow's strings")
def test_worth_of_gates_of_a_model_of_texts():
    words = keras.layers.TextVectorization(output_sequence_length=4, vocabulary=["good", "bad"])
    layers = [words, keras.layers.Embedding(4, 3), GateLSTM(UNITS), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((), dtype="string"), *layers])
    model.compile(loss="mse")
    rows = worth_of_gates(model, np.array(["good", "bad bad"], object), np.zeros((2, 1)), factors=["use"])
    assert rows[1]["scores"]["loss"] != rows[0]["scores"]["loss"] != rows[3]["scores"]["loss"]


def test_units_that_follow_a_property():
    layer = GateLSTM(3, name="memory")
    model = keras.Sequential([keras.Input((None, 1)), layer])
    for gate in (layer.cell.learn, layer.cell.forget, layer.cell.use):
        for weight in gate.weights:
            weight.assign(np.zeros(weight.shape, "float32"))
    candidate = np.zeros((1, 6), "float32")
    candidate[0, 4] = 1.0  # unit 1 adds up what it sees, the others learn nothing
    layer.cell.learn.kernel.assign(candidate)
    layer.cell.forget.bias.assign(np.full(3, 20.0, "float32"))
    x = np.random.default_rng(1).choice([0.0, 0.2], (10, 12, 1)).astype("float32")
    best = find_units(model, x, lambda example: np.cumsum(example[:, 0]), top=1)[0]
    assert (best.layer, best.unit) == ("memory", 1)
    assert best.correlation > 0.999
    assert best.held_out > 0.999
    noise = np.random.default_rng(2)
    chance = find_units(randomise(model), x, lambda example: noise.normal(size=12), top=1)[0]
    assert abs(chance.held_out) < 0.4


def test_errors():
    model = keras.Sequential([keras.Input((TIME, FEATURES)), GateLSTM(UNITS, name="memory")])
    with pytest.raises(ValueError, match="open, closed, mean or a number"):
        ablate(model, forget="half")
    with pytest.raises(ValueError, match="needs `x`"):
        ablate(model, forget="mean")
    with pytest.raises(ValueError, match="there are: memory"):
        ablate(model, layers=["other"], forget="open")
    with pytest.raises(ValueError, match="say which factor"):
        ablate(model)
    with pytest.raises(ValueError, match="has no factor forgot"):
        ablate(model, forgot="open")
    with pytest.raises(keras_gates.GatesError, match=r"it has: ignore, .* what Keras calls input is ignore"):
        ablate(model, input="open")
    with pytest.raises(ValueError, match="a number for each event"):
        keras_gates.find_units(model, data(4, TIME, FEATURES), lambda example: 1.0)


def test_hold_is_the_sigmoid_where_it_says_so():
    """Holding a factor at what the gate says anyway changes nothing."""
    layer = GateLSTM(UNITS, name="memory")
    model = randomise(keras.Sequential([keras.Input((TIME, FEATURES)), layer]))
    for weight in layer.cell.forget.weights:
        weight.assign(np.zeros(weight.shape, "float32"))
    assert_close(
        ablate(model, forget=float(sigmoid(0.0))).predict(EVENTS, verbose=0), model.predict(EVENTS, verbose=0), "same"
    )


def test_worth_of_gates_of_a_model_that_is_not_compiled():
    """As a shipped or loaded model comes: scored by the usual loss and metric; the model stays as it is."""
    model = randomise(
        keras.Sequential([keras.Input((TIME, FEATURES)), GateLSTM(UNITS), keras.layers.Dense(3, "softmax")])
    )
    y = np.arange(len(EVENTS)) % 3
    whole, held = worth_of_gates(model, EVENTS, y, factors=["forget"], holds=["open"])
    assert not model.compiled
    probabilities = model.predict(EVENTS, verbose=0)
    assert np.isclose(whole["scores"]["accuracy"], (probabilities.argmax(1) == y).mean())
    assert np.isclose(whole["scores"]["loss"], -np.log(probabilities[np.arange(len(y)), y]).mean(), rtol=1e-4)
    assert held["scores"]["loss"] != whole["scores"]["loss"]
