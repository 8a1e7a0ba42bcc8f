"""How long each stage of a run took, for its report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import keras

TRAINING, FIRST_STEP = "training", "first step"


class Clock:
    """Seconds by stage, in the order in which the stages began.

    Attributes:
        seconds: Name of a stage → wall time in seconds.

    Example:

    >>> clock = Clock()
    >>> with clock.stage("data"):
    ...     pass
    >>> list(clock.seconds)
    ['data']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to a stage."""
        began = time.perf_counter()
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - began

    def lines(self) -> list[str]:
        """Return the stages as a Markdown table."""
        of_training = {FIRST_STEP: f"{FIRST_STEP} (part of the {TRAINING})"}
        rows = [f"| {of_training.get(name, name)} | {seconds:.1f} |" for name, seconds in self.seconds.items()]
        return ["| stage | seconds |", "|---|---|", *rows]


class FirstStep(keras.callbacks.Callback):
    """Measure the first training step, in which the model is traced, and possibly compiled, and the first data are read.

    Attributes:
        seconds: of the first step; None before its end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds: float | None = None

    def on_train_begin(self, logs: object = None) -> None:
        """Note the time."""
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        """Take the time after the first step."""
        if self.seconds is None:
            self.seconds = time.perf_counter() - self._began
