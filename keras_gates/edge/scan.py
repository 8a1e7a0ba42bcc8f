"""Finds events in long recordings with a model that takes windows: a window slides over the recording, and neighbouring windows
with the same class are one event. Every classifier can do this, also one that needs the whole window."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_gates.edge.frontends import log_mel
from keras_gates.edge.tflite import EdgeError

BACKGROUND = ("background", "_background_noise_", "silence", "noise", "none", "")
HOP = 0.25  # of a window
_LOUDER = 2.0  # 6 dB above the quiet of the last minute
_QUIET = 10  # percentile
_MEMORY = 240  # windows
_FAINT = 1e-4  # −80 dB


@dataclass(frozen=True)
class Event:
    """A stretch of a recording with one class.

    Attributes:
        label: of the class.
        start, end: in samples or rows of the recording, by the middle of the first and of the last window.
        value: largest smoothed value of the class.
    """

    label: str | int
    start: int
    end: int
    value: float


@dataclass(frozen=True)
class Scan:
    """How a model is moved over a recording.

    Attributes:
        model: an `keras_gates.edge.EdgeModel` that classifies windows.
        size: samples or rows per window.
        hop: between the starts of two windows.
        threshold: smoothed value from which a class counts.
        smooth: windows over which values are averaged.
        background: labels that are no event.
        audible: whether windows without a sound above the quiet of the last minute are no event; for models that know no
            background.
    """

    model: Any
    size: int
    hop: int
    threshold: float = 0.6
    smooth: int = 2
    background: tuple[str, ...] = BACKGROUND
    audible: bool = False

    def events(self, blocks: Iterable[np.ndarray]) -> Iterator[Event]:
        """Yield the events of a recording, each as soon as it has ended.

        Args:
            blocks: consecutive parts of the recording: samples (n,) in −1…1, or rows (n, channels) in the sensor's units.

        Raises:
            EdgeError: the recording is shorter than a window, or does not fit the model.

        Example:

        >>> for event in scan(model).events(read_blocks("hour.wav", 8000)):  # doctest: +SKIP
        ...     print(event.label, event.start / 8000)
        """
        recent: deque[np.ndarray] = deque(maxlen=self.smooth)
        middle, half = self.size // 2, self.hop // 2
        current: Event | None = None
        start = -1
        for start, values in self._values(blocks):
            recent.append(values)
            mean = np.mean(recent, axis=0)
            label, value = self.model.best(mean)[0]
            centre = start + middle - (len(recent) - 1) * half  # of the windows that the mean covers
            if value < self.threshold or label in self.background:
                label = None
            if current is not None and label == current.label:
                current = Event(current.label, current.start, centre + half, max(current.value, float(value)))
                continue
            if current is not None:
                yield current
            current = Event(label, max(0, centre - half), centre + half, float(value)) if label is not None else None
        if start < 0:
            raise EdgeError(f"the recording is shorter than the model's window of {self.size} samples or rows")
        if current is not None:
            yield current

    def _values(self, blocks: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """The start of each window, and the model's values for it; zeros where there is nothing to be heard."""
        loudness: deque[float] = deque(maxlen=_MEMORY)
        classes = max(len(self.model.labels), 1)
        for start, window in self._windows(blocks):
            if self.audible:
                loudness.append(float(np.sqrt(np.mean(np.square(_core(window))))))
                if loudness[-1] < max(_LOUDER * float(np.percentile(loudness, _QUIET)), _FAINT):
                    yield start, np.zeros(classes, np.float32)
                    continue
            yield start, self._predicted(window)

    def _windows(self, blocks: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        start, rest = 0, None
        for block in blocks:
            rest = block if rest is None else np.concatenate([rest, block])
            at = 0
            for at in range(0, len(rest) - self.size + 1, self.hop):
                yield start + at, rest[at : at + self.size]
            done = at + self.hop if len(rest) >= self.size else 0
            start, rest = start + done, rest[done:]

    def _predicted(self, window: np.ndarray) -> np.ndarray:
        description = self.model.description
        x = self.model.events(window) if description.hears or description.scales else window
        outputs = self.model.predict(x[None])
        values = (next(iter(outputs.values())) if isinstance(outputs, dict) else outputs)[0]
        return values[-1] if values.ndim > 1 else values


def _core(window: np.ndarray) -> np.ndarray:
    """The middle half: what is only at an edge will be in the middle of another window."""
    return window[len(window) // 4 : -(len(window) // 4) or None]


def scan(
    model: Any,
    hop: int | None = None,
    threshold: float = 0.6,
    smooth: int = 2,
    background: Sequence[str] = BACKGROUND,
) -> Scan:
    """Return how a model is moved over recordings.

    Args:
        model: an `keras_gates.edge.EdgeModel` that classifies sound or windows of sensor values.
        hop: samples or rows between the starts of two windows; None is a quarter of a window.
        threshold: smoothed value from which a class counts.
        smooth: windows over which values are averaged.
        background: labels that are no event.

    Raises:
        EdgeError: the model does not take windows of one length, or has no classes.

    Example:

    >>> scan(EdgeModel("speech.tflite")).size  # doctest: +SKIP
    8000
    """
    description = model.description
    port, shape = description.events[0], description.events[0].tensor.shape
    steps = description.frontend.get("longest") or (shape[1] if len(shape) > 1 else None)
    if not model.labels or not isinstance(steps, int) or description.stepwise or description.vocabulary:
        raise EdgeError(
            f"events with times need a model that classifies windows of sound or of sensor values; this one takes {port.text}"
        )
    if (hop is not None and hop < 1) or smooth < 1 or not 0 < threshold <= 1:
        raise EdgeError(
            f"expected a hop of at least 1, smooth of at least 1 and a threshold up to 1; got {hop}, {smooth}, {threshold}"
        )
    sound = "sample_rate" in description.frontend
    size = log_mel(description.frontend).samples(steps) if description.hears else steps
    audible = sound and not set(background) & set(model.labels)
    return Scan(model, size, hop or max(1, round(HOP * size)), threshold, smooth, tuple(background), audible)
