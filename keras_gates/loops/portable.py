"""Any backend: all events projected in one matmul, then Keras' loop over the time steps, with the backend's own gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_gates.loops.inputs import LoopInputs, LoopResult, Weights


class ProjectedStep:
    """One time step over an event already projected to `(batch, 4 * units)`; what `keras.layers.RNN` calls a cell."""

    def __init__(self, weights: Weights, activation: Callable, recurrent_activation: Callable) -> None:
        self.weights = weights
        self.activation = activation
        self.recurrent_activation = recurrent_activation
        self.state_size = [weights.units, weights.units]

    def call(self, projected: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        """Return `(STM, [STM, LTM])` after this event."""
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


def project(events: Any, weights: Weights) -> Any:
    """Return `events @ kernel + bias`, shape `(batch, time, 4 * units)`."""
    projected = ops.matmul(events, weights.kernel)
    return projected if weights.bias is None else projected + weights.bias


def run(inputs: LoopInputs) -> LoopResult:
    """Run the plain gates over a sequence, with any activations."""
    runner = keras.layers.RNN(
        ProjectedStep(inputs.weights, inputs.activation, inputs.recurrent_activation),
        return_sequences=inputs.return_sequences,
        go_backwards=inputs.go_backwards,
        # On PyTorch both loops are Python's, and Keras' unrolled one fails on a mask read backwards.
        unroll=inputs.unroll and keras.backend.backend() != "torch",
        zero_output_for_mask=inputs.zero_output_for_mask,
    )
    # One large matmul over all time steps is many times faster than one per step; only the recurrent one must wait.
    projected = project(inputs.events, inputs.weights)
    if inputs.saturation is not None:
        projected = ops.clip(projected, -inputs.saturation, inputs.saturation)
    return runner.inner_loop(projected, [inputs.stm, inputs.ltm], inputs.mask)
