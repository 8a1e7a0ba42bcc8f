"""Files with two weights per byte: LiteRT has no LSTM of INT4, so their weights become INT8 when they are loaded."""

from __future__ import annotations

import math
import struct

import numpy as np

from keras_gates.edge.flatbuffer import EdgeError, Table, unpack, within
from keras_gates.edge.schema import TYPES
from keras_gates.edge.tflite import read, seal

_INT4, _INT8 = TYPES.index("int4"), TYPES.index("int8")
_ALIGNED = 16  # bytes, of a buffer by the schema


def unpacked(data: bytes) -> bytes:
    """Return a ``.tflite`` whose INT4 constants are INT8; one that has none as it is.

    The numbers stay the same. Only the tensors' types change; their new buffers are appended to the file, and its checksum is
    renewed if it was right.

    Args:
        data: Bytes of a file.

    Raises:
        EdgeError: An INT4 tensor is no constant, or its bytes do not fit its shape.
    """
    model = Table(data, unpack(data, "<I", 0))
    buffers, result, written = model.tables(4), bytearray(data), set()
    for tensor in (tensor for graph in model.tables(2) for tensor in graph.tables(0)):
        if tensor.number(1, "<b") != _INT4:
            continue
        number, count = within(tensor.number(2, "<I"), len(buffers), "buffer"), math.prod(tensor.numbers(0, "i"))
        start, length = buffers[number].span(0, 1)
        if length != (count + 1) // 2 or not length:
            raise EdgeError(
                f"tensor {tensor.text(3)!r} has {count} numbers of 4 bits in {length} bytes: expected a constant of "
                f"{(count + 1) // 2} bytes; the file is damaged or of another program."
            )
        struct.pack_into("<b", result, tensor.place(1, 1) or 0, _INT8)
        if number not in written:
            written.add(number)
            _append(result, buffers[number], _numbers(data[start : start + length], count))
    if not written:
        return data
    return seal(bytes(result)) if read(data).sealed else bytes(result)


def _numbers(packed: bytes, count: int) -> np.ndarray:
    """Return the numbers of the schema's INT4: the first in the lower half of a byte."""
    stored = np.frombuffer(packed, np.uint8)
    return np.stack([(stored << 4).view(np.int8) >> 4, stored.view(np.int8) >> 4], 1).reshape(-1)[:count]


def _append(file: bytearray, buffer: Table, numbers: np.ndarray) -> None:
    """Append a buffer's new content and let the buffer refer to it."""
    file += bytes(-(len(file) + 4) % _ALIGNED)
    place = buffer.place(0)
    assert place is not None  # it has content
    struct.pack_into("<I", file, place, len(file) - place)
    file += struct.pack("<I", len(numbers)) + numbers.tobytes()
