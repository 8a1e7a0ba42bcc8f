"""The model's answers as the page shows them: a few names, the most probable of many at every event, or a forecast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_gates.inspection.html_report.packing import packed

NAMED = 8
MANY = 12


def answers_of(
    predictions: np.ndarray, names: Sequence[str], numbers: np.ndarray | None = None, actual: Any = None
) -> dict[str, Any]:
    """Return the answers of one example after every event.

    Args:
        predictions: `(time, values)`, or a forecast `(time, horizon, series)` or `(time, horizon, series, quantiles)`.
        names: Names of the values (of a forecast: of the series); shorter than the values, the rest is numbered.
        numbers: `(time,)`, the events as numbers, if the model predicts the next event at every event.
        actual: What came, `(horizon, series)`, for a forecast.

    Returns:
        A dict with `kind`: "named" (`names`, `values (time, names)`, `more`: how many values have no name here), "steps" (the
        largest of more than `MANY` values at each event: `names`, `top (time, 8)` indices of names, `values (time, 8)`, `came
        (time - 1,)`: the value of what came next, or None) or "forecast" (`names`, `values`, `actual`). "named" and "steps"
        also hold `probabilities`: whether all values are between 0 and 1.
    """
    if predictions.ndim > 2:
        forecast = predictions if predictions.ndim > 3 else predictions[..., None]
        known = np.shape(actual) == forecast.shape[1:3]
        return {
            "kind": "forecast",
            "names": [named(np.asarray(k), names) for k in range(forecast.shape[2])],
            "values": packed(forecast),
            "actual": packed(np.asarray(actual)) if known else None,
        }
    predictions = both_of_two(predictions, names)
    values = predictions.shape[1]
    probabilities = bool(predictions.min() >= 0 and predictions.max() <= 1.001)
    if values > MANY:
        top = np.argsort(-predictions, axis=1, kind="stable")[:, :NAMED]
        used, places = np.unique(top, return_inverse=True)
        came = None
        if numbers is not None and len(numbers) == len(predictions) and numbers.min() >= 0 and numbers.max() < values:
            came = packed(predictions[np.arange(len(numbers) - 1), numbers[1:]])
        return {
            "kind": "steps",
            "names": [named(np.asarray(k), names) for k in used.tolist()],
            "top": places.reshape(top.shape).tolist(),
            "values": packed(np.take_along_axis(predictions, top, axis=1)),
            "came": came,
            "probabilities": probabilities,
        }
    largest = np.sort(np.argsort(-np.abs(predictions).max(axis=0), kind="stable")[:NAMED])
    return {
        "kind": "named",
        "names": [named(np.asarray(k), names) for k in largest.tolist()],
        "places": largest.tolist(),
        "values": packed(predictions[:, largest]),
        "probabilities": probabilities,
        "more": values - len(largest),
    }


def both_of_two(predictions: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return `(time, 2)` for one number per event that is the probability of the second of two names; else the predictions."""
    one_number = predictions.ndim == 2 and predictions.shape[1] == 1 and len(names) == 2
    if one_number and predictions.min() >= 0 and predictions.max() <= 1:
        return np.concatenate([1 - predictions, predictions], axis=1)
    return predictions


def named(value: np.ndarray, names: Sequence[str]) -> str:
    """Return the name of a class number, or the value as text."""
    value = value.reshape(-1)[-1] if value.size else value
    if np.issubdtype(value.dtype, np.number) and float(value).is_integer() and 0 <= value < len(names):
        return str(names[int(value)])
    return f"{float(value):.3g}" if np.issubdtype(value.dtype, np.floating) else str(value)


def change_of_answer(predictions: np.ndarray) -> tuple[int, float]:
    """Return the event at which the largest value becomes the one that it is at the end, and by how much that value rises there.

    Args:
        predictions: `(time, values)`.

    Returns:
        The event, 0 if the answer never changes, and the rise (0 then).

    Example:

    >>> change_of_answer(numpy.array([[0.6, 0.4], [0.7, 0.3], [0.1, 0.9], [0.2, 0.8]]))
    (2, 0.6)
    """
    largest = predictions.argmax(axis=1)
    other = np.flatnonzero(largest != largest[-1])
    if not other.size:
        return 0, 0.0
    event = int(other[-1]) + 1
    rise = predictions[event, largest[-1]] - predictions[event - 1, largest[-1]]
    return event, round(float(rise), 6)
