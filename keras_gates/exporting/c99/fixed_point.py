"""Numbers that LiteRT and TFLM compute when they prepare an operator, by the same integer steps.

Sources: TensorFlow Lite's ``quantization_util`` and gemmlowp's ``fixedpoint.h``, whose roundings decide single bits.
"""

from __future__ import annotations

from math import floor, frexp

import numpy as np

from keras_gates.exporting.report import ExportError

# exp(-1/4), exp(-1/2), exp(-1), … exp(-16) in Q0.31
_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


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


def divide(x: int, n: int) -> int:
    """Return x / 2^n to the nearest, halves away from zero."""
    mask = (1 << n) - 1
    return (x >> n) + ((x & mask) > (mask >> 1) + (x < 0))


def times31(a: int, b: int) -> int:
    """Return a * b / 2^31 to the nearest, halves up."""
    return (a * b + (1 << 30)) >> 31


def scaled(x: int, multiplier: int, shift: int) -> int:
    """Return x * multiplier / 2^31 * 2^shift, rounded twice as LiteRT's builds do."""
    return times31(x << shift, multiplier) if shift > 0 else divide(times31(x, multiplier), -shift)


def exp31(a: int, bits: int) -> int:
    """Return exp(a) in Q0.31 for a <= 0 in Q(bits).(31 - bits)."""
    if a == 0:
        return 2**31 - 1
    quarter = 1 << (29 - bits)
    low = (a & (quarter - 1)) - quarter
    rest = low - a
    x = (low << bits) + (1 << 28)
    x2 = times31(x, x)
    x3, x4 = times31(x2, x), times31(x2, x2)
    y = 1895147668 + times31(1895147668, x + divide(times31(divide(x4, 2) + x3, 715827883) + x2, 1))
    for place, power in enumerate(_POWERS):
        y = times31(y, power) if rest & (quarter << place) else y
    return y


def one_over_one_plus(a: int) -> int:
    """Return 1 / (1 + a) in Q0.31 for a in Q0.31, by three steps of Newton's division."""
    half = (a + 2**31) >> 1
    x = 1515870810 + times31(half, -1010580540)
    for _ in range(3):
        x += max(-(2**31), min(2**31 - 1, times31(x, 2**29 - times31(half, x)) << 2))
    return max(-(2**31), min(2**31 - 1, x << 1))


def softmax_table(scale: np.float32, beta: float) -> list[int]:
    """Return exp(-d * scale * beta) in Q0.31 for d = 0, 1, … up to where LiteRT's softmax counts no more."""
    multiplier, shift = decompose(min(float(beta) * float(scale) * 2**26, 2**31 - 1.0))
    reach = min(255, floor(31 * 2**26 / 2**shift))
    return [exp31(times31(-d << shift, multiplier), 5) for d in range(reach + 1)]


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
    inputs = np.arange(-128, 128) - zero
    if arithmetic == "litert":
        reals = scale * inputs.astype(np.float32)
        steps = np.float32(1) / (np.float32(1) + np.exp(-reals)) * np.float32(256)
        return np.clip(np.floor(steps + np.float32(0.5)).astype(int) - 128, -128, 127).tolist()
    multiplier, shift = decompose(float(scale) * 2**27)
    radius = floor(15 * 2**27 / 2**shift)
    return [_sigmoid(int(x), radius, multiplier, shift) for x in inputs]


def _sigmoid(x: int, radius: int, multiplier: int, shift: int) -> int:
    if abs(x) >= radius:
        return 127 if x > 0 else -128
    a = scaled(x, multiplier, shift)
    y = one_over_one_plus(exp31(-abs(a), 4)) if a else 2**30
    return max(-128, min(127, divide(y if a >= 0 else 2**31 - 1 - y, 23) - 128))


def tanh_table(arithmetic: str, scale: np.float32, zero: int, out_scale: np.float32, out_zero: int) -> list[int]:
    """Return tanh of every int8 from -128 to 127; arguments as in `sigmoid_table`.

    Raises:
        ExportError: The output's quantization is not 1 / 128 and 0, by the operator's specification.
    """
    if out_zero != 0 or out_scale != np.float32(1 / 128):
        raise ExportError(f"TANH with an output of scale {out_scale} and zero point {out_zero}: expected 1/128, 0.")
    inputs = np.arange(-128, 128) - zero
    if arithmetic == "litert":
        steps = np.tanh(scale * inputs.astype(np.float32)) * np.float32(128)
        return np.clip(np.trunc(steps + np.copysign(np.float32(0.5), steps)), -128, 127).astype(int).tolist()
    multiplier, shift = decompose(float(scale) * 2**27)
    radius = floor(15 * 2**27 / 2**shift)
    return [_tanh(int(x), radius, multiplier, shift) for x in inputs]


def _tanh(x: int, radius: int, multiplier: int, shift: int) -> int:
    if abs(x) >= radius:
        return 127 if x > 0 else -128
    a = scaled(x, multiplier, shift)
    half = (exp31(-abs(a), 5) + 2**31) >> 1
    y = 1515870810 + times31(half, -1010580540)
    for _ in range(3):
        y += _saturated(times31(y, 2**29 - times31(half, y)) << 2)
    y = _saturated((y - 2**29) << 2) if a else 0
    return max(-128, min(127, divide(y if a >= 0 else -y, 24)))


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
        gate = _saturated(gate << 1, 15) if shift > 0 else divide(gate, -shift)
        product = (gate + 2**15 >> 1) * _times15(wide, _short(to_output))
        y = divide(abs(product) // 2**15 * (-1 if product < 0 else 1), -right) + out_zero
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
