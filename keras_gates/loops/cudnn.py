"""A GPU: the cuDNN LSTM that `keras.layers.LSTM` uses with this backend, so never slower than it."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_gates._compat import backend_lstm
from keras_gates.loops.step_gradient import shown


def run(
    events: Any,
    stm: Any,
    ltm: Any,
    weights: Any,
    *,
    mask: Any = None,
    go_backwards: bool = False,
    return_sequences: bool = False,
    zero_output_for_mask: bool = False,
    **_: Any,
) -> tuple[Any, Any, list[Any]]:
    """Run the plain standard cell over a sequence; a mask must be right-padded. As `keras_gates.loops.portable.run`."""
    last, outputs, states = backend_lstm()(
        events,
        stm,
        ltm,
        mask,
        kernel=weights.kernel,
        recurrent_kernel=weights.recurrent_kernel,
        bias=weights.bias,
        activation=keras.activations.tanh,
        recurrent_activation=keras.activations.sigmoid,
        return_sequences=return_sequences,
        go_backwards=go_backwards,
    )
    if mask is not None and not zero_output_for_mask and return_sequences and not go_backwards:
        outputs = ops.where(ops.expand_dims(mask, -1), outputs, ops.expand_dims(states[0], 1))
    if mask is not None and zero_output_for_mask and not return_sequences:
        ends = mask[:, :1] if go_backwards else mask[:, -1:]
        outputs = shown(outputs, ends, True, axis=1, before_first="zeros")
        last = outputs[:, -1]
    return last, outputs, states
