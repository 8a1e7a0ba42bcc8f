"""The native loop over random shapes, masks and directions against NumPy, and numbers that are not finite against Keras."""

import numpy as np
import pytest
import reference
from helpers import BACKEND, WITHOUT_KERNEL, assert_close, data, numpy, tensors
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_gates.loops import LoopInputs, Weights, run

if WITHOUT_KERNEL:
    pytest.skip(f"the native kernel does not run: {WITHOUT_KERNEL}", allow_module_level=True)

EDGES = st.sampled_from([1, 2, 7, 8, 9, 15, 16, 17, 31, 33])
CASES = st.fixed_dictionaries(
    {
        "batch": st.sampled_from([0, 1, 2, 5, 6, 7, 12, 13, 25]),
        "time": st.sampled_from([1, 2, 3, 11]),
        "features": EDGES,
        "units": EDGES,
        "article": st.booleans(),
        "bias": st.booleans(),
        "masked": st.booleans(),
        "sequences": st.booleans(),
        "backwards": st.booleans(),
        "zeros": st.booleans(),
    }
)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(case=CASES, seed=st.integers(0, 10_000))
def test_any_shape_equals_numpy(case, seed):
    batch, time, features, units = (case[name] for name in ("batch", "time", "features", "units"))
    rng = np.random.default_rng(seed)

    def numbers(*shape):
        return (rng.normal(size=shape) / np.sqrt(shape[0] or 1)).astype("float32")

    w = {"kernel": numbers(features, 4 * units), "recurrent_kernel": numbers(units, 4 * units)}
    w["bias"] = numbers(4 * units) if case["bias"] else None
    w["kept_kernel"] = numbers(units, units) if case["article"] else None
    w["kept_bias"] = numbers(units) if case["article"] and case["bias"] else None
    x, memories = numbers(batch, time, features), [numbers(batch, units), numbers(batch, units)]
    mask = rng.random((batch, time)) < 0.6 if case["masked"] else None
    inputs = LoopInputs(
        tensors(x),
        *tensors(memories),
        Weights(*[None if value is None else tensors(value) for value in w.values()]),
        mask=tensors(mask),
        go_backwards=case["backwards"],
        return_sequences=case["sequences"],
        zero_output_for_mask=case["zeros"],
    )
    last, outputs, states = run("native", inputs)
    every, *last_memories = reference.run(
        x,
        w,
        mask=mask,
        initial_state=memories,
        go_backwards=case["backwards"],
        zero_output_for_mask=case["zeros"],
        starts_from_stm=BACKEND == "jax",
    )
    wanted = every if case["sequences"] else every[:, -1:]
    assert_close(numpy([last, outputs, *states]), [every[:, -1], wanted, *last_memories], str(case), 1e-5)


@pytest.mark.parametrize("where", ["events", "weights", "memories"])
def test_what_is_not_finite_comes_out_as_from_keras(where):
    x, stm, ltm = data(6, 4, 3), data(6, 5, seed=1), data(6, 5, seed=2)
    kernel, recurrent, bias = data(3, 20, seed=3), data(5, 20, seed=4), data(20, seed=5)
    spoiled = {"events": x[:, 1, 0], "weights": bias[:6], "memories": ltm[:, 2]}[where]
    spoiled[:] = [np.nan, np.inf, -np.inf, 1e30, -1e30, 88.9]
    inputs = LoopInputs(
        tensors(x), tensors(stm), tensors(ltm), Weights(*tensors([kernel, recurrent, bias])), return_sequences=True
    )
    (_, got, memories), (_, wanted, wanted_memories) = (run(loop, inputs) for loop in ("native", "portable"))
    for value, right in zip(numpy([got, *memories]), numpy([wanted, *wanted_memories])):
        np.testing.assert_allclose(value, right, rtol=1e-5, atol=1e-6)
