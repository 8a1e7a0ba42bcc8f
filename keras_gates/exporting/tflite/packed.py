"""A finished int8 file with two weights per byte: the schema's INT4, which `keras_gates.edge` and the C read."""

from __future__ import annotations

import json

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_gates.edge.packed import unpacked
from keras_gates.edge.tflite import METADATA_NAME, seal
from keras_gates.exporting.report import ExportError
from keras_gates.exporting.tflite.flatbuffer import dump, load

_LARGEST = 7  # of `quantize_aware(precision="int4")`
_TYPE = schema.TensorType


def packed(data: bytes) -> bytes:
    """Return a sealed int8 file with its matrices from -7 to 7 as INT4, and "int4" as the precision in its metadata.

    Args:
        data: Bytes of a file of `export`.

    Raises:
        ExportError: No matrix of the file has such numbers only.
    """
    model = load(data)
    before: dict[int, np.ndarray] = {}
    for buffer, tensors in _by_buffer(model).items():
        stored = np.frombuffer(bytes(model.buffers[buffer].data), np.int8)
        if all(_is_matrix(tensor) for tensor in tensors) and np.abs(stored.astype(np.int16)).max() <= _LARGEST:
            before[buffer] = stored
            model.buffers[buffer].data = _halves(stored)
            for tensor in tensors:
                tensor.type = _TYPE.INT4
    if not before:
        raise ExportError(
            "precision='int4': no matrix of the file fits into 4 bits; train with quantize_aware(model, 'int4')."
        )
    _name_precision(model)
    result = seal(dump(model))
    _check(result, before)
    return result


def _by_buffer(model: schema.ModelT) -> dict[int, list[schema.TensorT]]:
    """The tensors of each buffer that has content."""
    result: dict[int, list[schema.TensorT]] = {}
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        content = model.buffers[tensor.buffer].data
        if content is not None and len(content):
            result.setdefault(tensor.buffer, []).append(tensor)
    return result


def _is_matrix(tensor: schema.TensorT) -> bool:
    return tensor.type == _TYPE.INT8 and len(tensor.shape) > 1 and not tensor.isVariable


def _halves(stored: np.ndarray) -> np.ndarray:
    """Two numbers per byte, the first in its lower half."""
    pairs = np.concatenate([stored, np.zeros(len(stored) % 2, np.int8)]).view(np.uint8).reshape(-1, 2)
    return pairs[:, 0] & 15 | pairs[:, 1] << 4


def _name_precision(model: schema.ModelT) -> None:
    entry = next(entry for entry in model.metadata if entry.name.decode() == METADATA_NAME)
    facts = json.loads(bytes(model.buffers[entry.buffer].data))
    text = json.dumps({**facts, "digest": "0" * 64, "precision": "int4"}, ensure_ascii=False, separators=(",", ":"))
    model.buffers[entry.buffer].data = np.frombuffer(text.encode(), np.uint8)


def _check(data: bytes, before: dict[int, np.ndarray]) -> None:
    """Check that what the device reads are the numbers that were verified."""
    after = load(unpacked(data))
    for buffer, stored in before.items():
        if bytes(after.buffers[buffer].data) != stored.tobytes():
            raise ExportError("the packed weights differ from those of the int8 file; report this model.")
