"""The loop that runs everywhere: all events projected in one matmul, one recurrent matmul a step (two in the article form)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


class ProjectedStep:
    """One step over an event already projected to `(batch, 4 * units)`; what `keras.layers.RNN` calls a cell."""

    def __init__(self, weights: Any, activation: Callable, recurrent_activation: Callable, units: int) -> None:
        self.weights = weights
        self.activation = activation
        self.recurrent_activation = recurrent_activation
        self.state_size = [units, units]

    def call(self, projected: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        """`(STM, [STM, LTM])` after this event."""
        stm, ltm = states
        z = projected + ops.matmul(stm, self.weights.recurrent_kernel)
        ignore, forget, candidate, use = ops.split(z, 4, axis=-1)
        kept = ltm * self.recurrent_activation(forget)
        remembered = kept + self.activation(candidate) * self.recurrent_activation(ignore)
        source = remembered
        if self.weights.kept_kernel is not None:
            source = ops.matmul(kept, self.weights.kept_kernel)
            source = source if self.weights.kept_bias is None else source + self.weights.kept_bias
        used = self.activation(source) * self.recurrent_activation(use)
        return used, [used, remembered]

    __call__ = call


def project(events: Any, weights: Any) -> Any:
    """`events @ kernel + bias`, shape `(batch, time, 4 * units)`."""
    projected = ops.matmul(events, weights.kernel)
    return projected if weights.bias is None else projected + weights.bias


def run(
    events: Any,
    stm: Any,
    ltm: Any,
    weights: Any,
    *,
    activation: Callable,
    recurrent_activation: Callable,
    mask: Any = None,
    go_backwards: bool = False,
    return_sequences: bool = False,
    zero_output_for_mask: bool = False,
    unroll: bool = False,
) -> tuple[Any, Any, list[Any]]:
    """Run the plain cell over a sequence.

    Args:
        events: `(batch, time, features)`.
        stm, ltm: the memories before the first event, `(batch, units)`.
        weights: `keras_gates.layers.cell.Weights` as tensors in the dtype of the events.
        activation, recurrent_activation: functions.
        mask: `(batch, time)`, False where an event is to be skipped; or None.
        go_backwards, return_sequences, zero_output_for_mask, unroll: as for `keras.layers.RNN`.

    Returns:
        `(last, outputs, [stm, ltm])`: the last STM `(batch, units)`, every STM `(batch, time, units)` (only the last,
        `(batch, 1, units)`, without `return_sequences`), and the memories after the last event.
    """
    units = weights.recurrent_kernel.shape[0]
    runner = keras.layers.RNN(
        ProjectedStep(weights, activation, recurrent_activation, units),
        return_sequences=return_sequences,
        go_backwards=go_backwards,
        unroll=unroll,
        zero_output_for_mask=zero_output_for_mask,
    )
    return runner.inner_loop(project(events, weights), [stm, ltm], mask)
