"""Rounding one tensor of a running Keras model at a time: what an integer file does to its weights, gates and outputs.

An approximation for finding where integers lose: every tensor is rounded once, with the scales that the export would choose,
while everything else stays in float. What a file answers exactly is measured by running it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import tree

from keras_gates import _compat
from keras_gates._patch import patched
from keras_gates.exporting.lowering.recurrent import lowerable_layers, standard_weights

GATES = ("learn (ignore)", "forget", "learn (candidate)", "use")  # the columns of the standard LSTM's weights
SUMS = 8.0  # the range of a gate's sum, and of the input's part of it
_SILENT = (
    keras.layers.InputLayer, keras.layers.Dropout, keras.layers.Flatten, keras.layers.Reshape, keras.layers.Masking,
    keras.layers.Bidirectional, keras.layers.TimeDistributed, keras.layers.RNN, keras.Model
)  # fmt: skip
_WITH_KERNEL = (keras.layers.Dense, keras.layers.Embedding, keras.layers.Conv1D, keras.layers.Conv2D)


@dataclass
class Range:
    """The values of one tensor: the range that calibration gives it, and the error of rounding to it.

    Attributes:
        kind: "weights", "sum" (of a gate, or the input's part of it), "cell", "hidden" or "output".
        low, high: of the values seen in calibration.
        power, error: sums of squares of the values around their mean, and of the rounding error.
        count, clipped: values, and those beyond the range.
        used: share of the range between the 0.1 % and the 99.9 % quantile.
    """

    kind: str
    low: float = np.inf
    high: float = -np.inf
    power: float = 0.0
    error: float = 0.0
    count: int = 0
    clipped: int = 0
    used: float = 0.0

    @property
    def decibels(self) -> float:
        """The signal-to-noise ratio of the rounding, at most 120."""
        return float(10 * np.log10(max(self.power, 1e-12) / max(self.error, 1e-12 * self.power, 1e-24)))

    def grid(self, bits: int) -> tuple[float, float, float]:
        """Scale, lowest and highest value of the integers that hold this tensor."""
        if self.kind == "sum":
            return SUMS / 2**15, -SUMS, SUMS - SUMS / 2**15
        most = max(abs(self.low), abs(self.high), 1e-9)
        if self.kind == "cell":
            power = 2.0 ** max(np.ceil(np.log2(most)), 0)
            return power / 2**15, -power, power - power / 2**15
        if bits == 16:
            scale = (1.0 if self.kind == "hidden" else most) / (2**15 - 1)
            return scale, -scale * (2**15 - 1), scale * (2**15 - 1)
        low, high = min(self.low, 0.0), max(self.high, 0.0, min(self.low, 0.0) + 1e-9)
        return (high - low) / 255, low, high


@dataclass
class Rounding:
    """What is done to the tensors of a run: their ranges are taken ("calibrate"), errors are measured ("measure"), or one is
    rounded ("round").

    Attributes:
        bits: of activations.
        mode: "calibrate", "measure" or "round".
        only: the tensor to round, (layer, tensor).
        ranges: by (layer, tensor), in the order of the model.
    """

    bits: int
    mode: str = "calibrate"
    only: tuple[str, str] | None = None
    ranges: dict[tuple[str, str], Range] = field(default_factory=dict)

    def __call__(self, layer: str, tensor: str, kind: str, values: Any) -> Any:
        """Return the values, rounded if this tensor is to be."""
        key = layer, tensor
        if self.mode == "round" and key != self.only:
            return values
        array = np.asarray(keras.ops.convert_to_numpy(values), np.float32)
        own = self.ranges.setdefault(key, Range(kind))
        if self.mode == "calibrate":
            own.low, own.high = min(own.low, float(array.min())), max(own.high, float(array.max()))
            return values
        scale, low, high = own.grid(self.bits)
        rounded = np.clip(np.round((array - low) / scale) * scale + low, low, high).astype(np.float32)
        if self.mode == "round":
            return rounded
        own.power += float(np.square(array - array.mean()).sum())
        own.error += float(np.square(array - rounded).sum())
        own.count += array.size
        own.clipped += int(((array < low - scale) | (array > high + scale)).sum())
        span = np.subtract(*np.quantile(array, (0.999, 0.001)))
        own.used = max(own.used, min(1.0, float(span / max(high - low, 1e-12))))
        return values

    def weights(self, layer: str, tensor: str, values: np.ndarray, axis: tuple[int, ...] | None) -> np.ndarray:
        """Return weights, rounded to symmetric 8 bits if they are to be; one scale for all, or one per channel.

        Args:
            layer, tensor: names.
            values: the weights.
            axis: the axes that share a scale; None for all.
        """
        key = layer, tensor
        if self.mode == "calibrate" or (self.mode == "round" and key != self.only):
            return values
        most = np.maximum(np.abs(values).max(axis=axis, keepdims=True), 1e-9)
        rounded = (np.round(values / most * 127) * most / 127).astype(np.float32)
        if self.mode == "measure":
            used = float(np.mean(np.quantile(np.abs(values), 0.999, axis=axis) / most.squeeze()))
            power, error = float(np.square(values - values.mean()).sum()), float(np.square(values - rounded).sum())
            self.ranges[key] = Range(
                "weights", -float(most.max()), float(most.max()), power, error, values.size, 0, used
            )
            return values
        return rounded


@contextlib.contextmanager
def rounded(model: keras.Model, rounding: Rounding) -> Iterator[None]:
    """Inside the block the model's tensors pass through `rounding`; afterwards the model is as it was.

    Args:
        model: any built Keras model, run eagerly.
        rounding: what is done to them.
    """
    changes: list[tuple[Any, str, Any]] = []
    recurrent = lowerable_layers(model)
    inner = {id(each) for layer in recurrent for each in _inside(layer)}
    before: list[tuple[Any, np.ndarray]] = []
    try:
        for layer in _compat.flatten_layers(model):
            if id(layer) in inner:
                continue
            if layer in recurrent and (weights := standard_weights(layer.cell)) is not None:
                changes.append((layer, "inner_loop", _loop(layer, weights, rounding)))
            elif isinstance(layer, keras.layers.RNN) or not isinstance(layer, _SILENT):
                changes.append(_watched(layer, rounding))
            if isinstance(layer, _WITH_KERNEL):
                variable = layer.embeddings if isinstance(layer, keras.layers.Embedding) else layer.kernel
                values = np.asarray(keras.ops.convert_to_numpy(variable), np.float32)
                axis = None if isinstance(layer, keras.layers.Embedding) else tuple(range(values.ndim - 1))
                new = rounding.weights(layer.name, "weights", values, axis)
                if new is not values:
                    before.append((variable, values))
                    variable.assign(new)
        with patched(changes):
            yield
    finally:
        for variable, values in before:
            variable.assign(values)


def _inside(layer: keras.layers.RNN) -> list[keras.layers.Layer]:
    return [each for cell in [layer.cell] for each in _compat.flatten_layers(cell)]


def _watched(layer: keras.layers.Layer, rounding: Rounding) -> tuple[Any, str, Any]:
    """What replaces a layer's call, or its activation if that makes probabilities: they have 16 bits, the logits have 8."""
    activation = getattr(layer, "activation", None)
    if activation in (keras.activations.softmax, keras.activations.sigmoid) and not isinstance(layer, keras.layers.RNN):
        return layer, "activation", lambda x: activation(rounding(layer.name, "logits", "output", x))
    call = layer.call

    def watched(*args: Any, **named: Any) -> Any:
        return tree.map_structure(
            lambda x: rounding(layer.name, "output", "output", x) if _is_float(x) else x, call(*args, **named)
        )

    return layer, "call", watched


def _is_float(x: Any) -> bool:
    return hasattr(x, "dtype") and "float" in keras.backend.standardize_dtype(x.dtype) and x.shape[-1:] != ()


def _loop(layer: keras.layers.RNN, weights: tuple[np.ndarray, ...], rounding: Rounding) -> Callable:
    """The standard LSTM's loop in NumPy, gate by gate, each tensor through `rounding`."""

    def tensor(name: str, kind: str, values: np.ndarray) -> np.ndarray:
        return rounding(layer.name, name, kind, values)

    def loop(sequences: Any, initial_state: Any, mask: Any = None, training: bool = False) -> Any:
        x = np.asarray(keras.ops.convert_to_numpy(sequences), np.float32)
        stm, ltm = (np.asarray(keras.ops.convert_to_numpy(state), np.float32) for state in initial_state)
        masks = [np.asarray(keras.ops.convert_to_numpy(each)) for each in tree.flatten(mask) if each is not None]
        valid = masks[0].reshape(*x.shape[:2], 1) if masks else np.ones((*x.shape[:2], 1), bool)
        kernels, recurrents, biases = (np.split(weight, 4, axis=-1) for weight in weights)
        kernels = [rounding.weights(layer.name, f"{g}, input weights", k, None) for g, k in zip(GATES, kernels)]
        recurrents = [
            rounding.weights(layer.name, f"{g}, recurrent weights", r, None) for g, r in zip(GATES, recurrents)
        ]
        parts = [tensor(f"{g}, input's part", "sum", x @ k + b) for g, k, b in zip(GATES, kernels, biases)]
        order = range(x.shape[1])[::-1] if layer.go_backwards else range(x.shape[1])
        output, outputs, sums, cells, hidden = np.zeros_like(stm), [], [], [], []
        for time in order:
            total = [part[:, time] + stm @ recurrent for part, recurrent in zip(parts, recurrents)]
            if rounding.mode == "round":
                total = [tensor(f"{g}, sum", "sum", each) for g, each in zip(GATES, total)]
            ignore, forget, candidate, use = total
            new = _sigmoid(forget) * ltm + _sigmoid(ignore) * np.tanh(candidate)
            if rounding.mode == "round":
                new = tensor("remember, cell state", "cell", new)
            answer = _sigmoid(use) * np.tanh(new)
            if rounding.mode == "round":
                answer = tensor("hidden state", "hidden", answer)
            else:  # noted for all time steps at once
                sums.append(total)
                cells.append(new)
                hidden.append(answer)
            here = valid[:, time]
            stm, ltm, output = np.where(here, answer, stm), np.where(here, new, ltm), np.where(here, answer, output)
            outputs.append(output)
        for gate, each in zip(GATES, zip(*sums)):
            tensor(f"{gate}, sum", "sum", np.stack(each))
        if cells:
            tensor("remember, cell state", "cell", np.stack(cells))
            tensor("hidden state", "hidden", np.stack(hidden))
        together = keras.ops.convert_to_tensor(np.stack(outputs, 1))
        return keras.ops.convert_to_tensor(output), together, [keras.ops.convert_to_tensor(each) for each in (stm, ltm)]

    return loop


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -80, 80)))
