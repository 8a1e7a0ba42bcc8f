"""Reading and writing .tflite files as objects of the schema."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_gates.edge.tflite import seal


def load(data: bytes) -> schema.ModelT:
    """Return the file as objects."""
    return schema.ModelT.InitFromPackedBuf(data, 0)


def dump(model: schema.ModelT) -> bytes:
    """Return the objects as a file."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def add_buffer(model: schema.ModelT, data: bytes) -> int:
    """Append a buffer and return its number."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def with_metadata(model: schema.ModelT, name: str, text: str) -> bytes:
    """Return the file with one metadata entry, sealed with its digest. `model` stays as it is.

    Args:
        model: The file as objects.
        name: Key of the entry.
        text: Its content.
    """
    entries, entry = model.metadata, schema.MetadataT()
    entry.name, entry.buffer = name.encode(), add_buffer(model, text.encode())
    model.metadata = [*(entries or []), entry]
    try:
        return seal(dump(model))
    finally:
        model.metadata = entries
        model.buffers.pop()
