"""Run a .tflite file in ai-edge-litert, inside a child: sequences whole, or event by event."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Plan:
    """How to call a file.

    Attributes:
        signature: which one.
        timed: inputs whose axis 1 is time.
        predictions: output name → whether its axis 1 is time.
        states: pairs (input, output) of memories to feed back.
        stepwise: events a call; None: the whole sequence in one call.
    """

    signature: str
    timed: list[str]
    predictions: dict[str, bool]
    states: list[tuple[str, str]]
    stepwise: int | None


def run(data: bytes, plan: Plan, feeds: list[dict[str, np.ndarray]]) -> tuple[list[list[np.ndarray]], float]:
    """The predictions for every feed, in float, and the median seconds of a call on one thread."""
    runner = _Runner(data, plan)
    results = [runner.predict(feed) for feed in feeds]
    return results, float(np.median(runner.times[1:] or runner.times or [0.0]))


def latency(data: bytes, plan: Plan, feed: dict[str, np.ndarray], seconds: float = 0.5) -> float:
    """Median seconds of a call on one thread."""
    runner = _Runner(data, plan)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(runner.times) < 5:
        runner.predict(feed)
    return float(np.median(runner.times))


class _Runner:
    def __init__(self, data: bytes, plan: Plan) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.plan = plan
        self.interpreter = Interpreter(model_content=data, num_threads=1)
        self.interpreter.allocate_tensors()
        self.call = self.interpreter.get_signature_runner(plan.signature)
        self.inputs = self.call.get_input_details()
        self.outputs = self.call.get_output_details()
        self.times: list[float] = []

    def predict(self, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        plan = self.plan
        if not plan.states:
            self.interpreter.reset_all_variables()
        values = {name: encode(x, self.inputs[name]) for name, x in feed.items() if name in self.inputs}
        for name, _ in plan.states:
            values[name] = encode(np.zeros(self.inputs[name]["shape"], np.float32), self.inputs[name])
        if plan.stepwise is None:
            return self._decoded([self._invoke(values)])
        steps = next(feed[name].shape[1] for name in plan.timed)
        answers = []
        for start in range(0, steps - plan.stepwise + 1, plan.stepwise):
            part = {
                name: x[:, start : start + plan.stepwise] if name in plan.timed else x for name, x in values.items()
            }
            answers.append(self._invoke(part))
            for name, after in plan.states:
                values[name] = recode(answers[-1][after], self.outputs[after], self.inputs[name])
        return self._decoded(answers)

    def _invoke(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        begin = time.perf_counter()
        answer = self.call(**values)
        self.times.append(time.perf_counter() - begin)
        return answer

    def _decoded(self, answers: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
        results = []
        for name, over_time in self.plan.predictions.items():
            parts = [decode(answer[name], self.outputs[name]) for answer in answers]
            results.append(np.concatenate(parts, axis=1) if over_time else parts[-1])
        return results


def encode(x: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """Float to what the tensor holds; other types pass."""
    scale, zero_point = detail["quantization"]
    dtype = detail["dtype"]
    if not scale or not np.issubdtype(x.dtype, np.floating):
        return np.asarray(x, dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.round(x / np.float32(scale)) + zero_point, limits.min, limits.max).astype(dtype)


def decode(x: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """What the tensor holds to float."""
    scale, zero_point = detail["quantization"]
    return (x.astype(np.float32) - zero_point) * np.float32(scale) if scale else x


def recode(x: np.ndarray, one: dict[str, Any], other: dict[str, Any]) -> np.ndarray:
    """From one tensor's quantization to another's; the same bytes where they are equal."""
    if one["quantization"] == other["quantization"]:
        return x
    return encode(decode(x, one), other)
