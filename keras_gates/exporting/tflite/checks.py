"""What is inside a .tflite file: operators by count, what must not be there, scales that must be equal."""

from __future__ import annotations

import copy
import math
from collections import Counter

from ai_edge_litert import schema_py_generated as schema

from keras_gates.edge.tflite import TFLite
from keras_gates.exporting.report import ExportError

FUSED = "UNIDIRECTIONAL_SEQUENCE_LSTM"
STATE, LTM, HIDDEN = 18, 19, 4
_MOVING = ("REVERSE_V2", "GATHER", "PAD", "STRIDED_SLICE", "RESHAPE", "TRANSPOSE")
_NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def count_operators(file: TFLite) -> dict[str, int]:
    """Operator name → how often, most frequent first."""
    counts = Counter(operator.name for graph in file.subgraphs for operator in graph.operators)
    return dict(counts.most_common())


def check_builtin(file: TFLite) -> None:
    """Raises ExportError where the file needs more than a stock LiteRT."""
    foreign = [name for name in count_operators(file) if name.startswith(("Flex", "CUSTOM", "custom"))]
    if foreign:
        raise ExportError(f"the file would need operators that a stock LiteRT lacks: {', '.join(foreign)}.")


def float_operators(file: TFLite) -> dict[str, int]:
    """Operators that compute in float: name → how often."""
    counts: Counter[str] = Counter()
    for graph in file.subgraphs:
        for operator in graph.operators:
            if any(graph.tensors[i].dtype == "float32" for i in (*operator.inputs, *operator.outputs) if i >= 0):
                counts[operator.name] += 1
    return dict(counts)


def check_scales(model: schema.ModelT) -> None:
    """Every fused LSTM's memory, hidden and output must have one scale, and what only moves numbers must keep it.

    Raises:
        ExportError: the quantizer tied an output to another tensor's scale; the numbers would be wrong in silence.
    """
    for graph in model.subgraphs:
        for operator in graph.operators:
            name = operator_name(model, operator)
            if name == FUSED:
                tied = [operator.inputs[STATE], operator.intermediates[HIDDEN], operator.outputs[0]]
            elif name in _MOVING:
                tied = [operator.inputs[0], operator.outputs[0]]
            else:
                continue
            scales = [_scale(graph.tensors[i]) for i in tied]
            if any(scale is None for scale in scales):
                continue
            first = scales[0]
            if not all(math.isclose(scale[0], first[0], rel_tol=1e-5) and scale[1] == first[1] for scale in scales):
                raise ExportError(
                    f"{name} has the scales {[scale[0] for scale in scales]}: the quantizer tied an output to what it is "
                    "joined with, and the file would be wrong. Join tensors with keras.layers.Concatenate, Maximum or "
                    "Stack layers (the export guards those), not inside a layer of your own."
                )


def give_memories_their_scale(model: schema.ModelT) -> None:
    """Give every fused LSTM's STM input the scale of what the LSTM puts there.

    Where the model holds other zeros of that shape, the converter takes the memory for the same constant and calibrates that.
    """
    for graph in model.subgraphs:
        for operator in graph.operators:
            if operator_name(model, operator) == FUSED:
                hidden = graph.tensors[operator.intermediates[HIDDEN]]
                graph.tensors[operator.inputs[STATE]].quantization = copy.deepcopy(hidden.quantization)


def keep_ltm_in_range(model: schema.ModelT, steps: int | None) -> None:
    """Give every fused LSTM's int16 LTM a scale that the kernels can compute with.

    The converter takes the power of two that covers the calibrated range. The kernels' tanh has 0 to 6 integer bits only,
    scales 2^-15 to 2^-9; for an LTM that stays under 0.5 the converter writes 2^-16, and the answers are wrong in silence.
    It also calibrates with an LTM clipped at 10: what comes near, 2^-11, may have been more, by at most 1 a step.

    Args:
        steps: of a sequence; None where it has no end.
    """
    most = 2.0**-15 * 2 ** math.ceil(math.log2(min(steps or 64, 64)))
    for graph in model.subgraphs:
        for operator in graph.operators:
            if operator_name(model, operator) == FUSED:
                quantization = graph.tensors[operator.inputs[LTM]].quantization
                if quantization is not None and quantization.scale is not None and len(quantization.scale):
                    scale = float(quantization.scale[0])
                    quantization.scale = [max(scale, 2.0**-15, most if scale >= 2.0**-11 else 0.0)]


def operator_name(model: schema.ModelT, operator: schema.OperatorT) -> str:
    """The builtin operator's name, as in the schema."""
    code = model.operatorCodes[operator.opcodeIndex]
    return _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]


def _scale(tensor: schema.TensorT) -> tuple[float, int] | None:
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or len(quantization.scale) != 1:
        return None
    return float(quantization.scale[0]), int(quantization.zeroPoint[0])
