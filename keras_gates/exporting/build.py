"""One .tflite file, stage by stage: split the data, choose the lowering, trace, convert, verify."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from keras_gates.exporting.lowering import rules, signatures
from keras_gates.exporting.lowering.rules import Lowering
from keras_gates.exporting.lowering.signatures import LoweredSignature
from keras_gates.exporting.options import ExportRequest
from keras_gates.exporting.tflite import converter
from keras_gates.exporting.tflite.metadata import TFLiteFile, add_metadata
from keras_gates.exporting.tflite.packed import packed
from keras_gates.exporting.verify import against_keras, calibration
from keras_gates.exporting.verify.against_keras import Verification
from keras_gates.exporting.verify.feeder import Feeder


@dataclass(frozen=True)
class Built:
    """A file and what each stage found.

    Attributes:
        steps: time steps per sequence, or per call of a file that takes a sequence in several.
        latency_by_lowering: median microseconds per call of the lowerings in `also_time`.
        notes, warnings: of all stages, in their order.
    """

    lowering: Lowering
    file: TFLiteFile
    verification: Verification
    steps: int
    latency_by_lowering: dict[str, float]
    notes: list[str]
    warnings: list[str]


def build(request: ExportRequest) -> Built:
    """Make one .tflite file.

    Raises:
        ExportError: it is impossible as requested, or the file differs from the model.
    """
    data = calibration.split(request)
    traced = signatures.trace_calls(request.model, request.inputs, request.batch, data.steps, data.right_padded)
    lowering = rules.choose(request, traced.calls, data.held_out[0])
    rules.check_trained(request, lowering)
    signature = signatures.signature_of(request, lowering, traced, data.steps)
    feeder = Feeder(request.inputs, signature, request.batch)
    steps = signature.events or data.steps
    converted = converter.convert(
        request, lowering, signature, feeder.calls(data.fit) if request.is_integer else None, steps
    )
    candidate = add_metadata(request, lowering, signature, converted, steps, resizable=True)
    resizable = against_keras.can_resize(request, candidate, feeder, data)
    file = candidate if resizable else add_metadata(request, lowering, signature, converted, steps, resizable=False)
    verification = against_keras.verify(request, lowering, file, feeder, data)
    if request.packs:
        file = dataclasses.replace(file, data=packed(file.data))
    stages = (data, converted, verification)
    return Built(
        lowering,
        file,
        verification,
        steps,
        {other: _latency(request, other) for other in request.also_time},
        [*_notes(request, lowering, signature), *(note for stage in stages for note in stage.notes)],
        [*rules.warnings_of(request, lowering), *(warning for stage in stages for warning in stage.warnings)],
    )


def _notes(request: ExportRequest, lowering: Lowering, signature: LoweredSignature) -> list[str]:
    notes = []
    if signature.warmup:
        notes.append(
            f"after a reset the first {signature.warmup} predictions are not valid, as no window is complete: Stream.push "
            "returns NaN; in C, ignore them"
        )
    if request.packs:
        notes.append(
            "two weights per byte: keras_gates.edge.EdgeModel makes bytes of them when it loads the file, the C computes with "
            "them; LiteRT and TFLM alone do not run the file (precision='int8' does)"
        )
    if request.precision == "int8" and request.target == "cpu" and lowering.is_fused:
        notes.append(
            "on a CPU LiteRT runs the fused LSTM in int8 by a plain loop, about seven times as slowly as with "
            "precision='dynamic', whose file is as small: take 'dynamic' there, unless the device computes in integers only"
        )
    return notes


def _latency(request: ExportRequest, lowering: str) -> float:
    other = dataclasses.replace(request, lowering=lowering, test=None, also_time=())
    return build(other).verification.latency_us or 0.0
