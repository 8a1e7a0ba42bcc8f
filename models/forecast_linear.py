"""Ridge regression of a series on its last values: a simple forecast, and what the linear path of `forecast` starts from."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_gates.models.data.pipeline import Data
from keras_gates.models.forecast import QUANTILES

STRENGTHS = (1.0, 1e2, 1e4, 1e6, 1e8)  # of the regularization, in units of the series
MOST = 200_000_000  # numbers of the windows that are read: all of them, except of long series


def windows_of(data: Data, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return windows (windows, history, series + 4) and targets (windows, horizon, series) of a part of the data.

    Args:
        data: of the model `forecast`.
        split: "train", "validation" or "test".
    """
    steps, channels = data.train.element_spec[0].shape
    return data.spread(split, max(1, MOST // (steps * channels)))


def linear(x: np.ndarray, y: np.ndarray, new: np.ndarray, ridge: float = 1.0) -> np.ndarray:
    """Return the forecasts (windows, horizon, series) of ridge regression, for each series on the differences of its history
    from its last value.

    Args:
        x, y: inputs and targets to fit.
        new: inputs to predict.
        ridge: strength of the regularization.
    """
    return predicted(ridge_weights(x, y, ridge), new)


def ridge_weights(x: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    """Return the weights of `linear`, (series, history + 1, horizon); the last row is a constant.

    Args:
        x, y, ridge: as in `linear`.
    """
    weights = []
    for index in range(y.shape[2]):
        design = _differences(x, index)
        normal = design.T @ design + ridge * np.eye(design.shape[1])
        weights.append(np.linalg.solve(normal, design.T @ (y[:, :, index] - x[:, -1:, index])))
    return np.stack(weights)


def predicted(weights: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the forecasts (windows, horizon, series).

    Args:
        weights: of `ridge_weights`.
        new: inputs to predict.
    """
    forecasts = [_differences(new, index) @ own + new[:, -1:, index] for index, own in enumerate(weights)]
    return np.stack(forecasts, -1).astype("float32")


def start(model: Any, data: Data) -> None:
    """Set the linear path of a new model to ridge regression, so that training starts from a simple forecast instead of from
    the last value; the quantiles are those of its errors. With few windows, training would not come near it.

    The regularization is the one of `STRENGTHS` with the least error on the validation part.

    Args:
        model: of `keras_gates.models.forecast.build`.
        data: its data.
    """
    (x, y), (new, actual) = windows_of(data, "train"), windows_of(data, "validation")
    deviation = np.sqrt(np.asarray(data.build["variance"], "float64"))
    candidates = [ridge_weights(x, y, strength) for strength in STRENGTHS]
    weights = min(candidates, key=lambda each: np.mean(((predicted(each, new) - actual) / deviation) ** 2))
    errors = y - predicted(weights, x)
    kernel, bias = (np.zeros_like(weight) for weight in model.get_layer("steps").get_weights())
    history, horizon, series = x.shape[1], y.shape[1], y.shape[2]
    path = kernel[len(kernel) - history * series :]  # behind the hidden state
    path = path.reshape(history, series, horizon, len(QUANTILES), series)
    constants = bias.reshape(horizon, len(QUANTILES), series)
    for index, own in enumerate(weights):
        path[:, index, :, :, index] = own[:-1, :, None]
        shifts = np.quantile(errors[:, :, index], QUANTILES, axis=0).T
        constants[:, :, index] = (own[-1][:, None] + shifts) / deviation[index]
    model.get_layer("steps").set_weights([kernel, bias])


def _differences(x: np.ndarray, index: int) -> np.ndarray:
    """The history of a series less its last value, and ones, (windows, history + 1)."""
    last = x[:, -1:, index]
    return np.concatenate([x[:, :, index] - last, np.ones_like(last)], 1).astype("float64")
