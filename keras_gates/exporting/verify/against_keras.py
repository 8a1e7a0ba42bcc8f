"""The file's own trial: it runs where it will run, on samples it has not seen, beside Keras."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_gates.edge import tflite
from keras_gates.edge.description import describe
from keras_gates.edge.values import quantized, real
from keras_gates.exporting import subprocess_worker
from keras_gates.exporting.report import ExportError, ExportReport
from keras_gates.exporting.verify import compare, samples, tflm
from keras_gates.exporting.verify.calibration import Data, Feeder, real_part
from keras_gates.exporting.verify.runner import Plan, latency, run

if TYPE_CHECKING:
    from keras_gates.exporting.build import Request

MOST = 64
MOST_MICRO = 16
Feed = dict[str, np.ndarray]


def prove(request: Request, report: ExportReport, data: bytes, feeder: Feeder, given: Data) -> list[tuple[Feed, Any]]:
    """Run held-out samples through the file and through Keras, write what was measured into the report.

    Returns:
        The samples as the file takes them, with the file's answers.

    Raises:
        ExportError: the file does not run, or differs from Keras by more than is allowed.
    """
    held = samples.spread(given.held_out, MOST)
    feeds = [feeder.feed(sample) for sample in held]
    if request.precision == "int16x8" and "fused" in report.form:
        feeds, held = feeds[:MOST_MICRO], held[:MOST_MICRO]
        got, report.arena_bytes, report.arena_used_bytes = _micro_answers(data, feeder.plan(), feeds)
        report.notes.append("LiteRT has no 16-bit kernel for the fused operator: tried in TFLM alone")
    else:
        try:
            got, seconds = subprocess_worker.call(run, data, feeder.plan(), feeds)
        except subprocess_worker.ChildError as error:
            hint = "; a tensor that was zero in all of the calibration has no scale that XNNPACK takes: train the model first"
            raise ExportError(
                f"the file does not run in ai-edge-litert{hint if 'XNNPACK' in str(error) else ''}: {error}"
            ) from error
        report.latency_us = 1e6 * seconds
    wanted = compare.keras_outputs(request.model, request.inputs, held)
    difference = compare.compare(wanted, [[x[:1] for x in answer] for answer in got], request.precision)
    report.samples = difference.samples
    report.max_difference, report.mean_difference = difference.largest, difference.mean
    report.tolerance, report.agreement = difference.allowed, difference.agreement
    report.ram_bytes = ram(data)
    if not difference.acceptable:
        raise ExportError(
            f"the {request.precision} file ({report.form}) differs from Keras by up to {difference.largest:.3g} (mean "
            f"{difference.mean:.3g}) over {difference.samples} samples; allowed are {difference.allowed:.3g} (mean "
            f"{difference.mean_allowed:.3g}). Nothing was written. Take a finer precision, or calibrate with more and more "
            "typical sequences."
        )
    if request.target == "micro" and report.arena_bytes is None:
        _prove_micro(report, data, feeder.plan(), feeds[:MOST_MICRO], got[:MOST_MICRO], request.precision)
    return list(zip(feeds, got))


def can_resize(request: Request, data: bytes, feeder: Feeder, given: Data) -> bool:
    """Whether the file takes half as many steps, and twice as many, when its time axis is resized. Tried on a sample.

    Its answers must be Keras'; where the model fixes its time, or memory stays, what the file gives event by event.
    """
    alone = request.inputs.steps is not None or request.mode == "stream"
    if request.target != "cpu" or not feeder.timed or feeder.signature.states or (alone and feeder.signature.counts):
        return False
    sample = real_part(given.held_out, request.inputs, next(iter(feeder.padded.values()), None))
    steps = max(given.steps // 2, 1), 2 * given.steps
    tried = [samples.repeated(sample, request.inputs, count) for count in steps]
    plan, feeds = replace(feeder.plan(), stepwise=None), [feeder.feed(each) for each in tried]
    try:
        got, _ = subprocess_worker.call(run, data, plan, feeds)
        if alone:
            wanted, _ = subprocess_worker.call(run, data, replace(plan, stepwise=1), feeds)
        else:
            wanted = [compare.keras_outputs(request.model, request.inputs, [each])[0] for each in tried]
        pairs = [([x[:1] for x in want], [x[:1] for x in have]) for want, have in zip(wanted, got)]
        return all(compare.compare([want], [have], request.precision).acceptable for want, have in pairs)
    except (subprocess_worker.ChildError, ValueError):  # LiteRT refuses, or answers in another shape
        return False


def test_quality(request: Request, data: bytes, feeder: Feeder, steps: int) -> dict[str, float]:
    """Accuracy (class numbers or one-hot targets) or mean absolute error (others) of Keras and of the file over `test`.

    Args:
        steps: events a sequence, which a file that runs event by event takes in many calls.
    """
    x, targets = request.test
    found = samples.samples_of(x, request.inputs)
    found = samples.with_steps(found, request.inputs, steps, next(iter(feeder.padded.values()), None))
    got, _ = subprocess_worker.call(run, data, feeder.plan(), [feeder.feed(sample) for sample in found])
    answers = {
        "keras": np.concatenate([answer[0] for answer in compare.keras_outputs(request.model, request.inputs, found)]),
        "file": np.concatenate([answer[0][:1] for answer in got]),
    }
    return {f"{name} {kind}": value for name, y in answers.items() for kind, value in [_score(y, np.asarray(targets))]}


def _score(y: np.ndarray, targets: np.ndarray) -> tuple[str, float]:
    if (np.issubdtype(targets.dtype, np.integer) and targets.ndim < y.ndim) or targets.shape == (*y.shape[:-1], 1):
        labels = targets.reshape(y.shape[:-1])
        guess = y.argmax(-1) if y.shape[-1] > 1 else (y[..., 0] > 0.5)
        return "accuracy", float((guess == labels).mean())
    if np.issubdtype(targets.dtype, np.integer) and targets.shape == y.shape:
        return "accuracy", float((y.argmax(-1) == targets.argmax(-1)).mean())
    return "mean absolute error", float(np.abs(y - targets.reshape(y.shape)).mean())


def time_call(data: bytes, feeder: Feeder, feed: Feed) -> float:
    """Median microseconds of one call."""
    return 1e6 * subprocess_worker.call(latency, data, feeder.plan(), feed)


def ram(data: bytes) -> int:
    """Bytes of all tensors that are not constants, an upper bound: the runtime lets some share memory."""
    sizes = {"int8": 1, "uint8": 1, "bool": 1, "int16": 2, "float16": 2, "int64": 8}
    return sum(
        int(np.prod(tensor.shape, dtype=np.int64)) * sizes.get(tensor.dtype, 4)
        for graph in tflite.read(data).subgraphs
        for tensor in graph.tensors
        if not tensor.constant_bytes
    )


def _prove_micro(report: ExportReport, data: bytes, plan: Plan, feeds: list[Feed], got: list, precision: str) -> None:
    if not tflm.available():
        report.warnings.append("not tried in TFLM: pip install --pre tflite-micro")
        return
    answers, report.arena_bytes, report.arena_used_bytes = _micro_answers(data, plan, feeds)
    difference = compare.compare(got, answers, precision)
    if not difference.acceptable:
        raise ExportError(
            f"TFLM answers otherwise than LiteRT, by up to {difference.largest:.3g}; nothing was written."
        )
    report.notes.append(f"TFLM and LiteRT differ by at most {difference.largest:.2g}")


def _micro_answers(data: bytes, plan: Plan, feeds: list[Feed]) -> tuple[list[list[np.ndarray]], int, int]:
    """TFLM's answers in float, the smallest arena in which it runs, and what it reports as used."""
    if not tflm.available():
        raise ExportError("this file can only be tried in TFLM: pip install --pre tflite-micro.")
    file = tflite.read(data)
    description, main = describe(file), file.subgraphs[0]
    inputs = sorted(description.inputs, key=lambda port: main.inputs.index(port.tensor.index))
    places = {port.name: main.outputs.index(port.tensor.index) for port in description.outputs}
    memory = [
        (inputs.index(takes), places[gave.name], takes, gave)
        for takes, gave in ((description.inputs[m.source], description.outputs[m.result]) for m in description.memory)
    ]
    sequences = []
    for feed in feeds:
        steps = next((feed[name].shape[1] for name in plan.timed), 1)
        size = plan.stepwise or steps
        parts = [
            {name: x[:, start : start + size] if name in plan.timed else x for name, x in feed.items()}
            for start in range(0, steps - size + 1, size)
        ]
        sequences.append([[_stored(port, part) for port in inputs] for part in parts])
    try:
        results, used = tflm.run_tflm(data, sequences, memory)
        arena = tflm.smallest_arena(data, sequences[0][0])
    except subprocess_worker.ChildError as error:
        raise ExportError(
            "TFLM does not run this file. It lacks some operators in 16 bits (GATHER, which tokens and padded sequences need): "
            f"with int16x8, try int8. What it said: {error}"
        ) from error
    ports = {port.name: port for port in description.outputs}
    answers = []
    for calls in results:
        answers.append([])
        for name, over_time in plan.predictions.items():
            rows = [real(ports[name], call[places[name]]) for call in calls]
            answers[-1].append(np.concatenate(rows, axis=1) if over_time else rows[-1])
    return answers, arena, used


def _stored(port: Any, part: Feed) -> np.ndarray:
    if port.name not in part:
        return np.full(port.tensor.shape, port.tensor.zero_point, port.tensor.dtype)
    return quantized(port, part[port.name])
