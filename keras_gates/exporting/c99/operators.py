"""Which function writes which operator, by its type."""

from __future__ import annotations

from collections.abc import Callable

from keras_gates.exporting.c99 import operators_float as real
from keras_gates.exporting.c99 import operators_int8 as int8
from keras_gates.exporting.c99 import operators_int16 as int16
from keras_gates.exporting.c99 import operators_loop as loop
from keras_gates.exporting.c99 import operators_window as windows
from keras_gates.exporting.c99 import shapes
from keras_gates.exporting.c99.graph import Node
from keras_gates.exporting.c99.program import Program
from keras_gates.exporting.report import ExportError

Emit = Callable[[Program, Node], None]
MOVES: dict[str, Emit] = {
    "STRIDED_SLICE": shapes.strided_slice,
    "REVERSE_V2": shapes.reverse,
    "CONCATENATION": shapes.concatenate,
    "SLICE": shapes.cut,
    "SPLIT": shapes.cut,
    "PACK": shapes.pack,
    "UNPACK": shapes.unpack,
    "PAD": shapes.pad,
    "GATHER": shapes.gather,
    "REDUCE_MAX": shapes.maximum,
    "SELECT": shapes.select,
    "SELECT_V2": shapes.select,
    "LOOP": loop.begin,
    "LOOP_END": loop.end,
    "PUT": loop.put,
}
INT8: dict[str, Emit] = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": int8.lstm,
    "MUL": int8.multiply,
    "ADD": int8.add,
    "SUB": int8.add,
    "FULLY_CONNECTED": int8.dense,
    "CONV_2D": int8.conv,
    "SOFTMAX": int8.softmax,
    "LOGISTIC": int8.activation,
    "TANH": int8.activation,
    "HARD_SWISH": int8.hard_swish,
    "LEAKY_RELU": int8.leaky_relu,
    "RELU": int8.relu,
    "SUM": int8.total,
    "MEAN": int8.total,
    "DEPTHWISE_CONV_2D": windows.depthwise,
    "AVERAGE_POOL_2D": windows.pool,
    "MAX_POOL_2D": windows.pool,
    "QUANTIZE": int8.requantize,
    "DEQUANTIZE": real.dequantize,
}
INT16: dict[str, Emit] = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": int8.lstm,
    "MUL": int8.multiply,
    "ADD": int8.add,
    "SUB": int8.add,
    "FULLY_CONNECTED": int16.dense,
    "SOFTMAX": int16.softmax,
    "QUANTIZE": int8.requantize,
    "DEQUANTIZE": real.dequantize,
    "LOGISTIC": int16.activation,
    "TANH": int16.activation,
    "RELU": int8.relu,
    "LEAKY_RELU": int8.leaky_relu,
    "MEAN": int8.total,
    "CONV_2D": windows.conv_int16,
    "DEPTHWISE_CONV_2D": windows.depthwise,
    "AVERAGE_POOL_2D": windows.pool,
    "MAX_POOL_2D": windows.pool,
}
FLOAT: dict[str, Emit] = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": real.lstm,
    "MUL": real.binary,
    "ADD": real.binary,
    "SUB": real.binary,
    "FULLY_CONNECTED": real.dense,
    "SOFTMAX": real.softmax,
    "CONV_2D": real.conv,
    "LOGISTIC": real.unary,
    "TANH": real.unary,
    "SQUARE": real.unary,
    "LOG": real.unary,
    "SUM": real.total,
    "MEAN": real.total,
    "MAXIMUM": real.binary,
    "MINIMUM": real.binary,
    "DIV": real.binary,
    "RELU": real.unary,
    "QUANTIZE": real.quantize,
    "NEG": real.unary,
    "HARD_SWISH": real.unary,
    "EXP": real.unary,
    "ELU": real.unary,
    "ABS": real.unary,
    "LEAKY_RELU": real.leaky_relu,
    "LESS": real.binary,
    "GREATER": real.binary,
    "GREATER_EQUAL": real.binary,
    "DEPTHWISE_CONV_2D": windows.depthwise_float,
    "AVERAGE_POOL_2D": windows.pool,
    "MAX_POOL_2D": windows.pool,
}
BY_TYPE = {"int8": INT8, "int16": INT16, "float32": FLOAT}
# Of int32, as a program computes token numbers; what does not fit wraps, as in the runtimes.
INT32 = {
    "ADD": "(int32_t)((uint32_t)l + (uint32_t)r)",
    "SUB": "(int32_t)((uint32_t)l - (uint32_t)r)",
    "MUL": "(int32_t)((uint32_t)l * (uint32_t)r)",
    "MINIMUM": "l < r ? l : r",
    "MAXIMUM": "l > r ? l : r",
    "FLOOR_MOD": "l % r != 0 && (l % r < 0) != (r < 0) ? l % r + r : l % r",
    "LESS": "(int8_t)(l < r)",
    "GREATER": "(int8_t)(l > r)",
    "EQUAL": "(int8_t)(l == r)",
    "NOT_EQUAL": "(int8_t)(l != r)",
}


def emit(program: Program, node: Node) -> None:
    """Append the C of one operator.

    Raises:
        ExportError: There is none for this operator or these types.
    """
    first = next((value for value in node.inputs if value is not None), None)
    kind = "" if first is None else first.dtype
    if node.kind in MOVES:
        MOVES[node.kind](program, node)
    elif node.kind in BY_TYPE.get(kind, ()):
        BY_TYPE[kind][node.kind](program, node)
    elif kind == "int32" and node.kind in INT32:
        _int32(program, node)
    else:
        raise ExportError(
            f"the C has no {node.kind} of {kind or 'no input'}: export the model in another precision (int8, int16x8, float32), "
            "or use the TFLM kit (formats=('c',))."
        )


def _int32(program: Program, node: Node) -> None:
    a, b, y = node.input(0), node.input(1), node.output
    if node.options.get("fusedActivationFunction"):
        raise ExportError(f"the C has no {node.kind} of int32 with an activation.")
    if node.kind == "FLOOR_MOD" and (b.data is None or (b.data == 0).any()):
        raise ExportError("the C has FLOOR_MOD by a constant other than 0 only.")
    name = program.use_binary(f"{node.kind.lower()}_int32", "int32", INT32[node.kind], y.dtype)
    places = f"{program.place(a)}, {program.place(b)}, {program.place(y)}"
    program.call(node, f"{name}({places}, {shapes.pair(program, node)});")
