"""Numbers on their way into a file and out of it: checked, quantized, de-quantized, with time and batch put on and off."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_gates.edge.description import Port
from keras_gates.edge.tflite import EdgeError


def numbers(value: Any, what: str) -> np.ndarray:
    """An array of real numbers.

    Raises:
        EdgeError: text, objects, complex numbers or rows of unequal length.
    """
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise EdgeError(f"{what}: expected an array of numbers, got {type(value).__name__} ({error}).") from None
    if array.dtype.kind not in "fiub":
        raise EdgeError(f"{what}: expected an array of numbers, got {array.dtype}.")
    return array


def checked(port: Port, example: np.ndarray, vocabulary: int = 0) -> np.ndarray:
    """Values that the file can take: finite float32, or whole numbers within the type (and the vocabulary).

    Raises:
        EdgeError: NaN, infinity, a fraction or a number out of range; the message says where.
    """
    tensor = port.tensor
    if tensor.dtype in ("float32", "float16") or tensor.scale:
        with np.errstate(over="ignore"):
            example = example.astype(np.float32)
        if not np.isfinite(example).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(example))[0])
            raise EdgeError(f"input {port.name!r} holds {example[place]} at {place}: give finite float32 numbers.")
        return example
    if tensor.dtype not in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"):
        raise EdgeError(f"input {port.name!r} is of type {tensor.dtype}, which keras_gates.edge cannot fill.")
    if not np.isfinite(example).all() or (example != np.floor(example)).any():
        raise EdgeError(
            f"input {port.name!r}: expected whole numbers ({tensor.dtype}), got {example.dtype} with fractions."
        )
    limits = np.iinfo("int8" if tensor.dtype == "bool" else tensor.dtype)
    low, high = (0, vocabulary - 1) if vocabulary else (limits.min, limits.max)
    if example.size and (example.min() < low or example.max() > high):
        raise EdgeError(f"input {port.name!r}: expected {low}…{high}, got {example.min()}…{example.max()}.")
    return example.astype(tensor.dtype)


def quantized(port: Port, real: np.ndarray) -> np.ndarray:
    """round(real / scale) + zero point, halves away from zero as the runtimes do, kept within the type."""
    tensor = port.tensor
    if not tensor.scale or tensor.dtype.startswith("float"):
        return np.ascontiguousarray(real, tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    scaled = real / np.float32(tensor.scale)
    whole = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)) + tensor.zero_point
    return np.clip(whole, limits.min, limits.max).astype(tensor.dtype)


def real(port: Port, stored: np.ndarray) -> np.ndarray:
    """(stored - zero point) · scale as float32; whole numbers without a scale stay."""
    tensor = port.tensor
    if tensor.scale and not tensor.dtype.startswith("float"):
        return (stored.astype(np.float32) - tensor.zero_point) * np.float32(tensor.scale)
    return stored.astype(np.float32) if stored.dtype.kind == "f" else stored


def fed_back(source: Port, result: Port, stored: np.ndarray) -> np.ndarray:
    """Memory that a file gave back, as it takes it in again: the same bytes where both have one scale, else quantized anew."""
    one, other = source.tensor, result.tensor
    same = (one.scale, one.zero_point) == (other.scale, other.zero_point)
    return stored if same else quantized(source, real(result, stored))


def stacked(rows: list[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    """Rows of one shape as one array; rows of several shapes stay a list."""
    return np.stack(rows) if len({row.shape for row in rows}) == 1 else rows
