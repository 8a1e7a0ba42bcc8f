"""Numbers that LiteRT and TFLM compute when they prepare an operator, by the same integer steps.

Sources: TensorFlow Lite's ``quantization_util`` and gemmlowp's ``fixedpoint.h``, whose roundings decide single bits.
"""

from __future__ import annotations

from math import floor, frexp

import numpy as np

from keras_gates.exporting.report import ExportError
from keras_gates.quantization.tables import byte_table, divided, exponential31, times31


def decompose(real: float) -> tuple[int, int]:
    """Return multiplier and shift with ``real = multiplier / 2^31 * 2^shift``.

    Args:
        real: A factor from 0 on.

    Raises:
        ExportError: It is 2^31 or more: a scale that calibration on zeros alone leaves.

    Example:

    >>> decompose(0.75)
    (1610612736, 0)
    """
    fraction, shift = frexp(float(real))
    multiplier = floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = multiplier // 2, shift + 1
    if shift > 31:
        raise ExportError(f"an operator rescales by {real}, out of reach of the C: calibrate on real inputs.")
    return (0, 0) if multiplier == 0 or shift < -31 else (multiplier, shift)


def scaled(x: int, multiplier: int, shift: int) -> int:
    """Return x * multiplier / 2^31 * 2^shift, rounded twice as LiteRT's builds do."""
    return times31(x << shift, multiplier) if shift > 0 else divided(times31(x, multiplier), -shift)


def softmax_table(scale: np.float32, beta: float) -> list[int]:
    """Return exp(-d * scale * beta) in Q0.31 for d = 0, 1, … up to where LiteRT's softmax counts no more."""
    multiplier, shift = decompose(min(float(beta) * float(scale) * 2**26, 2**31 - 1.0))
    reach = min(255, floor(31 * 2**26 / 2**shift))
    return exponential31(times31(-np.arange(reach + 1) << shift, multiplier), 5).tolist()


def sigmoid_table(arithmetic: str, scale: np.float32, zero: int, out_scale: np.float32, out_zero: int) -> list[int]:
    """Return the sigmoid of every int8 from -128 to 127.

    Args:
        arithmetic: "litert" fills its table in float32, "tflm" runs gemmlowp's polynomial.
        scale, zero: Quantization of the input.
        out_scale, out_zero: Quantization of the output; 1 / 256 and -128 by the operator's specification.
    """
    if out_zero != -128 or out_scale != np.float32(1 / 256):
        raise ExportError(
            f"LOGISTIC with an output of scale {out_scale} and zero point {out_zero}: expected 1/256, -128."
        )
    return _table("sigmoid", arithmetic, scale, zero)


def tanh_table(arithmetic: str, scale: np.float32, zero: int, out_scale: np.float32, out_zero: int) -> list[int]:
    """Return tanh of every int8 from -128 to 127; arguments as in `sigmoid_table`.

    Raises:
        ExportError: The output's quantization is not 1 / 128 and 0, by the operator's specification.
    """
    if out_zero != 0 or out_scale != np.float32(1 / 128):
        raise ExportError(f"TANH with an output of scale {out_scale} and zero point {out_zero}: expected 1/128, 0.")
    return _table("tanh", arithmetic, scale, zero)


def _table(kind: str, arithmetic: str, scale: np.float32, zero: int) -> list[int]:
    if arithmetic == "tflm":
        decompose(float(scale) * 2**27)  # must be in reach
    return byte_table(kind, float(scale), zero, arithmetic).astype(int).tolist()


def hard_swish_table(scale: np.float32, zero: int, out_scale: np.float32, out_zero: int) -> list[int]:
    """Return x * relu6(x + 3) / 6 of every int8 from -128 to 127, through 16 bits as both runtimes compute it.

    Args:
        scale, zero: Quantization of the input.
        out_scale, out_zero: Quantization of the output.

    Raises:
        ExportError: The output's scale is under 1/128 of the input's, which the runtimes refuse.
    """
    fine = np.float32(1 / 128) * scale
    to_output, right = decompose(float(fine / out_scale))
    to_gate, shift = decompose(float(fine / (np.float32(3) / np.float32(32768))))
    if right > 0:
        raise ExportError("HARD_SWISH with an output scale under 1/128 of the input's: calibrate on real inputs.")
    values = []
    for x in range(-128, 128):
        wide = (x - zero) << 7
        gate = _saturated(wide << max(shift - 1, 0), 15)
        gate = _times15(gate, _short(to_gate))
        gate = _saturated(gate << 1, 15) if shift > 0 else divided(gate, -shift)
        product = (gate + 2**15 >> 1) * _times15(wide, _short(to_output))
        y = divided(abs(product) // 2**15 * (-1 if product < 0 else 1), -right) + out_zero
        values.append(max(-128, min(127, y)))
    return values


def _short(multiplier: int) -> int:
    return 0x7FFF if multiplier >= 0x7FFF7FFF else multiplier + 2**15 >> 16


def _times15(a: int, b: int) -> int:
    return a * b + 2**14 >> 15 if a * b >= 0 else -(2**14 - 1 - a * b >> 15)


def _saturated(x: int, bits: int = 31) -> int:
    return max(-(2**bits), min(2**bits - 1, x))


def exact_pair(real: float, low: int, high: int) -> tuple[int, int]:
    """Return m and n with which ``x * m / 2^n``, rounded once, is what double arithmetic gives for every integer x.

    LiteRT's reference FULLY_CONNECTED multiplies in double at run time. Both functions of x only rise, so they are equal if
    they step at the same x: each step between `low` and `high` is compared.

    Args:
        real: The factor.
        low, high: The answers that are not saturated.

    Raises:
        ExportError: They differ somewhere.
    """
    multiplier, shift = decompose(real)
    n = 31 - shift
    if not 1 <= n <= 62:
        raise ExportError(f"a dense layer rescales by {real}, out of reach of 31 bits: calibrate on real inputs.")
    steps = []
    for answer in range(low, high + 1):
        near = floor((answer - 0.5) / real)
        for x in range(near - 1, near + 3):
            steps.append((x, int(abs(float(x) * real) + 0.5) * (1 if x >= 0 else -1)))
    for change in (0, 1, -1, 2, -2, 3, -3):  # a neighbour of the nearest multiplier can do where that one does not
        if all(rounded(x * (multiplier + change), n) == wanted for x, wanted in steps):
            return multiplier + change, n
    raise ExportError(f"a dense layer rescales by {real}, where 31 bits differ from double; export in int16x8.")


def rounded(product: int, n: int) -> int:
    """Return product / 2^n to the nearest, halves away from zero."""
    half = 1 << (n - 1)
    return -((half - product) >> n) if product < 0 else (product + half) >> n


def folded(weights: np.ndarray, zero: int, bias: np.ndarray | None) -> np.ndarray:
    """Return the bias less zero point times sum of weights: one number per output channel, int64."""
    rows = weights.reshape(len(weights), -1).astype(np.int64)
    return -zero * rows.sum(1) + (0 if bias is None else bias.astype(np.int64))


def limits(activation: int, scale: np.float32, zero: int, bits: int = 8) -> tuple[int, int]:
    """Return the integers between which an operator's fused activation clamps.

    Args:
        activation: Its number in the schema: none, ReLU, ReLU between -1 and 1, ReLU6.
        scale, zero: Quantization of the output.
        bits: Of the output.
    """
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    low, high = {0: (None, None), 1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)}.get(activation, ("", ""))
    if low == "":
        raise ExportError(
            f"the C has no fused activation number {activation} of integers; use a layer of its own for it."
        )

    def quantized(real: float) -> int:
        return zero + int(np.floor(np.float32(abs(real)) / scale + np.float32(0.5))) * (-1 if real < 0 else 1)

    return (
        least if low is None else max(least, quantized(low)),  # type: ignore[arg-type]
        most if high is None else min(most, quantized(high)),  # type: ignore[arg-type]
    )
