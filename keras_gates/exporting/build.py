"""One .tflite file: choose forms, convert, tidy, describe, check, try."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from functools import cache
from typing import Any

import keras
import numpy as np

from keras_gates.edge import tflite
from keras_gates.exporting.lowering import rules, signatures
from keras_gates.exporting.lowering.inputs import Inputs
from keras_gates.exporting.lowering.streamable import why_not_streamable
from keras_gates.exporting.report import ExportError, ExportReport
from keras_gates.exporting.tflite import checks, converter, flatbuffer
from keras_gates.exporting.tflite.int16 import to_sixteen_bits
from keras_gates.exporting.tflite.metadata import NAME, facts_of, metadata_text
from keras_gates.exporting.verify import against_keras, calibration


@dataclass(frozen=True)
class Request:
    """What `export` was asked for, for this file."""

    model: keras.Model
    inputs: Inputs
    precision: str
    mode: str
    target: str
    batch: int
    steps: int | None
    form: str
    calibration: Any
    metadata: dict[str, Any] | None
    test: tuple[Any, Any] | None = None
    float_operators: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


@dataclass
class Built:
    """The file, and samples to test it with elsewhere: inputs by name, and its answers in float."""

    data: bytes
    golden: list[tuple[dict[str, np.ndarray], list[np.ndarray]]]


def build(request: Request, report: ExportReport) -> Built:
    """Make the file and fill the report.

    Raises:
        ExportError: it cannot be made as asked, or it is not what the model is.
    """
    if request.target == "micro" and request.precision in ("float16", "dynamic"):
        answer = {"float16": "cannot allocate it", "dynamic": "runs it and answers NaN"}[request.precision]
        raise ExportError(
            f"precision={request.precision!r} is not for microcontrollers: TFLM {answer}. Take int8 or float32."
        )
    data = calibration.prepare(request, report)
    asked = signatures.look(request.model, request.inputs, request.batch, data.steps, data.right_padded)
    report.form, report.why, report.layers = _forms(request, asked, data)
    signature, events = _signature(request, report, asked, data)
    report.steps = events or data.steps
    feeder = calibration.Feeder(request.inputs, signature, asked.padded, request.batch, events)
    model = _converted(request, signature, feeder, data, request.precision == "int16x8" and "fused" in report.form)
    if request.precision in calibration.INTEGER:
        _check_integers(model, request, report)
    plain = flatbuffer.dump(model)
    report.resizable = against_keras.can_resize(request, plain, feeder, data)
    finished = flatbuffer.with_metadata(
        model, NAME, metadata_text(facts_of(request, report, signature, asked.padded), request.metadata)
    )
    file = tflite.read(finished)
    checks.check_builtin(file)
    report.bytes, report.metadata_bytes = len(finished), len(finished) - len(plain)
    report.operators = checks.count_operators(file)
    golden = against_keras.prove(request, report, finished, feeder, data)
    if request.test is not None:
        report.quality = against_keras.test_quality(request, finished, feeder, data.steps)
    for form in request.beside:
        other = ExportReport(report.name)
        build(dataclasses.replace(request, form=form, test=None, beside=()), other)
        report.latency_by_form[form] = other.latency_us
    return Built(finished, golden)


def _forms(request: Request, asked: signatures.Asked, data: calibration.Data) -> tuple[str, str, list[dict[str, str]]]:
    why_not_step = cache(lambda: why_not_streamable(request.model, request.inputs, asked.calls, data.held_out[0]))
    choices = rules.choose(
        asked.calls,
        form=request.form,
        precision=request.precision,
        mode=request.mode,
        target=request.target,
        why_not_step=why_not_step,
    )
    if not choices:
        return "plain", "no recurrent layer", []
    form = "+".join(dict.fromkeys(choice.form for choice in choices))
    return form, choices[0].why, [dataclasses.asdict(choice) for choice in choices]


def _signature(
    request: Request, report: ExportReport, asked: signatures.Asked, data: calibration.Data
) -> tuple[signatures.Signature, int | None]:
    """The file's function, and how many events a call of it takes where that is not the whole sequence."""
    stream, guard = request.mode == "stream", request.precision in calibration.INTEGER
    events = (request.steps or 1) if stream else 1 if report.form == "step" else None
    if report.form == "step":
        made = signatures.step_signature(request.model, request.inputs, asked.calls, request.batch, events, guard=guard)
        return made, events
    made = signatures.sequence_signature(
        request.model,
        request.inputs,
        [layer["form"] for layer in report.layers],
        request.batch,
        events or data.steps,
        asked.padded,
        guard=guard,
        stream=stream,
    )
    return made, events


def _converted(
    request: Request, signature: signatures.Signature, feeder: calibration.Feeder, data: calibration.Data, sixteen: bool
) -> Any:
    with tempfile.TemporaryDirectory(prefix="keras_gates_") as folder:
        signatures.save(request.model, signature, folder)
        calls = feeder.calls(data.fit) if request.precision in calibration.INTEGER else None
        precision = "int8" if sixteen else request.precision
        converted = converter.convert(folder, signature.key, precision, calls, request.float_operators)
    model = flatbuffer.load(converted)
    if sixteen:
        to_sixteen_bits(model)
    flatbuffer.tidy(model, list(signature.inputs), list(signature.outputs))
    return model


def _check_integers(model: Any, request: Request, report: ExportReport) -> None:
    checks.keep_ltm_in_range(model, report.steps if request.mode == "sequence" else None)
    checks.give_memories_their_scale(model)
    checks.check_scales(model)
    floats = checks.float_operators(tflite.read(flatbuffer.dump(model)))
    told = ", ".join(f"{count} {name}" for name, count in floats.items())
    if floats and request.float_operators:
        report.notes.append(f"in float, as declared: {told}")
    elif floats:
        if request.target == "micro":
            raise ExportError(
                f"operators left in float: {told}. They have no integer kernel; take the layer out of the model."
            )
        report.warnings.append(f"operators left in float: {told}")
