"""Weights of 4 bits: two rows in one of bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LARGEST = 7  # of a weight; `keras_gates.quantize_aware(precision="int4")` trains them from -7 to 7
PACKED = {"packed16": "int16_t", "packed32": "int32_t"}  # kinds of layers, with the C type of their biases


def kind_of(weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> str:
    """Return how the C stores a layer of int8.

    Args:
        weights: The layer's matrices, int8.
        biases: Its biases.

    Returns:
        "int8": a byte per weight. "packed16", "packed32", if all weights fit into 4 bits: two weights per byte, biases in 16
        bits or, where one does not fit, in 32.

    Example:

    >>> kind_of([np.array([[3, -7]], "int8")], [np.array([9])]), kind_of([np.array([[3, -8]], "int8")], [])
    ('packed16', 'int8')
    """
    if any(np.abs(each.astype(np.int16)).max(initial=0) > LARGEST for each in weights):
        return "int8"
    return "packed16" if all(np.abs(each).max(initial=0) < 2**15 for each in biases) else "packed32"


def stored(weights: np.ndarray, kind: str) -> np.ndarray:
    """Return a matrix as the C holds it. Packed: two rows in one, the first plus 16 times the second, and rows of zeros up to a
    multiple of four, which the C's loop takes at once.

    Args:
        weights: (rows, …), int8.
        kind: Of `kind_of`.

    Returns:
        (half of the rows, columns) or the weights as they are, int8.

    Example:

    >>> stored(np.array([[1, -2], [3, 4], [5, 6]], "int8"), "packed16").tolist()
    [[49, 62], [5, 6]]
    """
    if kind not in PACKED:
        return weights
    rows = weights.reshape(len(weights), -1)
    rows = np.concatenate([rows, np.zeros((-len(rows) % 4, rows.shape[1]), np.int8)])
    return (rows[::2] + 16 * rows[1::2]).astype(np.int8)
