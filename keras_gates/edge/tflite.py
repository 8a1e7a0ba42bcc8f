"""A ``.tflite`` file read, checked and sealed in plain Python: the standard library alone, nothing of the rest of the package.

LiteRT maps a file into memory and follows the offsets it finds there; a damaged file can end the process. `read`
follows the same offsets first and raises `EdgeError` where one leads outside the file, where an index names a tensor
that is not there, or where a constant has not the bytes its shape asks for. What only LiteRT itself can judge
(operator options, kernels) is left to it: `keras_gates.edge` tries files without a seal in a child process.

Layout: https://flatbuffers.dev/internals, schema ``tflite/schema.fbs`` of LiteRT (file identifier ``TFL3``).
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

METADATA_NAME = "keras_gates"
_BLANK = b"0" * 64
_DIGEST_KEY = b'{"digest":"'
_ITEM_BYTES = {"float32": 4, "float16": 2, "int32": 4, "uint8": 1, "int64": 8, "bool": 1, "int16": 2, "complex64": 8}
_ITEM_BYTES |= {"int8": 1, "float64": 8, "complex128": 16, "uint64": 8, "uint32": 4, "uint16": 2, "bfloat16": 2}
_TYPE_NAMES = (
    "float32 float16 int32 uint8 int64 string bool int16 complex64 int8 float64 complex128 uint64 resource variant "
    "uint32 uint16 int4 bfloat16 int2 uint4 float8_e4m3fn float8_e5m2"
)
_CUSTOM = 32
_OPERATOR_NAMES = (
    "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR "
    "FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION "
    "LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH "
    "CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER "
    "BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE "
    "BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM "
    "ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE "
    "TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK "
    "LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD "
    "RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N "
    "GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE "
    "NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL "
    "PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE "
    "HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE "
    "ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU "
    "DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2 "
    "UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT"
)
_TYPES, _OPERATORS = _TYPE_NAMES.split(), _OPERATOR_NAMES.split()


class EdgeError(ValueError):
    """What was expected, what came, and what to do: every failure of the edge runtime is one of these."""


@dataclass(frozen=True)
class Tensor:
    """One tensor: its place, name, shape (`signature` has -1 where an axis may vary) and quantization."""

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
        """Its size in memory, in the shape it was converted with."""
        return math.prod(self.shape) * _ITEM_BYTES.get(self.dtype, 1)


@dataclass(frozen=True)
class Operator:
    """One operator: its name, tensor indices (-1 is an absent optional input), and operator-code version."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...]
    version: int


@dataclass(frozen=True)
class Subgraph:
    """One graph: tensors, operators in running order, and which tensors go in and out."""

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """A named way to call the file: its subgraph, and the tensor index behind each argument and result name."""

    key: str
    subgraph: int
    inputs: dict[str, int]
    outputs: dict[str, int]


@dataclass(frozen=True)
class TFLite:
    """What `read` found: the graphs, the signatures and the metadata entries (name → bytes).

    `sealed`: True where the file is as `seal` left it, False where it changed since, None where it was never sealed.
    """

    size: int
    description: str
    subgraphs: tuple[Subgraph, ...]
    signatures: dict[str, Signature]
    metadata: dict[str, bytes]
    sealed: bool | None


def read(data: bytes) -> TFLite:
    """Parse and check the bytes of a ``.tflite`` file.

    Raises:
        EdgeError: not a ``.tflite`` file, cut short, or damaged; the message says where.

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
        raise EdgeError("the file holds no graph to run.")
    entries = {}
    for table in model.tables(6):
        start, length = buffers[_within(table.number(1, "<I"), len(buffers), "metadata buffer")]
        entries[table.text(0)] = bytes(data[start : start + length])
    signatures = {table.text(2): _signature(table, subgraphs) for table in model.tables(7)}
    return TFLite(len(data), model.text(3), subgraphs, signatures, entries, _seal_holds(data))


def seal(data: bytes) -> bytes:
    """Write the SHA-256 of a file into its own metadata, so that the device sees damage before it runs the file.

    The digest is taken with its 64 places filled with ``0``; the length and every other byte stay.

    Raises:
        EdgeError: no metadata entry begins with ``{"digest":"<64 characters>"``.
    """
    place = _digest_place(data)
    if place is None:
        raise EdgeError('cannot seal: the metadata must begin with {"digest":"000…" (64 characters); add it first.')
    return data[:place] + _digest(data, place) + data[place + 64 :]


def cut(data: bytes, count: int) -> bytes:
    """The file with only the first `count` operators of its first graph, the last one's result as its only output.

    Its size stays; only the interpreter's calls by index fit it, for signatures still name what was cut off. `bench`
    times operators so.
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


def _unpack(data: bytes, form: str, at: int):
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
    """A flatbuffer table whose every offset is checked before it is followed."""

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

    def number(self, field: int, form: str, default: int = 0):
        place = self.place(field, struct.calcsize(form))
        return default if place is None else _unpack(self.data, form, place)

    def follow(self, field: int) -> int | None:
        place = self.place(field)
        return None if place is None else place + _unpack(self.data, "<I", place)

    def span(self, field: int, item_bytes: int) -> tuple[int, int]:
        """Where a vector's items begin, and how many there are."""
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
    return _OPERATORS[code] if code < len(_OPERATORS) else f"BUILTIN_{code}", table.number(2, "<i", 1)


def _buffer(table: _Table) -> tuple[int, int]:
    outside, length = table.number(1, "<Q"), table.number(2, "<Q")
    if outside > 1:
        if outside + length > len(table.data):
            raise EdgeError(f"the file was cut short: {length} bytes of weights at byte {outside} lie outside it.")
        return outside, length
    return table.span(0, 1)


def _tensor(index: int, table: _Table, buffers: list[tuple[int, int]]) -> Tensor:
    name = table.text(3)
    dtype = _TYPES[_within(table.number(1, "<b"), len(_TYPES), f"the type of tensor {name!r}, number")]
    shape = table.numbers(0, "i")
    if any(size < 0 for size in shape):
        raise EdgeError(f"the file is damaged: tensor {name!r} has shape {shape}.")
    _, length = buffers[_within(table.number(2, "<I"), len(buffers), f"the buffer of tensor {name!r}, number")]
    if math.prod(shape) * _ITEM_BYTES.get(dtype, 1) >= 1 << 31:
        raise EdgeError(f"the file is damaged: tensor {name!r} {dtype} {shape} would take more than 2 GiB.")
    dense = table.table(6) is None
    if length and dense and dtype in _ITEM_BYTES and length != math.prod(shape) * _ITEM_BYTES[dtype]:
        raise EdgeError(f"the file is damaged: tensor {name!r} {dtype} {shape} comes with {length} bytes.")
    quantization = table.table(4)
    scales = quantization.numbers(2, "f") if quantization else ()
    zero_points = quantization.numbers(3, "q") if quantization else ()
    if not all(math.isfinite(scale) and scale >= 0 for scale in scales):
        raise EdgeError(f"the file is damaged: tensor {name!r} has a quantization scale that is no positive number.")
    scale, zero_point = (scales[0], zero_points[0] if zero_points else 0) if len(scales) == 1 else (None, 0)
    signature = table.numbers(7, "i") or shape
    return Tensor(index, name, shape, signature, dtype, scale, zero_point, bool(table.number(5, "<b")), length)


def _subgraph(table: _Table, codes: list[tuple[str, int]], buffers: list[tuple[int, int]]) -> Subgraph:
    tensors = tuple(_tensor(index, tensor, buffers) for index, tensor in enumerate(table.tables(0)))

    def known(indices: tuple[int, ...], lowest: int = 0) -> tuple[int, ...]:
        if any(not lowest <= index < len(tensors) for index in indices):
            raise EdgeError(f"the file is damaged: it names tensors {indices}, there are {len(tensors)}.")
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
