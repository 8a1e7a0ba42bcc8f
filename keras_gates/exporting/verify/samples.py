"""The user's data as samples: whole sequences, one per sample."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from keras import tree

from keras_gates.exporting.model_inputs import Inputs, Sample
from keras_gates.exporting.report import ExportError

ENOUGH = 50
MOST = 512


def samples_of(data: Any, inputs: Inputs) -> list[Sample]:
    """Return one flat list of arrays per sample, each with a batch axis of 1.

    Args:
        data: An array `(samples, …)`, a dict or tuple of arrays by input, a list of arrays with one sequence each, or an
            iterable (a `tf.data.Dataset`) of inputs or `(inputs, target)`, batched or not.
        inputs: The model's inputs.

    Raises:
        ExportError: shapes that do not fit the model's inputs.
    """
    ports = inputs.ports
    if isinstance(data, dict):
        missing = {port.name for port in ports} - set(data)
        if missing:
            raise ExportError(f"the data has {sorted(data)}; the model's inputs are {[port.name for port in ports]}.")
        return _cut([np.asarray(data[port.name]) for port in ports], inputs)
    if hasattr(data, "shape"):
        return _cut([np.asarray(data)], inputs)
    if isinstance(data, tuple) or (isinstance(data, list) and len(ports) > 1 and len(data) == len(ports)):
        return _cut([np.asarray(each) for each in data], inputs)
    if not isinstance(data, Iterable):
        raise ExportError(f"calibration data must be an array, a dict, a list or a dataset, got {type(data).__name__}.")
    collected: list[Sample] = []
    for element in data:
        element = element[0] if isinstance(element, tuple) and len(element) in (2, 3) else element
        by_name = isinstance(element, dict)
        flat = [element[port.name] for port in ports] if by_name else tree.flatten(element)
        flat = [np.asarray(each) for each in flat]
        if flat and flat[0].ndim == len(ports[0].shape):
            flat = [each[None] for each in flat]
        collected += _cut(flat, inputs)
        if len(collected) >= MOST:
            break
    return collected


def _cut(arrays: list[np.ndarray], inputs: Inputs) -> list[Sample]:
    if len(arrays) != len(inputs.ports):
        raise ExportError(f"the data has {len(arrays)} arrays, the model {len(inputs.ports)} inputs.")
    typed = []
    for array, port in zip(arrays, inputs.ports):
        fits = array.ndim == len(port.shape) + 1 and all(
            want in (None, have) or (axis == 0 and port.time)
            for axis, (want, have) in enumerate(zip(port.shape, array.shape[1:]))
        )
        if not fits:
            raise ExportError(
                f"the data for input {port.name!r} has the shape {array.shape}; expected (samples, "
                f"{', '.join('time' if size is None else str(size) for size in port.shape)})."
            )
        typed.append(array.astype(port.dtype))
    if len({len(array) for array in typed}) != 1:
        raise ExportError(
            f"the data's arrays have {[len(array) for array in typed]} samples; expected as many in each."
        )
    return [[array[i : i + 1] for array in typed] for i in range(len(typed[0]))]


def spread(samples: list[Sample], most: int) -> list[Sample]:
    """Return at most `most` of them, evenly from first to last."""
    if len(samples) <= most:
        return samples
    return [samples[i] for i in np.linspace(0, len(samples) - 1, most).astype(int)]


def repeated(sample: Sample, inputs: Inputs, steps: int) -> Sample:
    """Return the sample with another number of time steps: cut, or repeated from its start."""
    return [
        np.take(x, np.arange(steps) % x.shape[1], axis=1) if port.time else x for x, port in zip(sample, inputs.ports)
    ]


def with_steps(samples: list[Sample], inputs: Inputs, steps: int, padding: float | None) -> list[Sample]:
    """Return every sample cut to `steps`, or padded at its end.

    Args:
        samples: The samples.
        inputs: The model's inputs.
        steps: Time steps of every sample.
        padding: The value that is padding; None if the model has no mask.

    Raises:
        ExportError: a sample is shorter and the model has no mask.
    """

    def fit(x: np.ndarray, timed: bool) -> np.ndarray:
        if not timed or x.shape[1] == steps:
            return x
        if x.shape[1] > steps:
            return x[:, :steps]
        if padding is None:
            raise ExportError(
                f"a sequence has {x.shape[1]} time steps, the file takes {steps}, and the model has no mask that would skip "
                "padding. Pass sequences of one length, or `steps=` the shortest."
            )
        rest = [(0, 0), (0, steps - x.shape[1])] + [(0, 0)] * (x.ndim - 2)
        return np.pad(x, rest, constant_values=padding)

    return [[fit(x, port.time) for x, port in zip(sample, inputs.ports)] for sample in samples]
