"""`Stream`: events one at a time, with persistent memory, an average over the last predictions and a trigger."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_gates._arguments import typed_with
from keras_gates.edge.fixed_log_mel import FixedLogMel
from keras_gates.edge.frontends import events_of, log_mel, scaled
from keras_gates.edge.runtime import Runtime
from keras_gates.edge.tflite import EdgeError
from keras_gates.edge.values import best, by_name, checked, numbers, predictions, real


@dataclass(frozen=True)
class Detection:
    """A class whose smoothed value rose to the threshold.

    Attributes:
        label: Name of the class, or its number if the file has no labels.
        value: Its smoothed value.
        event: Number of the event, counted from 0.
    """

    label: str | int
    value: float
    event: int


@typed_with(EdgeError)
class Stream:
    """Events one at a time; STM and LTM persist between calls and belong to this stream alone.

    `EdgeModel.stream` returns it. Threads may share it: each call of a method runs whole. A pickled or copied stream, and one
    in a forked process, continues from the same state.

    Args:
        runtime: An interpreter of its own.
        smooth: Average the first output over this many last events.
        threshold: `detect` reports a class when its smoothed value rises to it.
        background: Labels that `detect` never reports.

    Attributes:
        count: Events pushed since the last reset.

    Raises:
        EdgeError: `smooth` is below 1, or a background label is unknown.

    Example:

    >>> stream = model.stream(smooth=5, threshold=0.8, background=["silence"])  # doctest: +SKIP
    >>> for event in microphone:  # doctest: +SKIP
    ...     for detection in stream.detect(event):
    ...         print(detection.label, detection.value)
    """

    def __init__(
        self, runtime: Runtime, *, smooth: int = 1, threshold: float | None = None, background: Sequence[str] = ()
    ):
        description = runtime.description
        if smooth < 1:
            raise EdgeError(f"smooth must be a whole number of at least 1, got {smooth!r}.")
        if unknown := set(background) - set(description.labels):
            raise EdgeError(f"background: the file has no label {sorted(unknown)}; it has {list(description.labels)}.")
        self._runtime, self._description = runtime, description
        self._recent: deque[np.ndarray] = deque(maxlen=smooth)
        self._threshold, self._background = threshold, set(background)
        self._log_mel = log_mel(description.frontend) if description.hears else None
        self._fixed: FixedLogMel | None = None
        self.reset()

    def reset(self) -> None:
        """Clear STM, LTM, average, trigger and event count."""
        with self._runtime.lock:
            self._runtime.reset()
            self._recent.clear()
            self._active: str | int | None = None
            self.count = 0
            if self._log_mel:
                self._log_mel.reset()
                self._fixed = None

    def push(self, event: Any) -> Any:
        """Return the prediction after one event, or the predictions after each of n events.

        Args:
            event: (features,), or (n, features); several inputs as a dict by name or a tuple. A file with n events per
                call takes multiples of n.

        Returns:
            float32 (classes,), smoothed, or (n, classes); for several outputs a dict by name, the first of them smoothed. NaN
            in the file's first `Description.warmup` calls, whose windows are not complete.

        Raises:
            EdgeError: A shape, type or value that does not fit.

        Example:

        >>> EdgeModel("model.tflite").stream().push(np.zeros(16)).shape  # doctest: +SKIP
        (10,)
        """
        arrays, single = self._checked(event)
        stride = self._description.stride
        with self._runtime.lock:
            frames = [
                frame
                for start in range(0, len(next(iter(arrays.values()))), stride)
                for frame in self._frames({name: array[start : start + stride] for name, array in arrays.items()})
            ]
        ports = [port for _, port in self._description.predictions]
        columns = {port.name: np.stack(column) for port, column in zip(ports, zip(*frames))}
        if single:
            columns = {name: column[0] for name, column in columns.items()}
        return columns if len(columns) > 1 else next(iter(columns.values()))

    def feed(self, raw: str | np.ndarray) -> list:
        """Pass text or audio through the file's front end and push the events that it completes.

        Args:
            raw: A text, or samples (n,) of audio in −1…1; samples that do not complete an event wait for the next call.
                int16 samples go through the integer front end, which the C on a device has too.

        Returns:
            A prediction per event, see `push`.

        Raises:
            EdgeError: The file has no such external front end.
        """
        with self._runtime.lock:
            if isinstance(raw, str):
                return [self.push(token) for token in events_of(self._description, raw)]
            return [self.push(event) for event in self.front_end(numbers(raw, "the sound"))]

    def front_end(self, sound: np.ndarray) -> np.ndarray:
        """Return the log-mel events (n, bins) that samples complete; the rest waits for the next call.

        Args:
            sound: Samples (n,): real in −1…1, or int16, which the integer front end takes that the C on a device has too.

        Raises:
            EdgeError: The file has no log-mel front end.
        """
        if self._log_mel is None:
            raise EdgeError("this file has no external front end; push the events that the model takes.")
        if sound.dtype != np.int16:
            return self._log_mel.push(sound)
        port = self._description.events[0]
        self._fixed = self._fixed or FixedLogMel(self._description.frontend, port)
        return real(port, self._fixed.push(sound))

    def detect(self, event: Any) -> list[Detection]:
        """Push one event or n and report each class that rises to the threshold, once until it falls below again.

        Args:
            event: As in `push`.

        Raises:
            EdgeError: The stream has no threshold, or the event does not fit.
        """
        if self._threshold is None:
            raise EdgeError("this stream has no threshold: model.stream(threshold=0.8).")
        with self._runtime.lock:
            return self._detected(event, self._threshold)

    @property
    def state(self) -> dict[str, np.ndarray]:
        """The whole state as arrays that `numpy.savez` can write; setting it continues exactly there.

        ``memory_…`` are STM and LTM of the operators, ``state_…`` those of a file with explicit memory, both in the file's
        own types; ``recent`` are the predictions that the average covers, ``count`` the number of events.
        """
        with self._runtime.lock:
            recent = np.stack(self._recent) if self._recent else np.zeros(0, np.float32)
            return {**self._runtime.memory, "recent": recent, "count": np.array(self.count)}

    @state.setter
    def state(self, saved: Mapping[str, np.ndarray]) -> None:
        for name, value in self.state.items():
            if name not in saved:
                raise EdgeError(
                    f"expected the state of this file, got one without {name!r}: it belongs to another file."
                )
            other = numbers(saved[name], f"state {name!r}")
            if name != "recent" and (other.shape, other.dtype) != (value.shape, value.dtype):
                raise EdgeError(
                    f"state {name!r}: expected {value.dtype} {value.shape}, got {other.dtype} {other.shape}."
                )
        recent = np.asarray(saved["recent"], np.float32)
        if len(recent) and recent.shape[1:] != self._description.predictions[0][1].event_shape:
            raise EdgeError(f"state 'recent' {recent.shape} does not fit the predictions of this file.")
        with self._runtime.lock:
            self._runtime.memory = saved
            self._recent.clear()
            self._recent.extend(recent)
            self._active = None
            self.count = int(saved["count"])

    def _checked(self, event: Any) -> tuple[dict[str, np.ndarray], bool]:
        """Return n events (n, features) by input name, and whether a single event was passed."""
        description, ports = self._description, self._description.events
        values = by_name(description, event)
        arrays = {port.name: numbers(values[port.name], f"event {port.name!r}") for port in ports}
        if description.standardizes:
            arrays = {name: scaled(array, description.frontend) for name, array in arrays.items()}
        extra = {arrays[port.name].ndim - len(port.event_shape) for port in ports}
        single = extra == {0} and description.stride == 1
        if single:
            arrays = {name: array[None] for name, array in arrays.items()}
        elif extra != {1}:
            raise EdgeError(
                f"expected an event {ports[0].event_shape} or n of them, got {arrays[ports[0].name].shape}."
            )
        counts = {len(array) for array in arrays.values()}
        if len(counts) != 1 or min(counts) == 0 or min(counts) % description.stride:
            raise EdgeError(
                f"expected a multiple of {description.stride} events, as many for each input; got {sorted(counts)}."
            )
        for port in ports:
            if arrays[port.name].shape[1:] != port.event_shape:
                raise EdgeError(f"event {port.name!r}: expected {port.event_shape}, got {arrays[port.name].shape[1:]}.")
            arrays[port.name] = checked(port, arrays[port.name], len(description.vocabulary))
        return arrays, single

    def _detected(self, event: Any, threshold: float) -> list[Detection]:
        before = self.count
        prediction = self.push(event)
        first = next(iter(prediction.values())) if isinstance(prediction, dict) else prediction
        rows = first[None] if first.ndim == 1 else first
        detections = []
        for number, row in enumerate(rows):
            label, value = best(self._description.labels, row)[0]
            active = value >= threshold and label not in self._background
            if active and label != self._active:
                last = before + (number + 1) * (self.count - before) // len(rows) - 1
                detections.append(Detection(label, value, last))
            self._active = label if active else None
        return detections

    def _frames(self, events: Mapping[str, np.ndarray]) -> list[list[np.ndarray]]:
        """Run one call and return its predictions per time step (one if the file returns only the last), the first smoothed."""
        outputs = streamed(self._runtime, events)
        ports = [port for _, port in self._description.predictions]
        steps = min((len(output) for port, output in zip(ports, outputs) if port.time), default=1)
        if self.count < self._description.warmup * self._description.stride:
            self.count += self._description.stride
            return [[np.full_like(output[0] if port.time else output, np.nan) for port, output in zip(ports, outputs)]]
        frames: list[list[np.ndarray]] = []
        for step in range(steps):
            frame: list[np.ndarray] = [
                output[len(output) - steps + step] if port.time else output for port, output in zip(ports, outputs)
            ]
            self._recent.append(frame[0])
            frames.append([np.asarray(np.mean(self._recent, axis=0, dtype=np.float32)), *frame[1:]])
        self.count += self._description.stride
        return frames


def streamed(runtime: Runtime, events: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return the predictions of one call of a stream, without their batch axis.

    Args:
        runtime: The interpreter; its memory continues.
        events: Checked events (steps, …) by input name; every row of the batch gets them.
    """
    description = runtime.description
    columns = {}
    for port in description.events:
        event = events[port.name] if port.time else events[port.name][0]
        columns[port.name] = np.stack([event] * description.batch)
    columns |= {port.name: np.full(description.batch, description.stride) for port in description.role("lengths")}
    return [values[0] for values in predictions(description, runtime.call(columns))]
