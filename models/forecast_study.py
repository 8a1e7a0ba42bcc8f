"""Evaluation of the model `forecast`: its errors next to those of simple forecasts, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_gates.models.data.pipeline import Data
from keras_gates.models.forecast import QUANTILES
from keras_gates.models.forecast_linear import linear, windows_of
from keras_gates.models.registry import Judgement


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
    x, y = windows_of(data, "test")
    season = _season(x[0, :, series:])
    predicted = model.predict(x, batch_size=256, verbose=0)
    forecasts = {
        "": predicted[..., QUANTILES.index(0.5)],
        "last value ": np.repeat(x[:, -1:, :series], horizon, 1),
        "same time last season ": x[:, -season:, :series][:, np.arange(horizon) % season],
        "linear ": linear(*windows_of(data, "train"), x),
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


def _season(calendar: np.ndarray) -> int:
    """Time steps after which a calendar (history, 4) repeats: a day, or a week for daily values; 1 if neither is visible."""
    for phase in (calendar[:, [0, 2]], calendar[:, [1, 3]]):
        if not np.allclose(phase, phase[0], atol=1e-2):
            lags = (lag for lag in range(2, len(phase)) if np.allclose(phase[lag:], phase[:-lag], atol=1e-2))
            return next(lags, 1)
    return 1


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
