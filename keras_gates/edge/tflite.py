"""Reading, checking and sealing a ``.tflite`` file in plain Python, with the standard library alone.

LiteRT maps a file into memory and follows the offsets in it; a damaged file can crash the process. `read` follows the same
offsets first and raises `EdgeError` if one leads outside the file, if an index names a missing tensor, or if the size of a
constant contradicts its shape. Operator options and kernels are left to LiteRT: `EdgeModel` runs files without a checksum
in a subprocess first.

Layout: https://flatbuffers.dev/internals, schema ``tflite/schema.fbs`` of LiteRT (file identifier ``TFL3``).
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

from keras_gates.edge.flatbuffer import EdgeError as EdgeError  # other modules take it from here
from keras_gates.edge.flatbuffer import Table, unpack, within
from keras_gates.edge.schema import ITEM_BYTES, OPERATORS, TYPES

METADATA_NAME = "keras_gates"
_BLANK, _DIGEST_KEY = b"0" * 64, b'{"digest":"'
_CUSTOM = 32


@dataclass(frozen=True)
class Tensor:
    """One tensor of a graph.

    Attributes:
        index: Its number in the graph.
        name: Its name.
        shape: Its shape as converted.
        signature: Its shape with -1 for axes that may vary.
        dtype: Its type by NumPy's name.
        scale: Quantization step; None for tensors that are not quantized, or quantized per channel.
        zero_point: Stored value of zero.
        variable: Whether it keeps its value between calls.
        constant_bytes: Size of its constant in the file; 0 if it is computed.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int
    variable: bool
    constant_bytes: int

    @property
    def bytes(self) -> int:
        """Its size in memory in bytes, in the shape it was converted with."""
        return math.prod(self.shape) * ITEM_BYTES.get(self.dtype, 1)


@dataclass(frozen=True)
class Operator:
    """One operator of a graph.

    Attributes:
        name: Name as in the schema, or of the custom operator.
        inputs, outputs, intermediates: Tensor indices; -1 is an absent optional input.
        version: Version of the operator.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...]
    version: int


@dataclass(frozen=True)
class Subgraph:
    """One graph.

    Attributes:
        name: Its name.
        tensors: Its tensors.
        operators: Its operators in the order of execution.
        inputs, outputs: Tensor indices.
    """

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """A named entry point of a file.

    Attributes:
        key: Its name.
        subgraph: Number of the graph that it runs.
        inputs, outputs: Tensor index by name.
    """

    key: str
    subgraph: int
    inputs: dict[str, int]
    outputs: dict[str, int]


@dataclass(frozen=True)
class TFLite:
    """What `read` returns.

    Attributes:
        size: Bytes of the file.
        description: The description field of the schema.
        subgraphs: Its graphs.
        signatures: Its signatures by name.
        metadata: Its metadata entries by name.
        sealed: True if the file is as `seal` wrote it, False if it changed since, None if it has no checksum.
    """

    size: int
    description: str
    subgraphs: tuple[Subgraph, ...]
    signatures: dict[str, Signature]
    metadata: dict[str, bytes]
    sealed: bool | None


def read(data: bytes) -> TFLite:
    """Parse and check the bytes of a ``.tflite`` file.

    Args:
        data: The bytes.

    Raises:
        EdgeError: Not a ``.tflite`` file, cut short, or damaged; the message has the position.

    Example:

    >>> file = read(open("model.tflite", "rb").read())  # doctest: +SKIP
    >>> [operator.name for operator in file.subgraphs[0].operators]  # doctest: +SKIP
    ['UNIDIRECTIONAL_SEQUENCE_LSTM', 'FULLY_CONNECTED', 'SOFTMAX']
    """
    if len(data) < 16:
        raise EdgeError(f"expected a .tflite file, got {len(data)} bytes: the file is empty or was cut short.")
    if data[4:8] != b"TFL3":
        raise EdgeError(
            f"expected a .tflite file (identifier b'TFL3' at byte 4), got {data[4:8]!r}: another kind of file."
        )
    model = Table(data, unpack(data, "<I", 0))
    version = model.number(0, "<I")
    if version != 3:
        raise EdgeError(f"expected version 3 of the .tflite schema, got {version}.")
    codes = [_operator_code(table) for table in model.tables(1)]
    buffers = [_buffer(table) for table in model.tables(4)]
    subgraphs = tuple(_subgraph(table, codes, buffers) for table in model.tables(2))
    if not subgraphs:
        raise EdgeError("the file contains no graph to run.")
    entries = {}
    for table in model.tables(6):
        start, length = buffers[within(table.number(1, "<I"), len(buffers), "metadata buffer")]
        entries[table.text(0)] = bytes(data[start : start + length])
    signatures = {table.text(2): _signature(table, subgraphs) for table in model.tables(7)}
    return TFLite(len(data), model.text(3), subgraphs, signatures, entries, _seal_holds(data))


def seal(data: bytes) -> bytes:
    """Return the file with its SHA-256 in its own metadata, so that the device detects damage before it runs the file.

    The checksum is computed with its 64 characters set to ``0``; the length and every other byte stay.

    Args:
        data: Bytes of a file whose metadata has a place for the checksum.

    Raises:
        EdgeError: No metadata entry begins with ``{"digest":"<64 characters>"``.
    """
    place = _digest_place(data)
    if place is None:
        raise EdgeError('cannot seal: the metadata must begin with {"digest":"000…" (64 characters); add it first.')
    return data[:place] + _digest(data, place) + data[place + 64 :]


def cut(data: bytes, count: int) -> bytes:
    """Return the file with only the first `count` operators of its first graph and the last one's result as its only output.

    `bench` times operators this way. The file must be called by tensor index: its signatures still name the removed part.

    Args:
        data: Bytes of a file.
        count: Number of operators, at least 1.
    """
    graph = Table(data, unpack(data, "<I", 0)).tables(2)[0]
    operators, outputs = graph.span(3, 4)[0], graph.span(2, 4)[0]
    last = graph.tables(3)[count - 1].numbers(2, "i")[0]
    shorter = bytearray(data)
    struct.pack_into("<I", shorter, operators - 4, count)
    struct.pack_into("<Ii", shorter, outputs - 4, 1, last)
    return bytes(shorter)


def _digest_place(data: bytes) -> int | None:
    at = data.find(_DIGEST_KEY)
    place = at + len(_DIGEST_KEY)
    return place if at >= 0 and data[place + 64 : place + 65] == b'"' else None


def _digest(data: bytes, place: int) -> bytes:
    return hashlib.sha256(data[:place] + _BLANK + data[place + 64 :]).hexdigest().encode()


def _seal_holds(data: bytes) -> bool | None:
    place = _digest_place(data)
    if place is None or data[place : place + 64] == _BLANK:
        return None
    return data[place : place + 64] == _digest(data, place)


def _operator_code(table: Table) -> tuple[str, int]:
    code = max(table.number(0, "<b"), table.number(3, "<i"))
    if code < 0:
        raise EdgeError(f"the file is damaged: operator code {code}.")
    if code == _CUSTOM:
        return table.text(1) or "CUSTOM", table.number(2, "<i", 1)
    return OPERATORS[code] if code < len(OPERATORS) else f"BUILTIN_{code}", table.number(2, "<i", 1)


def _buffer(table: Table) -> tuple[int, int]:
    outside, length = table.number(1, "<Q"), table.number(2, "<Q")
    if outside > 1:
        if outside + length > len(table.data):
            raise EdgeError(f"the file was cut short: {length} bytes of weights at byte {outside} lie outside it.")
        return outside, length
    return table.span(0, 1)


def _tensor(index: int, table: Table, buffers: list[tuple[int, int]]) -> Tensor:
    name = table.text(3)
    dtype = TYPES[within(table.number(1, "<b"), len(TYPES), f"the type of tensor {name!r}, number")]
    shape = table.numbers(0, "i")
    if any(size < 0 for size in shape):
        raise EdgeError(f"the file is damaged: tensor {name!r} has shape {shape}.")
    _, length = buffers[within(table.number(2, "<I"), len(buffers), f"the buffer of tensor {name!r}, number")]
    if math.prod(shape) * ITEM_BYTES.get(dtype, 1) >= 1 << 31:
        raise EdgeError(f"the file is damaged: tensor {name!r} {dtype} {shape} would take more than 2 GiB.")
    dense = table.table(6) is None
    if length and dense and dtype in ITEM_BYTES and length != math.prod(shape) * ITEM_BYTES[dtype]:
        raise EdgeError(f"the file is damaged: tensor {name!r} {dtype} {shape} comes with {length} bytes.")
    quantization = table.table(4)
    scales = quantization.numbers(2, "f") if quantization else ()
    zero_points = quantization.numbers(3, "q") if quantization else ()
    if not all(math.isfinite(scale) and scale >= 0 for scale in scales):
        raise EdgeError(f"the file is damaged: tensor {name!r} has a quantization scale that is not a positive number.")
    scale, zero_point = (scales[0], zero_points[0] if zero_points else 0) if len(scales) == 1 else (None, 0)
    signature = table.numbers(7, "i") or shape
    return Tensor(index, name, shape, signature, dtype, scale, zero_point, bool(table.number(5, "<b")), length)


def _subgraph(table: Table, codes: list[tuple[str, int]], buffers: list[tuple[int, int]]) -> Subgraph:
    tensors = tuple(_tensor(index, tensor, buffers) for index, tensor in enumerate(table.tables(0)))

    def known(indices: tuple[int, ...], lowest: int = 0) -> tuple[int, ...]:
        if any(not lowest <= index < len(tensors) for index in indices):
            raise EdgeError(f"the file is damaged: it refers to tensors {indices}, there are {len(tensors)}.")
        return indices

    return Subgraph(
        table.text(4),
        tensors,
        tuple(_operator(operator, codes, known) for operator in table.tables(3)),
        known(table.numbers(1, "i")),
        known(table.numbers(2, "i")),
    )


def _operator(table: Table, codes: list[tuple[str, int]], known: Callable) -> Operator:
    name, version = codes[within(table.number(0, "<I"), len(codes), "operator code")]
    for options in (4, 11):
        table.table(options)
    table.span(5, 1)
    return Operator(
        name, known(table.numbers(1, "i"), -1), known(table.numbers(2, "i")), known(table.numbers(8, "i")), version
    )


def _signature(table: Table, subgraphs: tuple[Subgraph, ...]) -> Signature:
    number = within(table.number(4, "<I"), len(subgraphs), "the subgraph of a signature, number")
    count = len(subgraphs[number].tensors)
    inputs, outputs = (
        {entry.text(0): within(entry.number(1, "<I"), count, "a signature's tensor") for entry in table.tables(field)}
        for field in (0, 1)
    )
    return Signature(table.text(2), number, inputs, outputs)
