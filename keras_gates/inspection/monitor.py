"""Monitoring the gates while a model trains: statistics for TensorBoard, warnings with what to try."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_gates._arguments import typed
from keras_gates._errors import InvalidArgument
from keras_gates.inspection.attribution import influence
from keras_gates.inspection.summary import GATES, Complaint, complaints, gate_statistics
from keras_gates.inspection.tracing import trace

FIRST_LOOK = 1.0  # seconds that the first look is expected to cost; most cost half of that


class GateWarning(UserWarning):
    """Something about the gates looks wrong."""


@typed
class GateMonitor(keras.callbacks.Callback):
    """A callback that records statistics of the gates while a model trains, and warns in words with what to try.

    Recorded for each layer, in `history` and for TensorBoard: `gates/LAYER/forget/mean`, `…/saturated`, likewise `ignore` and
    `use`, `…/ltm/largest`, `…/stm/dead`, `…/reach` (the influence of the first event on the prediction relative to that of
    the last), and histograms of the three factors and of LTM (the cell state). Warnings, once for each kind and layer: gates
    that are stuck, a memory that grows too large, dead units, a vanishing gradient.

    Statistics are collected after at least `least` evenly spaced epochs of a run (every one, if it has fewer), so that they make
    a curve; and after another only if their total cost, including this look's estimate (the cost of the last look; for the
    first, one second), stays within `budget` × training time. `plot` draws them.

    Args:
        x: A few examples of the model's input, `(batch, ...)`; 8 are enough.
        log_dir: Folder for TensorBoard's event files, or None.
        every: Epochs between two looks, at least.
        budget: The largest cost of all looks, as a share of the training time; those of `least` may exceed it.
        least: Looks per run, at least. With 0 the budget holds, and a run too short for any look has one at its end.

    Attributes:
        history: A dict for each look: `epoch`, and statistics by `"layer/name"`.
        complaints: Every `Complaint(kind, layer, text)` so far, also those of which no second warning was issued.
        cost: The cost of all looks so far, as a share of the training time.

    Raises:
        ImportError: `log_dir` is set and TensorBoard is not installed.

    Example:

    >>> monitor = keras_gates.GateMonitor(numpy.ones((4, 5, 3), "float32"))
    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> fitted = model.fit(numpy.ones((8, 5, 3)), numpy.ones((8, 1)), verbose=0, callbacks=[monitor])
    >>> len(monitor.history)
    1
    """

    def __init__(
        self, x: Any, log_dir: str | Path | None = None, every: int = 1, budget: float = 0.05, least: int = 10
    ) -> None:
        super().__init__()
        self.x, self.every, self.budget, self.least = x, every, budget, least
        self.history: list[dict[str, Any]] = []
        self.complaints: list[Complaint] = []
        self._trained = self._looked = self._began = 0.0
        self._expected, self._epoch = FIRST_LOOK, 0
        self._events = _Events(Path(log_dir)) if log_dir is not None else None

    @property
    def cost(self) -> float:
        return self._looked / self._trained if self._trained else 0.0

    @property
    def messages(self) -> list[str]:
        """The complaints as text, `"layer: what was measured and what to try"`."""
        return [str(complaint) for complaint in self.complaints]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began, self._epoch = time.perf_counter(), epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._trained += time.perf_counter() - self._began
        affordable = self._looked + self._expected <= self.budget * self._trained
        if self._is_due(epoch) or (epoch % self.every == 0 and affordable):
            self._paid_look(epoch)

    def _is_due(self, epoch: int) -> bool:
        """Return whether this epoch is one of the `least` evenly spaced ones; the last epoch always is."""
        epochs = (self.params or {}).get("epochs") or 0
        return bool(epochs) and (epoch + 1) * self.least // epochs > epoch * self.least // epochs

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
        """Collect the statistics now, whatever they cost.

        Args:
            epoch: The epoch under which they are recorded, from 0.
        """
        row: dict[str, Any] = {"epoch": epoch}
        traced = trace(self.model, self.x, keep=[*GATES, "ltm"])
        gradient = influence(self.model, self.x, method="gradient", of="prediction", memory=False)
        for name, layer in traced.items():
            stats = gate_statistics(layer)
            is_explained = name == gradient.layer and layer.direction == "forward"
            reach = _reach(gradient.strength, layer.mask) if is_explained else None
            for complaint in complaints(name, stats, reach):
                self._warn(complaint)
            if reach is not None:
                stats["reach"] = reach
            row |= {f"{name}/{key}": value for key, value in stats.items()}
            if self._events:
                self._events.write(epoch, name, stats, {n: layer[n] for n in (*GATES, "ltm") if n in layer})
        self.history.append(row)

    def plot(self, names: Sequence[str] | None = None) -> Any:
        """Draw statistics by epoch.

        Args:
            names: Which, `"layer/name"` as in `history`; default: the means of the factors.

        Returns:
            A matplotlib `Figure`.

        Raises:
            InvalidArgument: Nothing was recorded yet, or a name is unknown.
        """
        from keras_gates.inspection.plots.training import plot_curves  # imports matplotlib

        if not self.history:
            raise InvalidArgument("GateMonitor.plot: nothing is recorded yet; pass the monitor to model.fit first.")
        known = [name for name in self.history[-1] if name != "epoch"]
        names = list(names or [name for name in known if name.endswith("/mean")])
        unknown = [name for name in names if name not in known]
        if unknown:
            raise InvalidArgument(f"GateMonitor.plot: no {', '.join(unknown)}; recorded are: {', '.join(known)}.")
        curves = {name: [row.get(name, np.nan) for row in self.history] for name in names}
        return plot_curves(curves, names, epochs=[row["epoch"] + 1 for row in self.history])

    def _warn(self, complaint: Complaint) -> None:
        if (complaint.kind, complaint.layer) not in {(known.kind, known.layer) for known in self.complaints}:
            warnings.warn(str(complaint), GateWarning, stacklevel=3)
        self.complaints.append(complaint)


def _reach(strength: np.ndarray, mask: np.ndarray) -> float:
    """Return the influence of the first events on the predictions, relative to that of the last ones."""
    first = np.argmax(mask, axis=1)
    last = mask.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)
    rows = np.arange(len(mask))
    return float(strength[rows, first].mean() / max(float(strength[rows, last].mean()), 1e-30))


class _Events:
    """TensorBoard's event files, written without TensorFlow, so that every backend can write them."""

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise ImportError("GateMonitor(log_dir=…) needs TensorBoard: pip install tensorboard.") from error
        self.open: Callable[[], Any] = lambda: EventFileWriter(str(folder))
        self.writer: Any = None

    def write(self, epoch: int, layer: str, stats: dict[str, float], arrays: dict[str, np.ndarray]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        summaries = [scalar_pb(f"gates/{layer}/{name}", value) for name, value in stats.items()]
        summaries += [histogram_pb(f"gates/{layer}/{n}", a[np.isfinite(a)], buckets=30) for n, a in arrays.items()]
        self.writer = self.writer or self.open()
        for summary in summaries:
            self.writer.add_event(Event(wall_time=time.time(), step=epoch, summary=summary))
        self.writer.flush()

    def close(self) -> None:
        """Close the file; a later `write` opens a new one."""
        if self.writer:
            self.writer.close()
        self.writer = None
