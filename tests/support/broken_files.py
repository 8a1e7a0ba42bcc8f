"""Deliberately broken copies of a .tflite file: each has one defect that a faulty converter could make."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_gates.edge.tflite import seal
from keras_gates.exporting.tflite import flatbuffer
from keras_gates.exporting.tflite.checks import FUSED, operator_name

_TYPES = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.INT8: np.int8, schema.TensorType.FLOAT16: np.float16}
_WEIGHTED = (FUSED, "FULLY_CONNECTED", "BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "GATHER", "DEQUANTIZE")
_RECURRENT = (5, 6, 7, 8)
_FORGET, _USE = (2, 6, 13), (4, 8, 15)


def broken_files(data: bytes, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield pairs of a defect and the broken file.

    Args:
        data: A file that `export` wrote.
        seed: Which weight is chosen.
    """
    for defect in (
        _sign, _shuffled, _scale, _swapped, _forgetful, _noise, _zero_point, _output_scale, _bias, _activation, _operands,
        _clipped,
    ):  # fmt: skip
        model = flatbuffer.load(data)
        if defect(model, np.random.default_rng(seed)):
            yield defect.__name__.strip("_"), seal(flatbuffer.dump(model))


def _weights(model: schema.ModelT) -> list[schema.TensorT]:
    tensors = []
    for graph in model.subgraphs:
        for operator in graph.operators:
            if operator_name(model, operator) in _WEIGHTED:
                inputs = [graph.tensors[i] for i in operator.inputs if i >= 0]
                tensors += [
                    x
                    for x in inputs
                    if x.type in _TYPES
                    and len(x.shape) > 1
                    and model.buffers[x.buffer].data is not None
                    and not x.isVariable
                ]
    return tensors


def _change(model: schema.ModelT, tensor: schema.TensorT, function) -> None:
    buffer, kind = model.buffers[tensor.buffer], _TYPES[tensor.type]
    values = np.frombuffer(bytes(buffer.data), kind)
    buffer.data = np.frombuffer(function(values).astype(kind).tobytes(), np.uint8)


def _chosen(model: schema.ModelT, random: np.random.Generator) -> schema.TensorT | None:
    weights = _weights(model)
    return weights[random.integers(len(weights))] if weights else None


def _sign(model: schema.ModelT, random: np.random.Generator) -> bool:
    tensor = _chosen(model, random)
    if tensor is not None:
        _change(model, tensor, lambda x: np.clip(-x.astype(np.float32), -127 if x.dtype == np.int8 else -np.inf, None))
    return tensor is not None


def _shuffled(model: schema.ModelT, random: np.random.Generator) -> bool:
    tensor = _chosen(model, random)
    if tensor is not None:
        _change(model, tensor, random.permutation)
    return tensor is not None


def _scale(model: schema.ModelT, random: np.random.Generator) -> bool:
    tensor = _chosen(model, random)
    if tensor is None:
        return False
    if tensor.type == schema.TensorType.INT8:
        tensor.quantization.scale = [2 * float(x) for x in tensor.quantization.scale]
    else:
        _change(model, tensor, lambda x: 2 * x)
    return True


def _fused(model: schema.ModelT) -> list[schema.OperatorT]:
    return [each for graph in model.subgraphs for each in graph.operators if operator_name(model, each) == FUSED]


def _swapped(model: schema.ModelT, random: np.random.Generator) -> bool:
    for operator in _fused(model):
        operator.inputs = list(operator.inputs)
        for one, other in zip(_FORGET, _USE):
            operator.inputs[one], operator.inputs[other] = operator.inputs[other], operator.inputs[one]
    return bool(_fused(model))


def _forgetful(model: schema.ModelT, random: np.random.Generator) -> bool:
    """The hidden state is lost after every time step."""
    tensors = [
        graph.tensors[operator.inputs[place]]
        for graph in model.subgraphs
        for operator in graph.operators
        if operator_name(model, operator) == FUSED
        for place in _RECURRENT
    ]
    stored = [tensor for tensor in tensors if model.buffers[tensor.buffer].data is not None]
    for tensor in stored:
        _change(model, tensor, np.zeros_like)
    return bool(stored)


def _noise(model: schema.ModelT, random: np.random.Generator) -> bool:
    """A tenth of the bytes of some weights are others."""
    tensor = _chosen(model, random)
    if tensor is None:
        return False
    buffer = model.buffers[tensor.buffer]
    values = np.array(buffer.data, np.uint8)
    size = np.dtype(_TYPES[tensor.type]).itemsize
    # of floats the byte with the sign and the exponent's first bits, which stays finite
    places = random.choice(np.arange(size - 1, len(values), size), max(len(values) // size // 10, 1), replace=False)
    values[places] = random.integers(0, 256 if size == 1 else 0x40, len(places)) | (
        random.integers(2, size=len(places)) << 7
    )
    buffer.data = values
    return True


def _activations(model: schema.ModelT) -> list[schema.TensorT]:
    """The integer tensors that operators compute."""
    return [
        graph.tensors[i]
        for graph in model.subgraphs
        for operator in graph.operators
        for i in operator.outputs
        if graph.tensors[i].type == schema.TensorType.INT8
    ]


def _zero_point(model: schema.ModelT, random: np.random.Generator) -> bool:
    tensors = [x for x in _activations(model) if x.quantization is not None and x.quantization.zeroPoint is not None]
    if tensors:
        quantization = tensors[random.integers(len(tensors))].quantization
        quantization.zeroPoint = [int(x) + (40 if x < 40 else -40) for x in quantization.zeroPoint]
    return bool(tensors)


def _output_scale(model: schema.ModelT, random: np.random.Generator) -> bool:
    graph = model.subgraphs[0]
    tensors = [
        graph.tensors[i]
        for i in graph.outputs
        if graph.tensors[i].type in (schema.TensorType.INT8, schema.TensorType.INT16)
    ]
    for tensor in tensors:
        tensor.quantization.scale = [2 * float(x) for x in tensor.quantization.scale]
    return bool(tensors)


def _bias(model: schema.ModelT, random: np.random.Generator) -> bool:
    """A bias is added to the next channel."""
    kinds = {
        schema.TensorType.FLOAT32: np.float32,
        schema.TensorType.INT32: np.int32,
        schema.TensorType.INT64: np.int64,
    }
    tensors = []
    for graph in model.subgraphs:
        for operator in graph.operators:
            name = operator_name(model, operator)
            places = (12, 13, 14, 15) if name == FUSED else (2,) if name in _WEIGHTED else ()
            inputs = [
                graph.tensors[operator.inputs[i]]
                for i in places
                if i < len(operator.inputs) and operator.inputs[i] >= 0
            ]
            tensors += [x for x in inputs if x.type in kinds and model.buffers[x.buffer].data is not None]
    if not tensors:
        return False
    tensor = tensors[random.integers(len(tensors))]
    buffer = model.buffers[tensor.buffer]
    values = np.frombuffer(bytes(buffer.data), kinds[tensor.type])
    buffer.data = np.frombuffer(np.roll(values, 1).tobytes(), np.uint8)
    return bool((values != np.roll(values, 1)).any())


def _activation(model: schema.ModelT, random: np.random.Generator) -> bool:
    """A logistic function in the place of a tanh, or a layer without its relu."""
    codes = {operator_name(model, each): each.opcodeIndex for graph in model.subgraphs for each in graph.operators}
    operators = [each for graph in model.subgraphs for each in graph.operators]
    if {"TANH", "LOGISTIC"} <= set(codes):
        chosen = [each for each in operators if each.opcodeIndex == codes["TANH"]]
        chosen[random.integers(len(chosen))].opcodeIndex = codes["LOGISTIC"]
        return True
    relu = schema.ActivationFunctionType.RELU
    chosen = [each for each in operators if getattr(each.builtinOptions, "fusedActivationFunction", 0) == relu]
    for each in chosen:
        each.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.NONE
    return bool(chosen)


def _operands(model: schema.ModelT, random: np.random.Generator) -> bool:
    """A difference with its operands exchanged."""
    chosen = [
        each
        for graph in model.subgraphs
        for each in graph.operators
        if operator_name(model, each) == "SUB" and graph.tensors[each.outputs[0]].type != schema.TensorType.INT32
    ]
    for each in chosen:
        each.inputs = list(each.inputs)[::-1]
    return bool(chosen)


def _clipped(model: schema.ModelT, random: np.random.Generator) -> bool:
    """The fused operator clips the cell state."""
    for operator in _fused(model):
        operator.builtinOptions.cellClip = 0.1
    return bool(_fused(model))
