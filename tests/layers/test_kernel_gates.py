"""Variants of the gates in the native kernel: the same numbers and gradients as step by step, and only where it has them."""

import numpy as np
import pytest
from helpers import BACKEND, FEATURES, TIME, UNITS, WITHOUT_KERNEL, assert_close, data, gradients, numpy, randomise

import keras_gates
from keras_gates import GateLSTM

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
    "layer normalization": lambda **dtype: {
        "learn": keras_gates.LayerNormLearnGate(UNITS, **dtype),
        "forget": keras_gates.LayerNormForgetGate(UNITS, **dtype, epsilon=0.1),
        "use": keras_gates.LayerNormUseGate(UNITS, **dtype),
    },
    "layer normalization of use, article, a peephole": lambda **dtype: {
        "forget": keras_gates.PeepholeForgetGate(UNITS, **dtype),
        "use": keras_gates.LayerNormUseGate(UNITS, **dtype, formulation="article", use_bias=False),
    },
    "zoneout": lambda **dtype: {
        "remember": keras_gates.ZoneoutRememberGate(UNITS, **dtype, rate=0.3, seed=1),
        "use": keras_gates.ZoneoutUseGate(UNITS, **dtype, rate=0.4, seed=2, formulation="article"),
    },
    "projection": lambda **dtype: {"use": keras_gates.ProjectionUseGate(UNITS, **dtype, projection=3)},
    "layer normalization, coupled, zoneout, projection": lambda **dtype: {
        "learn": keras_gates.LayerNormLearnGate(UNITS, **dtype),
        "forget": keras_gates.CoupledForgetGate(UNITS, **dtype),
        "remember": keras_gates.ZoneoutRememberGate(UNITS, **dtype, rate=0.5, seed=3),
        "use": keras_gates.ProjectionUseGate(UNITS, **dtype, projection=2, formulation="article"),
    },
    "plain, passed as custom": lambda **dtype: {"forget": keras_gates.ForgetGate(UNITS, **dtype)},
}


class Halved(keras_gates.PeepholeForgetGate):
    def call(self, event, stm, ltm, factors=None):
        return super().call(event, stm, ltm, factors) / 2


needs_kernel = pytest.mark.skipif(bool(WITHOUT_KERNEL), reason=f"the native kernel does not run: {WITHOUT_KERNEL}")


def layer_of(loop, gates, **options):
    layer = GateLSTM(UNITS, loop=loop, dtype=DTYPE, **options, **gates(dtype=DTYPE))
    layer.build((None, None, FEATURES))
    randomise(layer)
    assert layer.explain().name == {"auto": "native"}.get(loop, loop)
    return layer


@needs_kernel
@pytest.mark.parametrize("backwards", [False, True], ids=["all outputs", "backwards, from memories, last output"])
@pytest.mark.parametrize("gates", GATES.values(), ids=GATES)
def test_the_native_loop_equals_the_cell_step_by_step(gates, backwards):
    x, mask = data(5, TIME, FEATURES, dtype=DTYPE), np.random.default_rng(0).random((5, TIME)) < 0.7
    memories = [data(5, UNITS, dtype=DTYPE, seed=seed) for seed in (1, 2)] if backwards else None
    results = []
    for loop in ("auto", "general"):
        layer = layer_of(loop, gates, return_sequences=not backwards, go_backwards=backwards)
        results.append(gradients(layer, x, memories, mask=mask, training=True))
    for got, wanted, what in zip(*results, ("outputs", "gradients of weights", "gradients of events")):
        assert_close(got, wanted, what, TOLERANCE, 10 * TOLERANCE)


@needs_kernel
def test_zoneout_draws_as_step_by_step_and_not_the_same_twice():
    x = data(5, TIME, FEATURES, dtype=DTYPE)
    calls = {}
    for loop in ("auto", "general"):
        layer = layer_of(loop, GATES["zoneout"], return_sequences=True)
        calls[loop] = [numpy(layer(x, training=training)) for training in (True, True, False)]
    assert np.abs(calls["auto"][0] - calls["auto"][1]).max() > 0.1
    assert_close(calls["auto"], calls["general"], "training, training, prediction", TOLERANCE)


@needs_kernel
@pytest.mark.skipif(BACKEND != "tensorflow", reason="double precision")
@pytest.mark.parametrize("name", ["layer normalization", "zoneout", "projection"])
def test_gradients_are_finite_differences(name):
    """Along a random direction in the space of all weights, in double precision."""
    layer, x, step = layer_of("auto", GATES[name]), data(3, 4, FEATURES, dtype=DTYPE), 1e-6
    _, slopes, _ = gradients(layer, x)
    start = [numpy(weight) for weight in layer.trainable_weights]
    direction = [data(*weight.shape, seed=k, dtype=DTYPE) for k, weight in enumerate(start)]

    def scalar(distance):
        layer.set_weights([weight + distance * along for weight, along in zip(start, direction)] + layer_states(layer))
        return float((numpy(layer(x)) * data(3, UNITS, seed=9, dtype=DTYPE)).sum())

    slope = sum((slope * along).sum() for slope, along in zip(slopes, direction))
    assert abs((scalar(step) - scalar(-step)) / (2 * step) - slope) < 1e-7 * max(1, abs(slope))


def layer_states(layer):
    """The values of weights that are not trained, the last in `set_weights`."""
    return [numpy(weight) for weight in layer.non_trainable_weights]


@pytest.mark.parametrize(
    "gates",
    [
        lambda: {"forget": Halved(UNITS)},
        lambda: {"forget": keras_gates.PeepholeForgetGate(UNITS, recurrent_activation="hard_sigmoid")},
        lambda: {"forget": keras_gates.RefineForgetGate(UNITS)},
    ],
    ids=["a subclass", "another activation", "refine"],
)
def test_other_gates_run_step_by_step(gates):
    layer = GateLSTM(UNITS, **gates())
    layer.build((None, None, FEATURES))
    assert layer.explain().name == "general"
