"""From the numbers of an integer file's output to the model's units. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from keras_gates.edge.json_entry import Entry
from keras_gates.edge.tflite import EdgeError, Tensor


@dataclass(frozen=True)
class Units:
    """What turns an output of an integer file into the model's units: value · scale + offset.

    Attributes:
        shape: Of the output without batch axis, with 1 for an axis along which both are constant.
        scale, offset: The numbers, row by row.
    """

    shape: tuple[int, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]

    def repeated(self, shape: tuple[int, ...]) -> tuple[list[float], list[float], int]:
        """Return the shortest scale and offset, and a number n, so that item i of an output has those at (i / n) % their length.

        Args:
            shape: Of the output without batch axis.
        """
        varying = [axis for axis, size in enumerate(self.shape) if size > 1]
        if not varying:
            return list(self.scale), list(self.offset), 1
        first, last = varying[0], varying[-1]
        inner = math.prod(shape[last + 1 :])
        places = [0]
        for axis in range(first, last + 1):
            stride = math.prod(self.shape[axis + 1 :]) if self.shape[axis] > 1 else 0
            places = [place + stride * n for place in places for n in range(shape[axis])]
        return [self.scale[place] for place in places], [self.offset[place] for place in places], inner


def units_of(port: Entry, tensor: Tensor, time: bool) -> Units | None:
    """Return the units of an output, None if its entry has none.

    Args:
        port: The output's entry.
        tensor: The tensor behind it.
        time: Whether axis 1 is time.

    Raises:
        EdgeError: The entry is damaged, or does not fit the tensor.
    """
    value = port.get("units", dict)
    if value is None:
        return None
    entry = Entry(value, f"{port.where}, 'units'")
    shape, scale, offset = (entry.get(key, list, []) for key in ("shape", "scale", "offset"))
    sizes = tensor.shape[1:]
    fits = len(shape) == len(sizes) and all(type(have) is int and have in (1, size) for have, size in zip(shape, sizes))
    if not fits or (time and shape[0] != 1):
        raise EdgeError(f"{entry.where}: the shape {shape!r:.60} does not fit an output of {sizes}; export again.")
    for numbers in (scale, offset):
        if len(numbers) != math.prod(shape) or not all(map(_is_finite, numbers)):
            raise EdgeError(
                f"{entry.where}: expected {math.prod(shape)} finite numbers for scale and offset; export again."
            )
    return Units(tuple(shape), tuple(map(float, scale)), tuple(map(float, offset)))


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 3e38
