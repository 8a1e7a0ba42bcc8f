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
from typing import Any

from keras_gates._errors import GatesError
from keras_gates.edge.schema import ITEM_BYTES, OPERATORS, TYPES

METADATA_NAME = "keras_gates"
_BLANK, _DIGEST_KEY = b"0" * 64, b'{"digest":"'
_CUSTOM = 32


class EdgeError(GatesError, ValueError):
    """Any failure of the edge runtime; the message says what was expected, what it got and what to do."""


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
    model = _Table(data, _unpack(data, "<I", 0))
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
        start, length = buffers[_within(table.number(1, "<I"), len(buffers), "metadata buffer")]
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
    graph = _Table(data, _unpack(data, "<I", 0)).tables(2)[0]
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


def _unpack(data: bytes, form: str, at: int) -> Any:
    try:
        return struct.unpack_from(form, data, at)[0]
    except struct.error:
        raise EdgeError(
            f"the file is damaged or was cut short: byte {at} lies outside its {len(data)} bytes."
        ) from None


def _within(index: int, count: int, what: str) -> int:
    if not 0 <= index < count:
        raise EdgeError(f"the file is damaged: {what} {index} does not exist, there are {count}.")
    return index


class _Table:
    """A flatbuffer table; every offset is checked before it is followed."""

    def __init__(self, data: bytes, at: int):
        self.data, self.at = data, at
        self.vtable = at - _unpack(data, "<i", at)
        if self.vtable < 0 or at % 4:
            raise EdgeError(f"the file is damaged: the table at byte {at} has no place for its fields.")
        self.vtable_bytes = _unpack(data, "<H", self.vtable)
        table_bytes = _unpack(data, "<H", self.vtable + 2)
        if self.vtable_bytes < 4 or self.vtable % 2 or self.vtable + self.vtable_bytes > len(data):
            raise EdgeError(f"the file is damaged: the field list at byte {self.vtable} is broken.")
        if table_bytes < 4 or at + table_bytes > len(data):
            raise EdgeError(f"the file is damaged or was cut short: the table at byte {at} ends outside it.")
        self.end = at + table_bytes

    def place(self, field: int, size: int = 4) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self.vtable_bytes:
            return None
        offset = _unpack(self.data, "<H", self.vtable + entry)
        if offset == 0:
            return None
        place = self.at + offset
        if offset < 4 or place + size > self.end or place % size:
            raise EdgeError(f"the file is damaged: field {field} of the table at byte {self.at} lies outside it.")
        return place

    def number(self, field: int, form: str, default: int = 0) -> Any:
        place = self.place(field, struct.calcsize(form))
        return default if place is None else _unpack(self.data, form, place)

    def follow(self, field: int) -> int | None:
        place = self.place(field)
        return None if place is None else place + _unpack(self.data, "<I", place)

    def span(self, field: int, item_bytes: int) -> tuple[int, int]:
        """Return the position of a vector's first item and the number of items."""
        at = self.follow(field)
        if at is None:
            return 0, 0
        count = _unpack(self.data, "<I", at)
        if at + 4 + count * item_bytes > len(self.data) or at % 4 or (at + 4) % item_bytes:
            raise EdgeError(f"the file is damaged or was cut short: {count} items at byte {at} lie outside it.")
        return at + 4, count

    def numbers(self, field: int, code: str) -> tuple:
        start, count = self.span(field, struct.calcsize("<" + code))
        return struct.unpack_from(f"<{count}{code}", self.data, start)

    def text(self, field: int) -> str:
        start, count = self.span(field, 1)
        if count and self.data[start + count : start + count + 1] != b"\0":
            raise EdgeError(f"the file is damaged: the text at byte {start} has no end.")
        return self.data[start : start + count].decode("utf-8", "replace")

    def tables(self, field: int) -> list[_Table]:
        start, count = self.span(field, 4)
        return [_Table(self.data, at + _unpack(self.data, "<I", at)) for at in range(start, start + 4 * count, 4)]

    def table(self, field: int) -> _Table | None:
        at = self.follow(field)
        return None if at is None else _Table(self.data, at)


def _operator_code(table: _Table) -> tuple[str, int]:
    code = max(table.number(0, "<b"), table.number(3, "<i"))
    if code < 0:
        raise EdgeError(f"the file is damaged: operator code {code}.")
    if code == _CUSTOM:
        return table.text(1) or "CUSTOM", table.number(2, "<i", 1)
    return OPERATORS[code] if code < len(OPERATORS) else f"BUILTIN_{code}", table.number(2, "<i", 1)


def _buffer(table: _Table) -> tuple[int, int]:
    outside, length = table.number(1, "<Q"), table.number(2, "<Q")
    if outside > 1:
        if outside + length > len(table.data):
            raise EdgeError(f"the file was cut short: {length} bytes of weights at byte {outside} lie outside it.")
        return outside, length
    return table.span(0, 1)


def _tensor(index: int, table: _Table, buffers: list[tuple[int, int]]) -> Tensor:
    name = table.text(3)
    dtype = TYPES[_within(table.number(1, "<b"), len(TYPES), f"the type of tensor {name!r}, number")]
    shape = table.numbers(0, "i")
    if any(size < 0 for size in shape):
        raise EdgeError(f"the file is damaged: tensor {name!r} has shape {shape}.")
    _, length = buffers[_within(table.number(2, "<I"), len(buffers), f"the buffer of tensor {name!r}, number")]
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


def _subgraph(table: _Table, codes: list[tuple[str, int]], buffers: list[tuple[int, int]]) -> Subgraph:
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


def _operator(table: _Table, codes: list[tuple[str, int]], known: Callable) -> Operator:
    name, version = codes[_within(table.number(0, "<I"), len(codes), "operator code")]
    for options in (4, 11):
        table.table(options)
    table.span(5, 1)
    return Operator(
        name, known(table.numbers(1, "i"), -1), known(table.numbers(2, "i")), known(table.numbers(8, "i")), version
    )


def _signature(table: _Table, subgraphs: tuple[Subgraph, ...]) -> Signature:
    number = _within(table.number(4, "<I"), len(subgraphs), "the subgraph of a signature, number")
    count = len(subgraphs[number].tensors)
    inputs, outputs = (
        {entry.text(0): _within(entry.number(1, "<I"), count, "a signature's tensor") for entry in table.tables(field)}
        for field in (0, 1)
    )
    return Signature(table.text(2), number, inputs, outputs)
