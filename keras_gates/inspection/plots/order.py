"""Which units are drawn, and in which order: those that change most, and similar ones next to each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_gates.inspection.trace_data import LayerTrace


def memory_of(layer: LayerTrace, example: int) -> np.ndarray:
    """Return the long-term memory of an example, or its STM where there is none, `(time, units)`."""
    return layer["ltm" if "ltm" in layer else "stm"][example]


def moving_most(layer: LayerTrace, example: int, units: Sequence[int]) -> list[int]:
    """Return units by how much their memory changes over time, most first."""
    spread = np.nanstd(memory_of(layer, example), axis=0)
    return sorted(units, key=lambda unit: -spread[unit])


def by_likeness(memory: np.ndarray, units: Sequence[int]) -> list[int]:
    """Return units in an order in which those whose memories are alike stand next to each other.

    The units are points on the plane of the two largest principal components, taken in the order of their angles.

    Args:
        memory: `(time, units)`.
        units: The units to order.
    """
    curves = np.nan_to_num(memory[:, units].T.astype("float64"))
    curves = curves - curves.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(curves, axis=1, keepdims=True)
    curves = curves / np.where(lengths > 0, lengths, 1)
    left, sizes, _ = np.linalg.svd(curves, full_matrices=False)
    plane = (left * sizes)[:, :2]
    if plane.shape[1] < 2:
        plane = np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))
    if plane[np.abs(plane[:, 0]).argmax(), 0] < 0:
        plane = -plane  # the sign of a component is arbitrary
    angles = np.arctan2(np.where(np.abs(plane[:, 1]) < 1e-9, 0.0, plane[:, 1]), plane[:, 0])
    order = np.argsort(angles, kind="stable")
    gaps = np.diff(angles[order], prepend=angles[order[-1]] - 2 * np.pi)
    return [units[k] for k in np.roll(order, -int(gaps.argmax()))]  # cut where neighbours differ most
