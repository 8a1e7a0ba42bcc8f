"""The samples an export works with: of one length, those to calibrate with apart from those held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_gates.exporting.lowering.masks import padding_values
from keras_gates.exporting.model_inputs import DEFAULT_STEPS, Inputs, Sample, random_samples
from keras_gates.exporting.options import ExportRequest
from keras_gates.exporting.report import ExportError
from keras_gates.exporting.verify import samples


@dataclass(frozen=True)
class Data:
    """Samples of one length.

    Attributes:
        fit: for calibration.
        held_out: for the comparison with Keras; the same as `fit` if they are random.
        steps: their number of time steps.
        right_padded: whether padding, if there is any, is only at the end.
        notes, warnings: sentences for the report.
    """

    fit: list[Sample]
    held_out: list[Sample]
    steps: int
    right_padded: bool
    notes: list[str]
    warnings: list[str]


def split(request: ExportRequest) -> Data:
    """Return the calibration data, or random inputs if there is none, as the file's samples.

    Raises:
        ExportError: too few sequences, or shapes that do not fit the model.
    """
    inputs, notes = request.inputs, []
    real = request.calibration is not None
    sequences = samples.spread(samples.samples_of(request.calibration, inputs), samples.MOST) if real else []
    if real and len(sequences) < 2:
        raise ExportError(f"calibration has {len(sequences)} sequences; pass at least two, better a hundred.")
    lengths = [x.shape[1] for sample in sequences for x, port in zip(sample, inputs.ports) if port.time]
    steps = (None if request.is_stream else request.steps) or inputs.steps or max(lengths, default=None)
    if steps is None and inputs.timed and not request.is_stream:
        notes.append(
            f"the model leaves time open and `steps` was not passed: the file takes {DEFAULT_STEPS} time steps"
        )
    steps = steps or DEFAULT_STEPS
    if request.is_stream:
        steps -= steps % (request.steps or 1)
    vocabulary = len((request.metadata or {}).get("vocabulary") or ())

    def draw() -> list[Sample]:
        return random_samples(request.model, inputs, steps, vocabulary=vocabulary)

    values = padding_values(request.model)
    padding = values[0] if values else None
    cut = samples.with_steps(sequences or draw(), inputs, steps, padding)
    right = len(set(values)) < 2 and all(
        is_right_padded(sample, inputs, value) for sample in cut for value in values[:1]
    )
    if not right:
        notes.append("padding is not only at the end of the sequences: the mask is computed in the file")
    if request.is_stream and padding is not None:
        cut = [_valid(sample, inputs, padding, request.steps or 1) for sample in cut]
        cut = [sample for sample in cut if _fits(sample, inputs)] or draw()
        notes.append("a stream has no padding: every event counts, do not pass padding")
    warnings = _calibration_warnings(cut, inputs) if real and request.is_integer else []
    fit = [sample for number, sample in enumerate(cut) if number % 5] if real else cut
    return Data(fit, cut[::5] if real else cut, steps, right, notes, warnings)


def _calibration_warnings(cut: list[Sample], inputs: Inputs) -> list[str]:
    warnings = []
    if len(cut) < samples.ENOUGH:
        warnings.append(
            f"only {len(cut)} sequences to calibrate with: rare values may be clipped; pass {samples.ENOUGH} or more"
        )
    timed = [place for place, port in enumerate(inputs.ports) if port.time]
    longest = max((sample[place].shape[1] for sample in cut for place in timed), default=2)
    if timed and longest < 2:
        warnings.append(
            "calibration has first events only: memories grow over a sequence and will exceed the calibrated range; pass whole "
            "sequences in order"
        )
    return warnings


def is_right_padded(sample: Sample, inputs: Inputs, value: float) -> bool:
    """Return whether padding, if there is any, is only at the end."""
    for x, port in zip(sample, inputs.ports):
        if port.time:
            valid = valid_steps(x, value)
            if valid[: valid.sum()].sum() != valid.sum():
                return False
    return True


def valid_steps(x: np.ndarray, value: float) -> np.ndarray:
    """Return booleans `(time,)` for a sample with a batch axis: False where every feature is the padding value."""
    differs = x[0] != value
    return differs.reshape(len(differs), -1).any(axis=-1)


def longest_without_padding(held_out: list[Sample], inputs: Inputs, value: float | None) -> Sample:
    """Return the sample with the most valid steps, without its padding (with it, if it is nothing else)."""
    if value is None:
        return held_out[0]
    parts = [_valid(sample, inputs, value, 1) for sample in held_out]
    longest = max(parts, key=lambda part: sum(x.size for x in part))
    return longest if all(x.size for x in longest) else held_out[0]


def _valid(sample: Sample, inputs: Inputs, value: float, multiple: int) -> Sample:
    """Return the sample without its padding, and without the steps that do not fill a call."""
    length = max(valid_steps(x, value).sum() for x, port in zip(sample, inputs.ports) if port.time)
    length -= length % multiple
    return [x[:, :length] if port.time else x for x, port in zip(sample, inputs.ports)]


def _fits(sample: Sample, inputs: Inputs) -> bool:
    return all(x.shape[1] and port.shape[0] in (None, x.shape[1]) for x, port in zip(sample, inputs.ports) if port.time)
