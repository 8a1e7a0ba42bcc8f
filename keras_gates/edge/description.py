"""The description of a ``.tflite`` file: its JSON metadata entry ``keras_gates``, checked against the graph.

Shapes, types and quantization are read from the graph; the JSON adds what a graph does not contain: which input is the
event and which counts its valid time steps, which axis is time, labels, vocabulary, front end. A file without the entry is
described from the graph alone. Standard library only.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

from keras_gates.edge.json_entry import Entry
from keras_gates.edge.tflite import METADATA_NAME, EdgeError, Signature, Subgraph, Tensor, TFLite
from keras_gates.edge.units import Units, units_of

FUSED = "UNIDIRECTIONAL_SEQUENCE_LSTM"
_INPUT_ROLES = {"event", "lengths", "stm", "ltm", "state"}
_OUTPUT_ROLES = {"prediction", "stm", "ltm", "state"}
_MEMORY = {"stm", "ltm", "state"}


@dataclass(frozen=True)
class Port:
    """One input or output of a file.

    Attributes:
        name: Name in the signature.
        tensor: The tensor behind it.
        role: "event", "lengths" or "prediction"; "stm", "ltm" or "state" for explicit memory.
        time: Whether axis 1 is time.
        of: For lengths, the event whose valid time steps they count.
        keras_name: For an event, its name in the Keras model, if that is no identifier.
        padding: For lengths, the value that fills padded time steps of that event.
        activation: For a prediction, "softmax" or "sigmoid" if that is what it holds: probabilities.
        rounding: Change of the output by one count in the arithmetic before it.
        units: For a prediction, what turns it into the model's units; None if the graph does.
    """

    name: str
    tensor: Tensor
    role: str
    time: bool = False
    of: str | None = None
    padding: float | None = None
    keras_name: str | None = None
    activation: str | None = None
    rounding: float = 0.0
    units: Units | None = None

    @property
    def steps(self) -> int:
        """Time steps per call, as converted."""
        return self.tensor.shape[1] if self.time else 1

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event, without batch and time."""
        return self.tensor.shape[1 + self.time :]

    @property
    def tolerance(self) -> float:
        """Largest difference between two ways of computing this output: rounding, or 1.5 quantization steps."""
        largest = max(map(abs, self.units.scale)) if self.units else 1.0
        return largest * max(1e-4, 1.5 * (self.tensor.scale or 0), 1.5 * self.rounding)

    @property
    def text(self) -> str:
        """Shape and type to read: ``(1, time 28, 16) int8, scale 0.023, zero point -4``."""
        sizes = [f"time {n}" if self.time and axis == 1 else str(n) for axis, n in enumerate(self.tensor.shape)]
        words = f"({', '.join(sizes)}) {self.tensor.dtype}"
        if self.tensor.scale:
            words += f", scale {self.tensor.scale:.4g}, zero point {self.tensor.zero_point}"
        if self.units:
            words += ", in units after its scale and offset in the metadata"
        return f"{words}, {self.activation}" if self.activation else words


@dataclass(frozen=True)
class Memory:
    """Explicit memory: an output of one call that is an input of the next.

    Attributes:
        source: Place of the input among all inputs.
        result: Place of the output among all outputs.
        layer: Name of the Keras layer.
        kind: "stm" (hidden state), "ltm" (cell state) or "state".
    """

    source: int
    result: int
    layer: str
    kind: str


@dataclass(frozen=True)
class Description:
    """A file in terms of roles.

    Attributes:
        known: False if the file has no metadata entry ``keras_gates`` and was described from its graph alone.
        subgraph: Number of the graph to run.
        signature: The signature to call, if the file has one.
        inputs: All inputs, in the order of the file.
        outputs: All outputs, in the order of the file.
        memory: Explicit memory: outputs that are inputs of the next call.
        variables: Tensors in which operators keep STM and LTM between calls.
        batch: Examples per call.
        resizable: Whether the time axis may be resized.
        mode: "sequence" or "stream"; None if unknown.
        lowering: How the recurrent layers run ("fused", "step", "while", "unrolled", or several joined by "+").
        labels: Names of the classes.
        vocabulary: The word behind each token number.
        frontend: Parameters of the front end, from the metadata.
        warmup: Calls after a reset whose predictions are not valid, because the first window of a convolution is not complete.
        facts: The whole metadata entry.
    """

    known: bool
    subgraph: int
    signature: Signature | None
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    memory: tuple[Memory, ...]
    variables: tuple[Tensor, ...]
    batch: int
    resizable: bool
    mode: str | None
    lowering: str | None
    labels: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    frontend: dict[str, Any] = field(default_factory=dict)
    warmup: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    def role(self, role: str) -> list[Port]:
        """Return the inputs with this role."""
        return [port for port in self.inputs if port.role == role]

    @property
    def events(self) -> list[Port]:
        """The inputs that the user passes."""
        return self.role("event")

    @property
    def stride(self) -> int:
        """Events per push of a stream: 1 if the time axis may be resized."""
        return 1 if self.resizable else next((port.steps for port in self.events if port.time), 1)

    @property
    def any_length(self) -> bool:
        """Whether a sequence may have another length than the one the file was converted with."""
        return bool(self.resizable or self.stepwise or self.role("lengths") or self.vocabulary)

    @property
    def stepwise(self) -> bool:
        """Whether a whole sequence takes several calls, between which the memory persists."""
        return bool(self.memory) or (self.mode == "stream" and not self.resizable)

    @property
    def streams(self) -> bool:
        """Whether the file was exported for streams: memory persists from call to call."""
        return bool(self.memory) or self.mode == "stream"

    @property
    def hears(self) -> bool:
        """Whether audio must be converted to log-mel events first."""
        return self.frontend.get("kind") == "log_mel" and not self.frontend.get("inside")

    @property
    def scales(self) -> bool:
        """Whether measurements must be standardized first (mean and standard deviation per channel)."""
        return self.frontend.get("kind") == "scale" and not self.standardizes

    @property
    def standardizes(self) -> bool:
        """Whether `EdgeModel` standardizes what it is given: the Keras model took measurements in their own units."""
        return self.frontend.get("kind") == "scale" and self.frontend.get("automatic") is True

    @property
    def table(self) -> dict[str, Any]:
        """How the user's kind of file is read (`keras_gates.edge.examples`); empty if the file was not trained on one."""
        user = self.facts.get("user")
        table = user.get("table") if isinstance(user, dict) else None
        return table if isinstance(table, dict) else {}

    @property
    def predictions(self) -> list[tuple[int, Port]]:
        """The outputs that the user gets, each with its place among all outputs."""
        return [(place, port) for place, port in enumerate(self.outputs) if port.role == "prediction"]

    def feedback(self, graph: Subgraph) -> list[tuple[int, int, Port, Port]]:
        """Return explicit memory as (input place, output place, input, output), with places in the order of `graph`."""
        pairs = ((self.inputs[pair.source], self.outputs[pair.result]) for pair in self.memory)
        return [
            (graph.inputs.index(source.tensor.index), graph.outputs.index(result.tensor.index), source, result)
            for source, result in pairs
        ]


def describe(file: TFLite) -> Description:
    """Describe a file by its metadata entry, or by its graph if it has none.

    Args:
        file: What `keras_gates.edge.tflite.read` returned.

    Raises:
        EdgeError: The entry is damaged, of a newer format, or does not fit the graph.

    Example:

    >>> from keras_gates.edge.tflite import read
    >>> description = describe(read(open("model.tflite", "rb").read()))  # doctest: +SKIP
    >>> description.mode, description.labels  # doctest: +SKIP
    ('stream', ('no', 'yes', 'other'))
    """
    description = _described(file) if METADATA_NAME in file.metadata else _guess(file)
    if description.batch < 1:
        raise EdgeError("the file is damaged: its first input takes 0 examples per call.")
    for port in description.role("lengths"):
        if math.prod(port.tensor.shape) != description.batch:
            raise EdgeError(
                f"the file is damaged: lengths {port.name!r} {port.tensor.shape} for a batch of {description.batch}."
            )
    return description


def _described(file: TFLite) -> Description:
    try:
        entry = json.loads(file.metadata[METADATA_NAME])
    except (ValueError, RecursionError) as error:
        raise EdgeError(
            f"the metadata entry {METADATA_NAME!r} is damaged: expected JSON, got {error}; export again."
        ) from None
    metadata = Entry(entry, "the metadata")
    version = metadata.get("format", int, 1)
    if version != 1:
        raise EdgeError(f"the metadata has format {version}, this keras_gates reads format 1: install a newer one.")
    lowering = metadata.get("lowering", str) or metadata.get("form", str)  # the key's name in files written earlier
    signature = file.signatures.get(metadata.get("signature", str, ""))
    number = signature.subgraph if signature else 0
    graph = file.subgraphs[number]
    inputs = _ports(metadata, "inputs", graph, signature.inputs if signature else {}, graph.inputs, _INPUT_ROLES)
    outputs = _ports(metadata, "outputs", graph, signature.outputs if signature else {}, graph.outputs, _OUTPUT_ROLES)
    description = Description(
        known=True,
        subgraph=number,
        signature=signature,
        inputs=inputs,
        outputs=outputs,
        memory=_memory(metadata, inputs, outputs),
        variables=tuple(tensor for tensor in graph.tensors if tensor.variable),
        batch=inputs[0].tensor.shape[0] if inputs and inputs[0].tensor.shape else 1,
        resizable=metadata.get("resizable", bool, False),
        mode=metadata.get("mode", str),
        lowering=lowering,
        labels=tuple(metadata.strings("labels")),
        vocabulary=tuple(metadata.strings("vocabulary")),
        frontend=metadata.get("frontend", dict, {}),
        warmup=max(0, metadata.get("warmup", int, 0)),
        facts={**entry, "lowering": lowering},
    )
    _check(description)
    return description


def _guess(file: TFLite) -> Description:
    signature = next((each for each in file.signatures.values() if each.subgraph == 0), None)
    graph = file.subgraphs[0]
    fused = any(operator.name == FUSED for operator in graph.operators)
    names = [dict(zip(d.values(), d)) for d in ((signature.inputs, signature.outputs) if signature else ({}, {}))]

    def port(index: int, role: str, known: dict[int, str], time: bool) -> Port:
        tensor = graph.tensors[index]
        return Port(known.get(index, tensor.name), tensor, role, time)

    event_steps = {graph.tensors[i].shape[1] for i in graph.inputs if fused and len(graph.tensors[i].shape) > 1}
    return Description(
        known=False,
        subgraph=0,
        signature=signature,
        inputs=tuple(port(i, "event", names[0], fused and len(graph.tensors[i].shape) > 1) for i in graph.inputs),
        outputs=tuple(
            port(
                i, "prediction", names[1], len(graph.tensors[i].shape) > 2 and graph.tensors[i].shape[1] in event_steps
            )
            for i in graph.outputs
        ),
        memory=(),
        variables=tuple(tensor for tensor in graph.tensors if tensor.variable),
        batch=next((graph.tensors[i].shape[0] for i in graph.inputs if graph.tensors[i].shape), 1),
        resizable=fused or any(-1 in graph.tensors[i].signature[1:2] for i in graph.inputs),
        mode=None,
        lowering="fused" if fused else None,
    )


def _ports(
    metadata: Entry, key: str, graph: Subgraph, named: dict[str, int], order: tuple[int, ...], roles: set[str]
) -> tuple[Port, ...]:
    entries = metadata.entries(key)
    if len(entries) != len(named or order):
        raise EdgeError(f"the metadata lists {len(entries)} {key}, the graph has {len(named or order)}; export again.")
    ports, eight_bits = [], metadata.value.get("precision") in ("int8", "int4")
    for place, entry in enumerate(entries):
        name, role = entry.get("name", str, ""), entry.get("role", str, "")
        if role not in roles:
            raise EdgeError(
                f"the metadata gives {key[:-1]} {name!r} the role {role!r}; expected one of {sorted(roles)}."
            )
        if named and name not in named:
            raise EdgeError(f"the metadata lists {key[:-1]} {name!r}; the file's signature has {sorted(named)}.")
        tensor = graph.tensors[named[name] if named else order[place]]
        time = entry.get("time", bool, False)
        if time and len(tensor.shape) < 2:
            raise EdgeError(f"the metadata gives {key[:-1]} {name!r} a time axis; its shape is {tensor.shape}.")
        padding = entry.get("padding", dict, {}).get("value")
        if padding is not None and not isinstance(padding, int | float):
            raise EdgeError(f"the metadata's padding of {name!r} must be a number, got {padding!r:.60}.")
        of, keras_name, activation = (entry.get(word, str) for word in ("of", "keras_name", "activation"))
        rounding = 1 / 256 if activation and eight_bits else 0.0  # of the logits: the output itself is finer
        units = units_of(entry, tensor, time)
        ports.append(Port(name, tensor, role, time, of, padding, keras_name, activation, rounding, units))
    if len({port.name for port in ports}) != len(ports):
        raise EdgeError(f"the metadata has two {key} of one name: {[port.name for port in ports]}.")
    return tuple(ports)


def _memory(metadata: Entry, inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> tuple[Memory, ...]:
    sources, results = ({port.name: place for place, port in enumerate(ports)} for ports in (inputs, outputs))
    memory = []
    for entry in metadata.entries("states"):
        source, result = entry.get("input", str, ""), entry.get("output", str, "")
        if source not in sources or result not in results:
            raise EdgeError(
                f"the metadata feeds output {result!r} back to input {source!r}; the file has no such pair."
            )
        one, other = inputs[sources[source]].tensor, outputs[results[result]].tensor
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            raise EdgeError(f"memory {source!r} is {one.dtype} {one.shape}, {result!r} is {other.dtype} {other.shape}.")
        memory.append(Memory(sources[source], results[result], entry.get("layer", str, ""), entry.get("kind", str, "")))
    return tuple(sorted(memory, key=lambda pair: pair.source))


def _check(description: Description) -> None:
    fed = {memory.source for memory in description.memory}
    if fed != {place for place, port in enumerate(description.inputs) if port.role in _MEMORY}:
        raise EdgeError("the metadata must feed every memory input from one output; export again.")
    names = {port.name for port in description.events}
    for port in description.role("lengths"):
        if port.of is not None and port.of not in names:
            raise EdgeError(
                f"in the metadata {port.name!r} counts time steps of {port.of!r}; the events are {sorted(names)}."
            )
    if not description.predictions:
        raise EdgeError("the metadata names no output with the role 'prediction'; export again.")
    width = description.predictions[0][1].tensor.shape[-1:]
    if description.labels and width and width[0] not in (len(description.labels), 1):
        raise EdgeError(f"the metadata has {len(description.labels)} labels for predictions of width {width[0]}.")
