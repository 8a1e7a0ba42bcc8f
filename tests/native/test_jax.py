"""The native loop with JAX: in jit, under vmap, in float64, left out of exported programs; numbers are tested in tests/loops."""

import keras
import numpy as np
import pytest
import reference
from helpers import (
    BACKEND,
    FEATURES,
    TIME,
    UNITS,
    WITHOUT_KERNEL,
    assert_close,
    data,
    double_precision,
    numpy,
    randomise,
)

import keras_gates
from keras_gates import GateLSTM
from keras_gates.loops import Weights
from keras_gates.loops.native import arrays_of

if BACKEND != "jax":
    pytest.skip("custom calls of JAX", allow_module_level=True)
if WITHOUT_KERNEL:
    pytest.skip(f"the native kernel does not run: {WITHOUT_KERNEL}", allow_module_level=True)

import jax
import jax.numpy as jnp

X = data(4, TIME, FEATURES)


def layer_of(**options):
    layer = GateLSTM(UNITS, return_sequences=True, **options)
    layer.build((None, None, FEATURES))
    return randomise(layer)


@pytest.fixture(scope="module")
def layer():
    return layer_of()


def function_of(layer):
    """The layer's outputs as a function of its weights and of the events."""
    fixed = [variable.value for variable in layer.non_trainable_variables]
    return lambda values, x: layer.stateless_call(values, fixed, x)[0]


def values_of(layer):
    return [variable.value for variable in layer.trainable_variables]


def custom_calls(function, *arguments):
    return "@keras_gates_lstm" in jax.jit(function).lower(*arguments).as_text()


def test_it_runs_inside_jit_and_in_its_gradient(layer):
    run = function_of(layer)
    wanted, _, _ = reference.run(X, reference.weights_of(layer))
    assert layer.explain().name == "native"
    assert custom_calls(run, values_of(layer), X)
    assert_close(numpy(jax.jit(run)(values_of(layer), X)), wanted, "outputs", 1e-5)

    def slopes(loop):
        run = function_of(layer_of(loop=loop))
        return jax.jit(jax.grad(lambda values, x: jnp.sin(run(values, x)).sum(), argnums=(0, 1)))(values_of(layer), X)

    got, wanted = (numpy(jax.tree.leaves(slopes(loop))) for loop in ("native", "portable"))
    assert_close(got, wanted, "gradients", 1e-5, 1e-4)


def test_float64():
    with double_precision():
        from keras_gates.native import jax_binding

        kernel, recurrent, bias = (data(*shape, dtype="float64") for shape in ((3, 20), (5, 20), (20,)))
        x, stm, ltm = data(6, 4, 3, dtype="float64"), *(data(6, 5, seed=s, dtype="float64") for s in (1, 2))
        options = {"sequences": True, "go_backwards": True, "zeros": False}
        weights = arrays_of(Weights(*map(jnp.asarray, (kernel, recurrent, bias))))
        results = jax_binding.lstm({"events": x, "stm": stm, "ltm": ltm, **weights}, None, **options)
        assert results[0].dtype == "float64"
        weights = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias}
        wanted = reference.run(x, weights, initial_state=[stm, ltm], go_backwards=True)
        assert_close(numpy(list(results)), list(wanted), "float64", 1e-13)


def test_vmap_uses_the_scan_and_is_right_over_what_was_traced_before(layer):
    run, values, many = function_of(layer), values_of(layer), data(3, 4, TIME, FEATURES)
    wanted = np.stack([numpy(run(values, x)) for x in many])
    names = []

    def spied(x):
        names.append(layer.explain().name)
        return run(values, x)

    assert_close(numpy(jax.vmap(spied)(many)), wanted, "vmap", 1e-5)
    assert names == ["scan"]
    traced = jax.jit(lambda x: run(values, x))
    traced(many[0])
    assert_close(numpy(jax.vmap(traced)(many)), wanted, "vmap of jit", 1e-6)

    def loss(values, x):
        return jnp.sin(traced_loss(values, x)).sum()

    traced_loss = jax.jit(run)
    jax.grad(loss)(values, many[0])
    each = [jax.grad(loss)(values, x) for x in many]
    got = jax.vmap(jax.grad(loss), in_axes=(None, 0))(values, many)
    assert_close(numpy(got), [np.stack(of_weight) for of_weight in zip(*map(numpy, each))], "each gradient", 1e-5)


def test_exported_programs_do_not_contain_it(layer):
    run, values = function_of(layer), values_of(layer)
    program = jax.export.export(jax.jit(lambda x: run(values, x)))(X)
    assert "@keras_gates_lstm" not in program.mlir_module()
    assert_close(numpy(program.call(X)), numpy(run(values, X)), "exported", 1e-5)


@pytest.mark.parametrize("formulation", ["standard", "article"])
def test_what_was_traced_before_is_exported_without_it(formulation):
    """`jax.jit` keeps what it has traced, also a gradient; a program that leaves the process has the scan in its place."""
    layer = layer_of(formulation=formulation)
    run, values = function_of(layer), values_of(layer)
    outputs = jax.jit(run)
    slopes = jax.jit(jax.grad(lambda values, x: jnp.sin(run(values, x)).sum(), argnums=(0, 1)))
    for function, name in ((outputs, "outputs"), (slopes, "gradients")):
        wanted = numpy(jax.tree.leaves(function(values, X)))
        assert "@keras_gates_lstm" in function.lower(values, X).as_text()
        program = jax.export.export(function)(values, X)
        assert "@keras_gates_lstm" not in program.mlir_module()
        loaded = jax.export.deserialize(program.serialize())
        assert_close(numpy(jax.tree.leaves(loaded.call(values, X))), wanted, name, 1e-5, 1e-4)


def test_variants_that_were_traced_before_are_not_exported():
    layer = layer_of(forget=keras_gates.CoupledForgetGate(UNITS))
    run, values = jax.jit(function_of(layer)), values_of(layer)
    run(values, X)
    with pytest.raises(ValueError, match="Export a function that was not called before"):
        jax.export.export(run)(values, X)


def test_devices_that_divide_the_batch(layer):
    layer.explain()
    devices = keras.distribution.list_devices()
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    try:
        choice = layer.explain()
    finally:
        keras.distribution.set_distribution(None)
    assert (choice.name, "among devices" in choice.reason) == ("scan", True)


def test_masks_of_no_steps_and_batches_of_no_rows(layer):
    assert layer(np.zeros((0, 4, FEATURES), "float32"), mask=np.ones((0, 4), bool)).shape == (0, 4, UNITS)


def test_fit_learns():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((None, FEATURES)), GateLSTM(8), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.05), "mse")
    x = data(24, TIME, FEATURES)
    losses = model.fit(x, x.sum((1, 2))[:, None], batch_size=10, epochs=8, verbose=0).history["loss"]
    assert model.layers[0].explain().name == "native"
    assert losses[-1] < 0.5 * losses[0]
