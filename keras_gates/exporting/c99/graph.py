"""The graph of a ``.tflite`` file with its constants as arrays: what the C is written from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_gates.edge.description import Description, Port, describe
from keras_gates.edge.packed import unpacked
from keras_gates.edge.tflite import EdgeError, Operator, Subgraph, TFLite, read
from keras_gates.exporting.report import ExportError
from keras_gates.exporting.tflite.flatbuffer import load

C_TYPES = {"float32": "float", "int8": "int8_t", "int16": "int16_t", "int32": "int32_t", "bool": "int8_t"}


# What only moves dequantized values, or quantizes them again
_EXACT = {"DEQUANTIZE", "QUANTIZE", "SPLIT", "SLICE", "STRIDED_SLICE", "RESHAPE", "CONCATENATION", "PACK", "UNPACK"}


class Options(dict[str, Any]):
    """An operator's options by their name in the schema."""

    def __missing__(self, key: str) -> Any:
        raise ExportError(f"an operator lacks its option {key}: the file is damaged; export again.")


@dataclass(frozen=True, eq=False)
class Value:
    """One tensor.

    Attributes:
        index: Its number in the graph.
        dtype: Its type by NumPy's name.
        shape: Its shape as converted.
        scales: Quantization steps, float32: none, one, or one per output channel.
        zero: Stored value of zero.
        data: Its constant; None if it is computed.
    """

    index: int
    dtype: str
    shape: tuple[int, ...]
    scales: np.ndarray
    zero: int
    data: np.ndarray | None

    @property
    def scale(self) -> np.float32:
        """The quantization step of a tensor that has one."""
        if len(self.scales) != 1:
            raise ExportError(f"tensor {self.index} has {len(self.scales)} scales where the C needs one; export again.")
        return self.scales[0]


@dataclass(frozen=True, eq=False)
class Node:
    """One operator.

    Attributes:
        number: Its place in the order of execution.
        kind: Its name in the schema.
        inputs, outputs, intermediates: Its tensors; None is an absent optional input.
        options: Its options by their name in the schema.
        parts: Of a WHILE its condition and its body.
    """

    number: int
    kind: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]
    intermediates: tuple[Value, ...]
    options: Options
    parts: tuple[Part, ...] = ()

    def input(self, place: int) -> Value:
        """Return an input that must be there."""
        value = self.inputs[place] if place < len(self.inputs) else None
        if value is None:
            raise ExportError(f"{self.kind} lacks its input {place}: the file is damaged; export again.")
        return value

    def constant(self, place: int) -> np.ndarray:
        """Return the data of an input that must be constant."""
        data = self.input(place).data
        if data is None:
            raise ExportError(f"the C takes {self.kind} with a constant input {place} only; this file computes it.")
        return data

    @property
    def output(self) -> Value:
        """Its first output."""
        return self.outputs[0]


@dataclass(frozen=True, eq=False)
class Part:
    """One graph of a file; its tensors and operators are numbered behind those of the graphs before it.

    Attributes:
        nodes: Operators in the order of execution.
        inputs, outputs: Its tensors by place.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


def check_lstm(node: Node) -> None:
    """Check that a UNIDIRECTIONAL_SEQUENCE_LSTM is the standard one.

    Raises:
        ExportError: It has peepholes, a projection or layer normalization, another activation, or time as its first axis.
    """
    absent = (9, 10, 11, 16, 17, 20, 21, 22, 23)
    if any(i < len(node.inputs) and node.inputs[i] is not None for i in absent) or node.options["projClip"]:
        raise ExportError(
            "the C has no LSTM with peepholes, a projection or layer normalization; use the standard layer."
        )
    if node.options["timeMajor"] or node.options["fusedActivationFunction"] != 4:
        raise ExportError("the C has the LSTM with tanh and the batch as first axis only; use the standard layer.")


@dataclass(frozen=True, eq=False)
class Graph:
    """A file's graph and what its metadata adds.

    Attributes:
        nodes: Operators in the order of execution.
        inputs, outputs: The tensors that the caller passes and gets, in the order of the file.
        memory: Explicit memory as (input, output, port of the input, port of the output): what the C keeps in its state.
        ports: Input and output ports by tensor number.
        description: What `keras_gates.edge.description.describe` returned.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    memory: tuple[tuple[Value, Value, Port, Port], ...]
    ports: dict[int, Port]
    description: Description


def graph_of(data: bytes) -> Graph:
    """Parse and check a file.

    Args:
        data: Bytes of the ``.tflite``.

    Raises:
        ExportError: It is damaged, has several signatures, a batch above 1 or a type without C.
    """
    try:
        file = read(data)
        if (whole := unpacked(data)) is not data:
            data, file = whole, read(whole)
        description = describe(file)
    except EdgeError as error:
        raise ExportError(str(error)) from error
    if file.sealed is False:
        raise ExportError(
            "the file differs from what export wrote (its checksum does not match): copy or export it again."
        )
    if len(file.signatures) > 1:
        raise ExportError(
            f"the C takes a file with one signature, this one has {', '.join(sorted(file.signatures))}: export it again, "
            "keras_gates writes one per file."
        )
    if description.batch != 1:
        raise ExportError(
            f"the C runs one sequence at a time, this file takes {description.batch}: export with batch=1."
        )
    first, values = _parts(load(data), file)
    nodes = first.nodes
    if _mixed([*nodes, *(inner for node in nodes for part in node.parts for inner in part.nodes)]):
        raise ExportError(
            "the file mixes float32 and int8 (precision='dynamic', or float_operators), the C has one type throughout: "
            "export with precision='int8' or 'float32'."
        )
    ports = {port.tensor.index: port for port in (*description.inputs, *description.outputs)}
    feeds = {pair.source for pair in description.memory}
    inputs = tuple(values[p.tensor.index] for place, p in enumerate(description.inputs) if place not in feeds)
    outputs = tuple(values[port.tensor.index] for _, port in description.predictions)
    memory = tuple(
        (values[source.tensor.index], values[result.tensor.index], source, result)
        for source, result in (
            (description.inputs[p.source], description.outputs[p.result]) for p in description.memory
        )
    )
    for value in (*inputs, *outputs, *(pair[0] for pair in memory)):
        if value.dtype not in C_TYPES:
            raise ExportError(f"the C has no type for an input or output of {value.dtype}; export in int8 or float32.")
    return Graph(nodes, inputs, outputs, memory, ports, description)


def _parts(model: Any, file: TFLite) -> tuple[Part, list[Value]]:
    """Return the first graph, whose WHILE operators have the others as parts, and its tensors."""
    parts: dict[int, Part] = {}
    for place in reversed(range(len(file.subgraphs))):  # the loops before what runs them
        parsed, own = file.subgraphs[place], model.subgraphs[place]
        before = file.subgraphs[:place]
        values = _values(model, parsed, own, sum(len(each.tensors) for each in before))
        nodes = _nodes(parsed, own, values, sum(len(each.operators) for each in before))
        nodes = [_with_parts(node, parts) if node.kind == "WHILE" else node for node in nodes]
        ends = (tuple(values[i] for i in indices) for indices in (parsed.inputs, parsed.outputs))
        parts[place] = Part(tuple(nodes), *ends)
    return parts[0], values


def _with_parts(node: Node, parts: dict[int, Part]) -> Node:
    places = node.options["condSubgraphIndex"], node.options["bodySubgraphIndex"]
    if not set(places) <= set(parts):
        raise ExportError("a WHILE without a condition or body: the file is damaged; export again.")
    return replace(node, parts=tuple(parts[place] for place in places))


def _values(model: Any, parsed: Subgraph, own: Any, offset: int) -> list[Value]:
    values = [
        _value(offset + place, tensor, each.dtype, model.buffers[tensor.buffer].data)
        for place, (tensor, each) in enumerate(zip(own.tensors, parsed.tensors, strict=True))
    ]
    for operator in parsed.operators:  # constants in float16 are constants in float32
        if operator.name == "DEQUANTIZE" and values[operator.inputs[0]].dtype == "float16":
            half = values[operator.inputs[0]].data
            if half is None:
                raise ExportError("the C has no float16 activations; export in float32 or int8.")
            values[operator.outputs[0]] = replace(values[operator.outputs[0]], data=half.astype(np.float32))
    _share_casts(parsed.operators, values)
    return values


def _nodes(parsed: Subgraph, own: Any, values: list[Value], offset: int) -> list[Node]:
    return [
        Node(
            offset + number,
            operator.name,
            tuple(None if i < 0 else values[i] for i in operator.inputs),
            tuple(values[i] for i in operator.outputs),
            tuple(values[i] for i in operator.intermediates),
            Options({} if full.builtinOptions is None else vars(full.builtinOptions)),
        )
        for number, (operator, full) in enumerate(zip(parsed.operators, own.operators, strict=True))
        if (operator.name != "DEQUANTIZE" or values[operator.outputs[0]].data is None)
        and not (operator.name == "CAST" and values[operator.outputs[0]] is values[operator.inputs[0]])
    ]


def _mixed(nodes: Sequence[Node]) -> bool:
    """Whether integers and reals meet in one operator, or dequantized values are computed with, not only moved."""
    dequantized: set[int] = set()
    for node in nodes:
        present = [value for value in node.inputs if value is not None]
        weights = any(value.dtype == "int8" and value.data is not None for value in present)
        if weights and any(value.dtype == "float32" for value in present):
            return True
        if node.kind == "DEQUANTIZE" or dequantized & {value.index for value in present}:
            if node.kind not in _EXACT:
                return True
            dequantized |= {value.index for value in node.outputs if value.dtype == "float32"}
    return False


_COMPARISONS = ("EQUAL", "NOT_EQUAL", "LESS", "GREATER")


def _share_casts(operators: Sequence[Operator], values: list[Value]) -> None:
    """Make token numbers that become int64 and int32 again one tensor: tokenizers give int64, Embedding takes int32."""
    whole = {"int32", "int64"}
    for parsed in operators:
        if parsed.name != "CAST" or {values[i].dtype for i in (*parsed.inputs, *parsed.outputs)} - whole:
            continue
        readers = [other for other in operators if parsed.outputs[0] in other.inputs]
        constants = [
            i for other in readers if other.name in _COMPARISONS for i in other.inputs if i != parsed.outputs[0]
        ]
        if values[parsed.outputs[0]].dtype == "int32" or (
            {other.name for other in readers} <= {"CAST", "GATHER", *_COMPARISONS}
            and all(_fits(values[i].data) for i in constants)
        ):
            values[parsed.outputs[0]] = values[parsed.inputs[0]]
            for i in constants:
                values[i] = replace(values[i], dtype="int32", data=np.asarray(values[i].data, np.int32))


def _fits(numbers: np.ndarray | None) -> bool:
    return numbers is not None and bool((np.abs(numbers.astype(np.float64)) < 2**31).all())


def _value(place: int, tensor: Any, dtype: str, raw: Any) -> Value:
    quantization = tensor.quantization
    scales: Any = () if quantization is None or quantization.scale is None else quantization.scale
    zeros: Any = () if quantization is None or quantization.zeroPoint is None else quantization.zeroPoint
    shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
    data = None
    if raw is not None and len(raw) and not tensor.isVariable:
        if tensor.sparsity is not None:
            raise ExportError(
                "the C takes dense weights only, this file has sparse ones; export again without pruning."
            )
        if dtype not in ("string", "resource", "variant"):
            data = np.frombuffer(bytes(raw), dtype)[: math.prod(shape)].reshape(shape)
    return Value(place, dtype, shape, np.array(scales, np.float32), int(zeros[0]) if len(zeros) else 0, data)
