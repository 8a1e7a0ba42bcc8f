"""What is inside a .tflite file: operators by count, what must not be there, scales that must be equal."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_gates.edge.tflite import TFLite
from keras_gates.exporting.report import ExportError

FUSED = "UNIDIRECTIONAL_SEQUENCE_LSTM"
STATE, LTM, HIDDEN = (
    18,
    19,
    4,
)  # inputs with STM and LTM of the fused operator, and its intermediate with the hidden state
MOVING = ("REVERSE_V2", "GATHER", "PAD", "STRIDED_SLICE", "RESHAPE", "TRANSPOSE", "SLICE")  # they change no number
_NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
_ITEM_BYTES = {"int8": 1, "uint8": 1, "bool": 1, "int16": 2, "float16": 2, "int64": 8}


def count_operators(file: TFLite) -> dict[str, int]:
    """Return operator name → count, most frequent first."""
    counts = Counter(operator.name for graph in file.subgraphs for operator in graph.operators)
    return dict(counts.most_common())


def check_builtin(file: TFLite) -> None:
    """Check that a stock LiteRT has all operators.

    Raises:
        ExportError: it lacks some.
    """
    foreign = [name for name in count_operators(file) if name.startswith(("Flex", "CUSTOM", "custom"))]
    if foreign:
        raise ExportError(f"the file would need operators that a stock LiteRT lacks: {', '.join(foreign)}.")


def float_operators(file: TFLite) -> dict[str, int]:
    """Return the operators that compute in float: name → count."""
    counts: Counter[str] = Counter()
    for graph in file.subgraphs:
        for operator in graph.operators:
            if any(graph.tensors[i].dtype == "float32" for i in (*operator.inputs, *operator.outputs) if i >= 0):
                counts[operator.name] += 1
    return dict(counts)


def ram_bytes(file: TFLite) -> int:
    """Return the bytes of all tensors that are not constants, an upper bound: the runtime lets some share memory."""
    return sum(
        int(np.prod(tensor.shape, dtype=np.int64)) * _ITEM_BYTES.get(tensor.dtype, 4)
        for graph in file.subgraphs
        for tensor in graph.tensors
        if not tensor.constant_bytes
    )


def check_scales(model: schema.ModelT) -> None:
    """Check that memory, hidden state and output of every fused LSTM have one scale, and that what moves numbers keeps it.

    Raises:
        ExportError: the quantizer tied an output to another tensor's scale; the file would silently return wrong results.
    """
    for graph in model.subgraphs:
        for operator in graph.operators:
            name = operator_name(model, operator)
            if name == FUSED:
                tied = [operator.inputs[STATE], operator.intermediates[HIDDEN], operator.outputs[0]]
            elif name in MOVING:
                tied = [operator.inputs[0], operator.outputs[0]]
            else:
                continue
            scales = [scale for scale in (_scale(graph.tensors[i]) for i in tied) if scale is not None]
            if len(scales) < len(tied):
                continue
            first = scales[0]
            if not all(math.isclose(scale[0], first[0], rel_tol=1e-5) and scale[1] == first[1] for scale in scales):
                raise ExportError(
                    f"{name} has the scales {[scale[0] for scale in scales]}: the quantizer tied an output to what it is "
                    "joined with, and the file would return wrong results. Join tensors with keras.layers.Concatenate, Maximum "
                    "or Stack layers (the export guards those), not inside a custom layer."
                )


def operator_name(model: schema.ModelT, operator: schema.OperatorT) -> str:
    """Return the builtin operator's name, as in the schema."""
    code = model.operatorCodes[operator.opcodeIndex]
    return _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]


def _scale(tensor: schema.TensorT) -> tuple[float, int] | None:
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or len(quantization.scale) != 1:
        return None
    return float(quantization.scale[0]), int(quantization.zeroPoint[0])
