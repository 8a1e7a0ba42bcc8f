"""sigmoid and tanh of every int16 and int8 number, as LiteRT's reference kernels and TensorFlow Lite Micro compute them."""

from __future__ import annotations

from functools import lru_cache
from math import exp, floor
from typing import Any

import numpy as np

# exp(-1/4), exp(-1/2), exp(-1), … exp(-16) in Q0.15
_EXPONENTIALS = (25520, 19875, 12055, 4435, 600, 11, 0)
# the same in Q0.31
_EXPONENTIALS31 = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
# where TFLM's table of the sigmoid is one above the nearest integer
_ONE_MORE = {4, 8, 12, 25, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46, 49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103}
_ONE_MORE |= {112, 116, 135, 255, *range(14, 18), *range(19, 23), *range(27, 32)}


def tflm_sigmoids() -> list[int]:
    """Return TFLM's 256 values of sigmoid(i / 24) * 65536."""
    return [floor(65536 / (1 + exp(-i / 24)) + 0.5) + (i in _ONE_MORE) for i in range(256)]


@lru_cache(maxsize=32)
def gate_table(kind: str, bits: int, arithmetic: str = "litert") -> np.ndarray:
    """Return the sigmoid or tanh in Q0.15 of every int16, from -32768 on.

    Args:
        kind: "sigmoid" or "tanh".
        bits: Bits of the whole part of the input, which is Q(bits).(15 - bits); 3 for a sigmoid of TFLM.
        arithmetic: "litert" (gemmlowp's polynomials) or "tflm" (between two of 256 values).
    """
    a = np.arange(-32768, 32768, dtype=np.int64)
    return (_of_tflm if arithmetic == "tflm" else _of_litert)(kind, a, bits).astype(np.float32)


@lru_cache(maxsize=64)
def byte_table(kind: str, scale: float, zero: int, arithmetic: str = "litert") -> np.ndarray:
    """Return the int8 sigmoid (in steps of 1/256 from -128 on) or tanh (of 1/128) of every int8, from -128 on.

    Args:
        kind: "sigmoid" or "tanh".
        scale, zero: Of the input.
        arithmetic: "litert", which fills its table in float32, or "tflm" (gemmlowp's polynomials).
    """
    if arithmetic == "tflm":
        return _bytes_of_tflm(kind, scale, np.arange(-128, 128, dtype=np.int64) - zero).astype(np.float32)
    reals = np.float32(scale) * (np.arange(-128, 128) - zero).astype(np.float32)
    if kind == "sigmoid":
        with np.errstate(over="ignore"):  # infinite where the sigmoid is 0
            steps = np.float32(1) / (np.float32(1) + np.exp(-reals)) * np.float32(256)
        return np.clip(np.floor(steps + np.float32(0.5)) - 128, -128, 127).astype(np.float32)
    steps = np.tanh(reals) * np.float32(128)
    return np.clip(np.trunc(steps + np.copysign(np.float32(0.5), steps)), -128, 127).astype(np.float32)


def _bytes_of_tflm(kind: str, scale: float, x: np.ndarray) -> np.ndarray:
    fraction, shift = np.frexp(scale * 2.0**27)
    multiplier, shift = int(np.floor(fraction * 2**31 + 0.5)), int(shift)
    is_far = np.abs(x) >= floor(15 * 2**27 / 2.0**shift)
    a = times31(x << max(shift, 0), multiplier)
    a = np.where(is_far, 0, divided(a, -shift) if shift < 0 else a)
    half = (exponential31(-np.abs(a), 4 + (kind == "tanh")) + 2**31) >> 1
    y = 1515870810 + times31(half, -1010580540)
    for _ in range(3):  # Newton's division
        y = y + np.clip(times31(y, 2**29 - times31(half, y)) << 2, -(2**31), 2**31 - 1)
    if kind == "sigmoid":
        y = np.where(a == 0, 2**30, np.clip(y << 1, -(2**31), 2**31 - 1))
        y = divided(np.where(a >= 0, y, 2**31 - 1 - y), 23) - 128
    else:
        y = np.where(a == 0, 0, np.clip((y - 2**29) << 2, -(2**31), 2**31 - 1))
        y = divided(np.where(a >= 0, y, -y), 24)
    return np.where(is_far, np.where(x > 0, 127, -128), np.clip(y, -128, 127))


def exponential31(a: np.ndarray, bits: int) -> np.ndarray:
    """Return exp(a) in Q0.31 for a <= 0 in Q(bits).(31 - bits)."""
    quarter = 1 << (29 - bits)
    low = (a & (quarter - 1)) - quarter
    rest, x = low - a, (low << bits) + (1 << 28)
    x2 = times31(x, x)
    x3, x4 = times31(x2, x), times31(x2, x2)
    y = 1895147668 + times31(1895147668, x + divided(times31(divided(x4, 2) + x3, 715827883) + x2, 1))
    for place, power in enumerate(_EXPONENTIALS31):
        y = np.where(rest & (quarter << place), times31(y, power), y)
    return np.where(a == 0, 2**31 - 1, y)


def times31(a: Any, b: Any) -> Any:
    """Return a * b / 2^31 to the nearest, halves up, of whole numbers or arrays of them."""
    return (a * b + (1 << 30)) >> 31


def _of_litert(kind: str, a: np.ndarray, bits: int) -> np.ndarray:
    y = _two_over_one_plus_exp(-np.abs(a), bits + (kind == "tanh"))
    if kind == "sigmoid":
        y = np.minimum(y * 2, 32767)
        return np.where(a == 0, 16384, np.where(a > 0, y, 32767 - y))
    return np.sign(a) * np.minimum((y - 8192) * 4, 32767)


def _of_tflm(kind: str, a: np.ndarray, bits: int) -> np.ndarray:
    x = (a * 3 + (1 << (2 - bits)) >> (3 - bits)) if bits < 3 else a * 3 * (1 << (bits - 3))
    if kind == "sigmoid":
        y = _between(x, 9)
        return np.where(x >= 0, y + 512, 0x2000000 - y + 511) >> 10
    y = np.where(np.abs(x) >> 8 >= 255, 0xFFFF00, _between(x, 8))
    return np.where(x >= 0, y - 0x800000 + 128, 0x800000 - y + 127) >> 8


def _between(x: np.ndarray, bits: int) -> np.ndarray:
    """Return 65536 * 2^bits * sigmoid(x / 24 / 2^bits), on the line between two of the 256 values."""
    values, a = np.array(tflm_sigmoids()), np.abs(x)
    i = np.minimum(a >> bits, 254)
    y = (values[i] << bits) + (a & ((1 << bits) - 1)) * (values[i + 1] - values[i])
    return np.where(a >> bits >= 255, 0xFFFE << bits, y)


def _two_over_one_plus_exp(a: np.ndarray, bits: int) -> np.ndarray:
    """Return 2 / (1 + exp(a)) in Q2.13 for a <= 0 in Q(bits).(15 - bits)."""
    quarter = 1 << (13 - bits)
    low = (a & (quarter - 1)) - quarter
    rest, x = low - a, low * (1 << bits) + 4096
    x2 = _times15(x, x)
    x3, x4 = _times15(x2, x), _times15(x2, x2)
    y = np.minimum(28918 + _times15(28918, x + divided(_times15(divided(x4, 2) + x3, 10923) + x2, 1)), 32767)
    for place, power in enumerate(_EXPONENTIALS[: min(bits + 2, 7)]):
        y = np.where(rest & (quarter << place), _times15(y, power), y)
    y = np.where(a < -(32 << (15 - bits)), 0, y) if bits > 5 else y
    half = (np.where(a == 0, 32767, y) + 32768) >> 1
    x = 23130 + _times15(half, -15420)
    for _ in range(3):  # Newton's division
        x = x + np.clip(_times15(x, 8192 - _times15(half, x)) * 4, -32768, 32767)
    return x


def _times15(a: Any, b: Any) -> Any:
    return (a * b + 0x4000) >> 15


def divided(x: Any, n: int) -> Any:
    """Return x / 2^n to the nearest, halves away from zero, of whole numbers or arrays of them."""
    mask = (1 << n) - 1
    return (x >> n) + ((x & mask) > (mask >> 1) + (x < 0))
