"""The .tflite file after the converter: tensor names dropped, metadata put in, the same bytes for the same model."""

from __future__ import annotations

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from keras_gates.edge.tflite import seal


def load(data: bytes) -> schema.ModelT:
    """The file as objects."""
    return schema.ModelT.InitFromPackedBuf(data, 0)


def dump(model: schema.ModelT) -> bytes:
    """The objects as a file."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def tidy(model: schema.ModelT, order: tuple[list[str], list[str]]) -> None:
    """Drop what differs from run to run and what no runtime reads; put inputs and outputs in the order of the signature.

    The converter names tensors after TensorFlow's functions, whose numbers count up, and stamps the file with hashes of
    the SavedModel. Tensors that a signature names keep that name.
    """
    model.description = b"keras_gates"
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.name = b""
    for number, graph in enumerate(model.subgraphs):
        graph.name = b"main" if number == 0 else f"graph_{number}".encode()
    for signature in model.signatureDefs:
        graph = model.subgraphs[signature.subgraphIndex]
        graph.name = signature.signatureKey
        for ports, kind in ((signature.inputs, "inputs"), (signature.outputs, "outputs")):
            names = order[kind == "outputs"]
            ports = sorted(ports, key=lambda port: names.index(port.name.decode()) if port.name.decode() in names else 0)
            setattr(signature, kind, ports)
            setattr(graph, kind, [port.tensorIndex for port in ports])
            for port in ports:
                graph.tensors[port.tensorIndex].name = port.name
    kept = [entry for entry in model.metadata or [] if bytes(entry.name) == b"min_runtime_version"]
    dropped = {entry.buffer for entry in model.metadata or []} - {entry.buffer for entry in kept}
    for buffer in dropped:
        model.buffers[buffer].data = None
    model.metadata = kept


def with_metadata(model: schema.ModelT, name: str, text: str) -> bytes:
    """The file with one metadata entry, sealed by its own digest."""
    buffer = schema.BufferT()
    buffer.data = list(text.encode())
    entry = schema.MetadataT()
    entry.name, entry.buffer = name.encode(), len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return seal(dump(model))
