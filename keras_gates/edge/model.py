"""`EdgeModel`: a ``.tflite`` file that predicts and streams."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates._arguments import typed_with
from keras_gates.edge import runtime
from keras_gates.edge.description import Description, Port, describe
from keras_gates.edge.fixed_log_mel import FixedLogMel
from keras_gates.edge.frontends import events_of, scaled
from keras_gates.edge.packed import unpacked
from keras_gates.edge.stream import Stream, streamed
from keras_gates.edge.tflite import METADATA_NAME, EdgeError, read
from keras_gates.edge.values import best, by_name, checked, numbers, predictions, real, stacked

_PROOF_STEPS = 4
_FACTS = (
    "name", "mode", "lowering", "precision", "target", "task", "description", "licence", "frontend", "versions", "user"
)  # fmt: skip


@typed_with(EdgeError)
class EdgeModel:
    """A ``.tflite`` file, ready to predict and to stream.

    Threads may share it: each predicts in its own interpreter. It can be pickled, copied and used after a fork.
    Files of `keras_gates.export` contain what is needed (roles of inputs, labels, vocabulary, whether memory must be
    reset); any other ``.tflite`` runs too, as far as its graph is sufficient.

    Args:
        path: Path of the file, or its bytes.
        num_threads: Threads for the kernels that can use several.
        probe: True runs the file once in a subprocess first, so that a file that crashes LiteRT raises an error here, and
            accepts a file whose checksum differs; False never does, and rejects a file of `keras_gates.export` that lost its
            checksum; None does it for files without a checksum.
        engine: What runs the file: LiteRT, or `keras_gates.CompiledRuntime`, which compiles its C99.

    Attributes:
        description: Inputs, outputs and metadata (`keras_gates.edge.description.Description`).
        data: Bytes of the file; weights of 4 bits as int8.
        file: Graphs, tensors, operators and signatures (`keras_gates.edge.tflite.TFLite`).

    Raises:
        EdgeError: Not a ``.tflite`` file, cut short, changed since its export, or refused by LiteRT.

    Example:

    >>> model = EdgeModel("model.tflite")  # doctest: +SKIP
    >>> model.predict(np.zeros((2, 28, 16), "float32")).shape  # doctest: +SKIP
    (2, 10)
    """

    def __init__(
        self,
        path: str | os.PathLike | bytes,
        *,
        num_threads: int = 1,
        probe: bool | None = None,
        engine: type[runtime.Runtime] = runtime.Runtime,
    ):
        if num_threads < 1:
            raise EdgeError(f"num_threads must be a whole number of at least 1, got {num_threads!r}.")
        self.num_threads, self.engine = num_threads, engine
        self.data = path if isinstance(path, bytes) else _content(path)
        self.file = read(self.data)
        lost = self.file.sealed is None and METADATA_NAME in self.file.metadata  # damage can hit the checksum itself
        if (self.file.sealed is False and not probe) or (lost and probe is False):
            raise EdgeError("the file changed since its export (checksum differs): copy it again, or pass probe=True.")
        if (runnable := unpacked(self.data)) is not self.data:
            self.data, self.file = runnable, read(runnable)
        self.description: Description = describe(self.file)
        if probe or (probe is None and self.file.sealed is None):
            runtime.probe(self.data)
        self._of_thread = threading.local()
        try:
            self._of_thread.runtime = self.new_runtime()
        except EdgeError as error:
            if self.description.facts.get("target") == "micro":
                raise EdgeError(f"{error} The file was made for microcontrollers: run its C kit in TFLM.") from None
            raise
        self._streams: bool | None = True if self.description.streams else None

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes; empty if the file has none."""
        return self.description.labels

    def predict(self, x: Any, *, lengths: Sequence[int] | None = None, top: int | None = None) -> Any:
        """Predict a batch; every example starts with an empty memory.

        Args:
            x: (batch, …) numbers in the model's units, before quantization; a list of arrays of different lengths; a text
                or a list of texts if the file has a vocabulary; for several inputs a dict by name, or a tuple.
            lengths: Valid leading time steps of each example, for files that count them and cannot detect padding.
            top: Return this many best classes instead: for each example a list of (label, value).

        Returns:
            float32 (batch, …); a dict by name for several outputs; a list if lengths lead to unequal shapes.

        Raises:
            EdgeError: A shape, type or value that does not fit, or NaN among the values.

        Example:

        >>> EdgeModel("model.tflite").predict(x, top=1)  # doctest: +SKIP
        [[('yes', 0.97)], [('no', 0.81)]]
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
        """Return the best classes of one prediction.

        Args:
            prediction: Values (classes,) or (time, classes). A single value for two labels is the probability of the
                second.
            top: Number of classes.

        Returns:
            List of (label, value), best first; with a time axis a list of such lists.

        Example:

        >>> model.best(np.array([0.1, 0.7, 0.2]), top=2)  # doctest: +SKIP
        [('yes', 0.7), ('other', 0.2)]
        """
        return best(self.labels, numbers(prediction, "the prediction"), top)

    def events(self, raw: str | np.ndarray) -> np.ndarray:
        """Apply the file's external front end to one example.

        Args:
            raw: A text; audio (samples,) in −1…1 at the sample rate of the file, or as int16, which goes through the integer
                front end as in `Stream.feed`; or measurements (…, channels) in their own units.

        Returns:
            Token numbers, int32 (time,); log-mel events, float32 (time, bins); or standardized measurements, float32.

        Raises:
            EdgeError: The file has no such external front end.

        Example:

        >>> EdgeModel("intent.tflite").events("turn it off")  # doctest: +SKIP
        array([2, 3, 4], dtype=int32)
        """
        if self.description.hears and isinstance(raw, np.ndarray) and raw.dtype == np.int16:
            port = self.description.events[0]
            return real(port, FixedLogMel(self.description.frontend, port)(raw))
        return events_of(self.description, raw)

    def stream(self, *, smooth: int = 1, threshold: float | None = None, background: Sequence[str] = ()) -> Stream:
        """Return a new stream with its own memory.

        Args:
            smooth: Average the first output over this many last events.
            threshold: `Stream.detect` reports a class when its smoothed value rises to it.
            background: Labels that `Stream.detect` never reports.

        Raises:
            EdgeError: The output at an event depends on later ones (a backward direction, a mean over time).

        Example:

        >>> stream = EdgeModel("model.tflite").stream(smooth=5, threshold=0.8)  # doctest: +SKIP
        >>> stream.detect(event)  # doctest: +SKIP
        [Detection(label='yes', value=0.83, event=11)]
        """
        if self._streams is None:
            self._streams = self._streams_like_sequence()
        if not self._streams:
            raise EdgeError("this file does not stream, it needs the whole sequence: export it with mode='stream'.")
        return Stream(self.new_runtime(), smooth=smooth, threshold=threshold, background=background)

    def info(self) -> dict[str, Any]:
        """Return sizes in bytes, inputs, outputs, operators, labels and metadata as plain values that JSON can hold.

        Example:

        >>> EdgeModel("model.tflite").info()["operators"]  # doctest: +SKIP
        {'UNIDIRECTIONAL_SEQUENCE_LSTM': 1, 'FULLY_CONNECTED': 1, 'SOFTMAX': 1}
        """
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
        """Return another interpreter over the same bytes, with its own memory.

        Raises:
            EdgeError: LiteRT is not installed, or refuses the file.
        """
        return self.engine(self.data, self.file, self.description, self.num_threads)

    @property
    def _runtime(self) -> runtime.Runtime:
        """The interpreter of this thread. LiteRT's are not thread-safe; one behind a lock was slower in five of six runs (two
        busy cores, 0.8 to 1.9 times the time), and another one costs 0.4 ms and about 0.1 MB."""
        if not hasattr(self._of_thread, "runtime"):
            self._of_thread.runtime = self.new_runtime()
        return self._of_thread.runtime

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_of_thread"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _of_thread=threading.local())

    def _examples(self, x: Any, lengths: Sequence[int] | None) -> list[dict[str, np.ndarray]]:
        """Return one dict per example: an array without batch axis for each event, the valid time steps for each length."""
        values = by_name(self.description, x)
        batches = {port.name: self._batch(port, values[port.name]) for port in self.description.events}
        counts = {len(batch) for batch in batches.values()} | ({len(lengths)} if lengths is not None else set())
        if counts == {0} or len(counts) != 1:
            raise EdgeError(f"expected at least one example, as many for each input; got {sorted(counts)}.")
        examples = [dict(zip(batches, rows)) for rows in zip(*batches.values())]
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
            value = [self._tokens(port, str(each)) for each in rows]
        elif not isinstance(value, list | tuple):
            value = numbers(value, f"input {port.name!r}")
            if value.ndim != len(port.tensor.shape):
                raise EdgeError(
                    f"input {port.name!r}: expected {self._wanted(port)}, got {value.shape}; x[None] is a batch of one."
                )
        rows = [numbers(each, f"input {port.name!r}") for each in value]
        if self.description.standardizes:
            rows = [scaled(row, self.description.frontend) for row in rows]
        return [self._fitting(port, row) for row in rows]

    def _tokens(self, port: Port, text: str) -> np.ndarray:
        """Return the token numbers of a text. One without words is one padding token, as in a batch that Keras pads, unless
        the file counts valid time steps."""
        token_numbers = self.events(text)
        return token_numbers if len(token_numbers) or self._has_lengths(port) else np.zeros(1, np.int32)

    def _has_lengths(self, port: Port) -> bool:
        return any(self._counted(each) == port.name for each in self.description.role("lengths"))

    def _fitting(self, port: Port, example: np.ndarray) -> np.ndarray:
        shape, free = port.tensor.shape[1:], int(port.time and self.description.any_length)
        empty = free and example.ndim and not len(example) and not self._has_lengths(port)
        if example.ndim != len(shape) or example.shape[free:] != shape[free:] or empty:
            raise EdgeError(f"input {port.name!r}: expected {self._wanted(port)}, got one of {example.shape}.")
        return checked(port, example, len(self.description.vocabulary))

    def _wanted(self, port: Port) -> str:
        free = port.time and self.description.any_length
        return f"({', '.join(['batch', *(['time'] if free else []), *map(str, port.tensor.shape[1 + free :])])})"

    def _counted(self, port: Port) -> str:
        return port.of or self.description.events[0].name

    def _padded(self, port: Port, example: np.ndarray) -> np.ndarray:
        """Return an example padded to the file's fixed length, if it has one."""
        description = self.description
        if not port.time or description.resizable or description.stepwise or len(example) == port.steps:
            return example
        if len(example) > port.steps:
            raise EdgeError(
                f"input {port.name!r}: this file takes at most {port.steps} time steps, got {len(example)}."
            )
        padding = next((each.padding for each in description.role("lengths") if self._counted(each) == port.name), None)
        rest = np.full((port.steps - len(example), *example.shape[1:]), padding or 0, example.dtype)
        return np.concatenate([example, rest])

    def _sequence(self, chunk: list[dict[str, np.ndarray]]) -> list[list[np.ndarray]]:
        """Run whole sequences from empty memory and return the predictions per example, without their batch axis."""
        for port in self.description.events:
            if len({example[port.name].shape for example in chunk}) > 1:
                raise EdgeError(f"this file takes {self.description.batch} examples at once: give them equal shapes.")
        columns = {name: np.stack([example[name] for example in chunk]) for name in chunk[0]}
        own = self._runtime
        own.reset()
        outputs = self._stepped(own, columns) if self.description.stepwise else self._called(own, columns)
        return [[output[row] for output in outputs] for row in range(len(chunk))]

    def _called(self, own: runtime.Runtime, columns: dict[str, np.ndarray]) -> list[np.ndarray]:
        return predictions(self.description, own.call(columns))

    def _stepped(self, own: runtime.Runtime, columns: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run a sequence in several calls; predictions with a time axis are concatenated."""
        stride = self.description.stride
        timed = [port.name for port in self.description.events if port.time]
        steps = {columns[name].shape[1] for name in timed}
        if len(steps) != 1 or min(steps) % stride:
            raise EdgeError(f"expected sequences of one length, a multiple of {stride}; got {sorted(steps)}.")
        frames = [
            self._called(own, {**columns, **{name: columns[name][:, start : start + stride] for name in timed}})
            for start in range(0, steps.pop(), stride)
        ]
        if len(frames) <= (warmup := self.description.warmup):
            raise EdgeError(f"expected more than {warmup * stride} time steps, before which no window is complete.")
        ports = [port for _, port in self.description.predictions]
        return [
            np.concatenate(column[warmup:], 1) if port.time else column[-1] for port, column in zip(ports, zip(*frames))
        ]

    def _streams_like_sequence(self) -> bool:
        """Return whether four random events give the same predictions event by event as in one sequence."""
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
        stepping = self.new_runtime()
        for step in range(_PROOF_STEPS):
            frame = streamed(stepping, {name: values[step : step + 1] for name, values in example.items()})
        return all(
            np.allclose(one[-1] if port.time else one, last[-1] if port.time else last, rtol=1e-3, atol=port.tolerance)
            for (_, port), one, last in zip(description.predictions, whole, frame)
        )


def _content(path: str | os.PathLike) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise EdgeError(f"cannot read {os.fspath(path)!r}: {error.strerror or error}.") from None


def _length(event: np.ndarray, port: Port, length: Any) -> int:
    """Return the valid leading time steps of one example: `length`, or if it is None those before the padding."""
    if length is not None:
        if int(length) != length or not 0 <= length <= len(event):
            raise EdgeError(f"lengths: expected 0…{len(event)}, got {length}.")
        return int(length)
    if port.padding is None:
        raise EdgeError("this file cannot detect padding: pass lengths=, the valid leading time steps of each example.")
    valid = (event != port.padding).any(axis=tuple(range(1, event.ndim)))
    count = int(valid.sum())
    if not valid[:count].all():
        raise EdgeError("padding before a valid step: this file supports padding at the end only; move it there.")
    return count
