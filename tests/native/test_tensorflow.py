"""The operators for TensorFlow against NumPy and keras.layers.LSTM; they are skipped where they were not compiled."""

import keras
import numpy as np
import pytest
import reference
from helpers import BACKEND, WITHOUT_KERNEL, assert_close, data, randomise

from keras_gates import GateLSTM

if BACKEND != "tensorflow":
    pytest.skip("operators of TensorFlow", allow_module_level=True)
if WITHOUT_KERNEL:
    pytest.skip(f"the native kernel does not run: {WITHOUT_KERNEL}", allow_module_level=True)

import tensorflow as tf

from keras_gates.loops import Weights
from keras_gates.loops.native import arrays_of
from keras_gates.native import tensorflow_binding

WEIGHTS = ("kernel", "recurrent_kernel", "bias", "kept_kernel", "kept_bias")


def native_lstm(events, memories, weights, mask=None, sequences=True, go_backwards=False, zeros=False):
    """Outputs, STM and LTM; weights as in `reference.weights_of`."""
    mask = None if mask is None else tf.constant(mask)
    arrays = arrays_of(Weights(**{name: weights[name] for name in WEIGHTS}))
    arrays |= {"events": events, "stm": memories[0], "ltm": memories[1]}
    return tensorflow_binding.lstm(arrays, mask, sequences=sequences, go_backwards=go_backwards, zeros=zeros)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("formulation", ["standard", "article"])
@pytest.mark.parametrize(
    ("shape", "masked", "options"),
    [
        ((3, 5, 3, 4), False, {}),
        ((1, 1, 1, 1), True, {"sequences": False}),
        ((9, 7, 5, 13), True, {"go_backwards": True}),
        ((17, 4, 2, 9), True, {"zeros": True}),
        ((40, 3, 33, 20), False, {"go_backwards": True, "sequences": False}),
    ],
)
def test_equals_numpy_and_the_portable_loop(shape, masked, options, formulation, dtype):
    batch, time, features, units = shape
    sequences, backwards, zeros = (
        options.get(name, name == "sequences") for name in ("sequences", "go_backwards", "zeros")
    )
    layer = GateLSTM(units, formulation=formulation, dtype=dtype, loop="portable", return_sequences=sequences,
                     return_state=True, go_backwards=backwards, zero_output_for_mask=zeros)  # fmt: skip
    layer.build((None, None, features))
    randomise(layer)
    x = data(batch, time, features, dtype=dtype)
    memories = [data(batch, units, seed=s, dtype=dtype) for s in (1, 2)]
    mask = np.random.default_rng(0).random((batch, time)) < 0.6 if masked else None
    w = reference.weights_of(layer)
    every, *last = reference.run(
        x, w, mask=mask, initial_state=memories, go_backwards=backwards, zero_output_for_mask=zeros
    )
    inputs = [tf.constant(value) for value in (x, *memories)]

    def with_gradients(function):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            results = function()
            loss = tf.add_n([tf.reduce_sum(tf.sin(result)) for result in results])
        return results, tape.gradient(loss, inputs)

    w = {name: None if value is None else tf.constant(value, dtype) for name, value in w.items()}
    results, gradients = with_gradients(lambda: native_lstm(inputs[0], inputs[1:], w, mask, **options))
    _, wanted = with_gradients(lambda: layer(inputs[0], initial_state=inputs[1:], mask=mask))
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    assert_close([r.numpy() for r in results], [every if sequences else every[:, -1], *last], "results", tolerance)
    assert_close([g.numpy() for g in gradients], [g.numpy() for g in wanted], "gradients", tolerance, 10 * tolerance)


def test_gradients_of_weights_are_those_of_keras():
    layer = keras.layers.LSTM(24, return_sequences=True)
    x = tf.constant(data(20, 9, 6))
    layer(x)
    kernel, recurrent, bias = [randomise(layer) and v.value for v in layer.trainable_variables]
    weights = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias, "kept_kernel": None, "kept_bias": None}
    found = []
    for function in (lambda: layer(x), lambda: native_lstm(x, [tf.zeros((20, 24))] * 2, weights)[0]):
        with tf.GradientTape() as tape:
            tape.watch([kernel, recurrent, bias])
            loss = tf.reduce_sum(tf.square(function()))
        found.append([g.numpy() for g in tape.gradient(loss, [kernel, recurrent, bias])])
    assert_close(found[1], found[0], "gradients of the weights", absolute=0.0, relative=1e-4)


def test_shapes_that_do_not_fit_are_an_error():
    weights = dict.fromkeys(WEIGHTS) | {"kernel": tf.zeros((3, 8)), "recurrent_kernel": tf.zeros((2, 8))}
    with pytest.raises(tf.errors.InvalidArgumentError, match="do not fit"):
        native_lstm(tf.zeros((2, 4, 5)), [tf.zeros((2, 2))] * 2, weights)


def test_nan_and_infinity_propagate():
    weights = dict.fromkeys(WEIGHTS) | {"kernel": tf.ones((1, 8)), "recurrent_kernel": tf.zeros((2, 8))}
    events = tf.constant([[[np.nan]], [[np.inf]], [[-np.inf]]], "float32")
    outputs = native_lstm(events, [tf.zeros((3, 2))] * 2, weights)[0].numpy()[:, 0]
    assert np.isnan(outputs[0]).all()
    np.testing.assert_allclose(outputs[1], np.tanh(1.0), rtol=1e-6)
    np.testing.assert_allclose(outputs[2], 0.0, atol=1e-30)
