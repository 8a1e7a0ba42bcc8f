"""Calls of `Bidirectional` and `TimeDistributed` whose inner layers are lowered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from keras_gates import _compat

_GUARD = float(np.nextafter(np.float32(1), np.float32(2)))


@dataclass
class WrapperState:
    """What wrappers and the layers inside them tell each other during one run of a model.

    Attributes:
        align: a backward layer is to return padded outputs at the time steps of their events.
        aligned: it did.
        depth: number of TimeDistributed layers around the current call.
    """

    align: bool = False
    aligned: bool = False
    depth: int = 0


def guarded(x: Any) -> Any:
    """Return a tensor times one ulp above 1, so that joining it with others does not change its scale.

    The quantizer gives all operands of a concatenation, stack, maximum or minimum one scale, which changes an LSTM's output
    scale but not that of its memory. The export multiplies operands of Bidirectional and of Keras' merging layers and
    operations by 1 plus one ulp, which the converter does not fold away, and checks the finished file for equal scales.
    """
    return x * _GUARD if tf.is_tensor(x) and x.dtype.is_floating else x


def bidirectional_call(layer: keras.layers.Bidirectional, state: WrapperState, guard: bool) -> Callable:
    """Return Bidirectional's call.

    Padded outputs of the backward layer are put in order by the GATHER that reads them, not by a reversal, which would
    put the padding first.

    Args:
        layer: The wrapper.
        state: Of this run.
        guard: Guard the join against the quantizer.
    """

    def call(sequences, initial_state=None, mask=None, training=None):
        half = len(initial_state or ()) // 2
        outputs, states = [], []
        for child, part in ((layer.forward_layer, slice(0, half)), (layer.backward_layer, slice(half, None))):
            state.aligned, state.align = False, child.go_backwards
            output = child(sequences, initial_state=initial_state and initial_state[part], mask=mask, training=False)
            state.align = False
            if layer.return_state:
                states += output[1:]
                output = output[0]
            if child is layer.backward_layer and layer.return_sequences and not state.aligned:
                output = tf.reverse(output, [1])
            outputs.append(output)
        merged = _merged(layer.merge_mode, *(map(guarded, outputs) if guard else outputs))
        if not states:
            return merged
        return (*merged, *states) if layer.merge_mode is None else (merged, *states)

    return call


def _merged(mode: str | None, forward: tf.Tensor, backward: tf.Tensor) -> Any:
    if mode == "concat":
        return tf.concat([forward, backward], axis=-1)
    if mode == "sum":
        return forward + backward
    if mode == "ave":
        return (forward + backward) / 2
    return forward * backward if mode == "mul" else (forward, backward)


def time_distributed_call(layer: keras.layers.Layer, state: WrapperState) -> Callable:
    """Return TimeDistributed's call: all time steps of all sequences as one batch.

    Args:
        layer: The layer inside the wrapper.
        state: Of this run.
    """
    inference = {"training": False} if _compat.takes_training(layer) else {}

    def call(inputs, training=None, mask=None):
        batch, steps, *shape = inputs.shape
        state.depth += 1
        outputs = layer.call(tf.reshape(inputs, (batch * steps, *shape)), **inference)
        state.depth -= 1
        return tree.map_structure(lambda x: tf.reshape(x, (batch, steps, *x.shape[1:])), outputs)

    return call
