"""What every loop takes and returns: the events, the memories, the weights and the options of one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras


class Weights(NamedTuple):
    """The gates' weights side by side, in the column order of `keras.layers.LSTM`: ignore, forget, candidate, use.

    That is Keras' order input, forget, cell candidate, output.

    Attributes:
        kernel: `(features, 4 * units)`.
        recurrent_kernel: `(units, 4 * units)`.
        bias: `(4 * units,)`, or None.
        kept_kernel: `(units, units)` in the article form, else None.
        kept_bias: `(units,)` in the article form with bias, else None.
    """

    kernel: Any
    recurrent_kernel: Any
    bias: Any = None
    kept_kernel: Any = None
    kept_bias: Any = None

    @property
    def units(self) -> int:
        """The size of STM and LTM."""
        return self.recurrent_kernel.shape[0]


NO_WEIGHTS = Weights(None, None)  # where `LoopInputs.arrays` holds them


@dataclass(frozen=True)
class LoopInputs:
    """One call of a loop over plain gates, or over others that it knows.

    Attributes:
        events: Tensor `(batch, time, features)`.
        stm: Tensor `(batch, units)`, the STM (hidden state) before the first event.
        ltm: Tensor `(batch, units)`, the LTM (cell state) before the first event.
        weights: `Weights`, as tensors in the dtype of the events.
        activation: Function of the candidate and of U. Only `portable` takes another than tanh.
        recurrent_activation: Function of the gates' factors. Only `portable` takes another than sigmoid.
        mask: Boolean tensor `(batch, time)`, False where an event is to be skipped; or None.
        go_backwards: Boolean, run from the last event to the first.
        return_sequences: Boolean, return every STM instead of the last.
        zero_output_for_mask: Boolean, return zeros at a skipped event instead of the STM before it.
        unroll: Boolean, trace the time steps one by one. Only `portable` does so.
        arrays: Only for `native`: the gates' own weights instead of `weights`, and what other gates than the plain ones need, by
            the names of `keras_gates.native.structures.ARRAYS`; or None.
        drawn: Boolean, only for `native`: the zones among `arrays` have a number for every step.
        saturation: The limit of `events @ kernel + bias` in either direction, or None. Only `portable` takes it.
    """

    events: Any
    stm: Any
    ltm: Any
    weights: Weights
    activation: Callable = keras.activations.tanh
    recurrent_activation: Callable = keras.activations.sigmoid
    mask: Any = None
    go_backwards: bool = False
    return_sequences: bool = False
    zero_output_for_mask: bool = False
    unroll: bool = False
    arrays: Mapping[str, Any] | None = None
    drawn: bool = False
    saturation: float | None = None


# `(last, outputs, [stm, ltm])`, as `keras.layers.RNN.inner_loop` returns them: the last STM `(batch, units)`; every STM
# `(batch, time, units)`, without `return_sequences` only the last, `(batch, 1, units)`; the memories after the last event.
LoopResult = tuple[Any, Any, list[Any]]
