"""What the tests of the layers share: data, one way to take gradients on every backend, and comparisons that say where."""

import contextlib
import itertools
import zlib

import keras
import numpy as np
from keras import ops

from keras_gates.loops import has_gpu, why_absent

BACKEND = keras.backend.backend()
# Why the native kernel does not run here, or None.
WITHOUT_KERNEL = why_absent() or ("there is a GPU, and it runs on a CPU" if has_gpu(BACKEND) else None)
BATCH, TIME, FEATURES, UNITS = 3, 5, 3, 4


def data(*shape, seed=0, dtype="float32"):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


EVENTS = data(BATCH, TIME, FEATURES)
MEMORIES = [data(BATCH, UNITS, seed=1), data(BATCH, UNITS, seed=2)]
MASKS = {
    "none": None,
    "right": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], bool),
    "holes": np.array([[0, 1, 1, 0, 1], [1, 0, 0, 1, 0], [0, 0, 0, 0, 0]], bool),
}


def numpy(value):
    """Tensors, nested or not, as NumPy arrays (half precisions as float32)."""
    if isinstance(value, (list, tuple)):
        return [numpy(v) for v in value]
    if "float16" in str(value.dtype):
        value = ops.cast(value, "float32")
    return ops.convert_to_numpy(value)


def tensors(value):
    return None if value is None else keras.tree.map_structure(ops.convert_to_tensor, value)


def randomise(layer, seed=0, scale=0.5):
    """Give every weight of a built layer random values, so that no bias is zero and no gain is one."""
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign((scale * rng.normal(size=variable.shape)).astype(variable.dtype))
    return layer


def short(path):
    """A variable's path from its gate on: `forget/kernel`."""
    return "/".join(path.split("/")[-2:])


def gradients(layer, x, initial_state=None, mask=None, training=False, compiled=False):
    """Outputs of a built layer, and the gradients of one random scalar of all of them.

    Returns:
        `(outputs, by_variable, by_input)`: a list of arrays; an array for each of `layer.trainable_variables`; an array for
        the events and for each initial state. `compiled` runs it in `tf.function(jit_compile=True)` or `jax.jit`.
    """
    inputs = [ops.convert_to_tensor(x), *(tensors(list(initial_state)) if initial_state is not None else [])]
    options = {"mask": None if mask is None else ops.convert_to_tensor(mask), "training": training}
    variables = layer.trainable_variables

    def scalar(outputs):
        total = 0.0
        for output in keras.tree.flatten(outputs):
            dtype = "float64" if "64" in str(output.dtype) else "float32"
            weights = ops.convert_to_tensor(data(*output.shape, seed=9, dtype=dtype))
            total += ops.sum(ops.cast(output, dtype) * weights)
        return total

    def forward(inputs):
        return layer(inputs[0], initial_state=list(inputs[1:]) or None, **options)

    if BACKEND == "tensorflow":
        import tensorflow as tf

        def run(inputs):
            with tf.GradientTape() as tape:
                for value in inputs:
                    tape.watch(value)
                outputs = forward(inputs)
                loss = scalar(outputs)
            return outputs, tape.gradient(loss, ([v.value for v in variables], inputs))

        outputs, (by_variable, by_input) = (tf.function(run, jit_compile=True) if compiled else run)(inputs)
    elif BACKEND == "jax":
        import jax

        fixed = [v.value for v in layer.non_trainable_variables]

        def loss(values, inputs):
            outputs, _ = layer.stateless_call(
                values, fixed, inputs[0], initial_state=list(inputs[1:]) or None, **options
            )
            return scalar(outputs), outputs

        run = jax.grad(loss, argnums=(0, 1), has_aux=True)
        (by_variable, by_input), outputs = (jax.jit(run) if compiled else run)([v.value for v in variables], inputs)
    else:
        inputs = [value.requires_grad_(True) for value in inputs]
        for variable in variables:
            variable.value.grad = None
        outputs = forward(inputs)
        scalar(outputs).backward()
        by_variable = [variable.value.grad for variable in variables]
        by_input = [value.grad for value in inputs]

    def arrays(values, like):
        return [np.zeros(tuple(of.shape)) if v is None else numpy(v) for v, of in zip(values, like)]

    return numpy(keras.tree.flatten(outputs)), arrays(by_variable, variables), arrays(by_input, inputs)


def jointly(layer, by_variable):
    """Per-gate arrays of a plain layer's trainable variables, in the joint matrices of `keras.layers.LSTM`."""
    named = {short(v.path): value for v, value in zip(layer.trainable_variables, by_variable)}
    u, result = layer.cell.units, []
    for name in ("kernel", "recurrent_kernel", "bias"):
        if f"learn/{name}" in named:
            learn, forget, use = (named[f"{gate}/{name}"] for gate in ("learn", "forget", "use"))
            result.append(np.concatenate([learn[..., :u], forget, learn[..., u:], use], axis=-1))
    return result + [named[f"use/{name}"] for name in ("kept_kernel", "kept_bias") if f"use/{name}" in named]


def assert_close(got, wanted, what, absolute=1e-5, relative=0.0):
    """Same structure, shapes and numbers; `what` says which case failed. `relative` is of the largest entry."""
    if isinstance(wanted, (list, tuple)):
        assert len(got) == len(wanted), f"{what}: {len(got)} arrays, expected {len(wanted)}"
        for k, (g, w) in enumerate(zip(got, wanted)):
            assert_close(g, w, f"{what} [{k}]", absolute, relative)
        return
    got, wanted = np.asarray(got, "float64"), np.asarray(wanted, "float64")
    assert got.shape == wanted.shape, f"{what}: shape {got.shape}, expected {wanted.shape}"
    if not got.size:
        return
    assert np.isfinite(got).all(), f"{what}: not finite"
    error, allowed = np.abs(got - wanted).max(), absolute + relative * max(np.abs(wanted).max(), 1e-2)
    assert error <= allowed, f"{what}: differs by {error:.3g}, allowed {allowed:.3g}"


def assert_same_gradients(got, wanted, what):
    """Gradients to 1e-4 of the largest entry of each."""
    assert_close(got, wanted, what, absolute=0.0, relative=1e-4)


def grid(**options):
    """Every combination of the options, as dicts."""
    return [dict(zip(options, values)) for values in itertools.product(*options.values())]


def covering(cases, share):
    """A fixed pseudo-random `share` of the cases: the same ones on every run and machine."""
    return [case for case in cases if zlib.crc32(repr(sorted(case.items())).encode()) % 1000 < 1000 * share]


@contextlib.contextmanager
def double_precision():
    """float64 for what runs inside: JAX computes in float32 unless it is told."""
    if BACKEND != "jax":
        yield
        return
    import jax

    old = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", old)


def losses(model, x, y, epochs=3, **compile_options):
    """Compile with SGD and fit; the loss after each epoch."""
    model.compile(keras.optimizers.SGD(0.1), "mse", **compile_options)
    return model.fit(x, y, epochs=epochs, batch_size=len(x), shuffle=False, verbose=0).history["loss"]
