"""Scales and zero points of activations, and integers of weights, as a file has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keras_gates.quantization.arithmetic import clipped, narrow, nearest, straight, wide

WEIGHT_BITS = {"int8": 8, "int4": 4, "int16x8": 8}
ACTIVATION_BITS = {"int8": 8, "int4": 8, "int16x8": 16}


@dataclass(frozen=True)
class Scale:
    """How an activation is stored: `real = (number - zero) * scale` with int8 or int16 numbers.

    Attributes:
        scale: a float32 value.
        zero: from -128 to 127; 0 with 16 bits.
        bits: of the numbers.
    """

    scale: float
    zero: int
    bits: int = 8

    @classmethod
    def of_range(cls, low: float, high: float, bits: int = 8) -> Scale:
        """Return the scale of values from `low` to `high`, widened to contain zero, which must be a number of its own."""
        low, high = min(float(low), 0.0), max(float(high), 0.0)
        if bits == 16:
            return cls(float(np.float32(max(-low, high, 1e-6) / 32767)), 0, bits)
        scale = float(np.float32(max(high - low, 1e-6) / 255))
        return cls(scale, int(np.clip(round(-128 - low / scale), -128, 127)))

    def numbers(self, x: Any, *, rounded: bool, clip: bool) -> Any:
        """Return reals as whole numbers in float32, with a gradient where they are in range.

        Args:
            x: Tensor of reals.
            rounded: False for values that already are on the grid, or that dropout took off it.
            clip: Whether values may be out of range: those of an input, not those of a layer before.
        """
        soft = narrow(x) * (1.0 / self.scale) + float(self.zero)
        soft = clipped(soft, self.bits) if clip else soft
        if not rounded:
            return soft
        hard = nearest(wide(x) / self.scale) + float(self.zero)
        return straight(narrow(clipped(hard, self.bits) if clip else hard), soft)

    def reals(self, numbers: Any) -> Any:
        """Return whole numbers as reals in float32."""
        return (narrow(numbers) - float(self.zero)) * self.scale

    def to_list(self) -> list:
        """Return the values for a configuration."""
        return [self.scale, self.zero]


def cell_scale(largest: float) -> float:
    """Return the power of two that is the scale of a cell state up to `largest`.

    It has room for a quarter more, as training moves it, and lies in the range that the kernels' tanh supports.
    """
    bits = int(np.ceil(np.log2(max(1.25 * float(largest), 1e-9))))
    return 2.0 ** (min(max(bits, 0), 6) - 15)


def weight_numbers(weights: Any, bits: int, groups: int) -> tuple[Any, Any]:
    """Return symmetric integers of weights in float32, with the gradient of `weights / scale`, and their scales.

    Args:
        weights: Tensor `(inputs, outputs)`.
        bits: 8 (-127 to 127) or 4 (-7 to 7).
        groups: Number of scales: of so many equal groups of neighbouring outputs.

    Returns:
        The integers, and a scale per output in float32, `(outputs,)`.
    """
    most = 2.0 ** (bits - 1) - 1.0
    largest = ops.max(ops.reshape(ops.max(ops.abs(weights), axis=0), (groups, -1)), axis=1)
    # In float64: TensorFlow's graph optimizer makes a division by a constant to a product with its reciprocal, which in float32
    # gives another scale than outside a graph, and weights that lie on halves would be rounded otherwise.
    scale = narrow(wide(ops.stop_gradient(ops.maximum(largest, 1e-9))) / most)
    scale = ops.repeat(scale, weights.shape[1] // groups)
    hard = ops.clip(nearest(wide(weights) / wide(scale)), -most, most)
    return straight(narrow(hard), weights / scale), scale


def bias_numbers(bias: Any, scale: Any) -> Any:
    """Return integers of a bias in the scale input × weight, float64, with the gradient of `bias / scale`."""
    hard = ops.clip(nearest(wide(bias) / wide(scale)), -(2.0**31) + 1, 2.0**31 - 1)
    return straight(hard, wide(bias / scale))
