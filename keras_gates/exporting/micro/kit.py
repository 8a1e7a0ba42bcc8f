"""The microcontroller kit: a ``.tflite`` as C++ for TFLM, with scales, arena, golden vectors, self-test and main loop."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates.edge.description import Description, Port, describe
from keras_gates.edge.runtime import Runtime
from keras_gates.edge.tflite import TFLite, read
from keras_gates.edge.values import checked, fed_back, quantized
from keras_gates.exporting import subprocess_worker
from keras_gates.exporting.micro import render
from keras_gates.exporting.report import ExportError
from keras_gates.exporting.verify import tflm

_RESOLVER = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
    "BATCH_MATMUL": "AddBatchMatMul",
    "CUMSUM": "AddCumSum",
    "PADV2": "AddPadV2",
}
_GOLDEN_SEQUENCES, _GOLDEN_CALLS = 2, 8


@dataclass(frozen=True)
class Kit:
    """What `write_c_kit` wrote.

    Attributes:
        files: ``model.h``, ``model.cc``, ``selftest.cc``, ``main.cc``.
        arena_bytes: the arena to reserve: the smallest, to within 64 bytes, in which TFLM's x86-64 build runs the file.
        arena_used: what that build reports as used; None where tflite-micro is not installed (then `arena_bytes` is a guess).
        operators: the registration lines.
        golden_from: "TFLM" or "LiteRT", whichever gave the self-test's answers.
    """

    files: tuple[Path, ...]
    arena_bytes: int
    arena_used: int | None
    operators: tuple[str, ...]
    golden_from: str


def write_c_kit(
    data: bytes,
    out: str | Path,
    *,
    golden: Sequence[tuple[Mapping[str, np.ndarray], Any]] | None = None,
    name: str = "model",
) -> Kit:
    """Write the C++ that runs a ``.tflite`` on a microcontroller.

    Args:
        data: the bytes of the file.
        out: the folder.
        golden: whole sequences, each the inputs by name with their batch axis and anything else; the first two become
            the self-test (their answers are computed anew). None takes random ones.
        name: of the two main files and of the C++ namespace.

    Raises:
        ExportError: several signatures, an input or operator that TFLM does not have, or TFLM refuses the file.

    Example:
        >>> kit = write_c_kit(Path("out/model.tflite").read_bytes(), "out/c")  # doctest: +SKIP
        >>> kit.arena_bytes, kit.operators  # doctest: +SKIP
        (3712, ('AddUnidirectionalSequenceLSTM', 'AddFullyConnected', 'AddSoftmax'))
    """
    file, name = read(data), re.sub(r"\W|^(?=\d)", "_", name)
    description = describe(file)
    if len(file.signatures) > 1:
        raise ExportError("TFLM takes one signature a file: export with target='micro'.")
    sequences = _sequences(description, golden)
    calls = [[_inputs(file, description, call) for call in sequence] for sequence in sequences]
    try:
        answers, arena, used = _answers(data, file, description, calls)
    except subprocess_worker.ChildError as error:
        raise ExportError(f"TFLM does not run this file: {error}") from error
    plan = render.Plan(name, data, file, description, _operators(file), arena, used)
    texts = {
        f"{name}.h": render.header(plan),
        f"{name}.cc": render.code(plan),
        "selftest.cc": render.selftest(plan, sequences, answers),
        "main.cc": render.main(plan),
    }
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        unfinished = out / f"{path}.part"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(out / path)
    return Kit(tuple(out / path for path in texts), arena, used, plan.operators, "LiteRT" if used is None else "TFLM")


def _operators(file: TFLite) -> tuple[str, ...]:
    names = dict.fromkeys(operator.name for graph in file.subgraphs for operator in graph.operators)
    return tuple(_RESOLVER.get(name, "Add" + _camel(name)) for name in names)


def _camel(name: str) -> str:
    """``AVERAGE_POOL_2D`` → ``AveragePool2D``."""
    return "".join(part.capitalize() if not part[0].isdigit() else part for part in name.split("_"))


def _sequences(
    description: Description, golden: Sequence[tuple[Mapping[str, np.ndarray], Any]] | None
) -> list[list[dict[str, np.ndarray]]]:
    """For each golden sequence its calls, for each call the real numbers of every event and length."""
    feeds = [feed for feed, _ in golden[:_GOLDEN_SEQUENCES]] if golden else _random(description)
    return [_calls(description, feed) for feed in feeds]


def _random(description: Description) -> list[dict[str, np.ndarray]]:
    random, feeds = np.random.default_rng(0), []
    for _ in range(_GOLDEN_SEQUENCES):
        feed = {}
        for port in description.events:
            steps = _GOLDEN_CALLS * port.steps if _stepwise(description) and port.time else port.steps
            shape = (port.tensor.shape[0], steps, *port.event_shape) if port.time else port.tensor.shape
            whole = port.tensor.dtype == "int32"
            feed[port.name] = (
                random.integers(1, max(len(description.vocabulary), 2), shape) if whole else random.normal(size=shape)
            )
        feeds.append(feed)
    return feeds


def _stepwise(description: Description) -> bool:
    return description.mode == "stream" or bool(description.memory)


def _calls(description: Description, feed: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    timed = [port for port in description.events if port.time]
    count = 1
    if _stepwise(description) and timed:
        count = min(_GOLDEN_CALLS, min(feed[port.name].shape[1] // port.steps for port in timed))
    calls = []
    for number in range(count):
        call = {}
        for port in description.events:
            values = np.asarray(feed[port.name])
            if port.time:
                values = values[:, number * port.steps : (number + 1) * port.steps]
            if values.shape != port.tensor.shape:
                raise ExportError(f"golden input {port.name!r}: expected {port.tensor.shape}, got {values.shape}.")
            call[port.name] = checked(port, values)
        for port in description.role("lengths"):
            default = np.full(port.tensor.shape, max((each.steps for each in timed), default=1))
            call[port.name] = np.asarray(default if count > 1 else feed.get(port.name, default), np.int32)
        calls.append(call)
    return calls


def _inputs(file: TFLite, description: Description, call: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """One call as the interpreter takes it: types and order of the graph, memory empty."""
    values = {port.tensor.index: _value(port, call) for port in description.inputs}
    return [values[index] for index in file.subgraphs[0].inputs]


def _value(port: Port, call: Mapping[str, np.ndarray]) -> np.ndarray:
    if port.name not in call:
        return np.full(port.tensor.shape, port.tensor.zero_point, port.tensor.dtype)
    return quantized(port, call[port.name]).reshape(port.tensor.shape)


def _answers(
    data: bytes, file: TFLite, description: Description, calls: list[list[list[np.ndarray]]]
) -> tuple[list[list[dict[int, np.ndarray]]], int, int | None]:
    """For every call its outputs by tensor index; the arena to reserve, and what TFLM says it used of it."""
    graph = file.subgraphs[0]
    memory = [
        (graph.inputs.index(takes.tensor.index), graph.outputs.index(gave.tensor.index), takes, gave)
        for takes, gave in ((description.inputs[m.source], description.outputs[m.result]) for m in description.memory)
    ]
    if tflm.available():
        results, used = tflm.run_tflm(data, calls, memory)
        arena = tflm.smallest_arena(data, calls[0][0])
    else:
        results, used = [_litert(data, file, description, sequence, memory) for sequence in calls], None
        arena = 4096 + 4 * sum(tensor.bytes for tensor in graph.tensors if not tensor.constant_bytes)
    return [[dict(zip(graph.outputs, answer)) for answer in sequence] for sequence in results], arena, used


def _litert(
    data: bytes,
    file: TFLite,
    description: Description,
    sequence: list[list[np.ndarray]],
    memory: list[tuple[int, int, Port, Port]],
) -> list[list[np.ndarray]]:
    graph, runtime, results = file.subgraphs[0], Runtime(data, file, description), []
    places = {port.tensor.index: place for place, port in enumerate(description.outputs)}
    for call in sequence:
        inputs = list(call)
        for source, result, takes, gave in memory if results else ():
            inputs[source] = fed_back(takes, gave, results[-1][result])
        values = dict(zip(graph.inputs, inputs))
        outputs = runtime.run([values[port.tensor.index] for port in description.inputs])
        results.append([outputs[places[index]] for index in graph.outputs])
    return results
