"""Watching the gates while a model trains."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_gates.inspection.attribution import influence
from keras_gates.inspection.summary import GATES, complaints, gate_statistics
from keras_gates.inspection.tracing import trace

FIRST_LOOK = 1.0  # seconds that the first look is taken to cost: most take half of that


class GateWarning(UserWarning):
    """Something about the gates looks wrong."""


class GateMonitor(keras.callbacks.Callback):
    """Statistics of the gates for TensorBoard while a model trains, and warnings in words with what to try.

    Written for each layer: `gates/LAYER/forget/mean`, `…/saturated`, likewise `ignore` and `use`, `…/ltm/largest`,
    `…/stm/dead`, `…/reach` (how much the prediction depends on the first event beside the last), and histograms of the three
    factors and of LTM. Warned of: gates that are stuck, a memory that grows too large, dead units, a gradient that vanishes.

    A look is paid for in advance: after an epoch it is taken only where all looks so far and this one (which is taken to cost
    what the last one did; the first one, a second) fit into `budget` times the training so far. A run too short
    for any look gets one at its end.

    Args:
        x: a few examples to watch, what the model takes; 8 are plenty.
        log_dir: where TensorBoard's events are written, or None.
        every: how many epochs lie between two looks at least.
        budget: the share of the training time that looking may take.

    Attributes:
        history: a dict for each look: `epoch`, and statistics by `"layer/name"`.
        messages: the warnings said so far.
        cost: the share of the training time that looking took so far.

    Raises:
        ImportError: a `log_dir`, and TensorBoard is not installed.

    Example:

    >>> monitor = keras_gates.GateMonitor(numpy.ones((4, 5, 3), "float32"))
    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> fitted = model.fit(numpy.ones((8, 5, 3)), numpy.ones((8, 1)), verbose=0, callbacks=[monitor])
    >>> len(monitor.history)
    1
    """

    def __init__(self, x: Any, log_dir: str | Path | None = None, every: int = 1, budget: float = 0.05) -> None:
        super().__init__()
        self.x, self.every, self.budget = x, every, budget
        self.history: list[dict[str, Any]] = []
        self.messages: list[str] = []
        self._trained = self._looked = self._began = 0.0
        self._expected, self._epoch = FIRST_LOOK, 0
        self._events = _Events(Path(log_dir)) if log_dir is not None else None

    @property
    def cost(self) -> float:
        return self._looked / self._trained if self._trained else 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began, self._epoch = time.perf_counter(), epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._trained += time.perf_counter() - self._began
        if epoch % self.every == 0 and self._looked + self._expected <= self.budget * self._trained:
            self._paid_look(epoch)

    def on_train_end(self, logs: Any = None) -> None:
        if not self.history:
            self._paid_look(self._epoch)
        if self._events:
            self._events.close()

    def _paid_look(self, epoch: int) -> None:
        began = time.perf_counter()
        self.look(epoch)
        self._expected = time.perf_counter() - began
        self._looked += self._expected

    def look(self, epoch: int) -> None:
        """Look at the gates now."""
        row: dict[str, Any] = {"epoch": epoch}
        traced = trace(self.model, self.x, keep=[*GATES, "ltm"])
        found = influence(self.model, self.x, memory=False)
        for name, layer in traced.items():
            numbers = gate_statistics(layer)
            reach = _reach(found.strength, layer.mask) if name == found.layer and layer.direction == "forward" else None
            for message in complaints(name, numbers, reach):
                if message.split(":")[1][:24] not in {m.split(":")[1][:24] for m in self.messages}:
                    warnings.warn(message, GateWarning, stacklevel=2)
                self.messages.append(message)
            if reach is not None:
                numbers["reach"] = reach
            row |= {f"{name}/{key}": value for key, value in numbers.items()}
            if self._events:
                self._events.write(epoch, name, numbers, {n: layer[n] for n in (*GATES, "ltm") if n in layer})
        self.history.append(row)


def _reach(strength: np.ndarray, mask: np.ndarray) -> float:
    """How strongly the predictions depend on the first events beside the last ones."""
    first = np.argmax(mask, axis=1)
    last = mask.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)
    rows = np.arange(len(mask))
    return float(strength[rows, first].mean() / max(float(strength[rows, last].mean()), 1e-30))


class _Events:
    """TensorBoard's event files, written without TensorFlow, so that every backend can."""

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise ImportError("GateMonitor(log_dir=…) needs TensorBoard: pip install tensorboard.") from error
        self.open: Callable[[], Any] = lambda: EventFileWriter(str(folder))
        self.writer: Any = None

    def write(self, epoch: int, layer: str, numbers: dict[str, float], arrays: dict[str, np.ndarray]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        summaries = [scalar_pb(f"gates/{layer}/{name}", value) for name, value in numbers.items()]
        summaries += [histogram_pb(f"gates/{layer}/{n}", a[np.isfinite(a)], buckets=30) for n, a in arrays.items()]
        self.writer = self.writer or self.open()
        for summary in summaries:
            self.writer.add_event(Event(wall_time=time.time(), step=epoch, summary=summary))
        self.writer.flush()

    def close(self) -> None:
        """Close the file; what is written later goes to a new one."""
        if self.writer:
            self.writer.close()
        self.writer = None
