"""Right-padded sequences without a mask: a causal LSTM needs only the lengths, to read its output at the last valid step.

All indices are computed with SUB, MAXIMUM, MINIMUM, MUL on int32 and GATHER over outputs with a row of zeros before them,
operators that LiteRT and TFLM have, float and int8 alike. Row 0 is what Keras returns for a sequence of length 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_gates import _compat

Change = tuple[Any, str, Any]  # what `patched` takes: object, attribute, value


class Padding:
    """The number of valid leading time steps of every sequence.

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
        """Return the valid steps in reverse order, at the front."""
        index = tf.maximum(self._left - 1 - self._time, 0)
        return tf.gather(events, index, axis=1, batch_dims=1)

    def last(self, outputs: tf.Tensor) -> tf.Tensor:
        """Return the output at the last valid step `(batch, units)`, zeros if there is none."""
        return tf.gather(_after_zeros(outputs), self.lengths, axis=1, batch_dims=1)

    def in_order(self, outputs: tf.Tensor) -> tf.Tensor:
        """Return outputs of reversed events, each at the time step of its event; zeros on the padding."""
        return tf.gather(_after_zeros(outputs), tf.maximum(self._left - self._time, 0), axis=1, batch_dims=1)

    def every(self, outputs: tf.Tensor, backwards: bool, zeros: bool) -> tf.Tensor:
        """Return the outputs `(batch, time, units)` as Keras' masked loop does.

        Forwards the padding repeats the last output, or is zero if `zeros`; backwards Keras runs through the padding
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


def padding_values(model: keras.Model) -> list[float]:
    """Return the values that this model's Masking and Embedding layers take for padding."""
    layers = _compat.flatten_layers(model)
    masking = [float(layer.mask_value) for layer in layers if isinstance(layer, keras.layers.Masking)]
    return masking + [0.0 for layer in layers if isinstance(layer, keras.layers.Embedding) and layer.mask_zero]


class MaskTracker:
    """During one run of a model: which mask stems from which padded input, so that a layer can use the lengths instead.

    Tensors are recognised by `id`, for symbolic tensors compare elementwise; the tracker keeps them alive, so that no id
    is used twice.

    Args:
        paddings: the padding of an input, by `id` of its tensor.
        dropped: compute no masks: in a stream every event counts.
    """

    def __init__(self, paddings: dict[int, Padding], dropped: bool) -> None:
        self._paddings = paddings
        self._dropped = dropped
        self._by_mask: dict[int, tuple[Any, Padding]] = {}

    def padding_of(self, mask: Any) -> Padding | None:
        """Return the padding that a mask stands for, None if it is computed otherwise."""
        return self._by_mask.get(id(mask), (None, None))[1]

    def layer_changes(self, layer: keras.layers.Layer) -> list[Change]:
        """Return the changes that make Masking and Embedding layers use the lengths for their masks."""
        if isinstance(layer, keras.layers.Masking):
            return [(layer, "call", tf.identity), (layer, "compute_mask", self._mask_of(layer))]
        if isinstance(layer, keras.layers.Embedding) and layer.mask_zero:
            return [(layer, "compute_mask", self._mask_of(layer))]
        return []

    def operation_changes(self, operation: keras.Operation) -> list[Change]:
        """Return the same for operations: a functional graph computes masks as operations of its own."""
        changes = {"NotEqual": self._comparing, "Any": self._any_of}
        change = changes.get(type(operation).__name__)
        return [(operation, "call", change(operation.call))] if change else []

    def _known(self, padding: Padding) -> tf.Tensor:
        self._by_mask[id(padding.mask)] = (padding.mask, padding)
        return padding.mask

    def _mask_of(self, layer: keras.layers.Layer) -> Callable:
        def mask_of(inputs, previous_mask=None):
            if self._dropped:
                return None
            padding = self._paddings.get(id(inputs))
            if padding is None:
                return type(layer).compute_mask(layer, inputs, previous_mask)
            return self._known(padding)

        return mask_of

    def _comparing(self, call: Callable) -> Callable:
        def differs(x1, x2):
            padding = self._paddings.get(id(x1))
            if padding is None:
                return call(x1, x2)
            mask = self._known(padding) if len(x1.shape) == 2 else call(x1, x2)
            self._by_mask[id(mask)] = (mask, padding)
            return mask

        return differs

    def _any_of(self, call: Callable) -> Callable:
        def any_of(x):
            padding = self.padding_of(x)
            return call(x) if padding is None else self._known(padding)

        return any_of
