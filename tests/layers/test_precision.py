"""float64, half precisions, XLA on and off, eager and graph, lengths and batches that vary, sizes at the edge."""

import keras
import numpy as np
import pytest
from helpers import (
    BACKEND,
    BATCH,
    EVENTS,
    FEATURES,
    MASKS,
    MEMORIES,
    TIME,
    UNITS,
    assert_close,
    assert_same_gradients,
    data,
    double_precision,
    gradients,
    jointly,
    losses,
    numpy,
    randomise,
    tensors,
)
from reference import run, weights_of

import keras_gates
from keras_gates import GateLSTM, GateLSTMCell

FORMULATIONS = ["standard", "article"]
HALVES = {"mixed_float16": 5e-3, "mixed_bfloat16": 4e-2}


def built(dtype="float32", **arguments):
    layer = GateLSTM(UNITS, dtype=dtype, **arguments)
    layer.build((None, None, FEATURES))
    return randomise(layer)


@pytest.mark.skipif(
    BACKEND != "tensorflow",
    reason="Keras' operations compute float64 in float32 but on TensorFlow; its own RNN(LSTMCell) is off by as much there",
)
def test_float64_equals_keras_lstm_to_1e_9():
    events, memories = EVENTS.astype("float64"), [m.astype("float64") for m in MEMORIES]
    with double_precision():
        for loop in ("auto", "general"):
            for mask in MASKS.values():
                options = {"return_sequences": True, "return_state": True, "dtype": "float64"}
                theirs = keras.layers.LSTM(UNITS, **options)
                theirs.build((None, None, FEATURES))
                randomise(theirs)
                ours = GateLSTM(UNITS, **options, loop=loop)
                ours.build((None, None, FEATURES))
                ours.set_weights(keras_gates.from_keras(theirs).get_weights())
                assert all("float64" in str(v.dtype) for v in ours.weights[:9])
                outputs, by_variable, by_input = gradients(theirs, events, memories, mask)
                got, got_by_variable, got_by_input = gradients(ours, events, memories, mask)
                assert got[0].dtype == np.float64
                assert_close(got, outputs, "forward", absolute=1e-9)
                assert_close(jointly(ours, got_by_variable), by_variable, "weights", absolute=1e-9, relative=1e-9)
                assert_close(got_by_input, by_input, "events and memories", absolute=1e-9, relative=1e-9)


@pytest.mark.skipif(
    BACKEND != "tensorflow",
    reason="Keras' operations compute float64 in float32 but on TensorFlow; its own RNN(LSTMCell) is off by as much there",
)
@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_float64_equals_numpy_to_1e_9(formulation):
    with double_precision():
        layer = built("float64", formulation=formulation, return_sequences=True)
        got = numpy(layer(EVENTS.astype("float64"), mask=tensors(MASKS["holes"])))
        wanted, _, _ = run(EVENTS, weights_of(layer), mask=MASKS["holes"])
        assert_close(got, wanted, "forward", absolute=1e-9)


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize("policy", HALVES)
def test_half_precision(policy, formulation):
    half = policy.removeprefix("mixed_")
    for loop in ("auto", "general"):
        layer = built(policy, formulation=formulation, return_sequences=True, return_state=True, loop=loop)
        outputs = layer(EVENTS, mask=tensors(MASKS["right"]))
        assert all(half in str(o.dtype) and "b" + half != half for o in outputs)
        assert all("float32" in str(v.dtype) for v in layer.trainable_variables)
        wanted = run(EVENTS, weights_of(layer), mask=MASKS["right"])
        assert_close(numpy(list(outputs)), list(wanted), f"{policy}, {loop}", absolute=HALVES[policy])


@pytest.mark.parametrize("policy", HALVES)
def test_half_precision_trains_with_every_kind_of_gate(policy):
    x, y = data(8, TIME, FEATURES), data(8, 1)
    gates = [
        {},
        {"formulation": "article"},
        {"forget": keras_gates.CoupledForgetGate(UNITS, dtype=policy)},
        {"learn": keras_gates.LayerNormLearnGate(UNITS, dtype=policy)},
    ]
    for arguments in gates:
        layer = GateLSTM(UNITS, dtype=policy, **arguments)
        model = keras.Sequential([keras.Input((TIME, FEATURES)), layer, keras.layers.Dense(1, dtype="float32")])
        loss = losses(model, x, y, epochs=4)
        assert np.isfinite(loss).all(), arguments
        assert loss[-1] < loss[0], arguments


def test_policy_of_the_whole_program_reaches_the_gates():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        cell = GateLSTMCell(UNITS)
        assert {gate.compute_dtype for gate in cell.gates()} == {"bfloat16"}
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_compiled_equals_eager(formulation):
    if BACKEND == "torch":
        pytest.skip("torch: Keras compiles nothing by itself")
    for mask in (None, MASKS["right"]):
        layer = built(formulation=formulation, return_sequences=True)
        eager = gradients(layer, EVENTS, MEMORIES, mask)
        compiled = gradients(layer, EVENTS, MEMORIES, mask, compiled=True)
        assert_close(compiled[0], eager[0], "forward")
        assert_same_gradients(compiled[1], eager[1], "weights")
        assert_same_gradients(compiled[2], eager[2], "events and memories")


WAYS = {"tensorflow": ["graph", "XLA", "eager"], "jax": ["graph", "XLA", "eager"], "torch": ["graph", "eager"]}[BACKEND]


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_fit_gives_the_same_losses_in_every_way_of_running(formulation):
    x, y = data(8, TIME, FEATURES), data(8, 1)
    options = {"graph": {"jit_compile": False}, "XLA": {"jit_compile": True}, "eager": {"run_eagerly": True}}
    found = {}
    for way in WAYS:
        model = keras.Sequential(
            [
                keras.Input((None, FEATURES)),
                built(formulation=formulation),
                keras.layers.Dense(1, kernel_initializer="ones"),
            ]
        )
        found[way] = losses(model, x, y, epochs=3, **options[way])
    for way, loss in found.items():
        assert_close(loss, found["eager"], way, absolute=1e-5)
    assert found["eager"][-1] < found["eager"][0]


@pytest.mark.parametrize("make", [built, lambda **k: keras_gates.convert(built(**k), to=keras.layers.RNN)])
def test_length_and_batch_may_vary(make):
    layer = make(return_sequences=True)
    model = keras.Sequential([keras.Input((None, FEATURES)), layer])
    for batch, time in ((3, 5), (1, 5), (3, 9), (5, 1)):
        x = data(batch, time, FEATURES)
        assert_close(model.predict(x, verbose=0), run(x, weights_of(layer))[0], f"batch {batch}, time {time}")
    masked = keras.Sequential([keras.Input((None, FEATURES)), keras.layers.Masking(), layer])
    x = np.where(MASKS["right"][..., None], EVENTS, 0)
    assert_close(masked.predict(x, verbose=0), run(x, weights_of(layer), mask=MASKS["right"])[0], "masked by the model")


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize(
    ("batch", "time", "features", "units"), [(1, 1, 1, 1), (1, 7, 2, 1), (2, 1, 3, 5), (7, 3, 1, 2)]
)
def test_smallest_sizes(formulation, batch, time, features, units):
    layer = GateLSTM(units, formulation=formulation, return_sequences=True)
    x = data(batch, time, features)
    layer(x)
    randomise(layer)
    assert_close(numpy(layer(x)), run(x, weights_of(layer))[0], "forward")


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_an_empty_batch(formulation):
    layer = built(formulation=formulation, return_sequences=True, return_state=True)
    shapes = [tuple(o.shape) for o in layer(np.zeros((0, TIME, FEATURES), "float32"))]
    assert shapes == [(0, TIME, UNITS), (0, UNITS), (0, UNITS)]


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_a_sequence_with_nothing_to_see_leaves_the_memories(formulation):
    layer = built(formulation=formulation, return_state=True)
    output, stm, ltm = numpy(
        layer(EVENTS, initial_state=tensors(MEMORIES), mask=tensors(np.zeros((BATCH, TIME), bool)))
    )
    assert_close([stm, ltm], MEMORIES, "memories", absolute=0)
    theirs = keras.layers.RNN(keras.layers.LSTMCell(UNITS))
    wanted = numpy(theirs(EVENTS, initial_state=tensors(MEMORIES), mask=tensors(np.zeros((BATCH, TIME), bool))))
    assert_close(output, wanted, "what Keras gives where no event was seen", absolute=0)
    _, by_variable, _ = gradients(layer, EVENTS, MEMORIES, np.zeros((BATCH, TIME), bool))
    assert all(np.abs(g).max() == 0 for g in by_variable), "nothing seen, nothing to learn from"


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_ten_thousand_steps(formulation):
    layer = built(formulation=formulation, return_state=True)
    x = data(1, 10_000, FEATURES)
    model = keras.Sequential([keras.Input((None, FEATURES)), layer])
    _, stm, ltm = model.predict(x, verbose=0)
    _, wanted_stm, wanted_ltm = run(x, weights_of(layer))
    assert_close([stm, ltm], [wanted_stm, wanted_ltm], "after 10,000 events", absolute=1e-4)


def test_4096_units():
    layer = GateLSTM(4096, recurrent_initializer=keras.initializers.RandomNormal(stddev=0.01))
    x = data(1, 2, 2)
    got = numpy(layer(x))
    assert_close(got, run(x, weights_of(layer))[1], "forward")


@pytest.mark.parametrize("dtype", HALVES)
def test_a_step_outside_of_a_call_is_in_the_compute_dtype_too(dtype):
    cell = GateLSTMCell(UNITS, dtype=dtype)
    cell.build((None, FEATURES))
    randomise(cell)
    step = cell.step(EVENTS[:, 0], *MEMORIES, held={"use": lambda factor: factor * 0 + 1})
    assert {keras.backend.standardize_dtype(value.dtype) for value in step.values()} == {cell.compute_dtype}
    used, _ = cell(tensors(EVENTS[:, 0]), tensors(MEMORIES))
    plain = cell.step(EVENTS[:, 0], *MEMORIES)
    assert np.array_equal(numpy(plain["used"]), numpy(used))
    assert_close(numpy(step["used"]), np.tanh(numpy(plain["remembered"])), "the held factor", absolute=HALVES[dtype])
