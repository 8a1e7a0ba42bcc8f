"""The standard LSTM over a whole sequence in the one graph that LiteRT's converter turns into a single operator.

The converter recognises a function marked `api_implements="lstm_<id>"` with six positional arguments and five results and
replaces its body by UNIDIRECTIONAL_SEQUENCE_LSTM. The attribute is not documented, so tests count operators. It is not
recognised with a Variable in place of a tensor, a batch that is not static, a mask, go_backwards, or a use of results 2 to 4.
"""

from __future__ import annotations

import uuid

import numpy as np
import tensorflow as tf


def fused_lstm(
    events: tf.Tensor, weights: tuple[np.ndarray, np.ndarray, np.ndarray], name: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """Run the standard LSTM from zero states.

    Args:
        events: `(batch, time, features)`, batch and time static.
        weights: kernel `(features, 4u)`, recurrent kernel `(u, 4u)`, bias `(4u,)`, columns ignore, forget, candidate, use.
        name: different for every call in one file; the converter merges calls of the same name.

    Returns:
        The last STM `(batch, u)` and every STM `(batch, time, u)`.
    """
    kernel, recurrent_kernel, bias = (tf.constant(weight, tf.float32) for weight in weights)
    units = recurrent_kernel.shape[0]
    batch, steps, _ = events.shape
    empty = tf.zeros((batch, units))
    marked = tf.function(
        _sequence,
        autograph=False,
        experimental_attributes={
            "api_implements": f"lstm_{uuid.uuid5(uuid.NAMESPACE_OID, name)}",
            "time_major": False,
            "go_backwards": False,
        },
    )
    last, outputs, *_ = marked(events, empty, empty, kernel, recurrent_kernel, bias)
    return tf.ensure_shape(last, (batch, units)), tf.ensure_shape(outputs, (batch, steps, units))


def _sequence(inputs, init_h, init_c, kernel, recurrent_kernel, bias):
    steps = inputs.shape[1]
    outputs = tf.TensorArray(tf.float32, size=steps, element_shape=init_h.shape)

    def step(time, stm, ltm, outputs):
        sums = tf.matmul(inputs[:, time], kernel) + tf.matmul(stm, recurrent_kernel) + bias
        ignore, forget, candidate, use = tf.split(sums, 4, axis=1)
        ltm = tf.sigmoid(forget) * ltm + tf.sigmoid(ignore) * tf.tanh(candidate)
        stm = tf.sigmoid(use) * tf.tanh(ltm)
        return time + 1, stm, ltm, outputs.write(time, stm)

    _, stm, ltm, outputs = tf.while_loop(
        lambda time, *_: time < steps, step, (tf.constant(0), init_h, init_c, outputs), maximum_iterations=steps
    )
    return stm, tf.transpose(outputs.stack(), (1, 0, 2)), stm, ltm, tf.constant(0.0)
