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
        data: An array `(samples, …)`, a dict or tuple of arrays by input, a list of arrays or nested lists with one sequence
            each, an iterable (a generator, a `tf.data.Dataset`) of inputs or `(inputs, target)`, batched or not, or a function
            that returns one, as TensorFlow's representative datasets are.
        inputs: The model's inputs.

    Raises:
        ExportError: shapes that do not fit the model's inputs, or a number that is not finite.
    """
    samples = _read(data() if callable(data) and not hasattr(data, "shape") else data, inputs)
    for number, sample in enumerate(samples):
        for x, port in zip(sample, inputs.ports):
            if x.dtype.kind == "f" and not np.isfinite(x).all():
                place = tuple(int(i) for i in np.argwhere(~np.isfinite(x[0]))[0])
                raise ExportError(
                    f"sample {number} of input {port.keras_name!r} has {x[0][place]} at {place}, counted from 0; expected finite "
                    "numbers. Fill the gap or leave the sample out."
                )
    return samples


def _read(data: Any, inputs: Inputs) -> list[Sample]:
    ports = inputs.ports
    if isinstance(data, dict):
        return _cut(_by_name(data, inputs), inputs)
    if hasattr(data, "shape"):
        return _cut([np.asarray(data)], inputs)
    if isinstance(data, tuple) or (isinstance(data, list) and len(ports) > 1 and len(data) == len(ports)):
        return _cut([np.asarray(each) for each in data], inputs)
    if not isinstance(data, Iterable):
        raise ExportError(f"calibration data must be an array, a dict, a list or a dataset, got {type(data).__name__}.")
    collected: list[Sample] = []
    for element in data:
        element = element[0] if isinstance(element, tuple) and len(element) in (2, 3) else element
        flat = _by_name(element, inputs) if isinstance(element, dict) else _arrays(element)
        if flat and flat[0].ndim == len(ports[0].shape):
            flat = [each[None] for each in flat]
        collected += _cut(flat, inputs)
        if len(collected) >= MOST:
            break
    return collected


def _by_name(data: dict[str, Any], inputs: Inputs) -> list[np.ndarray]:
    """Return the arrays of a dict in the model's order; inputs go by their name in the file or in Keras."""
    keys = [port.name if port.name in data else port.keras_name for port in inputs.ports]
    if not set(keys) <= set(data):
        raise ExportError(
            f"the data has {sorted(map(str, data))}; the model's inputs are {[port.keras_name for port in inputs.ports]}."
        )
    return [np.asarray(data[key]) for key in keys]


def _arrays(element: Any) -> list[np.ndarray]:
    """Return the arrays of one element; nested lists of numbers are one array."""
    leaves = tree.flatten(element)
    return [np.asarray(leaf) for leaf in leaves] if any(np.ndim(leaf) for leaf in leaves) else [np.asarray(element)]


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
                f"the data for input {port.keras_name!r} has the shape {array.shape}; expected (samples, "
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
