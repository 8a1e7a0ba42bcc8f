"""The fast loops: against NumPy written out, their hand-written gradients against automatic ones, and which is chosen."""

import inspect

import helpers
import keras
import numpy as np
import pytest
import reference
from helpers import BACKEND, EVENTS, FEATURES, MASKS, MEMORIES, UNITS, WITHOUT_KERNEL
from keras import ops

from keras_gates import GateLSTM
from keras_gates.loops import SequenceProblem, choose, has_gpu
from keras_gates.loops.select import FAST

WRITTEN = {"tensorflow": "compiled", "jax": "scan", "torch": "stepped"}[BACKEND]  # the loop whose gradient is ours

# every formulation, bias, mask, direction, output and way of masking, each with several of the others
CASES = [
    ("standard", True, "none", False, True, False),
    ("standard", False, "none", True, False, False),
    ("standard", True, "none", True, True, False),
    ("standard", True, "right", False, False, False),
    ("standard", True, "right", True, True, True),
    ("standard", False, "holes", False, True, False),
    ("standard", True, "holes", True, False, True),
    ("article", True, "none", False, False, False),
    ("article", False, "none", True, True, False),
    ("article", True, "right", False, True, True),
    ("article", True, "holes", True, True, False),
    ("article", False, "holes", False, False, True),
]
AVAILABLE = [loop for loop in FAST[BACKEND] if loop != "native" or not WITHOUT_KERNEL]
LOOPED = [(loop, *case) for loop in AVAILABLE for case in CASES]
LOOPED = [case for case in LOOPED if case[0] != "fused" or (case[1] == "standard" and case[3] == "none")]
LOOPED += [("compiled, sparing", *case) for case in CASES[2::3] if BACKEND == "tensorflow"]


def pair(formulation="standard", use_bias=True, dtype="float32", units=UNITS, loop=WRITTEN, **options):
    """The layer with a fast loop and with the portable one, same weights."""
    layers = [
        GateLSTM(
            units, formulation=formulation, use_bias=use_bias, return_state=True, dtype=dtype, loop=loop, **options
        )
        for loop in (loop, "portable")
    ]
    for layer in layers:
        layer.build((None, None, FEATURES))
        helpers.randomise(layer)
    return layers


@pytest.mark.parametrize(("loop", "formulation", "use_bias", "masked", "backwards", "sequences", "zeros"), LOOPED)
def test_numbers_and_gradients(loop, formulation, use_bias, masked, backwards, sequences, zeros, monkeypatch):
    mask = MASKS[masked]
    if loop == "stepped":
        monkeypatch.setattr("keras_gates.loops.stepped.ROWS", 2 * len(EVENTS))  # chunks of two, two and one step
    if loop == "compiled, sparing":
        loop = "compiled"
        monkeypatch.setattr("keras_gates.loops.compiled.SPARING_FROM", 0)
        monkeypatch.setattr("keras_gates.loops.compiled.CHUNK", EVENTS[:, :2, 0].size * 4 * UNITS)  # two steps
    fast, portable = pair(
        formulation,
        use_bias,
        loop=loop,
        go_backwards=backwards,
        return_sequences=sequences,
        zero_output_for_mask=zeros,
    )
    results, by_variable, by_input = helpers.gradients(fast, EVENTS, MEMORIES, mask)
    every, stm, ltm = reference.run(
        EVENTS, reference.weights_of(fast), reference.plain_step, mask, MEMORIES, backwards, zeros
    )
    if (
        BACKEND == "jax" and mask is not None and not zeros
    ):  # Keras on JAX shows the first memory before the first event
        before = np.cumsum(mask[:, ::-1] if backwards else mask, axis=1) == 0
        every = np.where(before[..., None], MEMORIES[0][:, None], every)
    for got, wanted in zip(results, [every if sequences else every[:, -1], stm, ltm]):
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    _, by_variable_2, by_input_2 = helpers.gradients(portable, EVENTS, MEMORIES, mask)
    for got, wanted in zip(by_variable + by_input, by_variable_2 + by_input_2):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float64", 1e-12), ("mixed_bfloat16", 0.05), ("mixed_float16", 0.01)]
)
def test_other_precisions(dtype, tolerance):
    if BACKEND == "jax" and dtype == "float64":
        pytest.skip("JAX has float64 only where jax_enable_x64 is set before it starts")
    fast, _ = pair(dtype=dtype, return_sequences=True)
    events, *memories = [ops.cast(value.astype("float64"), fast.compute_dtype) for value in [EVENTS, *MEMORIES]]
    every, stm, ltm = reference.run(EVENTS, reference.weights_of(fast), initial_state=MEMORIES)
    for got, wanted in zip(fast(events, initial_state=memories), [every, stm, ltm]):
        assert keras.backend.standardize_dtype(got.dtype) == fast.compute_dtype
        np.testing.assert_allclose(helpers.numpy(got), wanted, atol=tolerance)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="sizes known only at run time are TensorFlow's")
@pytest.mark.parametrize(("formulation", "masked"), [("standard", True), ("article", False)])
@pytest.mark.parametrize("backwards", [False, True])
def test_sizes_known_at_run_time(formulation, masked, backwards, monkeypatch):
    import tensorflow as tf

    from keras_gates.loops import compiled

    monkeypatch.setattr(compiled, "SPLIT_WORK", 0)
    fast, portable = pair(formulation, return_sequences=True, go_backwards=backwards)

    def both(layer):
        def run(events, mask):
            with tf.GradientTape() as tape:
                tape.watch(events)
                results = layer(events, mask=mask if masked else None)
                loss = tf.add_n([tf.reduce_sum(tf.sin(result)) for result in results])
            return results, tape.gradient(loss, [events] + [v.value for v in layer.trainable_variables])

        signature = [tf.TensorSpec((None, None, FEATURES)), tf.TensorSpec((None, None), tf.bool)]
        return tf.function(run, input_signature=signature)

    fast_run, portable_run = both(fast), both(portable)
    for batch, time in [(2, 3), (17, 33)]:  # one island; two halves of the batch and a second bucket of time
        events = helpers.data(batch, time, FEATURES)
        mask = np.arange(time) < np.random.default_rng(0).integers(0, time + 1, (batch, 1))
        for got, wanted in zip(
            keras.tree.flatten(fast_run(events, mask)), keras.tree.flatten(portable_run(events, mask))
        ):
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("loop", [loop for loop in AVAILABLE if loop in (WRITTEN, "native")])
def test_a_gradient_of_a_gradient_is_right_or_an_error(loop):
    fast, portable = pair(return_sequences=True, loop=loop)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def slope_of_slope(x):
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    y = tf.reduce_sum(tf.sin(fast(x)[0]))
                slope = inner.gradient(y, x)
            return outer.gradient(slope, x)

        with pytest.raises(ValueError, match="loop='portable'"):
            slope_of_slope(tf.constant(EVENTS))
        return
    if BACKEND == "torch":
        import torch

        x = ops.convert_to_tensor(EVENTS).requires_grad_()
        (slope,) = torch.autograd.grad(fast(x)[0].sin().sum(), x, create_graph=True)
        with pytest.raises(ValueError, match="loop='portable'"):
            torch.autograd.grad((slope**2).sum(), x)
        return
    import jax

    values, fixed = ([v.value for v in vs] for vs in (fast.trainable_variables, fast.non_trainable_variables))

    def penalty(layer):
        def slope(x):
            return ops.sum(ops.sin(layer.stateless_call(values, fixed, x)[0][0]))

        return jax.grad(lambda x: ops.sum(jax.grad(slope)(x) ** 2))

    if loop == "native":
        with pytest.raises(ValueError, match="loop='portable'"):
            penalty(fast)(EVENTS)
        return
    np.testing.assert_allclose(penalty(fast)(EVENTS), penalty(portable)(EVENTS), rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="compiled islands are TensorFlow's")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_save_and_export(jit_compile, tmp_path):
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, FEATURES))
    layer = GateLSTM(UNITS, loop="compiled")
    model = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
    before = layer.supports_jit
    model.compile("sgd", "mse", jit_compile=jit_compile)
    x, y = helpers.data(36, 6, FEATURES), helpers.data(36, 1)
    losses = model.fit(x, y, batch_size=32, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert layer.supports_jit == before
    wanted = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "model.keras")(x), wanted, atol=1e-6)
    model.export(tmp_path / "saved", verbose=False)
    saved = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(saved.serve(x), wanted, atol=1e-6)


def problem(**facts):
    usual = {
        "backend": "tensorflow",
        "formulation": "standard",
        "batch": None,
        "time": 100,
        "features": 64,
        "units": 128,
    }
    usual |= {"dtype": "float32", "activation": "tanh", "recurrent_activation": "sigmoid"}
    return SequenceProblem(**{**usual, **facts})


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({}, "compiled"),
        ({"no_kernel": None}, "native"),
        ({"no_kernel": None, "formulation": "article", "masked": True, "dtype": "bfloat16"}, "native"),
        ({"no_kernel": None, "time": 5, "units": 8, "features": 4}, "native"),
        ({"no_kernel": None, "gpu": True, "use_cudnn": False}, "compiled"),
        ({"no_kernel": None, "activation": "relu"}, "portable"),
        ({"no_kernel": None, "masks_per_gate": True}, "general"),
        ({"no_kernel": None, "no_kernel_here": "the graph leaves"}, "compiled"),
        ({"backend": "jax"}, "scan"),
        ({"backend": "jax", "no_kernel": None}, "native"),
        ({"backend": "torch"}, "fused"),
        ({"backend": "torch", "masked": True}, "stepped"),
        ({"backend": "torch", "formulation": "article"}, "stepped"),
        ({"backend": "torch", "formulation": "article", "activation": "relu"}, "portable"),
        ({"backend": "numpy"}, "portable"),
        ({"formulation": "article", "masked": True}, "compiled"),
        ({"time": 5, "units": 8, "features": 4}, "portable"),
        ({"time": 5, "units": 8, "features": 4, "backend": "jax"}, "scan"),
        ({"unroll": True}, "portable"),
        ({"activation": "relu"}, "portable"),
        ({"custom_gates": True}, "general"),
        ({"masks_per_gate": True}, "general"),
        ({"gpu": True}, "cudnn"),
        ({"gpu": True, "masked": True}, "cudnn"),
        ({"gpu": True, "backend": "torch"}, "cudnn"),
        ({"gpu": True, "backend": "torch", "masked": True}, "stepped"),
        ({"gpu": True, "backend": "jax", "go_backwards": True}, "scan"),
        ({"gpu": True, "formulation": "article"}, "compiled"),
        ({"gpu": True, "use_cudnn": False}, "compiled"),
        ({"gpu": True, "use_bias": False}, "compiled"),
        ({"gpu": True, "dtype": "bfloat16"}, "compiled"),
    ],
)
def test_what_is_chosen(facts, name):
    choice = choose(problem(**facts))
    assert choice.name == name
    assert choose(problem(**facts, loop=name)).name == name


def test_why_the_native_loop_does_not_run():
    assert "not native: the kernel is absent" in choose(problem()).reason
    assert "not native: the kernel is absent" in choose(problem(time=5, units=8, features=4)).reason
    here = problem(no_kernel=None, no_kernel_here="the graph leaves", loop="native")
    assert (choose(here).name, "not native: the graph leaves" in choose(here).reason) == ("compiled", True)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"loop": "scan"}, "not for the tensorflow backend"),
        ({"loop": "compiled", "activation": "relu"}, "relu and sigmoid"),
        ({"loop": "portable", "custom_gates": True}, "custom gates"),
        ({"loop": "cudnn"}, "no GPU"),
        ({"use_cudnn": True}, "no GPU"),
        ({"loop": "fused", "backend": "torch", "masked": True}, "no mask"),
        ({"loop": "native"}, "the kernel is absent"),
        ({"loop": "native", "no_kernel": None, "gpu": True}, "there is a GPU"),
        ({"loop": "native", "no_kernel_here": "the graph leaves"}, "the kernel is absent"),
    ],
)
def test_what_cannot_be_chosen(facts, message):
    with pytest.raises(ValueError, match=message):
        choose(problem(**facts))


def test_explain_names_the_loop_that_runs():
    small, large = GateLSTM(4), GateLSTM(128)
    small.build((None, 5, 3))
    large.build((None, 100, 64))
    best = "cudnn" if has_gpu(BACKEND) else AVAILABLE[0]
    small_loop = "portable" if best == "compiled" else best
    assert small.explain(time=5).name == small_loop
    assert large.explain(batch=32, time=100).name == best
    assert "fastest" in str(large.explain())


def test_keras_cudnn_entry_takes_what_it_is_given():
    """`sequence/cudnn.py` calls a function of Keras that is not public."""
    from keras.src import backend

    given = ["inputs", "initial_state_h", "initial_state_c", "mask", "kernel", "recurrent_kernel", "bias", "activation"]
    given += ["recurrent_activation", "return_sequences", "go_backwards"]
    assert set(given) <= set(inspect.signature(backend.lstm).parameters)
    assert list(inspect.signature(backend.lstm).parameters)[:4] == given[:4]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="XLA's context is asked for on TensorFlow")
def test_the_private_question_whether_xla_compiles_is_answered():
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    answers = []

    def ask(x):
        answers.append(control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()))
        return x

    tf.function(ask)(tf.ones(1))
    tf.function(ask, jit_compile=True)(tf.ones(1))
    assert answers == [False, True]
