"""Which units follow a property of the input: inside quotes, after a bear, how far into the line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_gates.inspection.tracing import trace


@dataclass(frozen=True)
class Unit:
    """A unit that follows a property.

    Attributes:
        layer, unit: which, counted from 0. what: the array that was looked at.
        correlation: Pearson's, on the examples by which it was found. held_out: on the others.
    """

    layer: str
    unit: int
    what: str
    correlation: float
    held_out: float


def find_units(
    model: keras.layers.Layer,
    data: Any,
    label_fn: Callable[[Any], Any],
    *,
    what: str = "ltm",
    layers: list[str] | None = None,
    top: int = 5,
    held_out: float = 0.5,
) -> list[Unit]:
    """The units whose memory follows a property of the events, found on one part of the examples and checked on the rest.

    Args:
        model: a built Keras model.
        data: what the model takes, NumPy `(batch, ...)`.
        label_fn: from one example to a number for each of its events, `(time,)`; NaN where there is nothing to say.
        what: the array to look at: "ltm", "stm", or a factor (see `keras_gates.LayerTrace`).
        layers: names of the layers to look at; default: all that have as many events as there are numbers.
        top: how many units to return.
        held_out: the share of the examples, the last ones, that the found units are checked on.

    Returns:
        Units, those with the largest correlation (of either sign) where they were found first. A unit whose `held_out` is far
        from its `correlation` was found by chance.

    Raises:
        ValueError: fewer than two examples, a property that never changes, or numbers that fit no layer's events.

    Source: Karpathy, Johnson and Fei-Fei, Visualizing and Understanding Recurrent Networks, 2015.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 1)), keras_gates.GateLSTM(4)])
    >>> x = numpy.random.rand(8, 6, 1).astype("float32")
    >>> unit = keras_gates.find_units(model, x, lambda example: example[:, 0].cumsum())[0]
    """
    labels = np.asarray([label_fn(example) for example in data], "float64")
    checked = round(len(labels) * held_out)
    if labels.ndim != 2 or not 0 < checked < len(labels):
        raise ValueError(
            f"find_units: needs two examples at least and a number for each event, got labels of shape {labels.shape}."
        )
    traced = trace(model, data, keep=[what])
    found: list[Unit] = []
    for name in layers or list(traced):
        one = traced[name]
        if what not in one or one.time != labels.shape[1]:
            if layers is not None:
                raise ValueError(
                    f"find_units: {name} has {one.time} events and no {what!r} for {labels.shape[1]} numbers."
                )
            continue
        known = np.where(one.mask, labels, np.nan)
        first, second = slice(0, len(labels) - checked), slice(len(labels) - checked, None)
        here, there = _correlations(one[what][first], known[first]), _correlations(one[what][second], known[second])
        found += [
            Unit(name, u, what, float(a), float(b)) for u, (a, b) in enumerate(zip(here, there)) if np.isfinite(a)
        ]
    if not found:
        raise ValueError(
            f"find_units: no layer has {what!r} over {labels.shape[1]} events, or the property never changes."
        )
    return sorted(found, key=lambda unit: -abs(unit.correlation))[:top]


def _correlations(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each unit with the labels, `(units,)`; NaN where either never changes."""
    known = np.isfinite(labels) & np.isfinite(values).all(axis=-1)
    values, labels = values[known].astype("float64"), labels[known]
    if not len(labels):
        return np.full(values.shape[-1], np.nan)
    values, labels = values - values.mean(axis=0), labels - labels.mean()
    scale = np.sqrt((values**2).sum(axis=0) * (labels**2).sum())
    return np.divide(labels @ values, scale, out=np.full(scale.shape, np.nan), where=scale > 1e-12)
