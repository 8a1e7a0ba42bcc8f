"""float32 operators in C."""

from __future__ import annotations

import numpy as np

from keras_gates.exporting.c99.graph import Node, check_lstm
from keras_gates.exporting.c99.program import Program
from keras_gates.exporting.c99.shapes import axes_of, image_grid, pair
from keras_gates.exporting.report import ExportError

_LIMITS = {0: (-np.inf, np.inf), 1: (0.0, np.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}
_EXPRESSIONS = {"ADD": "l + r", "SUB": "l - r", "MUL": "l * r", "DIV": "l / r"}
_EXPRESSIONS |= {"MAXIMUM": "l > r ? l : r", "MINIMUM": "l < r ? l : r"}
_EXPRESSIONS |= {"LESS": "(int8_t)(l < r)", "GREATER": "(int8_t)(l > r)", "GREATER_EQUAL": "(int8_t)(l >= r)"}


def lstm(program: Program, node: Node) -> None:
    """UNIDIRECTIONAL_SEQUENCE_LSTM with float32 weights."""
    check_lstm(node)
    bias, kernel, recurrent = (
        np.concatenate([node.constant(i) for i in span]) for span in (range(12, 16), range(1, 5), range(5, 9))
    )
    units, inputs, number = recurrent.shape[1], kernel.shape[1], node.number
    columns = np.concatenate([bias[None], kernel.T, recurrent.T])
    weights = program.array(f"lstm_weights{number}", columns, "float")
    clip = f"{float(node.options['cellClip'])!r}f"
    model = program.struct(f"lstm{number}", "lstm_float_t", f"{weights}, {inputs}, {units}, {clip}")
    program.state += [f"float c{number}[{units}];", f"float h{number}[{units}];"]
    program.resets += [f"memset(s->{kind}{number}, 0, sizeof s->{kind}{number});" for kind in "ch"]
    x, y = program.place(node.input(0)), program.place(node.output)
    by_event = y == f"s->h{number}"
    memory = f"s->h{number}, s->c{number}, {program.scratch('float', (4 if by_event else 8) * units)}"
    if by_event:
        program.call(node, f"{program.use('lstm_step_float')}({model}, {x}, {memory});")
    else:
        program.use("lstm_steps_float")
        program.call(node, f"lstm_float({model}, {x}, {program.shape(node.input(0))[1]}, {memory}, {y});")


def binary(program: Program, node: Node) -> None:
    """ADD, SUB, MUL, DIV, MAXIMUM, MINIMUM and comparisons."""
    low, high = float_limits(node) if node.kind in ("ADD", "SUB", "MUL", "DIV") else ("-FLT_MAX", "FLT_MAX")
    expression, name = _EXPRESSIONS[node.kind], f"{node.kind.lower()}_float"
    if (low, high) != ("-FLT_MAX", "FLT_MAX"):
        program.use("clamp_float")
        expression = f"clamp_float({expression}, {low}, {high})"
        name += f"_{node.options['fusedActivationFunction']}"
    program.use_binary(name, "float32", expression, node.output.dtype)
    places = ", ".join(program.place(value) for value in (node.input(0), node.input(1), node.output))
    program.call(node, f"{name}({places}, {pair(program, node)});")


def dense(program: Program, node: Node) -> None:
    """FULLY_CONNECTED."""
    x, w, number = node.input(0), node.input(1), node.number
    units, inputs = w.shape
    given = len(node.inputs) > 2 and node.inputs[2] is not None
    weights = program.array(f"weights{number}", node.constant(1).T, "float")
    bias = program.array(f"bias{number}", node.constant(2) if given else np.zeros(units), "float")
    low, high = float_limits(node)
    model = program.struct(f"dense{number}", "dense_float_t", f"{weights}, {bias}, {inputs}, {units}, {low}, {high}")
    rows = program.size(x) // inputs
    program.call(
        node, f"{program.use('dense_float')}({model}, {program.place(x)}, {rows}, {program.place(node.output)});"
    )


def conv(program: Program, node: Node) -> None:
    """CONV_2D."""
    x, number, channels = node.input(0), node.number, len(node.constant(1))
    biased = len(node.inputs) > 2 and node.inputs[2] is not None
    weights = program.array(f"weights{number}", node.constant(1).transpose(1, 2, 3, 0), "float")
    bias = program.array(f"bias{number}", node.constant(2) if biased else np.zeros(channels), "float")
    low, high = float_limits(node)
    fields = f"{weights}, {bias}, {image_grid(node)}, {low}, {high}"
    model = program.struct(f"conv{number}", "conv_float_t", fields)
    images, call = program.shape(x)[0], program.use("conv_float")
    program.call(node, f"{call}({model}, {program.place(x)}, {images}, {program.place(node.output)});")


def softmax(program: Program, node: Node) -> None:
    """SOFTMAX over the last axis."""
    x, n = node.input(0), node.input(0).shape[-1]
    sizes = f"{float(node.options['beta'])!r}f, {program.size(x) // n}, {program.place(node.output)}, {n}"
    program.call(node, f"{program.use('softmax_float')}({program.place(x)}, {sizes});")


def total(program: Program, node: Node) -> None:
    """SUM and MEAN over neighbouring axes."""
    outer, middle, inner = axes_of(program, node)
    sizes = f"{outer}, {middle}, {inner}, {middle if node.kind == 'MEAN' else 1}.0f"
    places = program.place(node.input(0)), program.place(node.output)
    program.call(node, f"{program.use('sum_float')}({places[0]}, {sizes}, {places[1]});")


def unary(program: Program, node: Node) -> None:
    """LOGISTIC, TANH, SQUARE, LOG, RELU, NEG, HARD_SWISH, EXP, ELU and ABS."""
    x = node.input(0)
    call = program.use(f"{node.kind.lower()}_float")
    program.call(node, f"{call}({program.place(x)}, {program.size(x)}, {program.place(node.output)});")


def leaky_relu(program: Program, node: Node) -> None:
    """LEAKY_RELU."""
    x, alpha = node.input(0), f"{float(np.float32(node.options['alpha']))!r}f"
    call = program.use("leaky_float")
    program.call(node, f"{call}({program.place(x)}, {program.size(x)}, {alpha}, {program.place(node.output)});")


def dequantize(program: Program, node: Node) -> None:
    """DEQUANTIZE of int8 or int16."""
    x = node.input(0)
    call, scale = program.use(f"dequantize_{x.dtype}"), f"{float(x.scale)!r}f, {x.zero}"
    program.call(node, f"{call}({program.place(x)}, {program.size(x)}, {program.place(node.output)}, {scale});")


def quantize(program: Program, node: Node) -> None:
    """QUANTIZE to int8 or int16."""
    x, y = node.input(0), node.output
    if y.dtype not in ("int8", "int16"):
        raise ExportError(f"the C has QUANTIZE of float32 to int8 or int16 only, this file has {y.dtype}.")
    call, scale = program.use(f"quantize_{y.dtype}"), f"{float(y.scale)!r}f, {y.zero}"
    program.call(node, f"{call}({program.place(x)}, {program.size(x)}, {program.place(y)}, {scale});")


def float_limits(node: Node) -> tuple[str, str]:
    """Return the fused activation as C: FLT_MAX where it does not clamp.

    Raises:
        ExportError: It is none of ReLU, ReLU between -1 and 1, and ReLU6.
    """
    activation = node.options["fusedActivationFunction"]
    if activation not in _LIMITS:
        raise ExportError(
            f"the C has no {node.kind} with fused activation number {activation}; use a layer of its own for it."
        )
    low, high = _LIMITS[activation]
    return "-FLT_MAX" if np.isinf(low) else f"{low!r}f", "FLT_MAX" if np.isinf(high) else f"{high!r}f"
