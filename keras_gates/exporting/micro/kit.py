"""The microcontroller kit: a ``.tflite`` as C++ for TFLM, with scales, arena, golden vectors, self-test and main loop."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates._files import write_text
from keras_gates.edge.description import Description, describe
from keras_gates.edge.runtime import Runtime
from keras_gates.edge.tflite import TFLite, read
from keras_gates.edge.values import checked, stored
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
        files: Paths of ``model.h``, ``model.cc``, ``selftest.cc``, ``main.cc``.
        arena_bytes: Arena to reserve: the smallest, to within 64 bytes, in which TFLM's x86-64 build runs the file.
        arena_used: Bytes that this build reports as used; None if tflite-micro is not installed (`arena_bytes` is a
            guess then).
        operators: Registration calls of the operator resolver.
        golden_from: The runtime that computed the self-test's answers, "TFLM" or "LiteRT".
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
        data: Bytes of the file.
        out: Output folder; created if it does not exist.
        golden: Whole sequences for the self-test, each a pair of inputs by name (arrays with their batch axis) and anything
            else. The first two are used; their answers are computed here. None takes random inputs.
        name: Name of the two main files and of the C++ namespace.

    Returns:
        Paths, arena and operators of the kit.

    Raises:
        ExportError: The file has several signatures, an input or operator that TFLM lacks, or TFLM refuses it.

    Example:

    >>> kit = write_c_kit(Path("out/model.tflite").read_bytes(), "out/c")  # doctest: +SKIP
    >>> kit.arena_bytes, kit.operators  # doctest: +SKIP
    (3712, ('AddUnidirectionalSequenceLSTM', 'AddFullyConnected', 'AddSoftmax'))
    """
    file, name = read(data), re.sub(r"\W|^(?=\d)", "_", name)
    description = describe(file)
    if len(file.signatures) > 1:
        raise ExportError("TFLM takes one signature per file: export with target='micro'.")
    sequences = _sequences(description, golden)
    try:
        answers, arena, used = _answers(data, file, description, sequences)
    except subprocess_worker.ChildError as error:
        raise ExportError(f"TFLM does not run this file: {error.reason}") from error
    plan = render.KitPlan(name, data, file, description, _operators(file), arena, used)
    texts = {
        f"{name}.h": render.header(plan),
        f"{name}.cc": render.code(plan),
        "selftest.cc": render.selftest(plan, sequences, answers),
        "main.cc": render.main(plan),
    }
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        write_text(out / path, text)
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
    """Per golden sequence its calls, per call the real numbers of every event and length by input name."""
    feeds = [feed for feed, _ in golden[:_GOLDEN_SEQUENCES]] if golden else _random(description)
    return [_calls(description, feed) for feed in feeds]


def _random(description: Description) -> list[dict[str, np.ndarray]]:
    random, feeds = np.random.default_rng(0), []
    for _ in range(_GOLDEN_SEQUENCES):
        feed = {}
        for port in description.events:
            steps = _GOLDEN_CALLS * port.steps if description.streams and port.time else port.steps
            shape = (port.tensor.shape[0], steps, *port.event_shape) if port.time else port.tensor.shape
            whole = port.tensor.dtype == "int32"
            feed[port.name] = (
                random.integers(1, max(len(description.vocabulary), 2), shape) if whole else random.normal(size=shape)
            )
        feeds.append(feed)
    return feeds


def _calls(description: Description, feed: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    timed = [port for port in description.events if port.time]
    count = 1
    if description.streams and timed:
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


def _answers(
    data: bytes, file: TFLite, description: Description, sequences: list[list[dict[str, np.ndarray]]]
) -> tuple[list[list[dict[int, np.ndarray]]], int, int | None]:
    """Per call its outputs by tensor index; the arena to reserve, and what TFLM reports as used of it."""
    graph = file.subgraphs[0]
    if not tflm.available():
        arena = 4096 + 4 * sum(tensor.bytes for tensor in graph.tensors if not tensor.constant_bytes)
        return _litert_answers(data, file, description, sequences), arena, None
    ports = {port.tensor.index: port for port in description.inputs}
    calls = [[[stored(ports[index], call) for index in graph.inputs] for call in sequence] for sequence in sequences]
    results, used = tflm.run_tflm(data, calls, description.feedback(graph))
    answers = [[dict(zip(graph.outputs, answer)) for answer in sequence] for sequence in results]
    return answers, tflm.smallest_arena(data, calls[0][0]), used


def _litert_answers(
    data: bytes, file: TFLite, description: Description, sequences: list[list[dict[str, np.ndarray]]]
) -> list[list[dict[int, np.ndarray]]]:
    answers = []
    for sequence in sequences:
        runtime = Runtime(data, file, description)
        calls = [runtime.call(call) for call in sequence]
        answers.append([{p.tensor.index: out for p, out in zip(description.outputs, call)} for call in calls])
    return answers
