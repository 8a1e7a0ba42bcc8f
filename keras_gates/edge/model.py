"""`EdgeModel`: a ``.tflite`` file that predicts, and that makes streams."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates.edge import runtime
from keras_gates.edge.description import Description, Port, describe
from keras_gates.edge.frontends import log_mel, scaled, tokens
from keras_gates.edge.stream import Stream
from keras_gates.edge.tflite import EdgeError, read
from keras_gates.edge.values import checked, fed_back, numbers, quantized, real, stacked

_PROOF_STEPS = 4
_FACTS = "name mode form precision target task description licence frontend versions user".split()  # noqa: SIM905


class EdgeModel:
    """A ``.tflite`` file, ready to predict and to stream.

    Files of `keras_gates.export` tell by themselves what they need (roles of inputs, labels, vocabulary, whether the
    memory must be reset); any other ``.tflite`` runs too, as far as its graph alone tells enough.

    Args:
        path: the file, or its bytes.
        num_threads: threads for the kernels that can use several.
        probe: True runs the file once in a child process first, so that a file LiteRT crashes on is an error here;
            False never does; None does it for files that `keras_gates.export` did not seal.

    Attributes:
        description: what the file says of itself (`keras_gates.edge.description.Description`).
        data: the bytes of the file.
        file: its graphs, tensors, operators and signatures (`keras_gates.edge.tflite.TFLite`).

    Raises:
        EdgeError: not a ``.tflite``, cut short, changed since its export, or refused by LiteRT.

    Example:
        >>> model = EdgeModel("model.tflite")  # doctest: +SKIP
        >>> model.predict(np.zeros((2, 28, 16), "float32")).shape  # doctest: +SKIP
        (2, 10)
    """

    def __init__(self, path: str | os.PathLike | bytes, *, num_threads: int = 1, probe: bool | None = None):
        if not isinstance(num_threads, int) or num_threads < 1:
            raise EdgeError(f"num_threads must be a whole number of at least 1, got {num_threads!r}.")
        self.num_threads = num_threads
        self.data = path if isinstance(path, bytes) else _content(path)
        self.file = read(self.data)
        if self.file.sealed is False and not probe:
            raise EdgeError(
                "the file changed since its export (its digest differs): copy it again, or pass probe=True."
            )
        self.description: Description = describe(self.file)
        if probe or (probe is None and self.file.sealed is None):
            runtime.probe(self.data)
        try:
            self._runtime = self.new_runtime()
        except EdgeError as error:
            if self.description.facts.get("target") == "micro":
                raise EdgeError(f"{error} The file was made for microcontrollers: run its C kit in TFLM.") from None
            raise
        self._streams: bool | None = True if self.description.mode == "stream" or self.description.memory else None

    @property
    def labels(self) -> tuple[str, ...]:
        """What the classes are called; empty where the file does not say."""
        return self.description.labels

    def predict(self, x: Any, *, lengths: Sequence[int] | None = None, top: int | None = None) -> Any:
        """Predictions for a batch; every example starts from empty memory.

        Args:
            x: (batch, …) numbers as the model took them before quantization; a list of arrays of different lengths; a
                text or a list of texts where the file has a vocabulary; for several inputs a dict by name, or a tuple.
            lengths: valid leading steps of each example, where the file counts them and cannot see padding.
            top: with a number, the best classes instead: for each example a list of (label, value).

        Returns:
            float32 (batch, …); a dict by name for several outputs; a list where lengths leave unequal shapes.

        Raises:
            EdgeError: a shape, type or value that does not fit, NaN among the values.
        """
        examples = self._examples(x, lengths)
        results: list[list[np.ndarray]] = []
        for start in range(0, len(examples), self.description.batch):
            chunk = examples[start : start + self.description.batch]
            results += self._sequence(chunk + chunk[-1:] * (self.description.batch - len(chunk)))[: len(chunk)]
        names = [port.name for _, port in self.description.predictions]
        columns = {name: stacked([result[i] for result in results]) for i, name in enumerate(names)}
        if top is not None:
            return [self.best(row, top) for row in columns[names[0]]]
        return columns if len(names) > 1 else columns[names[0]]

    def best(self, prediction: np.ndarray, top: int = 1) -> list:
        """The `top` best classes of one prediction (…, classes): (label, value), best first; a list of lists along time.

        A single number against two labels is the probability of the second.
        """
        prediction = np.asarray(prediction)
        if prediction.ndim > 1:
            return [self.best(step, top) for step in prediction]
        if len(self.labels) == 2 and prediction.shape == (1,):
            prediction = np.array([1 - prediction[0], prediction[0]])
        order = np.argsort(-prediction, kind="stable")[: max(int(top), 1)]
        return [(self.labels[i] if i < len(self.labels) else int(i), float(prediction[i])) for i in order]

    def events(self, raw: str | np.ndarray) -> np.ndarray:
        """Events of one example from what the file's front-end takes.

        A text gives its token numbers, int32 (time,); a sound (samples,) its log-mel, float32 (time, bins); measurements
        (…, channels) in their own units, standard deviations from the mean, float32.

        Raises:
            EdgeError: the file names no such front-end outside itself.
        """
        description = self.description
        if isinstance(raw, str):
            if not description.vocabulary:
                raise EdgeError("expected numbers: this file holds no vocabulary to turn text into them.")
            return tokens(raw, description.vocabulary, description.frontend)
        if description.scales:
            return scaled(numbers(raw, "the measurements"), description.frontend)
        if not description.hears:
            raise EdgeError("this file names no front-end outside itself: give the numbers that the model takes.")
        return log_mel(description.frontend)(numbers(raw, "the sound"))

    def stream(self, *, smooth: int = 1, threshold: float | None = None, background: Sequence[str] = ()) -> Stream:
        """A new stream with its own memory; see `Stream`.

        Raises:
            EdgeError: what the model gives at an event depends on later ones (a backward direction, a mean over time).
        """
        if self._streams is None:
            self._streams = self._streams_like_sequence()
        if not self._streams:
            raise EdgeError("this file does not stream, it needs the whole sequence: export it with mode='stream'.")
        return Stream(self, smooth=smooth, threshold=threshold, background=background)

    def info(self) -> dict[str, Any]:
        """What the file is, as plain values that JSON can hold: sizes, inputs, outputs, operators, labels, versions."""
        description, graph = self.description, self.file.subgraphs[self.description.subgraph]
        memory = [*description.variables, *(description.inputs[pair.source].tensor for pair in description.memory)]
        return {
            "bytes": self.file.size,
            "sealed": bool(self.file.sealed),
            **{key: description.facts[key] for key in _FACTS if description.facts.get(key)},
            "inputs": {port.name: f"{port.role} {port.text}" for port in description.inputs},
            "outputs": {port.name: f"{port.role} {port.text}" for port in description.outputs},
            "time_may_vary": description.resizable,
            "memory_bytes": sum(tensor.bytes for tensor in memory),
            "constant_bytes": sum(tensor.constant_bytes for tensor in graph.tensors),
            "operators": dict(Counter(operator.name for operator in graph.operators)),
            "labels": list(description.labels),
            "vocabulary_size": len(description.vocabulary),
            "signatures": sorted(self.file.signatures),
        }

    def new_runtime(self) -> runtime.Runtime:
        """Another interpreter over the same bytes, with memory of its own."""
        return runtime.Runtime(self.data, self.file, self.description, self.num_threads)

    def by_name(self, x: Any) -> dict[str, Any]:
        """What the user gave for each event input.

        Raises:
            EdgeError: an input is missing, or one was given that the file does not have.
        """
        names = [port.name for port in self.description.events]
        if isinstance(x, Mapping):
            given = dict(x)
        elif len(names) == 1:
            given = {names[0]: x}
        elif isinstance(x, tuple | list) and len(x) == len(names):
            given = dict(zip(names, x))
        else:
            raise EdgeError(f"expected {len(names)} inputs: a dict with {names}, or a tuple in this order.")
        if set(given) != set(names):
            raise EdgeError(f"expected the inputs {names}, got {list(given)}.")
        return given

    def values(self, columns: Mapping[str, np.ndarray], memory: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What the interpreter takes, in the order of its inputs: quantized events, lengths, memory."""
        remembered = iter(memory)
        values = []
        for port in self.description.inputs:
            if port.role == "event":
                values.append(quantized(port, columns[port.name]))
            elif port.role == "lengths":
                values.append(np.asarray(columns[port.name], port.tensor.dtype).reshape(port.tensor.shape))
            else:
                values.append(next(remembered))
        return values

    def empty_memory(self) -> list[np.ndarray]:
        """Zeros for every memory input, in the order of the inputs, as the file quantizes zero."""
        tensors = [self.description.inputs[pair.source].tensor for pair in self.description.memory]
        return [np.full(tensor.shape, tensor.zero_point, tensor.dtype) for tensor in tensors]

    def next_memory(self, results: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What the memory inputs take in the next call, from all outputs of this one."""
        inputs, outputs = self.description.inputs, self.description.outputs
        pairs = self.description.memory
        return [fed_back(inputs[pair.source], outputs[pair.result], results[pair.result]) for pair in pairs]

    def _examples(self, x: Any, lengths: Sequence[int] | None) -> list[dict[str, np.ndarray]]:
        """One dict an example: an array without batch axis for each event, the valid steps for each length."""
        given = self.by_name(x)
        batches = {port.name: self._batch(port, given[port.name]) for port in self.description.events}
        counts = {len(batch) for batch in batches.values()} | ({len(lengths)} if lengths is not None else set())
        if counts == {0} or len(counts) != 1:
            raise EdgeError(f"expected at least one example, and as many of each input; got {sorted(counts)}.")
        examples = [dict(zip(batches, values)) for values in zip(*batches.values())]
        for row, example in enumerate(examples):
            for port in self.description.role("lengths"):
                example[port.name] = _length(
                    example[self._counted(port)], port, None if lengths is None else lengths[row]
                )
            for port in self.description.events:
                example[port.name] = self._padded(port, example[port.name])
        return examples

    def _batch(self, port: Port, value: Any) -> list[np.ndarray]:
        value = [value] if isinstance(value, str) else value
        rows = value if isinstance(value, list | tuple) else list(value) if np.ndim(value) == 1 else []
        if rows and all(isinstance(each, str) for each in rows):
            value = [self.events(str(each)) for each in rows]
        elif not isinstance(value, list | tuple):
            value = numbers(value, f"input {port.name!r}")
            if value.ndim != len(port.tensor.shape):
                raise EdgeError(
                    f"input {port.name!r}: expected {self._wanted(port)}, got {value.shape}; x[None] is a batch of one."
                )
        return [self._fitting(port, numbers(each, f"input {port.name!r}")) for each in value]

    def _fitting(self, port: Port, example: np.ndarray) -> np.ndarray:
        shape, free = port.tensor.shape[1:], int(port.time and self.description.any_length)
        if example.ndim != len(shape) or example.shape[free:] != shape[free:] or (free and not len(example)):
            raise EdgeError(f"input {port.name!r}: expected {self._wanted(port)}, got one of {example.shape}.")
        return checked(port, example, len(self.description.vocabulary))

    def _wanted(self, port: Port) -> str:
        free = port.time and self.description.any_length
        return f"({', '.join(['batch', *(['time'] if free else []), *map(str, port.tensor.shape[1 + free :])])})"

    def _counted(self, port: Port) -> str:
        return port.of or self.description.events[0].name

    def _padded(self, port: Port, example: np.ndarray) -> np.ndarray:
        """An example as long as the file asks for, where it asks for one length."""
        description = self.description
        if not port.time or description.resizable or description.stepwise or len(example) == port.steps:
            return example
        if len(example) > port.steps:
            raise EdgeError(f"input {port.name!r}: this file takes {port.steps} steps at most, got {len(example)}.")
        padding = next((each.padding for each in description.role("lengths") if self._counted(each) == port.name), None)
        rest = np.full((port.steps - len(example), *example.shape[1:]), padding or 0, example.dtype)
        return np.concatenate([example, rest])

    def _sequence(self, chunk: list[dict[str, np.ndarray]]) -> list[list[np.ndarray]]:
        """Whole sequences from empty memory: for each example its predictions, without their batch axis."""
        for port in self.description.events:
            if len({example[port.name].shape for example in chunk}) > 1:
                raise EdgeError(f"this file takes {self.description.batch} examples at once: give them equal shapes.")
        columns = {name: np.stack([example[name] for example in chunk]) for name in chunk[0]}
        predictions = self.description.predictions
        self._runtime.reset()
        if self.description.stepwise:
            outputs = self._rolled(columns)
        else:
            results = self._runtime.run(self.values(columns, []))
            outputs = [real(port, results[place]) for place, port in predictions]
        return [[output[row] for output in outputs] for row in range(len(chunk))]

    def _rolled(self, columns: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The same in several calls: explicit memory goes round, predictions with a time axis are joined."""
        stride = self.description.stride
        steps = {columns[port.name].shape[1] for port in self.description.events if port.time}
        if len(steps) != 1 or min(steps) % stride:
            raise EdgeError(f"expected sequences of one length, a multiple of {stride}; got {sorted(steps)}.")
        memory, frames = self.empty_memory(), []
        for start in range(0, steps.pop(), stride):
            frame = {
                port.name: columns[port.name][:, start : start + stride]
                for port in self.description.events
                if port.time
            }
            results = self._runtime.run(self.values({**columns, **frame}, memory))
            memory = self.next_memory(results)
            frames.append([real(port, results[place]) for place, port in self.description.predictions])
        ports = [port for _, port in self.description.predictions]
        return [np.concatenate(column, 1) if port.time else column[-1] for port, column in zip(ports, zip(*frames))]

    def _streams_like_sequence(self) -> bool:
        """Whether four random events, frame by frame, give what they give as one sequence."""
        description = self.description
        if not description.variables or not description.resizable or not all(port.time for port in description.events):
            return False
        random, whole_shape = np.random.default_rng(0), {}
        for port in description.events:
            shape = (_PROOF_STEPS, *port.tensor.shape[2:])
            tokens_or_numbers = random.integers(1, max(len(description.vocabulary), 2), shape)
            whole_shape[port.name] = tokens_or_numbers if port.tensor.dtype == "int32" else random.normal(size=shape)
        example = {port.name: checked(port, whole_shape[port.name]) for port in description.events}
        counted = {port.name: np.int64(_PROOF_STEPS) for port in description.role("lengths")}
        whole = self._sequence([{**example, **counted}] * description.batch)[0]
        stream = Stream(self)
        for step in range(_PROOF_STEPS):
            frame = stream.step({name: values[step : step + 1] for name, values in example.items()})
        return all(
            np.allclose(one[-1] if port.time else one, last[-1] if port.time else last, rtol=1e-3, atol=port.tolerance)
            for (_, port), one, last in zip(description.predictions, whole, frame)
        )


def _content(path: str | os.PathLike) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise EdgeError(f"cannot read {os.fspath(path)!r}: {error.strerror or error}.") from None


def _length(event: np.ndarray, port: Port, given: Any) -> int:
    """Valid leading steps of one example: as given, or up to the padding at its end."""
    if given is not None:
        if int(given) != given or not 0 <= given <= len(event):
            raise EdgeError(f"lengths: expected 0…{len(event)}, got {given}.")
        return int(given)
    if port.padding is None:
        raise EdgeError("this file cannot see padding: pass lengths=, the valid leading steps of each example.")
    valid = (event != port.padding).reshape(len(event), -1).any(1)
    count = int(valid.sum())
    if not valid[:count].all():
        raise EdgeError("padding before a valid step: this file counts padding at the end only; move it there.")
    return count
