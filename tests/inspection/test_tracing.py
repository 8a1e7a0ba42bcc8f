"""A trace is what the NumPy oracle computes, event by event, whatever model the layer stands in."""

import copy

import keras
import numpy as np
import pytest
from helpers import EVENTS, FEATURES, MASKS, MEMORIES, TIME, UNITS, assert_close, data, numpy, randomise
from reference import peephole_step, plain_step, sigmoid, weights_of

import keras_gates
from keras_gates import GateLSTM, GateLSTMCell, LayerTrace, Trace, trace

STEP_NAMES = {"used": "stm", "remembered": "ltm"}


def oracle(x, w, mask=None, initial_state=None, backwards=False):
    """Every quantity of every step by its name in a trace, in the order of the events."""
    batch, time, _ = x.shape
    units = w["recurrent_kernel"].shape[0]
    stm, ltm = initial_state or [np.zeros((batch, units))] * 2
    mask = np.ones((batch, time), bool) if mask is None else mask
    steps = [None] * time
    for t in reversed(range(time)) if backwards else range(time):
        seen = mask[:, t, None]
        step = plain_step(x[:, t].astype("float64"), stm, ltm, w)
        stm, ltm = np.where(seen, step["used"], stm), np.where(seen, step["remembered"], ltm)
        known = {n: np.where(seen, v, np.nan) for n, v in step.items() if n not in ("event", "stm", "ltm", *STEP_NAMES)}
        steps[t] = {**known, "stm": stm, "ltm": ltm}
    return {name: np.stack([step[name] for step in steps], axis=1) for name in steps[0]}


def assert_traced(layer, wanted, what=""):
    assert set(wanted) == set(layer.over_time), what
    for name, array in wanted.items():
        assert (np.isnan(layer[name]) == np.isnan(array)).all(), (
            f"{what} {name}: NaN where an event was skipped, only there"
        )
        assert_close(np.nan_to_num(layer[name]), np.nan_to_num(array), f"{what} {name}", absolute=2e-5)


def built(layer):
    layer.build((None, None, FEATURES))
    return randomise(layer)


@pytest.mark.parametrize("formulation", ["standard", "article"])
@pytest.mark.parametrize("mask", list(MASKS))
@pytest.mark.parametrize("backwards", [False, True])
def test_equals_the_oracle(formulation, mask, backwards):
    layer = built(
        GateLSTM(UNITS, formulation=formulation, go_backwards=backwards, return_sequences=True, name="memory")
    )
    inputs = [
        keras.Input((TIME, FEATURES)),
        keras.Input((TIME,), dtype="bool"),
        keras.Input((UNITS,)),
        keras.Input((UNITS,)),
    ]
    seen = np.ones((3, TIME), bool) if MASKS[mask] is None else MASKS[mask]
    model = keras.Model(inputs, layer(inputs[0], mask=inputs[1], initial_state=inputs[2:]))
    x = [EVENTS, seen, *MEMORIES]
    before = model.predict(x, verbose=0)
    for chunk in (2, 512):
        traced = trace(model, x, chunk=chunk)
        assert_traced(traced["memory"], oracle(EVENTS, weights_of(layer), seen, MEMORIES, backwards), f"chunk {chunk}")
        assert_close(traced.prediction, before, "the prediction", absolute=2e-5)
    assert_close(traced["memory"].first_ltm, MEMORIES[1], "the first long-term memory")
    assert (traced["memory"].mask == seen).all()
    assert traced["memory"].direction == ("backward" if backwards else "forward")
    assert "inner_loop" not in vars(layer)


def test_rnn_of_cell_and_keras_lstm_and_half_precision():
    for layer in (keras.layers.RNN(GateLSTMCell(UNITS), name="memory"), keras.layers.LSTM(UNITS, name="memory")):
        model = keras.Sequential([keras.Input((None, FEATURES)), built(layer), keras.layers.Dense(2)])
        traced = trace(model, EVENTS)
        assert_traced(traced["memory"], oracle(EVENTS, weights_of(layer)), type(layer).__name__)
        assert_close(traced.prediction, model.predict(EVENTS, verbose=0), "the prediction", absolute=2e-5)
    layer = GateLSTM(UNITS, dtype="mixed_float16", name="memory")
    layer(EVENTS)
    traced = trace(randomise(layer), EVENTS)["memory"]
    assert traced.forget.dtype == np.float32
    assert_close(traced.ltm, oracle(EVENTS, weights_of(layer))["ltm"], "float16", absolute=2e-2)


def test_nested_bidirectional_stacked_and_shared_layers():
    inner = keras.Sequential(
        [
            keras.Input((None, FEATURES)),
            keras.layers.Masking(0.0),
            keras.layers.Bidirectional(GateLSTM(UNITS, return_sequences=True, name="reader"), name="both"),
        ],
        name="inner",
    )
    stack = keras.layers.RNN([GateLSTMCell(UNITS), keras.layers.LSTMCell(3)], name="stack")
    shared = GateLSTM(2, name="shared")
    x = keras.Input((None, FEATURES))
    read = inner(x)
    model = keras.Model(x, [keras.layers.Dense(2)(stack(read)), shared(keras.layers.Dense(FEATURES)(read)), shared(x)])
    randomise(model)
    values = EVENTS.copy()
    values[1, 3:] = 0
    mask = np.any(values != 0, axis=-1)
    traced = trace(model, values)
    assert set(traced) == {"forward_reader", "backward_reader", "stack/0", "stack/1", "shared", "shared call 2"}
    both = inner.layers[-1]
    forward = oracle(values, weights_of(both.forward_layer), mask)
    backward = oracle(values, weights_of(both.backward_layer), mask, backwards=True)
    assert_traced(traced["forward_reader"], forward)
    assert_traced(traced["backward_reader"], backward)
    event = np.concatenate([traced["forward_reader"].stm, traced["backward_reader"].stm], -1)
    lower = oracle(event * mask[..., None], weights_of(stack.cell.cells[0]), mask)
    assert_traced(traced["stack/0"], lower)
    assert_traced(traced["stack/1"], oracle(lower["stm"], weights_of(stack.cell.cells[1]), mask))
    assert_traced(traced["shared"], oracle(values, weights_of(shared)))
    for got, wanted in zip(traced.prediction, model.predict(values, verbose=0)):
        assert_close(got, wanted, "the prediction", absolute=2e-5)


def test_own_gates_and_other_layers():
    layer = built(GateLSTM(UNITS, forget=keras_gates.PeepholeForgetGate(UNITS), return_sequences=True, name="memory"))
    model = keras.Sequential([keras.Input((None, FEATURES)), layer, keras.layers.SimpleRNN(3, name="plain")])
    traced = trace(model, EVENTS)
    w = weights_of(layer) | {
        "peephole_forget": numpy(layer.cell.forget.peephole),
        "peephole_ignore": 0,
        "peephole_use": 0,
    }
    stm = ltm = np.zeros((3, UNITS))
    for t in range(TIME):
        columns = slice(UNITS, 2 * UNITS)
        z = EVENTS[:, t] @ w["kernel"] + stm @ w["recurrent_kernel"] + w["bias"]
        assert_close(traced["memory"].forget[:, t], sigmoid(z[:, columns] + ltm * w["peephole_forget"]), "forget")
        step = peephole_step(EVENTS[:, t], stm, ltm, w)
        stm, ltm = step["used"], step["remembered"]
        assert_close(traced["memory"].ltm[:, t], ltm, "LTM")
    assert set(traced["plain"].over_time) == {"stm"}
    assert_close(traced["plain"].stm[:, -1], traced.prediction, "STM of a SimpleRNN")


def test_stateful_memories_stay_as_they_were():
    layer = GateLSTM(UNITS, stateful=True, name="memory")
    model = keras.Sequential([keras.Input((TIME, FEATURES), batch_size=3), layer])
    model(EVENTS)
    before = numpy(list(layer.states))
    traced = trace(model, EVENTS)
    assert_close(numpy(list(layer.states)), before, "the memories")
    assert_close(traced["memory"].first_ltm, before[1], "the first long-term memory")


def test_batches_and_what_is_kept():
    layer = built(GateLSTM(UNITS, name="memory"))
    model = keras.Sequential([keras.Input((None, FEATURES)), layer])
    x = data(5, 4, FEATURES)
    whole, parts = trace(model, x), trace(model, x, batch_size=2, keep=["ltm"])
    assert set(parts["memory"]) == {"ltm", "stm", "first_stm", "mask"}
    assert_close(parts["memory"].ltm, whole["memory"].ltm, "LTM in batches")
    assert_close(parts.prediction, whole.prediction, "prediction in batches")


def test_what_each_event_left_adds_up_to_the_memory():
    for backwards in (False, True):
        layer = built(GateLSTM(UNITS, go_backwards=backwards, name="memory"))
        model = keras.Sequential([keras.Input((None, FEATURES)), keras.layers.Masking(0.0), layer])
        x = EVENTS.copy()
        x[0, 2] = 0
        traced = trace(model, x)["memory"]
        for at in range(TIME):
            assert_close(traced.still_held(at).sum(0), traced.ltm[0, at], f"after event {at}")
        assert (traced.still_held()[2] == 0).all()


def test_to_numpy_to_dict_and_file(tmp_path):
    model = keras.Sequential([keras.Input((None, FEATURES)), built(GateLSTM(UNITS, name="memory"))])
    traced = trace(model, EVENTS)
    again = Trace.load(traced.save(tmp_path / "trace.npz"))
    assert set(again["memory"]) == set(traced["memory"])
    for name, array in traced.to_numpy().items():
        assert np.array_equal(again.to_numpy()[name], array), name
    assert np.array_equal(again.prediction, traced.prediction)
    assert again["memory"].formulation == "standard"
    variables = traced.to_dict()["data_vars"]
    for name, variable in variables.items():
        assert len(variable["dims"]) == variable["data"].ndim, name


def test_the_only_layer_needs_no_name():
    model = keras.Sequential([keras.Input((None, FEATURES)), built(GateLSTM(UNITS, name="memory"))])
    traced = trace(model, EVENTS)
    assert traced.forget is traced["memory"].forget
    assert repr(traced) == "<Trace of <memory: 3 sequences, 5 events, 4 units, forward>>"
    assert copy.copy(traced)["memory"].forget is traced.forget
    with pytest.raises(AttributeError, match="has no 'forgot'; it has: event"):
        _ = traced.forgot
    both = Trace({"first": traced["memory"], "second": traced["memory"]})
    with pytest.raises(AttributeError, match=r"choose a layer first.* it has: first, second"):
        _ = both.forget


def test_a_layer_called_prediction_and_many_outputs_come_back(tmp_path):
    layer = LayerTrace("prediction", "forward", "", {"stm": np.ones((1, 2, 3))})
    again = Trace.load(Trace({"prediction": layer}, [np.full(1, k) for k in range(12)]).save(tmp_path / "t.npz"))
    assert again["prediction"].stm.shape == (1, 2, 3)
    assert [int(array[0]) for array in again.prediction] == list(range(12))
    assert [path.name for path in tmp_path.iterdir()] == ["t.npz"]


def test_errors():
    with pytest.raises(ValueError, match="no recurrent layer"):
        trace(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]), data(2, 3))
    model = keras.Sequential([keras.Input((None, FEATURES)), GateLSTM(UNITS, name="memory")])
    with pytest.raises(KeyError, match="it has: memory"):
        trace(model, EVENTS)["other"]
    with pytest.raises(AttributeError, match="has no 'forgot'"):
        _ = trace(model, EVENTS)["memory"].forgot


@pytest.mark.parametrize("formulation", ["standard", "article"])
@pytest.mark.parametrize("backwards", [False, True])
def test_plain_gates_are_recorded_as_step_by_step(formulation, backwards):
    """In NumPy for a GateLSTM, through the cell's own steps for an RNN of the same weights."""
    options = {"return_sequences": True, "return_state": True, "go_backwards": backwards}
    events = np.random.default_rng(0).normal(size=(3, 7, 2)).astype("float32")
    mask = np.array([[1] * 7, [0, 1, 1, 0, 1, 0, 0], [0] * 7], bool)
    inputs, read = keras.Input((7, 2)), keras.Input((7,), dtype="bool")
    outputs = GateLSTM(4, formulation=formulation, name="memory", bias_initializer="ones", **options)(inputs, mask=read)
    model = keras.Model([inputs, read], outputs)
    stepwise = keras_gates.convert(model, to=keras.layers.RNN)
    fast, slow = (keras_gates.trace(one, [events, mask]) for one in (model, stepwise))
    assert list(fast["memory"])
    assert fast["memory"].keys() == slow["memory"].keys()
    for name, wanted in slow["memory"].items():
        np.testing.assert_allclose(fast["memory"][name], wanted, atol=1e-6, err_msg=name)
    for got, wanted, real in zip(fast.prediction, slow.prediction, model([events, mask])):
        np.testing.assert_allclose(got, wanted, atol=1e-6)
        np.testing.assert_allclose(got, keras.ops.convert_to_numpy(real), atol=1e-6)


def test_short_repr_and_notebook_form():
    model = keras.Sequential([keras.Input((None, FEATURES)), built(GateLSTM(UNITS, name="a<b"))])
    traced = trace(model, EVENTS)
    assert repr(traced) == f"<Trace of <a<b: {len(EVENTS)} sequences, {TIME} events, {UNITS} units, forward>>"
    table = traced._repr_html_()
    assert "<td>a&lt;b</td>" in table
    assert f"<td>{traced.forget.mean():.2f}</td>" in table
    assert traced["a<b"]._repr_html_() == table


def test_a_backward_layer_cut_at_an_examples_end_still_adds_up():
    masked = [keras.Input((None,), dtype="int32"), keras.layers.Embedding(5, 3, mask_zero=True)]
    model = keras.Sequential([*masked, keras_gates.GateLSTM(4, go_backwards=True, name="reader")])
    numbers = np.array([[1, 2, 3, 4], [3, 1, 0, 0]], "int32")
    whole = keras_gates.trace(model, numbers)["reader"]
    cut = whole.without_padding(1)
    assert cut.time == 2
    assert cut.adds_up()
    np.testing.assert_allclose(cut.first_ltm[0], whole.ltm[0, 2])
    np.testing.assert_allclose(cut.ltm[1], keras_gates.trace(model, numbers[1:, :2])["reader"].ltm[0], atol=1e-6)
