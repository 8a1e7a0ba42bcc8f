"""The steps of a layer with plain gates in NumPy: every factor of a sequence, at the speed of a fast loop.

Taken one by one through Keras' operations, the same steps need a hundred times as long.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np

from keras_gates.conversion.keras_lstm import is_keras_lstm
from keras_gates.inspection.hooks import Recurrent
from keras_gates.inspection.inputs import to_numpy
from keras_gates.layers.cell import GateLSTMCell
from keras_gates.layers.lstm import GateLSTM

ONE_THREAD = 2**18  # multiplications of a matrix product for which OpenBLAS starts no second thread


def has_plain_steps(recurrent: Recurrent) -> bool:
    """Return whether `plain_steps` computes what a layer computes: plain gates, tanh and sigmoid, float32 or float64."""
    cells = list(recurrent.cells.values())
    if len(cells) != 1 or not isinstance(cells[0], GateLSTMCell):
        return False
    cell, layer = cells[0], recurrent.layer
    return (
        cell.is_plain
        and cell.built
        and (type(layer) is GateLSTM or is_keras_lstm(layer))
        and cell.activation is keras.activations.tanh
        and cell.recurrent_activation is keras.activations.sigmoid
        and layer.compute_dtype in ("float32", "float64")
    )


class PlainWeights(NamedTuple):
    """A cell's weights as `GateLSTMCell.joint_weights` orders them, in NumPy: blocks of input, forget, candidate, output."""

    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray | None
    kept_kernel: np.ndarray | None
    kept_bias: np.ndarray | None

    @classmethod
    def of(cls, cell: GateLSTMCell) -> PlainWeights:
        """Return the weights of a cell for which `has_plain_steps` holds."""
        weights: Any = [None if weight is None else to_numpy(weight) for weight in cell.joint_weights()]
        return cls(*weights)


def plain_steps(
    weights: PlainWeights, events: np.ndarray, stm: np.ndarray, ltm: np.ndarray, read: np.ndarray, backwards: bool
) -> dict[str, np.ndarray]:
    """Run a sequence.

    Args:
        weights: Of a cell for which `has_plain_steps` holds.
        events: `(batch, time, features)`.
        stm: STM before the first event, `(batch, units)`.
        ltm: LTM before the first event, `(batch, units)`.
        read: `(batch, time)`, False where an event is skipped.
        backwards: Whether the last event comes first.

    Returns:
        By the names of `keras_gates.LayerTrace`: factors, results and memories after each event, `(batch, time, units)`, in
        the order of the events.
    """
    kernel, recurrent, bias, kept_kernel, kept_bias = weights
    u = len(recurrent)
    # sigmoid(z) = tanh(z / 2) / 2 + 1 / 2: one tanh per step computes all four blocks (input, forget, candidate, output).
    half = np.full(4 * u, 0.5, kernel.dtype)
    half[2 * u : 3 * u] = 1.0
    shift = np.where(half == 1.0, 0.0, 0.5).astype(kernel.dtype)
    batch, time, features = events.shape
    # One product of two matrices: NumPy would take a product per example of an array with three axes.
    projected = events.astype(kernel.dtype).reshape(batch * time, features) @ (kernel * half)
    projected = projected.reshape(batch, time, 4 * u)
    if bias is not None:
        projected += bias * half
    recurrent = recurrent * half
    factors = np.empty((time, batch, 4 * u), kernel.dtype)
    memories = np.empty((time, batch, u), kernel.dtype)
    hidden, shown, keeps = (np.empty_like(memories) for _ in range(3))
    steps = range(time - 1, -1, -1) if backwards else range(time)
    all_read = np.all(read, axis=0).tolist()
    for t in steps:
        z = product_of_step(stm, recurrent)
        z += projected[:, t]
        z = np.tanh(z, out=factors[t])
        z *= half
        z += shift
        kept = z[:, u : 2 * u] * ltm
        after = kept + z[:, :u] * z[:, 2 * u : 3 * u]
        if kept_kernel is None:
            candidate = np.tanh(after)
        else:
            candidate = product_of_step(kept, kept_kernel)
            candidate = np.tanh(candidate if kept_bias is None else candidate + kept_bias)
        used = candidate * z[:, 3 * u :]
        if not all_read[t]:
            after = np.where(read[:, t, None], after, ltm)
            used = np.where(read[:, t, None], used, stm)
        memories[t], hidden[t], shown[t], keeps[t] = after, used, candidate, kept
        stm, ltm = used, after
    ignore, forget, proposal, use = (_by_example(factors[..., k * u : (k + 1) * u]) for k in range(4))
    results = {"kept": keeps, "ltm": memories, "U": shown, "stm": hidden}
    return {
        "ignore": ignore,
        "candidate": proposal,
        "learned": ignore * proposal,
        "forget": forget,
        "use": use,
        **{name: _by_example(array) for name, array in results.items()},
    }


def product_of_step(states: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return `states @ kernel`, in blocks of rows so small that OpenBLAS takes one thread.

    Its threads would wait for each other at every time step; where other programs use the cores too, each wait takes longer
    than the product (a report of four texts took eight times as long).
    """
    rows = ONE_THREAD // kernel.size
    if rows < 4 or len(states) <= rows:
        return states @ kernel
    result = np.empty((len(states), kernel.shape[1]), kernel.dtype)
    for start in range(0, len(states), rows):
        np.matmul(states[start : start + rows], kernel, out=result[start : start + rows])
    return result


def _by_example(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.swapaxes(array, 0, 1))
