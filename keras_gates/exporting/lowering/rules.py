"""Which form each recurrent layer takes: the rules that were measured, in one place.

Measured on x86 (LiteRT, one thread, batch 1) and on TFLM; benchmarks/export.py measures them again:

- the standard form fused is the smallest, at every precision and on both runtimes, and the fastest or close to it (WHILE with
  dynamic-range weights can be a tenth faster where XNNPACK takes its matrix products), but for int16x8, which the converter
  refuses for this operator;
- a loop (WHILE) costs one operator whatever the length and is smaller than unrolling by an order of magnitude;
- the converter crashes when it calibrates WHILE, so integers need the one-step model, or unrolling where a layer cannot be
  stepped (it runs backwards, or another layer looks over the whole time).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keras_gates.exporting.lowering.lower import LoopCall
from keras_gates.exporting.lowering.recurrent import cells_of, why_not_standard
from keras_gates.exporting.report import ExportError
from keras_gates.exporting.verify.calibration import INTEGER


@dataclass(frozen=True)
class Choice:
    """The form of one recurrent call and why."""

    layer: str
    form: str
    why: str


def choose(
    calls: list[LoopCall], *, form: str, precision: str, mode: str, target: str, why_not_step: Callable[[], str]
) -> list[Choice]:
    """The form of every recurrent call.

    Args:
        calls: what the model's graph asks of its recurrent layers.
        form: "auto", or the one the caller wants.
        why_not_step: tries, and tells why the model cannot run event by event; empty where it can.

    Raises:
        ExportError: a wanted form that cannot be; the layer and the reason are named.
    """
    if mode == "stream" and (reason := why_not_step()):
        raise ExportError(f"mode='stream' feeds events as they come, but {reason}. Export with mode='sequence'.")
    reasons = [why_not_fused(call, precision, target, mode) for call in calls]
    if form == "auto":
        return _by_rule(calls, reasons, precision, mode, target, why_not_step)
    if form == "fused":
        for call, reason in zip(calls, reasons):
            if reason:
                raise ExportError(
                    f"{call.name} cannot be fused: {reason}. Leave form='auto', or take 'while' or 'unrolled'."
                )
    if form == "step" and (reason := why_not_step()):
        raise ExportError(f"form='step' runs event by event, but {reason}. Take form='unrolled'.")
    if form == "step" and mode == "sequence" and (masked := next((call for call in calls if call.masked), None)):
        raise ExportError(f"form='step' would run through padding, and {masked.name} has a mask. Take form='unrolled'.")
    if form == "while" and precision in INTEGER:
        raise ExportError(
            "form='while' in integers: TensorFlow's calibrator crashes on WHILE (tensorflow#75140). Take form='step', or "
            "'unrolled'."
        )
    if form in ("while", "unrolled") and mode == "stream":
        raise ExportError(f"form={form!r} runs from empty memories; a stream takes form='fused' or 'step'.")
    return [Choice(call.name, form, "asked for") for call in calls]


def _by_rule(
    calls: list[LoopCall], reasons: list[str], precision: str, mode: str, target: str, why_not_step: Callable[[], str]
) -> list[Choice]:
    because = next((f"{call.name} cannot be fused: {reason}" for call, reason in zip(calls, reasons) if reason), "")
    whole = precision in INTEGER or target == "micro"
    if because and mode == "stream":
        return [Choice(call.name, "step", because) for call in calls]
    if because and whole and not any(call.masked or call.local for call in calls) and not why_not_step():
        return [Choice(call.name, "step", because) for call in calls]
    rest = "unrolled" if whole else "while"
    return [
        Choice(call.name, rest, reason)
        if reason
        else Choice(call.name, "fused", "one operator: the smallest, and the fastest or close to it")
        for call, reason in zip(calls, reasons)
    ]


def why_not_fused(call: LoopCall, precision: str, target: str, mode: str) -> str:
    """Why this call cannot be one operator; empty where it can."""
    for cell in cells_of(call.layer):
        if reason := why_not_standard(cell):
            return reason
    if call.given_state:
        return "it starts from given memories, the operator from empty ones"
    if call.ltm_read:
        return "its LTM is read afterwards, the operator gives STM only"
    if call.masked == "mask":
        return "its mask is computed in the model and need not be right padding"
    if call.local and mode == "stream":
        return "it begins anew inside every event, the operator would remember the event before"
    if precision == "int16x8" and target == "cpu":
        return "neither the converter nor LiteRT runs the operator with 16-bit activations"
    return ""
