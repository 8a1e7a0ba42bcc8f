"""The .tflite file after the converter: tensor names dropped, metadata put in, the same bytes for the same model."""

from __future__ import annotations

import copy

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_gates.edge.tflite import seal
from keras_gates.exporting.tflite.checks import FUSED, LTM, STATE, operator_name


def load(data: bytes) -> schema.ModelT:
    """The file as objects."""
    return schema.ModelT.InitFromPackedBuf(data, 0)


def dump(model: schema.ModelT) -> bytes:
    """The objects as a file."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def tidy(model: schema.ModelT, inputs: list[str], outputs: list[str]) -> None:
    """Drop what differs from run to run and what no runtime reads; put inputs and outputs in the order of the signature.

    The converter names tensors after TensorFlow's functions, whose numbers count up, and stamps the file with hashes of
    the SavedModel. Tensors that a signature names keep that name.
    """
    model.description = b"keras_gates"
    own_memories(model)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.name = b""
        for operator in graph.operators:
            if hasattr(operator.builtinOptions, "cellClip"):  # the converter clips LTM at ±10, Keras does not
                operator.builtinOptions.cellClip = 0.0
    for number, graph in enumerate(model.subgraphs):
        graph.name = b"main" if number == 0 else f"graph_{number}".encode()
    for signature in model.signatureDefs:
        graph = model.subgraphs[signature.subgraphIndex]
        graph.name = signature.signatureKey
        signature.inputs = sorted(signature.inputs, key=lambda port: inputs.index(port.name.decode()))
        signature.outputs = sorted(signature.outputs, key=lambda port: outputs.index(port.name.decode()))
        graph.inputs = [port.tensorIndex for port in signature.inputs]
        graph.outputs = [port.tensorIndex for port in signature.outputs]
        for port in (*signature.inputs, *signature.outputs):
            graph.tensors[port.tensorIndex].name = port.name
    kept = [entry for entry in model.metadata or [] if bytes(entry.name) == b"min_runtime_version"]
    dropped = {entry.buffer for entry in model.metadata or []} - {entry.buffer for entry in kept}
    for buffer in dropped:
        model.buffers[buffer].data = None
    model.metadata = kept


def own_memories(model: schema.ModelT) -> None:
    """Let every tensor that keeps a memory belong to one operator.

    The converter finds that an LSTM's empty memory and another tensor of zeros are the same (the start of a loop with as many
    units) and gives both one tensor. After the LSTM ran, it holds the LSTM's memory.
    """
    for graph in model.subgraphs:
        kept = set()
        for operator in graph.operators:
            operator.inputs = list(operator.inputs)
            for place, index in enumerate(operator.inputs):
                if index < 0 or not graph.tensors[index].isVariable:
                    continue
                keeps = place in (STATE, LTM) and operator_name(model, operator) == FUSED
                if keeps and index not in kept:
                    kept.add(index)
                    continue
                operator.inputs[place] = len(graph.tensors)
                graph.tensors.append(copy.deepcopy(graph.tensors[index]))
                if not keeps:
                    _make_zeros(model, graph.tensors[-1])


def _make_zeros(model: schema.ModelT, tensor: schema.TensorT) -> None:
    types = {schema.TensorType.FLOAT32: "float32", schema.TensorType.INT8: "int8", schema.TensorType.INT16: "int16"}
    points = tensor.quantization.zeroPoint if tensor.quantization is not None else None
    zero = int(points[0]) if points is not None and len(points) else 0
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.full(tensor.shape, zero, types[tensor.type]).tobytes(), np.uint8)
    tensor.isVariable, tensor.buffer = False, len(model.buffers)
    model.buffers.append(buffer)


def with_metadata(model: schema.ModelT, name: str, text: str) -> bytes:
    """The file with one metadata entry, sealed by its own digest."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(text.encode(), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = name.encode(), len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return seal(dump(model))
