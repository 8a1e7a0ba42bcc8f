"""Recurrent layers: which of them can be fused, and how they run if they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from keras_gates import _compat
from keras_gates.exporting.lowering.masks import Padding
from keras_gates.layers.lstm import GateLSTM
from keras_gates.layers.standard import is_article, weights_of, why_not_standard

_LOOPS = [
    cls.inner_loop for cls in (keras.layers.RNN, keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN, GateLSTM)
]


def lowerable_layers(model: keras.Model) -> list[keras.layers.RNN]:
    """Return every layer of the model, at any depth, whose loop the export may replace."""
    layers = [layer for layer in _compat.flatten_layers(model) if isinstance(layer, keras.layers.RNN)]
    return [layer for layer in layers if type(layer).inner_loop in _LOOPS]


def cells_of(layer: keras.layers.RNN) -> list[Any]:
    """Return the layer's cells, first to last; one unless they are stacked."""
    return list(layer.cell.cells) if isinstance(layer.cell, keras.layers.StackedRNNCells) else [layer.cell]


def standard_weights(cell: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return kernel, recurrent kernel and bias of a cell that computes the standard LSTM, else None."""
    return None if why_not_standard(cell) else _joint(cell)


def article_weights(cell: Any) -> tuple[np.ndarray, ...] | None:
    """Return kernel, recurrent kernel, bias, kept kernel and kept bias of a cell of the article's formulation, else None."""
    if not is_article(cell):
        return None
    kept_kernel = np.asarray(keras.ops.convert_to_numpy(cell.use.kept_kernel), np.float32)
    kept_bias = keras.ops.convert_to_numpy(cell.use.kept_bias) if cell.use_bias else np.zeros(cell.units)
    return *_joint(cell), kept_kernel, np.asarray(kept_bias, np.float32)


def _joint(cell: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    kernel, recurrent_kernel, bias = weights_of(cell)
    bias = keras.ops.zeros(kernel.shape[1]) if bias is None else bias
    kernel, recurrent_kernel, bias = (
        np.asarray(keras.ops.convert_to_numpy(weight), np.float32) for weight in (kernel, recurrent_kernel, bias)
    )
    return kernel, recurrent_kernel, bias


def run_unrolled(
    layer: keras.layers.RNN,
    weights: tuple | None,
    events: tf.Tensor,
    states: list,
    padding: Padding | None,
    article: tuple | None = None,
) -> tuple[Any, Any, list]:
    """Run the cell once per time step, each step as its own operators.

    Args:
        layer: The layer.
        weights: Of a standard cell, whose gates are then computed one by one: the quantizer gives each a scale of its own.
        events: `(batch, time, features)`.
        states: Initial states.
        padding: Of right-padded events; already reversed for a layer that runs backwards.
        article: Weights of a cell of the article's formulation, likewise.

    Returns:
        The last output, every output `(batch, time, units)`, and the states after the last valid step.
    """
    if weights is not None:
        step = _standard_step(weights)
    else:
        step = _any_step(layer.cell) if article is None else _article_step(article)
    outputs, history = [], [states]
    steps = range(events.shape[1])
    for time in reversed(steps) if layer.go_backwards and padding is None else steps:
        output, states = step(events[:, time], states)
        outputs.append(output)
        history.append(states)
    if padding is not None:
        picked = [tf.stack(each, axis=1) for each in zip(*(tree.flatten(states) for states in history))]
        picked = [tf.gather(each, padding.lengths, axis=1, batch_dims=1) for each in picked]
        states = tree.pack_sequence_as(states, picked)
    return outputs[-1], tf.stack(outputs, axis=1), states


Step = Callable[[Any, list], tuple[Any, list]]


def _any_step(cell: Any) -> Step:
    training = {"training": False} if _compat.takes_training(cell) else {}

    def step(event, states):
        output, states = cell(event, states, **training)
        return output, list(states) if tree.is_nested(states) else [states]

    return step


def _standard_step(weights: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Step:
    gates = list(zip(*(np.split(weight, 4, axis=-1) for weight in weights)))

    def step(event, states):
        stm, ltm = states
        ignore, forget, candidate, use = (
            tf.matmul(event, kernel) + tf.matmul(stm, recurrent) + bias for kernel, recurrent, bias in gates
        )
        ltm = tf.sigmoid(forget) * ltm + tf.sigmoid(ignore) * tf.tanh(candidate)
        stm = tf.sigmoid(use) * tf.tanh(ltm)
        return stm, [stm, ltm]

    return step


def _article_step(weights: tuple[np.ndarray, ...]) -> Step:
    *joint, kept_kernel, kept_bias = weights
    gates = list(zip(*(np.split(weight, 4, axis=-1) for weight in joint)))

    def step(event, states):
        stm, ltm = states
        # The bias belongs to the product with the event, so that the converter makes one operator of both.
        ignore, forget, candidate, use = (
            (tf.matmul(event, kernel) + bias) + tf.matmul(stm, recurrent) for kernel, recurrent, bias in gates
        )
        kept, learned = ltm * tf.sigmoid(forget), tf.tanh(candidate) * tf.sigmoid(ignore)
        stm = tf.tanh(tf.matmul(kept, kept_kernel) + kept_bias) * tf.sigmoid(use)
        return stm, [stm, kept + learned]

    return step


def run_loop(layer: keras.layers.RNN, events: tf.Tensor, states: list, mask: Any) -> tuple[Any, Any, list]:
    """Run Keras' own loop over the cell: one WHILE in the file (or unrolled, if `layer.unroll`)."""
    return keras.layers.RNN.inner_loop(layer, events, states, mask, training=False)
