"""The backward pass of `plain_steps` in NumPy, and a loop of plain gates that TensorFlow and PyTorch can differentiate.

Taken through the backend's operations one by one, the same backward pass needs a hundred times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates.inspection.hooks import Recurrent
from keras_gates.inspection.inputs import to_numpy
from keras_gates.inspection.plain_steps import PlainWeights, has_plain_steps, plain_steps, product_of_step


def plain_gradients(
    weights: PlainWeights,
    arrays: dict[str, np.ndarray],
    first_ltm: np.ndarray,
    read: np.ndarray,
    backwards: bool,
    d_stm: np.ndarray,
    d_last: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Run the backward pass of a sequence.

    Args:
        weights: As for `plain_steps`.
        arrays: What `plain_steps` returned.
        first_ltm: LTM before the first event, `(batch, units)`.
        read: `(batch, time)`, False where an event was skipped.
        backwards: Whether the last event came first.
        d_stm: The gradient of a score with respect to STM after each event, `(batch, time, units)`, as far as the score reads
            it directly.
        d_last: The gradient with respect to the last STM and the last LTM, `(batch, units)` each.

    Returns:
        The gradient with respect to the events `(batch, time, features)`, the first STM, the first LTM, and each LTM_t where
        the remember gate returns it `(batch, time, units)`.
    """

    def in_order(array: np.ndarray) -> np.ndarray:
        array = np.swapaxes(array, 0, 1)
        return array[::-1] if backwards else array

    i, n, f, v, shown, ltm = (in_order(arrays[name]) for name in ("ignore", "candidate", "forget", "use", "U", "ltm"))
    time, batch, units = ltm.shape
    before = np.concatenate([first_ltm[None], ltm[:-1]])
    # What does not depend on later steps is computed for all steps at once.
    by_ltm = np.stack([n * i * (1 - i), before * f * (1 - f), i * (1 - n * n)], axis=2)
    by_stm = shown * v * (1 - v)
    through_use = v * (1 - shown * shown)
    d_gates = np.empty((time, batch, 4, units), ltm.dtype)
    d_ltm = np.empty_like(ltm)
    back = np.ascontiguousarray(weights.recurrent_kernel.T)
    kept_back = None if weights.kept_kernel is None else np.ascontiguousarray(weights.kept_kernel.T)
    direct, was_read = in_order(d_stm), in_order(read[..., None])
    all_read = [bool(each.all()) for each in was_read]
    d_hidden, d_memory = d_last
    for t in range(time - 1, -1, -1):
        total = d_hidden + direct[t]
        shown_part = total * through_use[t]
        if kept_back is None:
            memory = kept = d_memory + shown_part
        else:
            memory, kept = d_memory, d_memory + product_of_step(shown_part, kept_back)
        gates = d_gates[t]
        np.multiply(by_ltm[t], memory[:, None], out=gates[:, :3])
        if kept_back is not None:
            gates[:, 1] = by_ltm[t][:, 1] * kept
        np.multiply(by_stm[t], total, out=gates[:, 3])
        d_ltm[t] = memory
        after = kept * f[t]
        if all_read[t]:
            d_hidden, d_memory = product_of_step(gates.reshape(batch, 4 * units), back), after
        else:
            gates *= was_read[t][:, None]
            d_ltm[t] *= was_read[t]
            through = product_of_step(gates.reshape(batch, 4 * units), back)
            d_hidden = np.where(was_read[t], through, total)
            d_memory = np.where(was_read[t], after, d_memory)
    d_events = d_gates.reshape(time * batch, 4 * units) @ weights.kernel.T
    d_events = d_events.reshape(time, batch, -1)
    return _by_example(d_events, backwards), d_hidden, d_memory, _by_example(d_ltm, backwards)


def _by_example(array: np.ndarray, backwards: bool) -> np.ndarray:
    return np.swapaxes(array[::-1] if backwards else array, 0, 1)


def has_plain_gradients(recurrent: Recurrent) -> bool:
    """Return whether `plain_loop` can run a layer: plain gates, and a backend that calls NumPy in a backward pass."""
    return keras.backend.backend() in ("tensorflow", "torch") and has_plain_steps(recurrent)


def plain_loop(recurrent: Recurrent, events: Any, states: Any, mask: Any, ltm_offset: Any) -> tuple:
    """Run a layer's sequence so that gradients reach the events, the first states and LTM.

    Args:
        recurrent: A layer for which `has_plain_gradients` holds.
        events: `(batch, time, features)`.
        states: STM and LTM before the first event.
        mask: `(batch, time)`, False where an event is skipped; or None.
        ltm_offset: Zeros, `(batch, time, units)`: the gradient with respect to them is that of LTM_t.

    Returns:
        What `RNN.inner_loop` returns: the last output, all outputs, and the last states.
    """
    layer = recurrent.layer
    (cell,) = recurrent.cells.values()
    read = np.ones(events.shape[:2], bool) if mask is None else to_numpy(mask).astype(bool)
    sequence = _Sequence(PlainWeights.of(cell), read, layer.go_backwards)
    by_backend = {"tensorflow": _on_tensorflow, "torch": _on_torch}
    inputs = [events, *states, ops.cast(ltm_offset, events.dtype)]
    outputs, stm, ltm = by_backend[keras.backend.backend()](sequence, inputs)
    if layer.go_backwards:
        outputs, read = ops.flip(outputs, axis=1), read[:, ::-1]
    last = outputs[:, -1]
    if not read.all():
        shown = read if layer.zero_output_for_mask else np.logical_or.accumulate(read, axis=1)
        outputs = outputs * ops.cast(ops.convert_to_tensor(shown[..., None]), outputs.dtype)
        last = last if layer.zero_output_for_mask else outputs[:, -1]
    return last, outputs, [stm, ltm]


class _Sequence:
    """A sequence of plain gates as a pair of functions of arrays: forward and backward."""

    def __init__(self, weights: PlainWeights, read: np.ndarray, backwards: bool) -> None:
        self.weights, self.read, self.backwards = weights, read, backwards

    def forward(self, inputs: list[np.ndarray]) -> tuple[list[np.ndarray], Callable]:
        """Return STM after each event, the last STM and LTM, and a function from their gradients to those of the inputs."""
        events, first_stm, first_ltm, _ = inputs
        arrays = plain_steps(self.weights, events, first_stm, first_ltm, self.read, self.backwards)
        last = 0 if self.backwards else -1

        def backward(gradients: list[np.ndarray]) -> list[np.ndarray]:
            d_stm, *d_last = gradients
            d_events, d_first_stm, d_first_ltm, d_ltm = plain_gradients(
                self.weights, arrays, first_ltm, self.read, self.backwards, d_stm, (d_last[0], d_last[1])
            )
            return [d_events, d_first_stm, d_first_ltm, d_ltm]

        return [arrays["stm"], arrays["stm"][:, last], arrays["ltm"][:, last]], backward


def _on_tensorflow(sequence: _Sequence, inputs: list[Any]) -> Any:
    import tensorflow as tf

    @tf.custom_gradient
    def run(*tensors: Any) -> Any:
        results, backward = sequence.forward([tensor.numpy() for tensor in tensors])

        def gradients(*upstream: Any) -> list[Any]:
            return [tf.convert_to_tensor(array) for array in backward([tensor.numpy() for tensor in upstream])]

        return [tf.convert_to_tensor(array) for array in results], gradients

    return run(*(tf.convert_to_tensor(tensor) for tensor in inputs))


def _on_torch(sequence: _Sequence, inputs: list[Any]) -> Any:
    import torch

    class Run(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            results, ctx.sequence_backward = sequence.forward([to_numpy(tensor) for tensor in tensors])
            return tuple(torch.as_tensor(np.ascontiguousarray(array)).to(tensors[0]) for array in results)

        @staticmethod
        def backward(ctx: Any, *upstream: Any) -> Any:
            arrays = ctx.sequence_backward([to_numpy(tensor) for tensor in upstream])
            return tuple(torch.as_tensor(np.ascontiguousarray(array)).to(upstream[0]) for array in arrays)

    return Run.apply(*(torch.as_tensor(tensor) for tensor in inputs))
