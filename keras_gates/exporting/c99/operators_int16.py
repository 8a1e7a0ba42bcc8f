"""int16 operators in C: activations in 16 bits, weights in 8 (int16x8)."""

from __future__ import annotations

from math import frexp
from typing import Any

import numpy as np

from keras_gates.exporting.c99.fixed_point import decompose, folded, limits
from keras_gates.exporting.c99.graph import Node
from keras_gates.exporting.c99.operators_int8 import channel_factor, reduced
from keras_gates.exporting.c99.program import Program, numbers
from keras_gates.exporting.report import ExportError

_LOW = 2**26  # a double's mantissa of 53 bits as high * 2^26 + low


def dense(program: Program, node: Node) -> None:
    """FULLY_CONNECTED: sums in 64 bits."""
    x, w, y, number = node.input(0), node.input(1), node.output, node.number
    weights = node.constant(1)
    bias = node.constant(2) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    if weights.dtype != np.int8 or (bias is not None and bias.dtype != np.int64) or any((x.zero, w.zero, y.zero)):
        raise ExportError(
            "the C has FULLY_CONNECTED of int16 with int8 weights and int64 bias only; export in int16x8."
        )
    low, high = limits(node.options["fusedActivationFunction"], y.scale, y.zero, 16)
    offsets = folded(weights, 0, bias)
    largest = int((np.abs(offsets) + 32768 * np.abs(weights.astype(np.int64)).sum(1)).max(initial=0))
    reals = [channel_factor(x, scale, y) for scale in w.scales]
    rows = [(*reduced(*decompose(real)), 0, 0) if program.micro else _double(real, largest) for real in reals]
    units, inputs = w.shape
    every = ", ".join(numbers(row) for row in (rows if len(rows) > 1 else rows * units))
    names = (
        program.array(f"weights{number}", weights, "int8_t"),
        program.array(f"bias{number}", offsets, "int64_t"),
    )
    program.constants.append(f"static const int32_t scales{number}[{units}][4] = {{{every}}};")
    fields = f"{', '.join(names)}, scales{number}, {inputs}, {units}, {low}, {high}"
    model = program.struct(f"dense{number}", "dense_int16_t", fields)
    rows_ = program.size(x) // inputs
    program.call(node, f"{program.use('dense_int16')}({model}, {program.place(x)}, {rows_}, {program.place(y)});")


def _double(real: float, largest: int) -> tuple[int, int, int, int]:
    """Return mantissa (high, low), right shift and reach with which the C multiplies by a double as LiteRT does.

    Args:
        real: The factor.
        largest: Greatest absolute value of a sum.

    Raises:
        ExportError: The factor is out of reach, or a product that double rounds decides an answer.
    """
    fraction, exponent = frexp(real)
    mantissa, shift = int(fraction * 2**53), 53 - exponent
    reach = min(largest, int(40000 / real) + 16)
    if not 27 <= shift <= 80 or reach >= 2**35:
        raise ExportError(f"a dense layer rescales by {real}, out of reach of the C: calibrate on real inputs.")
    high, low = divmod(mantissa, _LOW)
    near = np.floor((np.arange(0, 32769) + 0.5) / real).astype(np.int64)
    sums = np.minimum(np.concatenate([near - 1, near, near + 1, near + 2]).clip(0), reach)
    exact = (sums * high + (sums * low >> 26) + (1 << (shift - 27))) >> (shift - 26)
    if (exact != np.floor(sums.astype(np.float64) * real + 0.5)).any():
        raise ExportError(f"a dense layer rescales by {real}, where double rounds to a half; export again.")
    return high, low, shift, (reach >> 4) + 1


def activation(program: Program, node: Node) -> None:
    """LOGISTIC and TANH, between two entries of a table of 256."""
    x, y = node.input(0), node.output
    if x.zero or y.zero or y.scale != np.float32(2.0**-15):
        raise ExportError(f"{node.kind} of int16 with an output of scale {y.scale}: expected 1/32768; export again.")
    multiplier, shift = _to_table(float(x.scale), (0,) if node.kind == "LOGISTIC" else (0, 1))
    call = program.use(f"{node.kind.lower()}_int16")
    sizes = f"{program.size(x)}, {multiplier}, {shift}"
    program.call(node, f"{call}({program.place(x)}, {sizes}, {program.place(y)});")


def _to_table(scale: float, powers: tuple[int, ...]) -> tuple[int, int]:
    fraction, exponent = frexp(scale)
    if fraction == 0.5 and 12 + exponent - 1 in powers:
        return 3 << (12 + exponent - 1), 0
    multiplier, shift = scale * 4096.0 * 3.0, 0
    while multiplier <= 32767.0 / 2.0 and shift <= 30:
        multiplier, shift = multiplier * 2.0, shift + 1
    if multiplier > 32767:
        raise ExportError("an activation of int16 with an input scale above 2.6; calibrate on real inputs.")
    return int(multiplier), shift


def softmax(program: Program, node: Node) -> None:
    """SOFTMAX over the last axis."""
    x, y, n = node.input(0), node.output, node.input(0).shape[-1]
    if x.zero or y.zero or y.scale != np.float32(2.0**-15):
        raise ExportError(f"SOFTMAX of int16 with an output of scale {y.scale}: expected 1/32768; export again.")
    kind = np.float32 if program.micro else np.float64
    exponential = program.table("exponential", _halves(kind, -10.0, np.exp), "int16_t")
    reciprocal = program.table("reciprocal", _halves(kind, 1.0, lambda v: kind(1) / (kind(1) + v)), "int16_t")
    beta = np.float32(node.options["beta"])
    factor = (float(x.scale) * float(beta) if program.micro else float(x.scale * beta)) / (10.0 / 65535.0)
    multiplier, shift = decompose(factor)
    sizes = f"{program.size(x) // n}, {program.place(y)}, {n}"
    tables = f"{exponential}, {reciprocal}, {multiplier}, {shift}"
    program.call(node, f"{program.use('softmax_int16')}({tables}, {program.place(x)}, {sizes});")


def _halves(kind: Any, end: float, function: Any) -> list[int]:
    """The runtimes' table of 513 entries in Q0.15 from the lower to the upper of 0 and `end`, less half the error between."""
    size = kind(abs(end)) / kind(65535)
    lowest, highest = (size * kind(-65535), size * kind(0)) if end < 0 else (size * kind(0), size * kind(65535))
    step = (highest - lowest) / kind(512)
    scale = kind(2) / kind(65535)
    inverse = kind(65536) / (scale * kind(32767) - scale * kind(-32768))
    places = np.arange(512).astype(kind)
    here, middle, after = (
        np.asarray(function(lowest + part), kind) * inverse
        for part in (places * step, places * step + step / kind(2), (places + kind(1)) * step)
    )
    between = _round((after + _round(here)) / kind(2))
    values = _round(here) - _round((between - _round(middle)) / kind(2))
    last = _round(np.asarray([function(kind(highest))], kind) * inverse)
    return np.clip(np.concatenate([values, last]), -32768, 32767).astype(int).tolist()


def _round(x: np.ndarray) -> np.ndarray:
    return np.trunc(x + np.copysign(x.dtype.type(0.5), x))
