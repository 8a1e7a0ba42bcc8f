"""Ridge regression for the model `forecast`: as its start, and with other simple forecasts next to its errors; a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_gates.models.data.pipeline import Data
from keras_gates.models.forecast import QUANTILES
from keras_gates.models.registry import Judgement

STRENGTHS = (1.0, 1e2, 1e4, 1e6, 1e8)  # of the regularization, in units of the series
MOST = 200_000_000  # numbers of the windows that are read: all of them, except of long series


def judge(model: Any, data: Data, folder: Path) -> Judgement:
    """Measure mean squared and mean absolute error of the median over the test windows, next to those of three simple
    forecasts, and draw four windows.

    The simple forecasts: the last value; the same hour (weekday, month) of the last season; ridge regression on the differences
    of the history from its last value. All errors are in standard deviations of the training part. These come from the data,
    because the model's own scales may be rounded.

    Args:
        model: a trained model of `keras_gates.models.forecast.build`.
        data: its data.
        folder: for the picture.
    """
    deviation = np.sqrt(np.asarray(data.build["variance"], "float64"))
    series, horizon = len(deviation), model.output_shape[1]
    x, y = _windows(data, "test")
    season = _season(x[0, :, series:])
    predicted = model.predict(x, batch_size=256, verbose=0)
    forecasts = {
        "": predicted[..., QUANTILES.index(0.5)],
        "last value ": np.repeat(x[:, -1:, :series], horizon, 1),
        "same time last season ": x[:, -season:, :series][:, np.arange(horizon) % season],
        "linear ": linear(*_windows(data, "train"), x),
    }
    scores = {}
    for name, forecast in forecasts.items():
        error = (forecast - y) / deviation
        scores[f"{name}mse"], scores[f"{name}mae"] = float(np.mean(error**2)), float(np.mean(np.abs(error)))
    inside = (y >= predicted[..., 0]) & (y <= predicted[..., -1])
    scores["inside the 10 % and 90 % forecasts"] = float(inside.mean())
    _draw(x, y, predicted, data.labels, folder / "forecasts.png")
    return Judgement(
        scores,
        [
            (
                "forecasts.png",
                "Four forecasts of the test data: median, and the interval between the 10 % and the 90 % quantile.",
            )
        ],
    )


def _windows(data: Data, split: str) -> tuple[np.ndarray, np.ndarray]:
    steps, channels = data.train.element_spec[0].shape
    return data.spread(split, max(1, MOST // (steps * channels)))


def _season(calendar: np.ndarray) -> int:
    """Time steps after which a calendar (history, 4) repeats: a day, or a week for daily values; 1 if neither is visible."""
    for phase in (calendar[:, [0, 2]], calendar[:, [1, 3]]):
        if not np.allclose(phase, phase[0], atol=1e-2):
            lags = (lag for lag in range(2, len(phase)) if np.allclose(phase[lag:], phase[:-lag], atol=1e-2))
            return next(lags, 1)
    return 1


def linear(x: np.ndarray, y: np.ndarray, new: np.ndarray, ridge: float = 1.0) -> np.ndarray:
    """Return the forecasts (windows, horizon, series) of ridge regression, for each series on the differences of its history
    from its last value.

    Args:
        x, y: inputs and targets to fit.
        new: inputs to predict.
        ridge: strength of the regularization.
    """
    forecasts = np.empty((len(new), *y.shape[1:]), "float32")
    for index, weights in enumerate(ridge_weights(x, y, ridge)):
        start = new[:, -1:, index]
        forecasts[:, :, index] = np.concatenate([new[:, :, index] - start, np.ones_like(start)], 1) @ weights + start
    return forecasts


def ridge_weights(x: np.ndarray, y: np.ndarray, ridge: float = 1.0) -> list[np.ndarray]:
    """Return the weights of `linear` for each series, (history + 1, horizon), the last row for a constant.

    Args:
        x, y, ridge: as in `linear`.
    """
    weights = []
    for index in range(y.shape[2]):
        behind, last = x[:, :, index] - x[:, -1:, index], x[:, -1:, index]
        design = np.concatenate([behind, np.ones_like(last)], 1).astype("float64")
        weights.append(
            np.linalg.solve(design.T @ design + ridge * np.eye(design.shape[1]), design.T @ (y[:, :, index] - last))
        )
    return weights


def start(model: Any, data: Data) -> None:
    """Set the linear path of a new model to ridge regression, so that training starts from a simple forecast instead of from
    the last value; the quantiles are those of its errors. With few windows, training would not come near it.

    Args:
        model: of `keras_gates.models.forecast.build`.
        data: its data.
    """
    deviation = np.sqrt(np.asarray(data.build["variance"], "float64"))
    x, y = _windows(data, "train")
    new, actual = _windows(data, "validation")
    ridge = min(STRENGTHS, key=lambda strength: np.mean((linear(x, y, new, strength) - actual) ** 2 / deviation**2))
    kernel, bias = model.get_layer("steps").get_weights()
    kernel = np.zeros_like(kernel)
    history, horizon, series = x.shape[1], y.shape[1], y.shape[2]
    bias = bias.reshape(horizon, len(QUANTILES), series)
    columns = np.arange(kernel.shape[1]).reshape(horizon, len(QUANTILES), series)
    first = len(kernel) - history * series  # after the hidden state
    errors = y - linear(x, y, x, ridge)
    for index, weights in enumerate(ridge_weights(x, y, ridge)):
        for place in range(len(QUANTILES)):
            kernel[np.ix_(first + index + series * np.arange(history), columns[:, place, index])] = weights[:-1]
            shift = np.quantile(errors[:, :, index], QUANTILES[place], axis=0)
            bias[:, place, index] = (weights[-1] + shift) / deviation[index]
    model.get_layer("steps").set_weights([kernel, bias.ravel()])


def _draw(x: np.ndarray, y: np.ndarray, predicted: np.ndarray, names: Sequence[str], path: Path) -> None:
    figure = Figure((10, 5), layout="constrained")
    behind, ahead = np.arange(-x.shape[1], 0), np.arange(y.shape[1])
    for axes, window in zip(figure.subplots(2, 2).flat, np.linspace(0, len(x) - 1, 4).astype(int)):
        axes.plot(behind, x[window, :, 0], color="grey")
        axes.plot(ahead, y[window, :, 0], color="black", label="actual")
        axes.plot(ahead, predicted[window, :, 0, QUANTILES.index(0.5)], color="tab:blue", label="forecast")
        axes.fill_between(ahead, predicted[window, :, 0, 0], predicted[window, :, 0, -1], alpha=0.25)
        axes.set_title(names[0])
        axes.legend()
    figure.savefig(path, dpi=100)
