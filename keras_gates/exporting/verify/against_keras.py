"""A file against Keras: held-out samples through both, in the runtimes that the file is for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_gates.edge import tflite
from keras_gates.exporting import subprocess_worker
from keras_gates.exporting.lowering.rules import Lowering
from keras_gates.exporting.model_inputs import Sample, output_names
from keras_gates.exporting.options import ExportRequest
from keras_gates.exporting.report import ExportError
from keras_gates.exporting.tflite.metadata import TFLiteFile
from keras_gates.exporting.verify import compare, samples, tflm
from keras_gates.exporting.verify.calibration import Data, longest_without_padding
from keras_gates.exporting.verify.compare import Difference
from keras_gates.exporting.verify.feeder import Feed, Feeder
from keras_gates.exporting.verify.noise import QuantizationReport, noise_of
from keras_gates.exporting.verify.runner import Run, run

MOST = 64
MOST_MICRO = 16
_XNNPACK = "; a tensor that was zero in all of the calibration has no scale that XNNPACK accepts: train the model first"


@dataclass(frozen=True)
class Verification:
    """What running the file showed.

    Attributes:
        difference: between file and Keras.
        latency_us: median microseconds per call in LiteRT, one thread; None if the file runs in TFLM only.
        arena: smallest arena in which TFLM runs the file, and what it reports as used, in bytes; None if it was not run there.
        golden: the samples as the file takes them, with its predictions.
        quality: scores on the test set; None without one.
        notes, warnings: sentences for the report.
    """

    difference: Difference
    latency_us: float | None
    arena: tuple[int | None, int | None]
    golden: list[tuple[Feed, list[np.ndarray]]]
    quality: dict[str, float] | None
    notes: list[str]
    warnings: list[str]


def verify(request: ExportRequest, lowering: Lowering, file: TFLiteFile, feeder: Feeder, data: Data) -> Verification:
    """Run held-out samples through the file and through Keras.

    Args:
        request: What was asked for.
        lowering: How the recurrent layers run.
        file: The finished file.
        feeder: Turns samples into the file's inputs.
        data: The samples.

    Raises:
        ExportError: the file does not run, or differs from Keras by more than is allowed.
    """
    held_out = samples.spread(data.held_out, MOST)
    only_tflm = request.precision == "int16x8" and lowering.is_fused
    arena: tuple[int | None, int | None] = (None, None)
    if only_tflm:
        held_out = held_out[:MOST_MICRO]
        result, arena = _run_tflm(request, file, [feeder.events(sample) for sample in held_out])
    else:
        result = _run_litert(request, file, [feeder.events(sample) for sample in held_out])
    wanted = compare.keras_outputs(request.compared_with, request.inputs, held_out)
    difference = _compared(request, held_out, wanted, result.predictions)
    is_usual = all(each.is_usual for each in difference.outputs)
    noise = _where_integers_lose(request, data) if request.is_integer and not is_usual else None
    is_whole = noise is not None and lowering.name == "fused"  # unrolled steps round more tensors than it knows
    loss = "" if noise is None else noise.summary
    worst = difference.worst
    allowed = min(worst.wrong, noise.explains(worst.usual, worst.spread)) if noise and is_whole else worst.wrong
    if not difference.acceptable or worst.mean > allowed:
        raise ExportError(
            f"the {request.precision} file ({lowering.name}) differs from Keras over {difference.samples} samples. {worst}; "
            f"expected is a mean of at most {allowed:.3g}, and of at most {worst.other:.3g} (here {worst.variation:.3g}) "
            "around each column's mean. Nothing was written. Use a finer precision, or calibrate with "
            f"more and more typical sequences.{f' To look at: {loss}.' if loss else ''}"
        )
    notes: list[str] = []
    warnings = [
        f"more than rounding explains (a mean of {each.usual:.3g}); {each}. Judge the file by its quality on a test set"
        for each in difference.outputs
        if not each.is_usual
    ]
    warnings += [loss] if loss else []
    warnings += [
        f"{each.name}, {each.hidden}, around values up to {each.hidden.largest:.6g}: {request.precision} loses it. Let a "
        "functional model end in Rescaling or Normalization(invert=True), which then stays outside the integer graph"
        for each in difference.outputs
        if each.hidden
    ]
    warnings += _lost_in_units(request, difference, wanted, result.predictions)
    if only_tflm:
        notes.append("LiteRT has no 16-bit kernel for the fused operator: verified in TFLM only")
    elif request.target == "micro" and not tflm.available():
        warnings.append("not verified in TFLM: pip install --pre tflite-micro")
    elif request.target == "micro":
        few = [feeder.events(sample) for sample in held_out[:MOST_MICRO]]
        micro, arena = _run_tflm(request, file, few)
        apart = compare.compare(result.predictions[:MOST_MICRO], micro.predictions, request.precision)
        if not apart.acceptable:
            raise ExportError(
                f"TFLM's predictions differ from LiteRT's by up to {apart.worst.largest:.3g}; nothing was written."
            )
        notes.append(f"TFLM and LiteRT differ by at most {apart.worst.largest:.2g}")
    return Verification(
        difference,
        None if only_tflm else 1e6 * result.seconds,
        arena,
        [(feeder.feed(sample), prediction) for sample, prediction in zip(held_out, result.predictions)],
        _quality(request, file, feeder, data.steps, only_tflm) if request.test is not None else None,
        notes,
        warnings,
    )


def _lost_in_units(
    request: ExportRequest, difference: Difference, wanted: list[list[np.ndarray]], got: list[list[np.ndarray]]
) -> list[str]:
    """Return a warning for every output that has units outside the graph and a column of which the file lost the variation."""
    warnings = []
    for place, (output, units) in enumerate(zip(difference.outputs, request.units)):
        if units is None or output.hidden:
            continue
        want, have = ([units.of(each[place]) for each in outputs] for outputs in (wanted, got))
        if (lost := compare.lost_column(want, have)) is not None:
            warnings.append(
                f"{output.name}, {lost}, in the model's units: {request.precision} loses it. Use a finer precision for it"
            )
    return warnings


def _compared(
    request: ExportRequest, held_out: list[Sample], wanted: list[list[np.ndarray]], got: list[list[np.ndarray]]
) -> Difference:
    names = output_names(request.model, len(wanted[0]))
    difference = compare.compare(wanted, got, request.precision, names)
    if all(each.is_usual for each in difference.outputs):
        return difference
    rounding = compare.rounding_of(request.model, request.inputs, held_out, wanted)
    return compare.compare(wanted, got, request.precision, names, rounding)


def _where_integers_lose(request: ExportRequest, data: Data) -> QuantizationReport | None:
    """What rounding costs this model; None if the samples are few."""
    few = samples.spread([*data.fit, *data.held_out], 5 * MOST_MICRO)
    if len(few) < 2 or getattr(request.model, "inputs", None) is None or request.model.inputs[0].shape[0] is not None:
        return None
    return noise_of(request.model, request.inputs, few, request.precision)


def can_resize(request: ExportRequest, candidate: TFLiteFile, feeder: Feeder, data: Data) -> bool:
    """Return whether the file runs with half and with twice as many time steps, its time axis resized. Tried on a sample.

    The predictions must be Keras'; if the model fixes its time, or memory persists, those of the file event by event.

    Args:
        request: What was asked for.
        candidate: The file, with metadata that say that it can be resized.
        feeder: Turns samples into the file's inputs.
        data: The samples.
    """
    alone = request.inputs.steps is not None or request.is_stream
    signature = feeder.signature
    if request.target != "cpu" or not feeder.timed or signature.states or (alone and signature.counts):
        return False
    sample = longest_without_padding(data.held_out, request.inputs, feeder.padding)
    lengths = max(data.steps // 2, 1), 2 * data.steps
    resized = [samples.repeated(sample, request.inputs, length) for length in lengths]
    events = [feeder.events(each) for each in resized]
    try:
        got = subprocess_worker.call(run, candidate.data, events, False).predictions
        if alone:
            wanted = subprocess_worker.call(run, candidate.data, events, True).predictions
        else:
            wanted = [compare.keras_outputs(request.compared_with, request.inputs, [each])[0] for each in resized]
        return all(compare.compare([w], [g], request.precision).acceptable for w, g in zip(wanted, got))
    except (subprocess_worker.ChildError, ValueError):  # LiteRT rejects the length, or the shapes differ
        return False


def _run_litert(request: ExportRequest, file: TFLiteFile, events: list[Feed]) -> Run:
    try:
        return subprocess_worker.call(run, file.data, events, request.is_stream)
    except subprocess_worker.ChildError as error:
        raise ExportError(
            f"the file does not run in ai-edge-litert{_XNNPACK if 'XNNPACK' in str(error) else ''}: {error.reason}"
        ) from error


def _run_tflm(request: ExportRequest, file: TFLiteFile, events: list[Feed]) -> tuple[Run, tuple[int, int | None]]:
    """Return TFLM's run, the smallest arena in which it runs the file, and what it reports as used."""
    if not tflm.available():
        raise ExportError("this file can be verified in TFLM only: pip install --pre tflite-micro.")
    graph = tflite.read(file.data).subgraphs[0]
    zeros = [np.zeros(graph.tensors[index].shape, graph.tensors[index].dtype) for index in graph.inputs]
    try:
        result = subprocess_worker.call(run, file.data, events, request.is_stream, True, timeout=120)
        return result, (tflm.smallest_arena(file.data, zeros), result.arena_used)
    except subprocess_worker.ChildError as error:
        lacks = "it lacks some operators in 16 bits (GATHER, which tokens and padded sequences need), try int8; "
        raise ExportError(
            f"TFLM does not run this file: {lacks if request.precision == 'int16x8' else ''}its error is: {error.reason}"
        ) from error


def _quality(request: ExportRequest, file: TFLiteFile, feeder: Feeder, steps: int, only_tflm: bool) -> dict[str, float]:
    """Return accuracy (class numbers or one-hot targets) or mean absolute error (others) of Keras and of the file."""
    assert request.test is not None
    x, targets = request.test
    tested: list[Sample] = samples.with_steps(
        samples.samples_of(x, request.inputs), request.inputs, steps, feeder.padding
    )
    events = [feeder.events(sample) for sample in tested]
    got = subprocess_worker.call(run, file.data, events, request.is_stream, only_tflm).predictions
    wanted = compare.keras_outputs(request.compared_with, request.inputs, tested)
    outputs = {name: np.concatenate([each[0] for each in rows]) for name, rows in (("keras", wanted), ("file", got))}
    if request.units and request.units[0]:
        outputs = {name: request.units[0].of(y) for name, y in outputs.items()}
    return {f"{name} {kind}": value for name, y in outputs.items() for kind, value in [_score(y, np.asarray(targets))]}


def _score(y: np.ndarray, targets: np.ndarray) -> tuple[str, float]:
    if (np.issubdtype(targets.dtype, np.integer) and targets.ndim < y.ndim) or targets.shape == (*y.shape[:-1], 1):
        labels = targets.reshape(y.shape[:-1])
        guess = y.argmax(-1) if y.shape[-1] > 1 else (y[..., 0] > 0.5)
        return "accuracy", float((guess == labels).mean())
    if np.issubdtype(targets.dtype, np.integer) and targets.shape == y.shape:
        return "accuracy", float((y.argmax(-1) == targets.argmax(-1)).mean())
    return "mean absolute error", float(np.abs(y - targets.reshape(y.shape)).mean())
