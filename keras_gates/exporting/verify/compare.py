"""The difference between the outputs of a file and those of Keras, and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import tree

from keras_gates import _compat
from keras_gates.exporting.model_inputs import Inputs, Sample

# Largest difference allowed between file and Keras, as a share of the range that Keras' outputs span, at least of 0.01. Float and
# float16 differ by rounding alone. In integers an output beyond the calibrated range is clipped, and one among thousands is no
# defect: the mean has a limit of its own, and quality on a test set is what counts.
TOLERANCE = {"float32": 1e-5, "float16": 2e-2, "dynamic": 1e-1, "int8": 5e-1, "int16x8": 5e-1}
MEAN_TOLERANCE = {"float32": 1e-6, "float16": 5e-3, "dynamic": 2e-2, "int8": 6e-2, "int16x8": 2e-2}


@dataclass(frozen=True)
class Difference:
    """File against Keras.

    Attributes:
        largest, mean: absolute difference, of the output that uses most of what is allowed.
        allowed, mean_allowed: their limits, in the unit of that output.
        agreement: share of samples (time steps) with the same largest output; None if outputs have one column.
        samples: number of samples compared.
    """

    largest: float
    mean: float
    allowed: float
    mean_allowed: float
    agreement: float | None
    samples: int

    @property
    def acceptable(self) -> bool:
        """Whether both are within their limits."""
        return bool(self.largest <= self.allowed and self.mean <= self.mean_allowed)


def keras_outputs(model: keras.Model, inputs: Inputs, samples: list[Sample]) -> list[list[np.ndarray]]:
    """Return the model's outputs, one flat list of arrays with a batch axis of 1 per sample."""
    batch = model.inputs[0].shape[0] if getattr(model, "inputs", None) else None
    alike = len({tuple(x.shape for x in sample) for sample in samples}) == 1
    if batch is not None or not alike:
        outputs = []
        for sample in samples:
            if batch is not None:
                _reset(model)
            rows = [np.repeat(array, batch or 1, axis=0) for array in sample]
            flat = tree.flatten(model(inputs.pack(rows), training=False))
            outputs.append([_array(x)[:1] for x in flat])
        return outputs
    together = [np.concatenate(arrays) for arrays in zip(*samples)]
    flat = [_array(x) for x in tree.flatten(model(inputs.pack(together), training=False))]
    return [[x[i : i + 1] for x in flat] for i in range(len(samples))]


def _reset(model: keras.Model) -> None:
    for layer in _compat.flatten_layers(model):
        if isinstance(layer, keras.layers.RNN) and layer.stateful and layer.states is not None:
            # Not `reset_state`, which fails on the nested states of stacked cells.
            tree.map_structure(lambda state: state.assign(keras.ops.zeros_like(state)), layer.states)


def _array(x: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(x)).astype(np.float32)


def compare(wanted: list[list[np.ndarray]], got: list[list[np.ndarray]], precision: str) -> Difference:
    """Return the difference over all outputs, each relative to the range of that output.

    Args:
        wanted, got: Per sample one array per output.
        precision: Which limits apply.

    Raises:
        ValueError: the shapes differ.
    """
    largest = mean = allowed = mean_allowed = 0.0
    same: list[np.ndarray] = []
    worst = -1.0
    for want, have in zip(zip(*wanted), zip(*got)):
        want, have = np.stack(want), np.stack(have)
        if want.shape != have.shape:
            raise ValueError(f"the file returns the shape {have.shape[1:]}, Keras {want.shape[1:]}")
        span = max(float(np.ptp(want)), float(np.abs(want).max()), 1e-2)
        difference = np.where(np.isfinite(have), np.abs(want - have), np.inf)
        relative = max(
            difference.max() / (TOLERANCE[precision] * span), difference.mean() / (MEAN_TOLERANCE[precision] * span)
        )
        if relative > worst:
            worst = relative
            largest, mean = float(difference.max()), float(difference.mean())
            allowed, mean_allowed = TOLERANCE[precision] * span, MEAN_TOLERANCE[precision] * span
        if want.shape[-1] > 1:
            same.append((want.argmax(-1) == have.argmax(-1)).ravel())
    agreement = float(np.concatenate(same).mean()) if same else None
    return Difference(largest, mean, allowed, mean_allowed, agreement, len(wanted))
