"""How each recurrent layer is lowered: the rules that were measured, in one place.

Measured on x86 (LiteRT, one thread, batch 1) and on TFLM; benchmarks/export.py measures them again:

- fused is the smallest for the standard formulation, at every precision and on both runtimes, and the fastest or close to it
  (WHILE with dynamic-range weights can be a tenth faster if XNNPACK takes its matrix products), except for int16x8, which the
  converter rejects for this operator;
- a loop (WHILE) costs one operator whatever the length and is smaller than unrolling by an order of magnitude;
- the converter crashes when it calibrates WHILE, so integers need the one-step model, or unrolling if a layer cannot be
  stepped (it runs backwards, or another layer needs the whole sequence).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from keras_gates.exporting.lowering.lower import LoopCall
from keras_gates.exporting.lowering.recurrent import cells_of
from keras_gates.exporting.lowering.streamable import Streaming, streaming_of
from keras_gates.exporting.model_inputs import Sample
from keras_gates.exporting.options import ExportRequest
from keras_gates.exporting.report import ExportError
from keras_gates.layers.standard import why_not_standard

_FUSED_WHY = "one operator: the smallest, and the fastest or close to it"


@dataclass(frozen=True)
class LoweringChoice:
    """The lowering of one recurrent call: name of the layer, "fused", "step", "while" or "unrolled", and the reason."""

    layer: str
    lowering: str
    why: str


@dataclass(frozen=True)
class Lowering:
    """The lowering of every recurrent call, in the order of calls.

    Attributes:
        choices: one per call.
        layer_memories: what convolutions and pooling remember in a stream: pairs (layer, shape for a batch of 1).
        window: a stream whose every call runs the latest events again: the reason why it cannot go on from a memory.
    """

    choices: tuple[LoweringChoice, ...]
    layer_memories: tuple[tuple[str, tuple[int, ...]], ...] = ()
    window: str = ""

    @property
    def name(self) -> str:
        """The lowerings in use, joined by "+"; "plain" without recurrent layers."""
        return "+".join(dict.fromkeys(choice.lowering for choice in self.choices)) or "plain"

    @property
    def why(self) -> str:
        """The reason in one line."""
        return self.choices[0].why if self.choices else "no recurrent layer"

    @property
    def is_fused(self) -> bool:
        """Whether a layer is one fused operator, which keeps its memory in the file."""
        return any(choice.lowering == "fused" for choice in self.choices)

    @property
    def is_step(self) -> bool:
        """Whether the file is the one-step model, with memories as inputs and outputs."""
        return self.name == "step" or bool(self.layer_memories)

    @property
    def layers(self) -> list[dict[str, str]]:
        """The choices as plain values."""
        return [dataclasses.asdict(choice) for choice in self.choices]


def choose(request: ExportRequest, calls: list[LoopCall], sample: Sample) -> Lowering:
    """Choose the lowering of every recurrent call.

    Args:
        request: What was asked for.
        calls: The model's recurrent calls, from `signatures.trace_calls`.
        sample: One whole sequence, to try whether the model runs event by event.

    Raises:
        ExportError: the requested lowering or mode is impossible; the layer and the reason are named.
    """
    wanted, stream = request.lowering, request.is_stream
    events = (request.steps or 1) if stream else 1

    @cache
    def streaming() -> Streaming:
        return streaming_of(request.model, request.inputs, calls, sample, events, stream, request.is_integer)

    def why_not_step() -> str:
        return streaming().why_not

    if stream and (reason := why_not_step()):
        if not _has_window(request, events):
            raise ExportError(f"mode='stream' takes events as they come, but {reason}. Export with mode='sequence'.")
        loop = "unrolled" if request.is_integer or request.target == "micro" else "while"
        loop = loop if wanted == "auto" else wanted
        choices = (LoweringChoice(call.name, loop, "it runs the latest events at every call") for call in calls)
        return Lowering(tuple(choices), window=reason)
    reasons = [why_not_fused(call, request.precision, request.target, request.mode) for call in calls]
    if stream and (kept := streaming().layer_memories):
        if wanted == "fused":
            raise ExportError(
                f"lowering='fused': {kept[0][0]} remembers events, for which the file needs explicit states. Use "
                "lowering='auto' or 'step'."
            )
        because = f"{kept[0][0]} remembers events: explicit states"
        return Lowering(tuple(LoweringChoice(call.name, "step", because) for call in calls), kept)
    if wanted == "auto":
        return Lowering(tuple(_by_rule(request, calls, reasons, why_not_step)))
    if wanted == "fused":
        for call, reason in zip(calls, reasons):
            if reason:
                raise ExportError(
                    f"{call.name} cannot be fused: {reason}. Use lowering='auto', or 'while' or 'unrolled'."
                )
    if wanted == "step" and (reason := why_not_step()):
        raise ExportError(f"lowering='step' runs event by event, but {reason}. Use lowering='unrolled'.")
    if wanted == "step" and not stream and (masked := next((call for call in calls if call.masked), None)):
        raise ExportError(
            f"lowering='step' would run through padding, and {masked.name} has a mask. Use lowering='unrolled'."
        )
    if wanted == "while" and request.is_integer:
        raise ExportError(
            "lowering='while' in integers: TensorFlow's calibrator crashes on WHILE (tensorflow#75140). Use lowering='step' or "
            "'unrolled'."
        )
    if wanted in ("while", "unrolled") and stream:
        raise ExportError(f"lowering={wanted!r} starts from zero states; a stream needs lowering='fused' or 'step'.")
    return Lowering(tuple(LoweringChoice(call.name, wanted, "requested") for call in calls))


def check_trained(request: ExportRequest, lowering: Lowering) -> None:
    """Check that layers trained in integers become the operators whose arithmetic they were trained in.

    Raises:
        ExportError: The lowering has other operators.
    """
    kinds = {layer.kind for layer in request.trained}
    if "article" in kinds and not lowering.is_step:
        raise ExportError(
            f"a GateLSTM of the article's formulation that was trained in integers runs event by event, but this model is "
            f"{lowering.name} ({lowering.why}). Export keras_gates.quantization.aware.float_model(model) with calibration data."
        )
    if "lstm" in kinds and not lowering.is_fused:
        raise ExportError(
            f"an LSTM that was trained in integers is one fused operator, but this model is {lowering.name} ({lowering.why}). "
            "Export keras_gates.quantization.aware.float_model(model) with calibration data."
        )


def _has_window(request: ExportRequest, events: int) -> bool:
    """Return whether a stream can run the model over its latest events at every call: it fixes their number, and returns
    values for all of them together."""
    steps, outputs = request.inputs.steps, getattr(request.model, "outputs", None)
    if request.lowering in ("fused", "step") or steps is None or steps <= events or steps % events or not outputs:
        return False
    if any(port.time and (port.dtype != "float32" or port.shape[0] != steps) for port in request.inputs.ports):
        return False
    return not any(len(x.shape) > 2 and x.shape[1] == steps for x in outputs)


_CMSIS_NN = "TFLM built with CMSIS-NN clears the state of the fused int8 operator at every call"


def warnings_of(request: ExportRequest, lowering: Lowering) -> list[str]:
    """Return what the user should know of a lowering before using its file."""
    if lowering.window:
        steps = request.inputs.steps
        return [
            f"{lowering.window}: every call of the stream runs the latest {steps} events from empty memory, with zeros for "
            f"those before the first, and takes as long as a sequence of {steps}"
        ]
    if _forgets_under_cmsis_nn(request) and lowering.is_fused:
        return [
            f"{_CMSIS_NN}: there the stream forgets, and the self-test fails. Export for such boards with lowering='step'"
        ]
    return []


def _forgets_under_cmsis_nn(request: ExportRequest) -> bool:
    return request.precision == "int8" and request.is_stream and request.target == "micro"


def _by_rule(
    request: ExportRequest, calls: list[LoopCall], reasons: list[str], why_not_step: Callable[[], str]
) -> list[LoweringChoice]:
    because = next((f"{call.name} cannot be fused: {reason}" for call, reason in zip(calls, reasons) if reason), "")
    if not because and _forgets_under_cmsis_nn(request) and not request.trained:  # trained as the fused operator
        because = _CMSIS_NN
    no_loop = request.is_integer or request.target == "micro"
    steppable = no_loop and not any(call.masked or call.local for call in calls)
    if because and (request.is_stream or (steppable and not why_not_step())):
        return [LoweringChoice(call.name, "step", because) for call in calls]
    rest = "unrolled" if no_loop else "while"
    return [
        LoweringChoice(call.name, rest if reason else "fused", reason or _FUSED_WHY)
        for call, reason in zip(calls, reasons)
    ]


def why_not_fused(call: LoopCall, precision: str, target: str, mode: str) -> str:
    """Return why this call cannot be one operator; empty if it can."""
    for cell in cells_of(call.layer):
        if reason := why_not_standard(cell):
            return reason
    if call.given_state:
        return "it has an initial state, the operator starts from zeros"
    if call.ltm_read:
        return "its LTM is read afterwards, the operator returns STM only"
    if call.masked == "mask":
        return "its mask is computed in the model and need not be right padding"
    if call.local and mode == "stream":
        return "it starts from zero states inside every event, the operator would continue from the event before"
    if precision == "int16x8" and target == "cpu":
        return "neither the converter nor LiteRT runs the operator with 16-bit activations"
    return ""
