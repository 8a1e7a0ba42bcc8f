"""Peephole and coupled gates in the native kernel: the same numbers and gradients as step by step, and only where it has them."""

import numpy as np
import pytest
from helpers import BACKEND, FEATURES, TIME, UNITS, assert_close, data, gradients, randomise

import keras_gates
from keras_gates import GateLSTM
from keras_gates.loops import why_absent

# JAX has no double precision unless it is asked for, and Keras' loop on PyTorch computes a part of the step in single precision.
DTYPE, TOLERANCE = ("float64", 1e-12) if BACKEND == "tensorflow" else ("float32", 1e-5)
GATES = {
    "peephole": lambda **dtype: {
        "learn": keras_gates.PeepholeLearnGate(UNITS, **dtype),
        "forget": keras_gates.PeepholeForgetGate(UNITS, **dtype),
        "use": keras_gates.PeepholeUseGate(UNITS, **dtype),
    },
    "one peephole without bias": lambda **dtype: {
        "forget": keras_gates.PeepholeForgetGate(UNITS, **dtype, use_bias=False)
    },
    "coupled, a peephole on use, article": lambda **dtype: {
        "forget": keras_gates.CoupledForgetGate(UNITS, **dtype),
        "use": keras_gates.PeepholeUseGate(UNITS, **dtype, formulation="article"),
    },
    "plain, passed as custom": lambda **dtype: {"forget": keras_gates.ForgetGate(UNITS, **dtype)},
}


class Halved(keras_gates.PeepholeForgetGate):
    def call(self, event, stm, ltm, factors=None):
        return super().call(event, stm, ltm, factors) / 2


@pytest.mark.skipif(bool(why_absent()), reason=f"the native kernel is absent: {why_absent()}")
@pytest.mark.parametrize("gates", GATES.values(), ids=GATES)
def test_the_native_loop_equals_the_cell_step_by_step(gates):
    x, mask = data(5, TIME, FEATURES, dtype=DTYPE), np.random.default_rng(0).random((5, TIME)) < 0.7
    results = []
    for loop in ("auto", "general"):
        layer = GateLSTM(UNITS, return_sequences=True, loop=loop, dtype=DTYPE, **gates(dtype=DTYPE))
        layer.build((None, None, FEATURES))
        randomise(layer)
        assert layer.explain().name == {"auto": "native"}.get(loop, loop)
        results.append(gradients(layer, x, mask=mask))
    for got, wanted, what in zip(*results, ("outputs", "gradients of weights", "gradients of events")):
        assert_close(got, wanted, what, TOLERANCE, 10 * TOLERANCE)


@pytest.mark.parametrize(
    "gates",
    [
        lambda: {"forget": Halved(UNITS)},
        lambda: {"forget": keras_gates.PeepholeForgetGate(UNITS, recurrent_activation="hard_sigmoid")},
        lambda: {"remember": keras_gates.ZoneoutRememberGate(UNITS)},
    ],
    ids=["a subclass", "another activation", "zoneout"],
)
def test_other_gates_run_step_by_step(gates):
    layer = GateLSTM(UNITS, **gates())
    layer.build((None, None, FEATURES))
    assert layer.explain().name == "general"
