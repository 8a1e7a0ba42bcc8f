"""Gradients against differences of the NumPy reference, which shares no line with the package, and over random layers."""

import itertools

import keras
import numpy as np
import pytest
from helpers import BACKEND, UNITS, assert_close, data, double_precision, gradients, numpy, randomise, tensors
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ACTIVATIONS, run, weights_of

import keras_gates
from keras_gates import GateLSTM

FEATURES, TIME, BATCH = 2, 4, 2
MASK = np.array([[1, 1, 0, 1], [0, 1, 1, 0]], bool)


def differences(function, arrays, step=1e-6):
    """Central differences of a scalar function in every entry of every array (each changed in place and put back)."""
    found = []
    for array in arrays:
        slope = np.zeros_like(array)
        for place in itertools.product(*map(range, array.shape)):
            kept = array[place]
            array[place] = kept + step
            above = function()
            array[place] = kept - step
            slope[place] = (above - function()) / (2 * step)
            array[place] = kept
        found.append(slope)
    return found


@pytest.mark.skipif(BACKEND == "jax", reason="Keras' operations compute float64 in float32 on JAX")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("formulation", ["standard", "article"])
def test_gradients_are_the_slopes_of_the_numpy_reference(formulation, masked):
    x, memories = (
        data(BATCH, TIME, FEATURES, dtype="float64"),
        [data(BATCH, UNITS, seed=s, dtype="float64") for s in (1, 2)],
    )
    mask = MASK if masked else None
    with double_precision():
        for loop in ("auto", "general"):
            layer = GateLSTM(UNITS, formulation=formulation, return_sequences=True, dtype="float64", loop=loop)
            layer.build((None, None, FEATURES))
            randomise(layer)
            w = {name: value for name, value in weights_of(layer).items() if value is not None}
            weight_of_output = data(BATCH, TIME, UNITS, seed=9)

            def scalar(w=w, weight_of_output=weight_of_output):
                return (
                    run(x, w, mask=mask, initial_state=memories, starts_from_stm=BACKEND == "jax")[0] * weight_of_output
                ).sum()

            _, by_variable, by_input = gradients(layer, x, memories, mask)
            u = UNITS
            named = {"/".join(v.path.split("/")[-2:]): g for v, g in zip(layer.trainable_variables, by_variable)}
            for name, slope in zip(w, differences(scalar, w.values())):
                if name.startswith("kept"):
                    assert_close(named[f"use/{name}"], slope, name, absolute=1e-7)
                    continue
                learn = np.concatenate([slope[..., :u], slope[..., 2 * u : 3 * u]], axis=-1)
                for gate, wanted in (("learn", learn), ("forget", slope[..., u : 2 * u]), ("use", slope[..., 3 * u :])):
                    assert_close(named[f"{gate}/{name}"], wanted, f"{loop} {gate}/{name}", absolute=1e-7)
            assert_close(by_input, differences(scalar, [x, *memories]), f"{loop}: events and memories", absolute=1e-7)


LAYERS = st.fixed_dictionaries(
    {
        "units": st.integers(1, 6),
        "formulation": st.sampled_from(["standard", "article"]),
        "activation": st.sampled_from(["tanh", "softsign", "elu", "linear"]),
        "recurrent_activation": st.sampled_from(["sigmoid", "hard_sigmoid"]),
        "use_bias": st.booleans(),
        "go_backwards": st.booleans(),
        "zero_output_for_mask": st.booleans(),
    }
)
SIZES = st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 5))


@settings(
    max_examples={"tensorflow": 20, "torch": 20, "jax": 8}[BACKEND], deadline=None, derandomize=True, database=None
)
@given(arguments=LAYERS, sizes=SIZES, seed=st.integers(0, 10_000), masked=st.booleans(), starts=st.booleans())
def test_any_layer_on_any_sequence_equals_numpy(arguments, sizes, seed, masked, starts):
    batch, time, features = sizes
    rng = np.random.default_rng(seed)
    x = rng.normal(size=sizes).astype("float32")
    layer = GateLSTM(**arguments, return_sequences=True, return_state=True)
    layer.build((None, None, features))
    randomise(layer, seed=seed, scale=0.4)
    mask = rng.random((batch, time)) < 0.6 if masked else None
    memories = [rng.normal(size=(batch, layer.units)).astype("float32") for _ in range(2)] if starts else None
    got = numpy(layer(x, initial_state=tensors(memories), mask=tensors(mask)))
    wanted = run(
        x,
        weights_of(layer),
        mask=mask,
        initial_state=memories,
        go_backwards=arguments["go_backwards"],
        zero_output_for_mask=arguments["zero_output_for_mask"],
        activation=ACTIVATIONS[arguments["activation"]],
        recurrent_activation=ACTIVATIONS[arguments["recurrent_activation"]],
        starts_from_stm=BACKEND == "jax",
    )
    assert_close(got, list(wanted), "GateLSTM", absolute=2e-5, relative=1e-5)
    readable = keras_gates.convert(layer, to=keras.layers.RNN)
    assert_close(
        numpy(readable(x, initial_state=tensors(memories), mask=tensors(mask))), got, "RNN(GateLSTMCell)", absolute=2e-5
    )
