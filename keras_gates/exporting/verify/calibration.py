"""The samples an export works with: cut to the file's length, calibration apart from held out, named as the file wants them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from keras_gates.exporting.lowering import signatures
from keras_gates.exporting.lowering.inputs import DEFAULT_STEPS, Inputs
from keras_gates.exporting.report import ExportError, ExportReport
from keras_gates.exporting.verify import samples
from keras_gates.exporting.verify.runner import Plan
from keras_gates.exporting.verify.samples import Sample

if TYPE_CHECKING:
    from keras_gates.exporting.build import Request

INTEGER = ("int8", "int16x8")


@dataclass
class Data:
    """Samples of one length.

    Attributes:
        fit: for calibration, held_out: for the comparison with Keras (the same where they are random).
        steps: their number of steps.
        right_padded: whether padding, where there is any, is only at the end.
    """

    fit: list[Sample]
    held_out: list[Sample]
    steps: int
    right_padded: bool


def prepare(request: Request, report: ExportReport) -> Data:
    """Calibration data, or random inputs where there is none, as the file's samples.

    Raises:
        ExportError: integers without calibration, too few sequences, shapes that do not fit.
    """
    inputs, integer = request.inputs, request.precision in INTEGER
    given = request.calibration is not None
    if integer and not given:
        raise ExportError(
            f"{request.precision} needs calibration=…: a hundred or so whole sequences of real inputs, from which the converter "
            "learns the range of every number."
        )
    found = samples.spread(samples.samples_of(request.calibration, inputs), samples.MOST) if given else []
    if given and len(found) < 2:
        raise ExportError(f"calibration has {len(found)} sequences; give at least two, better a hundred.")
    lengths = [x.shape[1] for sample in found for x, port in zip(sample, inputs.ports) if port.time]
    sequence = request.mode == "sequence"
    steps = (request.steps if sequence else None) or inputs.steps or max(lengths, default=None)
    if steps is None and inputs.timed and sequence:
        report.notes.append(f"the model leaves time open and no steps were given: made for {DEFAULT_STEPS}")
    steps = steps or DEFAULT_STEPS
    found = found or samples.random_samples(request.model, inputs, steps)
    if not sequence:
        steps -= steps % (request.steps or 1)
    values = signatures.padding_values(request.model)
    cut = samples.with_steps(found, inputs, steps, values[0] if values else None)
    right = len(set(values)) < 2 and all(
        is_right_padded(sample, inputs, value) for sample in cut for value in values[:1]
    )
    if not right:
        report.notes.append("padding is not only at the end of the sequences: the mask is computed in the file")
    if not sequence and values:
        cut = [_real(sample, inputs, values[0], request.steps or 1) for sample in cut]
        cut = [sample for sample in cut if _fits(sample, inputs)] or samples.random_samples(
            request.model, inputs, steps
        )
        report.notes.append("a stream has no padding: every event counts, do not feed padding")
    if given and integer:
        _warn_of_poor_calibration(cut, inputs, report)
    fit = [sample for number, sample in enumerate(cut) if number % 5] if given else cut
    return Data(fit, cut[::5] if given else cut, steps, right)


def _warn_of_poor_calibration(cut: list[Sample], inputs: Inputs, report: ExportReport) -> None:
    if len(cut) < samples.ENOUGH:
        report.warnings.append(
            f"only {len(cut)} sequences to calibrate with: rare ranges are unknown to the file; give {samples.ENOUGH} or more"
        )
    timed = [place for place, port in enumerate(inputs.ports) if port.time]
    longest = max((sample[place].shape[1] for sample in cut for place in timed), default=2)
    if timed and longest < 2:
        report.warnings.append(
            "calibration has first events only: memories grow over a sequence and will leave the range the file knows; give "
            "whole sequences in order"
        )


def is_right_padded(sample: Sample, inputs: Inputs, value: float) -> bool:
    """Whether padding, where there is any, is only at the end."""
    for x, port in zip(sample, inputs.ports):
        if port.time:
            real = real_steps(x, value)
            if real[: real.sum()].sum() != real.sum():
                return False
    return True


def real_steps(x: np.ndarray, value: float) -> np.ndarray:
    """`(time,)` booleans of a sample with a batch axis: False where every feature is the padding value."""
    differs = x[0] != value
    return differs.reshape(len(differs), -1).any(axis=-1)


def real_part(found: list[Sample], inputs: Inputs, value: float | None) -> Sample:
    """The sample with the most real steps, without its padding (with it, if it is nothing else)."""
    if value is None:
        return found[0]
    parts = [_real(sample, inputs, value, 1) for sample in found]
    longest = max(parts, key=lambda part: sum(x.size for x in part))
    return longest if all(x.size for x in longest) else found[0]


def _real(sample: Sample, inputs: Inputs, value: float, multiple: int) -> Sample:
    """The sample without its padding, and without what does not fill a call."""
    length = max(real_steps(x, value).sum() for x, port in zip(sample, inputs.ports) if port.time)
    length -= length % multiple
    return [x[:, :length] if port.time else x for x, port in zip(sample, inputs.ports)]


def _fits(sample: Sample, inputs: Inputs) -> bool:
    return all(x.shape[1] and port.shape[0] in (None, x.shape[1]) for x, port in zip(sample, inputs.ports) if port.time)


class Feeder:
    """Samples as a file wants them: by name, with lengths, batch repeated, or event by event.

    Args:
        padded: name of an input → its padding value, where the file takes its lengths.
        events: events a call in a stream; None where a call is the whole sequence.
    """

    def __init__(
        self, inputs: Inputs, signature: signatures.Signature, padded: dict[str, float], batch: int, events: int | None
    ) -> None:
        self.inputs, self.signature, self.padded, self.batch, self.events = inputs, signature, padded, batch, events
        self.timed = [port.name for port in inputs.ports if port.time]

    def plan(self) -> Plan:
        """How to run the file on what `feed` gives."""
        memory = [(state["input"], state["output"]) for state in self.signature.states]
        return Plan(self.signature.key, self.timed, self.signature.over_time, memory, self.events)

    def feed(self, sample: Sample) -> dict[str, np.ndarray]:
        """One sample, by name."""
        feed = {port.name: x for port, x in zip(self.inputs.ports, sample)}
        for name, of in self.signature.counts.items():
            feed[name] = np.array([real_steps(feed[of], self.padded[of]).sum()], np.int32)
        return {name: np.repeat(x, self.batch, axis=0) for name, x in feed.items()}

    def calls(self, fit: list[Sample]) -> list[dict[str, Any]]:
        """One dict a call, sequences one after the other, explicit memories rolled out by the function itself."""
        if self.events is None:
            return [self.feed(sample) for sample in fit]
        calls = []
        for sample in fit:
            feed = self.feed(sample)
            memory = signatures.zero_memories(self.signature)
            for start in range(0, feed[self.timed[0]].shape[1] - self.events + 1, self.events):
                part = {
                    n: x[:, start : start + self.events] if n in self.timed else x for n, x in feed.items()
                } | memory
                calls.append(part)
                if memory:
                    after = self.signature.function(**{name: tf.constant(x) for name, x in part.items()})
                    memory = {state["input"]: after[state["output"]].numpy() for state in self.signature.states}
        return calls
