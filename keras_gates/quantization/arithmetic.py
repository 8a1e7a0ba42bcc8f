"""The integer operators' arithmetic on tensors: products, roundings, and gradients that pass them unchanged.

Integers are held in floats: int8 products of up to 1,000 addends in float32 (exact below 2^24), others in float64. The
steps are those of TensorFlow Lite's reference kernels and of gemmlowp's ``fixedpoint.h``, whose roundings decide single bits.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

_MOST_ADDENDS = 1000  # 128 * 128 * 1000 < 2^24
_POWERS = 2.0 ** np.arange(-128, 129)


def has_float64() -> bool:
    """Return whether the backend computes in float64, which the exact arithmetic needs: JAX only with `jax_enable_x64`."""
    if keras.backend.backend() != "jax":
        return True
    import jax

    return bool(jax.config.jax_enable_x64)


def wide(x: Any) -> Any:
    """Return a tensor in float64; in float32 where the backend has no other."""
    return ops.cast(x, "float64" if has_float64() else "float32")


def narrow(x: Any) -> Any:
    """Return a tensor in float32."""
    return ops.cast(x, "float32")


@ops.custom_gradient
def straight(hard: Any, soft: Any) -> tuple:
    """Return `hard`, with the gradient of `soft`: a rounding in the forward pass that the backward pass does not see.

    (`soft + stop_gradient(hard - soft)` is rounded again, and need not be `hard`.)
    """

    def gradient(*rest: Any, upstream: Any = None) -> tuple:
        upstream = rest[0] if upstream is None else upstream
        return ops.zeros_like(hard), upstream

    return hard + 0.0, gradient


def _floor(x: Any) -> Any:
    """Return the floor in the tensor's own dtype: on PyTorch, `keras.ops.floor` makes float32 of float64."""
    return x.floor() if keras.backend.backend() == "torch" else ops.floor(x)


def nearest(x: Any) -> Any:
    """Return the nearest whole numbers, halves away from zero."""
    return ops.sign(x) * _floor(ops.abs(x) + 0.5)


def clipped(x: Any, bits: int) -> Any:
    """Return a tensor clipped to the range of signed integers."""
    return ops.clip(x, -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1.0)


def rescaled(x: Any, real: Any) -> Any:
    """Return whole numbers times a factor as MultiplyByQuantizedMultiplier does it: a factor of 31 bits, rounded twice.

    Args:
        x: Tensor of whole numbers, float64.
        real: Positive factors, float64, of a shape that broadcasts to `x`.
    """
    multiplier, shift = _decomposed(real)
    once = _floor(x * _power(ops.maximum(shift, 0.0)) * multiplier * 2.0**-31 + 0.5)
    return nearest(once * _power(ops.minimum(shift, 0.0)))


def rescaled64(x: Any, real: Any) -> Any:
    """Return whole numbers times a factor as TFLM rescales sums of 64 bits: a factor of 15 bits, rounded once, halves up.

    Args:
        x: Tensor of whole numbers, float64.
        real: Positive factors, float64, of a shape that broadcasts to `x`.
    """
    multiplier, shift = _decomposed(real)
    short = ops.minimum(_floor((multiplier + 2.0**15) * 2.0**-16), 32767.0)
    return _floor(x * short * _power(shift - 15.0) + 0.5)


def _decomposed(real: Any) -> tuple[Any, Any]:
    """Return a multiplier of 31 bits and a power of two."""
    shift = _floor(ops.log(real) * float(1 / np.log(2.0))) + 1.0
    multiplier = _multiplier(real, shift)  # the logarithm may be one too low or too high at powers of two
    shift = shift + ops.cast(multiplier >= 2.0**31, "float64") - ops.cast(multiplier < 2.0**30, "float64")
    return _multiplier(real, shift), shift


def _multiplier(real: Any, shift: Any) -> Any:
    return _floor(real * _power(31.0 - shift) + 0.5)


def _power(n: Any) -> Any:
    """Return 2^n from a table: a vectorised `pow` need not be exact."""
    return ops.take(ops.convert_to_tensor(_POWERS, dtype="float64"), ops.cast(n, "int32") + 128)


def product(x: Any, weights: Any, exact: bool, bits: int = 8) -> Any:
    """Return `x @ weights` of whole numbers, exact in float64 if wanted; `x` has so many bits, the weights 8."""
    if not exact:
        return ops.matmul(x, weights)
    if bits > 8 or weights.shape[0] > _MOST_ADDENDS:
        return ops.matmul(wide(x), wide(weights))
    return wide(ops.matmul(x, weights))


def looked_up(x: Any, values: np.ndarray) -> Any:
    """Return the entries of a table of 65,536 for int16 numbers."""
    return ops.take(ops.convert_to_tensor(values), ops.cast(x, "int32") + 32768)
