"""`Stream`: events one at a time through a file whose memory stays, with an average over the last ones and a trigger."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_gates.edge.frontends import log_mel
from keras_gates.edge.tflite import EdgeError
from keras_gates.edge.values import checked, numbers, real

if TYPE_CHECKING:
    from keras_gates.edge.model import EdgeModel


@dataclass(frozen=True)
class Detection:
    """A class whose smoothed value rose to the threshold, its value, and at which event (counted from 0)."""

    label: str | int
    value: float
    event: int


class Stream:
    """Events one at a time; the memory stays between calls and belongs to this stream alone. Made by `EdgeModel.stream`.

    Args:
        model: the file.
        smooth: average the first output over this many last events.
        threshold: `detect` reports a class when its smoothed value rises to it.
        background: labels that `detect` never reports.

    Attributes:
        count: events pushed since the last reset.

    Example:
        >>> stream = model.stream(smooth=5, threshold=0.8, background=["silence"])  # doctest: +SKIP
        >>> for event in microphone:  # doctest: +SKIP
        ...     for found in stream.detect(event):
        ...         print(found.label, found.value)
    """

    def __init__(
        self, model: EdgeModel, *, smooth: int = 1, threshold: float | None = None, background: Sequence[str] = ()
    ):
        if not isinstance(smooth, int) or smooth < 1:
            raise EdgeError(f"smooth must be a whole number of at least 1, got {smooth!r}.")
        if unknown := set(background) - set(model.labels):
            raise EdgeError(f"background: the file has no label {sorted(unknown)}; it has {list(model.labels)}.")
        self._model, self._runtime = model, model.new_runtime()
        self._recent: deque[np.ndarray] = deque(maxlen=smooth)
        self._threshold, self._background = threshold, set(background)
        self._ear = log_mel(model.description.frontend) if model.description.hears else None
        self.reset()

    def reset(self) -> None:
        """Forget everything: memory, average, trigger, the count of events."""
        self._runtime.reset()
        self._memory = self._model.empty_memory()
        self._recent.clear()
        self._raised: str | int | None = None
        self.count = 0
        if self._ear:
            self._ear.reset()

    def push(self, event: Any) -> Any:
        """The prediction after one event (features,), or the predictions after each of n events (n, features).

        A file made for n events a call takes multiples of n.

        Returns:
            float32 (classes,), smoothed, or (n, classes); for several outputs a dict by name, the first of them smoothed.

        Raises:
            EdgeError: a shape, type or value that does not fit.
        """
        model, ports = self._model, self._model.description.events
        given = model.by_name(event)
        arrays = {port.name: numbers(given[port.name], f"event {port.name!r}") for port in ports}
        extra = {arrays[port.name].ndim - len(port.event_shape) for port in ports}
        stride = model.description.stride
        if extra == {0} and stride == 1:
            arrays = {name: array[None] for name, array in arrays.items()}
        elif extra != {1}:
            raise EdgeError(
                f"expected an event {ports[0].event_shape} or n of them, got {arrays[ports[0].name].shape}."
            )
        counts = {len(array) for array in arrays.values()}
        if len(counts) != 1 or min(counts) == 0 or min(counts) % stride:
            raise EdgeError(f"expected a multiple of {stride} events, as many of each input; got {sorted(counts)}.")
        for port in ports:
            if arrays[port.name].shape[1:] != port.event_shape:
                raise EdgeError(f"event {port.name!r}: expected {port.event_shape}, got {arrays[port.name].shape[1:]}.")
            arrays[port.name] = checked(port, arrays[port.name], len(model.description.vocabulary))
        frames = [
            frame
            for start in range(0, counts.pop(), stride)
            for frame in self._frames({name: array[start : start + stride] for name, array in arrays.items()})
        ]
        columns = {
            port.name: np.stack(column) for (_, port), column in zip(model.description.predictions, zip(*frames))
        }
        if extra == {0}:
            columns = {name: column[0] for name, column in columns.items()}
        return columns if len(columns) > 1 else next(iter(columns.values()))

    def feed(self, raw: str | np.ndarray) -> list:
        """Words of a text, or samples of a sound, through the file's front-end: a prediction for each event they complete.

        Raises:
            EdgeError: the file names no such front-end outside itself.
        """
        if isinstance(raw, str):
            return [self.push(token) for token in self._model.events(raw)]
        if self._ear is None:
            raise EdgeError("this file names no front-end outside itself: push the events that the model takes.")
        return [self.push(event) for event in self._ear.push(numbers(raw, "the sound"))]

    def detect(self, event: Any) -> list[Detection]:
        """Push one event or n; a `Detection` for each class that rises to the threshold, once until it falls below again."""
        if self._threshold is None:
            raise EdgeError("this stream has no threshold: model.stream(threshold=0.8).")
        before = self.count
        predictions = self.push(event)
        first = next(iter(predictions.values())) if isinstance(predictions, dict) else predictions
        rows = first[None] if first.ndim == 1 else first
        found = []
        for number, row in enumerate(rows):
            label, value = self._model.best(row)[0]
            active = value >= self._threshold and label not in self._background
            if active and label != self._raised:
                found.append(Detection(label, value, before + (number + 1) * (self.count - before) // len(rows) - 1))
            self._raised = label if active else None
        return found

    @property
    def state(self) -> dict[str, np.ndarray]:
        """All that the stream remembers, as arrays that `numpy.savez` can write; setting it continues exactly there.

        ``memory_…`` are the operators' own STM and LTM, ``state_…`` those of a file with explicit state, both in the
        file's own types; ``recent`` is what the average runs over.
        """
        recent = np.stack(self._recent) if self._recent else np.zeros(0, np.float32)
        states = {f"state_{place}": value for place, value in enumerate(self._memory)}
        return {**self._runtime.memory, **states, "recent": recent, "count": np.array(self.count)}

    @state.setter
    def state(self, saved: Mapping[str, np.ndarray]) -> None:
        for name, value in self.state.items():
            if name not in saved:
                raise EdgeError(f"this state is of another file: it lacks {name!r}.")
            other = numbers(saved[name], f"state {name!r}")
            if name != "recent" and (other.shape, other.dtype) != (value.shape, value.dtype):
                raise EdgeError(
                    f"state {name!r}: expected {value.dtype} {value.shape}, got {other.dtype} {other.shape}."
                )
        recent = np.asarray(saved["recent"], np.float32)
        if len(recent) and recent.shape[1:] != self._model.description.predictions[0][1].event_shape:
            raise EdgeError(f"state 'recent' {recent.shape} does not fit the predictions of this file.")
        self._memory = [np.array(saved[f"state_{place}"]) for place in range(len(self._memory))]
        self._runtime.memory = saved
        self._recent.clear()
        self._recent.extend(recent)
        self._raised = None
        self.count = int(saved["count"])

    def step(self, events: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """One call of the interpreter: checked events (steps, …) by name to predictions without their batch axis."""
        model, description = self._model, self._model.description
        columns = {}
        for port in description.events:
            event = events[port.name] if port.time else events[port.name][0]
            columns[port.name] = np.stack([event] * description.batch)
        columns |= {port.name: np.full(description.batch, description.stride) for port in description.role("lengths")}
        results = self._runtime.run(model.values(columns, self._memory))
        self._memory = model.next_memory(results)
        return [real(port, results[place])[0] for place, port in description.predictions]

    def _frames(self, events: Mapping[str, np.ndarray]) -> list[list[np.ndarray]]:
        """One call, its predictions apart by time (or the last one, where the file gives only that), the first smoothed."""
        outputs = self.step(events)
        ports = [port for _, port in self._model.description.predictions]
        steps = min((len(output) for port, output in zip(ports, outputs) if port.time), default=1)
        frames: list[list[np.ndarray]] = []
        for step in range(steps):
            frame: list[np.ndarray] = [
                output[len(output) - steps + step] if port.time else output for port, output in zip(ports, outputs)
            ]
            self._recent.append(frame[0])
            frames.append([np.asarray(np.mean(self._recent, axis=0, dtype=np.float32)), *frame[1:]])
        self.count += self._model.description.stride
        return frames
