"""Any backend on a GPU: the cuDNN LSTM that `keras.layers.LSTM` uses with this backend, so never slower than it."""

from __future__ import annotations

import keras
from keras import ops

from keras_gates._compat import backend_lstm
from keras_gates.loops.inputs import LoopInputs, LoopResult
from keras_gates.loops.step_gradient import masked_output


def run(inputs: LoopInputs) -> LoopResult:
    """Run the plain gates of the standard form over a sequence; a mask must be right-padded."""
    mask, weights = inputs.mask, inputs.weights
    last, outputs, states = backend_lstm()(
        inputs.events,
        inputs.stm,
        inputs.ltm,
        mask,
        kernel=weights.kernel,
        recurrent_kernel=weights.recurrent_kernel,
        bias=weights.bias,
        activation=keras.activations.tanh,
        recurrent_activation=keras.activations.sigmoid,
        return_sequences=inputs.return_sequences,
        go_backwards=inputs.go_backwards,
    )
    # cuDNN returns zeros at skipped events; Keras' other loops repeat the output before them. Padding is on the right, so
    # that output is the last STM.
    if mask is not None and not inputs.zero_output_for_mask and inputs.return_sequences and not inputs.go_backwards:
        outputs = ops.where(ops.expand_dims(mask, -1), outputs, ops.expand_dims(states[0], 1))
    # And it returns the STM of the last event that counts where `zero_output_for_mask` asks for the one of the last step.
    if mask is not None and inputs.zero_output_for_mask and not inputs.return_sequences:
        ends = mask[:, :1] if inputs.go_backwards else mask[:, -1:]
        outputs = masked_output(outputs, ends, True, axis=1, before_first="zeros")
        last = outputs[:, -1]
    return last, outputs, states
