"""Operators of a kernel that moves over an image: pooling and depthwise convolution in every type, CONV_2D in int16."""

from __future__ import annotations

import numpy as np

from keras_gates.exporting.c99.fixed_point import decompose, limits
from keras_gates.exporting.c99.graph import Node
from keras_gates.exporting.c99.operators_float import float_limits
from keras_gates.exporting.c99.operators_int8 import bits_of, channel_factor, reduced
from keras_gates.exporting.c99.program import Program, numbers
from keras_gates.exporting.c99.shapes import check_same_quantization, image_grid, window
from keras_gates.exporting.report import ExportError

_POOLS = {"AVERAGE_POOL_2D": "average", "MAX_POOL_2D": "largest"}


def pool(program: Program, node: Node) -> None:
    """AVERAGE_POOL_2D and MAX_POOL_2D."""
    x, y = node.input(0), node.output
    check_same_quantization(node, x)
    if x.dtype == "float32":
        kind, (low, high) = "float", float_limits(node)
    else:
        whole = limits(node.options["fusedActivationFunction"], y.scale, y.zero, bits_of(y))
        kind, low, high = x.dtype, str(whole[0]), str(whole[1])
    grid = window(node, [node.options["filterHeight"], node.options["filterWidth"]])
    program.use(f"pool_{kind}")
    model = program.struct(f"pool{node.number}", f"pool_{kind}_t", f"{{{grid}}}, {low}, {high}")
    _call(program, node, f"{_POOLS[node.kind]}_{kind}", model)


def depthwise_float(program: Program, node: Node) -> None:
    """DEPTHWISE_CONV_2D of float32."""
    number, channels = node.number, node.output.shape[3]
    bias = node.constant(2) if _has_bias(node) else np.zeros(channels)
    names = (
        program.array(f"weights{number}", node.constant(1), "float"),
        program.array(f"bias{number}", bias, "float"),
    )
    low, high = float_limits(node)
    fields = f"{', '.join(names)}, {{{_depthwise_grid(node)}}}, {low}, {high}"
    _call(program, node, "depthwise_float", program.struct(f"depthwise{number}", "depthwise_float_t", fields))


def depthwise(program: Program, node: Node) -> None:
    """DEPTHWISE_CONV_2D of int8 or int16."""
    kind, zeros = node.input(0).dtype, f"{node.input(0).zero}, {node.output.zero}, "
    fields = f"{_layer(program, node)}, {{{_depthwise_grid(node)}}}, {zeros}{_limits(node)}"
    _call(program, node, f"depthwise_{kind}", program.struct(f"depthwise{node.number}", f"depthwise_{kind}_t", fields))


def conv_int16(program: Program, node: Node) -> None:
    """CONV_2D of int16: sums in 64 bits."""
    fields = f"{_layer(program, node)}, {{{image_grid(node)}}}, {_limits(node)}"
    _call(program, node, "conv_int16", program.struct(f"conv{node.number}", "conv_int16_t", fields))


def _layer(program: Program, node: Node) -> str:
    """Define int8 weights, biases of the sum's type and scales per channel; return their names.

    Raises:
        ExportError: Another type, or sums that may leave 32 bits.
    """
    x, w, y, number = node.input(0), node.input(1), node.output, node.number
    weights, wide = node.constant(1), x.dtype == "int16"
    kind = "int64" if wide else "int32"
    channels = y.shape[3]
    bias = node.constant(2) if _has_bias(node) else np.zeros(channels, kind)
    if weights.dtype != np.int8 or bias.dtype != kind or (wide and (x.zero or y.zero)):
        raise ExportError(
            f"the C has {node.kind} of {x.dtype} with int8 weights and {kind} bias only; export in "
            f"{'int16x8' if wide else 'int8'}."
        )
    inputs = np.abs(weights.astype(np.int64)).sum(tuple(range(1, 4) if node.kind == "CONV_2D" else range(3)))
    if not wide and (np.abs(bias.astype(np.int64)) + 256 * inputs).max(initial=0) >= 2**31:
        raise ExportError(
            "a layer whose sums leave 32 bits: its biases are too large for int8; calibrate on real inputs."
        )
    pairs = [decompose(channel_factor(x, scale, y)) for scale in w.scales]
    every = [reduced(*pair) if wide else pair for pair in (pairs if len(pairs) > 1 else pairs * channels)]
    names = (
        program.array(f"weights{number}", weights, "int8_t"),
        program.array(f"bias{number}", bias, f"{kind}_t"),
    )
    rows = ", ".join(numbers(pair) for pair in every)
    program.constants.append(f"static const int32_t scales{number}[{channels}][2] = {{{rows}}};")
    return f"{', '.join(names)}, scales{number}"


def _limits(node: Node) -> str:
    y = node.output
    low, high = limits(node.options["fusedActivationFunction"], y.scale, y.zero, bits_of(y))
    return f"{low}, {high}"


def _has_bias(node: Node) -> bool:
    return len(node.inputs) > 2 and node.inputs[2] is not None


def _depthwise_grid(node: Node) -> str:
    return window(node, list(node.input(1).shape[1:3]))


def _call(program: Program, node: Node, helper: str, model: str) -> None:
    x, y = node.input(0), node.output
    places = f"{program.place(x)}, {program.shape(x)[0]}, {program.place(y)}"
    program.call(node, f"{program.use(helper)}({model}, {places});")
