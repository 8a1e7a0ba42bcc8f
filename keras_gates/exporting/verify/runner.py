"""Runs a file as its users will, through `keras_gates.edge`: in LiteRT, or in TFLM behind LiteRT's interface.

`run` is a job for `subprocess_worker`: a crash of a runtime ends the child process alone.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_gates.edge.model import EdgeModel
from keras_gates.edge.runtime import Runtime
from keras_gates.exporting.verify.tflm import TFLMInterpreter


@dataclass(frozen=True)
class Run:
    """What a runtime returned.

    Attributes:
        predictions: per sample one float32 array per output, with a batch axis of 1.
        seconds: median per call of the interpreter, one thread.
        arena_used: bytes of arena that TFLM reports as used; None in LiteRT.
    """

    predictions: list[list[np.ndarray]]
    seconds: float
    arena_used: int | None


def run(data: bytes, samples: list[dict[str, np.ndarray]], by_event: bool, tflm: bool = False) -> Run:
    """Run samples through a file, each from zero memory.

    Args:
        data: The bytes of the file.
        samples: Inputs by name, each with a batch axis of 1.
        by_event: Push them into a `Stream`, else call `EdgeModel.predict`.
        tflm: Run in TFLM instead of LiteRT.

    Raises:
        keras_gates.edge.EdgeError: the file does not run, or does not take a sample.
    """
    model = _TimedModel(data, tflm)
    results = _streamed(model, samples) if by_event else [_predicted(model, sample) for sample in samples]
    seconds = model.seconds[1:] or model.seconds or [0.0]  # the first call allocates
    return Run(results, float(np.median(seconds)), model.interpreter.used() if model.interpreter else None)


class _TimedModel(EdgeModel):
    """An `EdgeModel` that notes the seconds of every call of its interpreter."""

    def __init__(self, data: bytes, tflm: bool) -> None:
        self.seconds: list[float] = []
        self.interpreter = TFLMInterpreter(data) if tflm else None
        super().__init__(data, probe=False)
        # Samples come as the graph takes them, and outputs are compared as it returns them.
        frontend = {} if self.description.standardizes else self.description.frontend
        outputs = tuple(dataclasses.replace(port, units=None) for port in self.description.outputs)
        self.description = dataclasses.replace(self.description, frontend=frontend, outputs=outputs)

    def new_runtime(self) -> Runtime:
        return _TimedRuntime(self)


class _TimedRuntime(Runtime):
    def __init__(self, model: _TimedModel) -> None:
        self._model = model
        super().__init__(model.data, model.file, model.description)

    def open(self) -> Any:
        return self._model.interpreter or super().open()

    def run(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        begin = time.perf_counter()
        results = super().run(values)
        self._model.seconds.append(time.perf_counter() - begin)
        return results


def _predicted(model: EdgeModel, sample: dict[str, np.ndarray]) -> list[np.ndarray]:
    predictions = model.predict(sample)
    ports = [port for _, port in model.description.predictions]
    return [predictions[port.name] if len(ports) > 1 else predictions for port in ports]


def _streamed(model: EdgeModel, samples: list[dict[str, np.ndarray]]) -> list[list[np.ndarray]]:
    stream, results = model.stream(), []
    ports = [port for _, port in model.description.predictions]
    timed = {port.name for port in model.description.events if port.time}
    for sample in samples:
        stream.reset()
        steps = next(x.shape[1] for name, x in sample.items() if name in timed)
        pushed = stream.push({n: x[0] if n in timed else np.repeat(x, steps, axis=0) for n, x in sample.items()})
        columns = [pushed[port.name] if len(ports) > 1 else pushed for port in ports]
        columns = [column[model.description.warmup :] for column in columns]
        results.append([column[None] if port.time else column[-1:] for port, column in zip(ports, columns)])
    return results
