"""Right-padded sequences without a mask: a causal LSTM needs only to know where to read its output.

All indices are made of SUB, MAXIMUM, MINIMUM, MUL on int32 and GATHER over outputs with a row of zeros before them, operators
that LiteRT and TFLM have, float and int8 alike. Row 0 is what Keras gives for a sequence of length 0.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf


class Padding:
    """How many leading steps of every sequence are real.

    Args:
        lengths: int32 `(batch,)`, 0 to `steps`.
        steps: the length of the padded sequences.
    """

    def __init__(self, lengths: tf.Tensor, steps: int) -> None:
        self.lengths = lengths
        self.steps = steps
        self._time = np.arange(steps, dtype=np.int32)[None]
        self._left = lengths[:, None]
        self.mask = self._time < self._left

    def reverse(self, events: tf.Tensor) -> tf.Tensor:
        """The real steps in reverse order, at the front."""
        index = tf.maximum(self._left - 1 - self._time, 0)
        return tf.gather(events, index, axis=1, batch_dims=1)

    def last(self, outputs: tf.Tensor) -> tf.Tensor:
        """`(batch, u)`: the output at the last real step, zeros where there is none."""
        return tf.gather(_after_zeros(outputs), self.lengths, axis=1, batch_dims=1)

    def in_order(self, outputs: tf.Tensor) -> tf.Tensor:
        """Outputs of reversed events, each at the place of its event; zeros on the padding."""
        return tf.gather(_after_zeros(outputs), tf.maximum(self._left - self._time, 0), axis=1, batch_dims=1)

    def every(self, outputs: tf.Tensor, backwards: bool, zeros: bool) -> tf.Tensor:
        """`(batch, time, u)` as Keras' masked loop gives them.

        Forwards the padding repeats the last output, or is zero where `zeros`; backwards Keras runs through the padding
        first, so that its zeros come first.
        """
        if backwards:
            index = tf.maximum(self._left + (self._time + 1 - self.steps), 0)
        elif zeros:
            index = (self._time + 1) * tf.minimum(tf.maximum(self._left - self._time, 0), 1)
        else:
            index = tf.minimum(self._time + 1, self._left)
        return tf.gather(_after_zeros(outputs), index, axis=1, batch_dims=1)


def _after_zeros(outputs: tf.Tensor) -> tf.Tensor:
    return tf.pad(outputs, [[0, 0], [1, 0], [0, 0]])
