"""Probing: which units follow a property of the input (inside quotes, after a bear, how far into the line)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_gates._arguments import typed
from keras_gates._errors import InvalidArgument
from keras_gates.inspection.inputs import check_examples
from keras_gates.inspection.tracing import trace


@dataclass(frozen=True)
class Unit:
    """A unit that follows a property.

    Attributes:
        layer: Name of the layer.
        unit: Index of the unit, from 0.
        what: The array that was compared: "ltm", "stm" or a factor.
        correlation: Pearson's correlation on the examples by which the unit was selected, -1 to 1.
        held_out: The correlation on the other examples.
    """

    layer: str
    unit: int
    what: str
    correlation: float
    held_out: float


@typed
def find_units(
    model: keras.layers.Layer,
    data: Any,
    label_fn: Callable[[Any], Any],
    *,
    what: str = "ltm",
    layers: Sequence[str] | None = None,
    top: int = 5,
    held_out: float = 0.5,
) -> list[Unit]:
    """Find the units whose memory follows a property of the events, selected on some examples and checked on the others.

    Args:
        model: A built Keras model.
        data: The model's input, NumPy `(batch, ...)`.
        label_fn: Called with one example; returns one number per event, `(time,)`, NaN where the property is not defined.
        what: The array to compare: "ltm", "stm", or a factor (see `keras_gates.LayerTrace`).
        layers: Names of the layers to search; default: all that have as many events as there are numbers.
        top: How many units to return at most.
        held_out: The share of the examples, 0 to 1, on which the selected units are checked: the last ones.

    Returns:
        Units by the size of their correlation, largest first. A unit whose `held_out` is far from its `correlation` was
        selected by chance.

    Raises:
        ValueError: Fewer than two examples, a property that never changes, or numbers that fit no layer's events.

    Source: Karpathy, Johnson and Fei-Fei, Visualizing and Understanding Recurrent Networks, 2015.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 1)), keras_gates.GateLSTM(4)])
    >>> x = numpy.random.rand(8, 6, 1).astype("float32")
    >>> unit = keras_gates.find_units(model, x, lambda example: example[:, 0].cumsum())[0]
    """
    check_examples(model, data, "find_units")
    layers = [layers] if isinstance(layers, str) else layers
    labels = np.asarray([label_fn(example) for example in data], "float64")
    checked = round(len(labels) * held_out)
    if labels.ndim != 2 or not 0 < checked < len(labels):
        raise InvalidArgument(
            f"find_units: needs two examples at least and a number for each event, got labels of shape {labels.shape}."
        )
    units: list[Unit] = []
    traced = trace(model, data, keep=[what])
    for name in layers or list(traced):
        one = traced[name]
        if what not in one or one.time != labels.shape[1]:
            if layers is not None:
                raise InvalidArgument(
                    f"find_units: {name} has {one.time} events and no {what!r} for {labels.shape[1]} numbers."
                )
            continue
        known = np.where(one.mask, labels, np.nan)
        first, rest = slice(0, len(labels) - checked), slice(len(labels) - checked, None)
        selected, confirmed = _correlations(one[what][first], known[first]), _correlations(one[what][rest], known[rest])
        units += [
            Unit(name, u, what, float(a), float(b))
            for u, (a, b) in enumerate(zip(selected, confirmed))
            if np.isfinite(a)
        ]
    if not units:
        raise InvalidArgument(
            f"find_units: no layer has {what!r} over {labels.shape[1]} events, or the property never changes."
        )
    return sorted(units, key=lambda unit: -abs(unit.correlation))[:top]


def _correlations(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of each unit with the labels, `(units,)`; NaN where either never changes."""
    known = np.isfinite(labels) & np.isfinite(values).all(axis=-1)
    values, labels = values[known].astype("float64"), labels[known]
    if not len(labels):
        return np.full(values.shape[-1], np.nan)
    values, labels = values - values.mean(axis=0), labels - labels.mean()
    scale = np.sqrt((values**2).sum(axis=0) * (labels**2).sum())
    return np.divide(labels @ values, scale, out=np.full(scale.shape, np.nan), where=scale > 1e-12)
