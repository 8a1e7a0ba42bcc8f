"""Probabilities of an int8 file in 16 bits: its last softmax or sigmoid writes int16."""

from __future__ import annotations

import copy

from ai_edge_litert import schema_py_generated as schema

from keras_gates.exporting.tflite.checks import operator_name

ACTIVATIONS = {"SOFTMAX": "softmax", "LOGISTIC": "sigmoid"}
_MOVING = ("RESHAPE", "STRIDED_SLICE", "SQUEEZE", "EXPAND_DIMS")  # TFLM runs them in 16 bits too
_SCALES = {"SOFTMAX": (2.0**-16, -32768), "LOGISTIC": (2.0**-15, 0)}  # which the kernels demand
_FINER = 128  # counts of int16 per count of int8: the differences from -255 to 255 fit, and none is rounded
_VERSIONS = {"SOFTMAX": 3, "LOGISTIC": 3, "QUANTIZE": 2}  # the first with int16
_TYPE = schema.TensorType


def activation_of(model: schema.ModelT, output: str) -> str | None:
    """Return "softmax" or "sigmoid" if that is what an output of the file's signature holds, else None.

    Args:
        model: The file.
        output: The output's name in the signature.
    """
    path = _path(model, _port(model, output).tensorIndex, (*_MOVING, "DEQUANTIZE"))
    return ACTIVATIONS[operator_name(model, path[0])] if path else None


def widen(model: schema.ModelT, output: str) -> None:
    """Let the softmax or sigmoid behind an output write int16, if it reads and writes int8; another output stays as it is.

    So does one in float: DEQUANTIZE takes no int16 with a zero point.

    Args:
        model: The file, changed in place.
        output: The output's name in the signature.
    """
    graph, port = model.subgraphs[0], _port(model, output)
    path = _path(model, port.tensorIndex, _MOVING)
    if not path or any(graph.tensors[i].type != _TYPE.INT8 for i in (path[0].inputs[0], path[0].outputs[0])):
        return
    if _has_other_readers(model, path, output):
        path = _copied(model, path)
        place = list(graph.outputs).index(port.tensorIndex)
        port.tensorIndex = path[-1].outputs[0]
        graph.outputs = [*graph.outputs[:place], port.tensorIndex, *graph.outputs[place + 1 :]]
    name = operator_name(model, path[0])
    scale, zero = _SCALES[name]
    for operator in path:
        tensor = graph.tensors[operator.outputs[0]]
        if tensor.type == _TYPE.INT8:
            tensor.type, tensor.quantization.scale, tensor.quantization.zeroPoint = _TYPE.INT16, [scale], [zero]
    _at_least(model, path[0].opcodeIndex, name)
    if name == "LOGISTIC":  # its kernel takes one type only; the softmax reads int8 and writes int16
        _insert_quantize(model, path[0])


def _port(model: schema.ModelT, output: str) -> schema.TensorMapT:
    return next(port for port in model.signatureDefs[0].outputs if port.name.decode() == output)


def _path(model: schema.ModelT, tensor: int, moving: tuple[str, ...]) -> list[schema.OperatorT]:
    """The operators from a softmax or sigmoid to a tensor, of which the others only move numbers; empty if there is none."""
    path: list[schema.OperatorT] = []
    makers = {index: each for each in model.subgraphs[0].operators for index in each.outputs}
    while tensor in makers:
        path.insert(0, makers[tensor])
        name = operator_name(model, path[0])
        if name in ACTIVATIONS:
            return path
        if name not in moving:
            return []
        tensor = path[0].inputs[0]
    return []


def _has_other_readers(model: schema.ModelT, path: list[schema.OperatorT], output: str) -> bool:
    made = {operator.outputs[0] for operator in path}
    inside = {id(operator) for operator in path}
    readers = [each for each in model.subgraphs[0].operators if id(each) not in inside and made & set(each.inputs)]
    ports = model.signatureDefs[0].outputs
    return bool(readers) or any(port.tensorIndex in made and port.name.decode() != output for port in ports)


def _copied(model: schema.ModelT, path: list[schema.OperatorT]) -> list[schema.OperatorT]:
    """The same operators once more, at the end of the graph, with tensors of their own."""
    graph, copies = model.subgraphs[0], copy.deepcopy(path)
    for number, operator in enumerate(copies):
        if number:
            operator.inputs = [copies[number - 1].outputs[0], *operator.inputs[1:]]
        graph.tensors.append(copy.deepcopy(graph.tensors[operator.outputs[0]]))
        operator.outputs = [len(graph.tensors) - 1]
    graph.operators.extend(copies)
    return copies


def _insert_quantize(model: schema.ModelT, reader: schema.OperatorT) -> None:
    """Give an operator its first input in 16 bits, each count of 8 bits as 128 counts around zero."""
    graph, source = model.subgraphs[0], reader.inputs[0]
    wide = copy.deepcopy(graph.tensors[source])
    wide.type, wide.buffer = _TYPE.INT16, 0
    wide.quantization.scale = [float(wide.quantization.scale[0]) / _FINER]
    wide.quantization.zeroPoint = [0]
    graph.tensors.append(wide)
    operator = schema.OperatorT()
    operator.opcodeIndex = _code(model, "QUANTIZE")
    operator.inputs, operator.outputs = [source], [len(graph.tensors) - 1]
    reader.inputs = [len(graph.tensors) - 1, *reader.inputs[1:]]
    graph.operators.insert(next(i for i, each in enumerate(graph.operators) if each is reader), operator)


def _code(model: schema.ModelT, name: str) -> int:
    number = getattr(schema.BuiltinOperator, name)
    numbers = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    if number not in numbers:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = number  # below 127: the earlier field holds it too
        code.version = 1
        model.operatorCodes.append(code)
        numbers.append(number)
    _at_least(model, numbers.index(number), name)
    return numbers.index(number)


def _at_least(model: schema.ModelT, index: int, name: str) -> None:
    code = model.operatorCodes[index]
    code.version = max(code.version, _VERSIONS[name])
