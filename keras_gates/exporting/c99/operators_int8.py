"""int8 operators in C, each with the numbers that its runtime prepares; add, multiply and LSTM also in int16."""

from __future__ import annotations

from math import frexp

import numpy as np

from keras_gates.exporting.c99.fixed_point import (
    decompose,
    exact_pair,
    folded,
    hard_swish_table,
    limits,
    sigmoid_table,
    softmax_table,
    tanh_table,
)
from keras_gates.exporting.c99.graph import Node, Value, check_lstm
from keras_gates.exporting.c99.packed import PACKED, kind_of, stored
from keras_gates.exporting.c99.program import Program, numbers
from keras_gates.exporting.c99.shapes import axes_of, image_grid, pair
from keras_gates.exporting.report import ExportError

_GATES = "ifco"  # in the order of the file: input, forget, cell, output
_INT32 = 2**31


def lstm(program: Program, node: Node) -> None:
    """UNIDIRECTIONAL_SEQUENCE_LSTM with int8 weights, int8 or int16 activations, and an int16 cell state."""
    x, hidden, cell, y = node.input(0), node.input(18), node.input(19), node.output
    check_lstm(node)
    wide = x.dtype == "int16"
    if wide and not program.micro:
        raise ExportError("LiteRT runs no LSTM of int16; TFLM does: arithmetic='tflm' (--arithmetic tflm).")
    fraction = -round(float(np.log2(cell.scale)))
    if np.float32(2.0**-fraction) != cell.scale or not 9 <= fraction <= 15:
        raise ExportError(
            f"an LSTM with a cell state of scale {cell.scale}: calibrate on whole sequences of real inputs."
        )
    if len(node.intermediates) < 5:
        raise ExportError("an LSTM without the scale of its hidden state: the file is damaged; export again.")
    inner = node.intermediates[4]
    if inner.zero != hidden.zero:
        raise ExportError("an LSTM whose output and state have different zero points; export again.")
    units, inputs = node.input(5).shape[1], node.input(1).shape[1]
    offsets = [folded(node.constant(1 + gate), x.zero, node.constant(12 + gate)) for gate in range(4)]
    suffix = "int16" if wide else kind_of([node.constant(place) for place in range(1, 9)], offsets)
    offsets += [folded(node.constant(5 + gate), hidden.zero, None) for gate in range(4)]
    number, scales, names = node.number, [], []
    for place, bias in enumerate(offsets):
        w, source, label = node.input(1 + place), (x, hidden)[place // 4], ("input", "recurrent")[place // 4]
        weights, letter = node.constant(1 + place), _GATES[place % 4]
        exact = float(w.scale) * float(source.scale)
        scale = decompose((exact if program.micro else float(w.scale * source.scale)) * 2**12)
        scales.append(reduced(*scale) if wide else scale)
        name = program.array(f"{label}{number}_{letter}", stored(weights, suffix), "int8_t")
        if suffix in PACKED and source is hidden:  # the C subtracts the zero point from the hidden state
            names.append((name, "0"))
            continue
        bias = bias if wide else _bias(bias, weights)
        kind = "int64_t" if wide else PACKED.get(suffix, "int32_t")
        names.append((name, program.array(f"{label}_bias{number}_{letter}", bias, kind)))
    last = 2.0**-30 / float(inner.scale)
    multiplier, shift = decompose(last if program.micro else float(np.float32(last)))
    clip = node.options["cellClip"]
    clipped = int(min(np.float32(clip) / cell.scale, np.float32(32767))) if clip > 0 else 0
    pointers = [", ".join(name[part] for name in names[start : start + 4]) for part in (0, 1) for start in (0, 4)]
    fields = ", ".join("{" + text + "}" for text in pointers)
    fields += ", {" + ", ".join(numbers(pair_) for pair_ in scales) + "}, " + numbers((multiplier, shift, hidden.zero))
    model = program.struct(f"lstm{number}", f"lstm_{suffix}_t", f"{fields}, {inputs}, {units}, {fraction}, {clipped}")
    program.state += [f"int16_t c{number}[{units}];", f"{x.dtype}_t h{number}[{units}];"]
    program.resets += [f"memset(s->c{number}, 0, sizeof s->c{number});"]
    program.resets += [f"memset(s->h{number}, {hidden.zero}, sizeof s->h{number});"]
    room = program.scratch("int16_t", 4 * units + (0 if wide else max(inputs, units)))
    program.use(f"lstm_{suffix}")
    memory = f"s->h{number}, s->c{number}, {room}"
    if program.place(y) == f"s->h{number}":
        program.call(node, f"lstm_step_{suffix}({model}, {program.place(x)}, {memory});")
    else:
        program.use(f"lstm_steps_{suffix}")
        steps = program.shape(x)[1]
        program.call(node, f"lstm_{suffix}({model}, {program.place(x)}, {steps}, {memory}, {program.place(y)});")


def multiply(program: Program, node: Node) -> None:
    """MUL."""
    a, b, y = node.input(0), node.input(1), node.output
    product = float(a.scale) * float(b.scale) / float(y.scale)
    factor = product if program.micro else float(np.float32(np.float32(a.scale * b.scale) / y.scale))
    low, high = limits(node.options["fusedActivationFunction"], y.scale, y.zero, bits_of(y))
    _binary(program, node, f"multiply_{y.dtype}", [a.zero, b.zero, y.zero, *decompose(factor), low, high])


def add(program: Program, node: Node) -> None:
    """ADD and SUB."""
    a, b, y = node.input(0), node.input(1), node.output
    headroom = 15 if y.dtype == "int16" else 20
    twice = 2.0 * float(max(a.scale, b.scale))
    parts = float(a.scale) / twice, float(b.scale) / twice, twice / (2.0**headroom * float(y.scale))
    powers = all(frexp(float(value.scale))[0] == 0.5 for value in (a, b, y))
    if y.dtype == "int16" and powers and node.options.get("potScaleInt16") and not program.micro:
        raise ExportError(f"the C has no {node.kind} of int16 whose scales are all powers of two; export again.")
    if program.micro and node.kind == "SUB":
        parts = tuple(float(np.float32(part)) for part in parts)  # type: ignore[assignment]
    low, high = limits(node.options["fusedActivationFunction"], y.scale, y.zero, bits_of(y))
    pairs = [n for part in parts for n in decompose(part)]
    sign = 1 if node.kind == "ADD" else -1
    _binary(program, node, f"add_{y.dtype}", [a.zero, b.zero, y.zero, *pairs, sign, low, high, headroom])


def bits_of(value: Value) -> int:
    """Return the bits of an integer tensor's items."""
    return 8 * np.dtype(value.dtype).itemsize


def reduced(multiplier: int, shift: int) -> tuple[int, int]:
    """Return multiplier and right shift with which TFLM rescales 64-bit sums: 15 bits of the multiplier.

    Raises:
        ExportError: The factor is 2^14 or more: the shift would be to the left.
    """
    if shift > 14:
        raise ExportError("a layer of int16 rescales its sums by 2^14 or more: calibrate on real inputs.")
    return (multiplier + 2**15 >> 16) if multiplier < 0x7FFF0000 else 0x7FFF, 15 - shift


def _binary(program: Program, node: Node, helper: str, quantization: list[int]) -> None:
    a, b, y = node.input(0), node.input(1), node.output
    q = program.array(f"quantization{node.number}", quantization, "int32_t")
    operands = f"{program.place(a)}, {program.place(b)}, {program.place(y)}, {pair(program, node)}"
    program.call(node, f"{program.use(helper)}({operands}, {q});")


def dense(program: Program, node: Node) -> None:
    """FULLY_CONNECTED."""
    x, w, y = node.input(0), node.input(1), node.output
    weights = node.constant(1)
    bias = node.constant(2) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    if weights.dtype != np.int8 or (bias is not None and bias.dtype != np.int32):
        raise ExportError("the C has FULLY_CONNECTED with int8 weights and int32 bias only; export in int8.")
    low, high = limits(node.options["fusedActivationFunction"], y.scale, y.zero)
    reals = [channel_factor(x, scale, y) for scale in w.scales]
    pairs = [decompose(real) if program.micro else exact_pair(real, low - y.zero, high - y.zero) for real in set(reals)]
    by_real = dict(zip(set(reals), pairs))
    units, inputs = w.shape
    every = [by_real[real] for real in (reals if len(reals) > 1 else reals * units)]
    kind, fields = _layer(program, node.number, weights, folded(weights, x.zero, bias), every)
    fields += f", {inputs}, {units}, {y.zero}, {low}, {high}"
    model = program.struct(f"dense{node.number}", f"dense_{kind}_t", fields)
    rows_ = program.size(x) // inputs
    places = f"{program.place(x)}, {rows_}, {program.scratch('int16_t', inputs)}, {program.place(y)}"
    program.call(node, f"{program.use(f'dense_{kind}')}({model}, {places});")


def channel_factor(x: Value, scale: np.float32, y: Value) -> float:
    """Return by what a sum is multiplied to give the output."""
    return float(x.scale) * float(scale) / float(y.scale)


def _layer(
    program: Program, number: int, weights: np.ndarray, bias: np.ndarray, pairs: list[tuple[int, int]]
) -> tuple[str, str]:
    """Define weights, biases and scales; return how the weights are stored (`packed.kind_of`) and the names."""
    kind = kind_of([weights], [bias])
    names = (
        program.array(f"weights{number}", stored(weights, kind), "int8_t"),
        program.array(f"bias{number}", _bias(bias, weights), PACKED.get(kind, "int32_t")),
    )
    every = ", ".join(numbers(item) for item in pairs)
    program.constants.append(f"static const int32_t scales{number}[{len(pairs)}][2] = {{{every}}};")
    return kind, f"{names[0]}, {names[1]}, scales{number}"


def _bias(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the values if no sum of a row leaves int32 whatever the input."""
    largest = np.abs(values) + 256 * np.abs(weights.reshape(len(weights), -1).astype(np.int64)).sum(1)
    if largest.max(initial=0) >= _INT32:
        raise ExportError(
            "a layer whose sums leave 32 bits: its biases are too large for int8; calibrate on real inputs."
        )
    return values


def conv(program: Program, node: Node) -> None:
    """CONV_2D."""
    x, w, y = node.input(0), node.input(1), node.output
    weights = node.constant(1)
    bias = node.constant(2).astype(np.int64) if len(node.inputs) > 2 and node.inputs[2] is not None else 0
    low, high = limits(node.options["fusedActivationFunction"], y.scale, y.zero)
    channels = len(weights)
    pairs = [decompose(channel_factor(x, scale, y)) for scale in w.scales]
    every = pairs if len(pairs) > 1 else pairs * channels
    kind, fields = _layer(program, node.number, weights, np.zeros(channels, np.int64) + bias, every)
    fields += f", {image_grid(node)}, {x.zero}, {y.zero}, {low}, {high}"
    model = program.struct(f"conv{node.number}", f"conv_{kind}_t", fields)
    room = program.scratch("int16_t", weights[0].size)
    places = f"{program.place(x)}, {program.shape(x)[0]}, {room}, {program.place(y)}"
    program.call(node, f"{program.use(f'conv_{kind}')}({model}, {places});")


def total(program: Program, node: Node) -> None:
    """SUM and MEAN over neighbouring axes."""
    x, y = node.input(0), node.output
    outer, middle, inner = axes_of(program, node)
    multiplier, shift = decompose(float(x.scale) / float(y.scale))
    if node.kind == "MEAN":  # as the kernels do: the division goes into the multiplier, which keeps its 31 bits
        more = min(middle.bit_length() - 1, 31 + shift)
        multiplier, shift = (multiplier << more) // middle, shift - more
    q = program.array(f"quantization{node.number}", [x.zero, y.zero, multiplier, shift], "int32_t")
    call = program.use(f"sum_{x.dtype}")
    program.call(node, f"{call}({program.place(x)}, {outer}, {middle}, {inner}, {program.place(y)}, {q});")


def softmax(program: Program, node: Node) -> None:
    """SOFTMAX over the last axis, with an output of int8 or int16."""
    x, y = node.input(0), node.output
    bits = bits_of(y)
    if y.zero != -(2 ** (bits - 1)) or y.scale != np.float32(2.0**-bits):
        raise ExportError(
            f"SOFTMAX of int8 with an output of {y.dtype}, scale {y.scale} and zero point {y.zero}: expected "
            f"1/{2**bits} and {-(2 ** (bits - 1))}."
        )
    values = softmax_table(x.scale, node.options["beta"])
    table = program.table("exponential", values, "int32_t")
    n = x.shape[-1]
    places = f"{program.place(x)}, {program.size(x) // n}, {program.place(y)}, {n}"
    program.call(node, f"{program.use(f'softmax_int8_{y.dtype}')}({table}, {len(values)}, {places});")


def requantize(program: Program, node: Node) -> None:
    """QUANTIZE from one integer scale or type to another."""
    x, y = node.input(0), node.output
    if y.dtype not in ("int8", "int16"):
        raise ExportError(f"the C has QUANTIZE of {x.dtype} to int8 or int16 only, this file has {y.dtype}.")
    factor = decompose(float(x.scale) / float(y.scale))
    q = program.array(f"quantization{node.number}", [x.zero, y.zero, *factor], "int32_t")
    call = program.use(f"requantize_{x.dtype}_{y.dtype}")
    program.call(node, f"{call}({program.place(x)}, {program.size(x)}, {program.place(y)}, {q});")


def relu(program: Program, node: Node) -> None:
    """RELU, from one scale to another; also of int16."""
    x, y = node.input(0), node.output
    factor = decompose(float(x.scale / y.scale))
    quantization = [x.zero, y.zero, *factor, *limits(1, y.scale, y.zero, bits_of(y))]
    q = program.array(f"quantization{node.number}", quantization, "int32_t")
    call = program.use(f"relu_{x.dtype}")
    program.call(node, f"{call}({program.place(x)}, {program.size(x)}, {program.place(y)}, {q});")


def leaky_relu(program: Program, node: Node) -> None:
    """LEAKY_RELU; also of int16.

    Raises:
        ExportError: Its slope is negative.
    """
    x, y, slope = node.input(0), node.output, np.float32(node.options["alpha"])
    if slope < 0:
        raise ExportError(f"the C has LEAKY_RELU of integers with a slope from 0 on, this file has {slope}.")
    pairs = decompose(float(x.scale / y.scale)), decompose(float(x.scale * slope / y.scale))
    q = program.array(f"quantization{node.number}", [x.zero, y.zero, *pairs[0], *pairs[1]], "int32_t")
    call = program.use(f"leaky_{x.dtype}")
    program.call(node, f"{call}({program.place(x)}, {program.size(x)}, {program.place(y)}, {q});")


def activation(program: Program, node: Node) -> None:
    """LOGISTIC and TANH, as a table of all 256 answers."""
    x, y = node.input(0), node.output
    answers = sigmoid_table if node.kind == "LOGISTIC" else tanh_table
    table = program.table(node.kind.lower(), answers(program.arithmetic, x.scale, x.zero, y.scale, y.zero), "int8_t")
    call = program.use("lookup_int8")
    program.call(node, f"{call}({table}, {program.place(x)}, {program.size(x)}, {program.place(y)});")


def hard_swish(program: Program, node: Node) -> None:
    """HARD_SWISH, as a table of all 256 answers."""
    x, y = node.input(0), node.output
    table = program.table("hard_swish", hard_swish_table(x.scale, x.zero, y.scale, y.zero), "int8_t")
    call = program.use("lookup_int8")
    program.call(node, f"{call}({table}, {program.place(x)}, {program.size(x)}, {program.place(y)});")
