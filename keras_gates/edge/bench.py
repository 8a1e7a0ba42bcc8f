"""Latency and memory of a file on this machine."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates.edge.model import EdgeModel
from keras_gates.edge.runtime import Runtime
from keras_gates.edge.tflite import EdgeError, cut

_PERCENTILES = {"min": 0, "p50": 50, "p90": 90, "p99": 99, "max": 100}
_MOST_OPERATORS = 64
_INTERPRETERS = 8


def bench(model: EdgeModel, *, steps: int | None = None, runs: int = 200, operators: bool = True) -> dict[str, Any]:
    """Measure a file with random events, batch size as in the file.

    Args:
        model: The file.
        steps: Time steps of the sequence; None takes the number that the file was converted with.
        runs: Timed calls, after a tenth as many to warm up.
        operators: Whether to time each kind of operator as well. LiteRT's Python has no profiler: the graph is run up to
            each operator and the differences are taken. A delegate that fuses operators blurs the boundaries.

    Returns:
        ``sequence``, ``event`` (if the file streams, else None) and ``interpreter`` (LiteRT without the Python around it):
        microseconds per call as min, p50, p90, p99, max. ``operators``: microseconds per call by operator name; None if
        the graph has more than 64 operators or is not the file's first. ``load``: milliseconds. ``memory``: bytes per
        interpreter (Linux; None elsewhere).

    Raises:
        EdgeError: `runs` or `steps` is below 1, or the file does not take `steps`.

    Example:

    >>> bench(EdgeModel("model.tflite"))["event"]  # doctest: +SKIP
    {'min': 31.2, 'p50': 33.0, 'p90': 35.9, 'p99': 52.8, 'max': 88.1}
    """
    if runs < 1 or (steps is not None and steps < 1):
        raise EdgeError(f"runs and steps must be at least 1, got {runs} and {steps}.")
    example = _random(model, steps)
    x = {name: value[None].repeat(model.description.batch, 0) for name, value in example.items()}
    lengths = [max(map(len, example.values()))] * model.description.batch if model.description.role("lengths") else None
    started, before = time.perf_counter(), _resident()
    interpreters = [model.new_runtime() for _ in range(_INTERPRETERS)]
    load, after = (time.perf_counter() - started) / _INTERPRETERS, _resident()
    memory = None if before is None or after is None else max(after - before, 0) // _INTERPRETERS
    del interpreters
    runtime = model.new_runtime()
    values = runtime.values(_columns(model, x))
    result = {
        "load": 1e3 * load,
        "memory": memory,
        "sequence": _microseconds(lambda: model.predict(x, lengths=lengths), runs),
        "event": _stream_microseconds(model, example, runs),
        "interpreter": _microseconds(lambda: runtime.run(values), runs),
    }
    if operators:
        result["operators"] = _operators(model, values, max(runs // 4, 1))
    return result


def _columns(model: EdgeModel, x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of one call; of a file that takes several calls per sequence, those of the first."""
    description = model.description
    columns = {port.name: np.full(description.batch, 1) for port in description.role("lengths")}
    for port in description.events:
        columns[port.name] = (
            x[port.name][:, : description.stride] if port.time and description.stepwise else x[port.name]
        )
    return columns


def _random(model: EdgeModel, steps: int | None) -> dict[str, np.ndarray]:
    random, example = np.random.default_rng(0), {}
    for port in model.description.events:
        shape = (steps or port.steps, *port.tensor.shape[2:]) if port.time else port.tensor.shape[1:]
        whole = port.tensor.dtype.startswith("int") and not port.tensor.scale
        example[port.name] = random.integers(1, 2, shape) if whole else random.normal(size=shape).astype("float32")
    return example


def _microseconds(call: Callable[[], Any], runs: int) -> dict[str, float]:
    for _ in range(runs // 10 + 1):
        call()
    times = []
    for _ in range(runs):
        started = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - started) / 1e3)
    return {name: float(np.percentile(times, percent)) for name, percent in _PERCENTILES.items()}


def _stream_microseconds(model: EdgeModel, example: dict[str, np.ndarray], runs: int) -> dict[str, float] | None:
    try:
        stream = model.stream()
    except EdgeError:
        return None
    stride = model.description.stride
    events = {
        port.name: example[port.name][:stride] if port.time else example[port.name][None]
        for port in model.description.events
    }
    return _microseconds(lambda: stream.push(events), runs)


def _operators(model: EdgeModel, values: list[np.ndarray], runs: int) -> dict[str, float] | None:
    """Return microseconds per kind of operator: differences between the fastest runs of the graph up to each operator."""
    description, graph = model.description, model.file.subgraphs[0]
    if description.subgraph or len(graph.operators) > _MOST_OPERATORS:
        return None
    prefixes = []
    for count in range(1, len(graph.operators) + 1):
        last = graph.tensors[graph.operators[count - 1].outputs[0]]
        shorter = replace(description, outputs=(replace(description.outputs[0], tensor=last),), signature=None)
        prefixes.append(Runtime(cut(model.data, count), replace(model.file, signatures={}), shorter, model.num_threads))
    times = np.empty((runs + 1, len(prefixes)))
    for run in times:
        for place, prefix in enumerate(prefixes):
            started = time.perf_counter_ns()
            prefix.run(values)
            run[place] = (time.perf_counter_ns() - started) / 1e3
    kinds: dict[str, float] = defaultdict(float)
    for operator, cost in zip(graph.operators, np.diff(times[1:].min(0), prepend=0)):
        kinds[operator.name] += max(float(cost), 0)
    return dict(sorted(kinds.items(), key=lambda item: -item[1]))


def _resident() -> int | None:
    """Return the resident memory of this process in bytes (Linux)."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if path.exists() else None
