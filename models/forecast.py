"""forecast: several steps ahead, of several series, with what lies between a low and a high guess.

Built in are two generated series; `--data PATH` is a CSV with a column of times and one of numbers a series:

    python train.py forecast --data sales.csv                           # date,shop,web
    python train.py forecast --preset etth1 --data ../shared/csv/ETTh1.csv
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras_gates.models.registry import UserError, ZooModel

QUANTILES = (0.1, 0.5, 0.9)
PRESETS = {
    "base": {"about": "96 steps behind, 24 ahead", "build": {"units": 64}},
    "small": {"about": "32 units", "build": {"units": 32}},
    "nano": {"about": "for a microcontroller", "build": {"units": 16}},
    "etth1": {
        "about": "oil temperature of a transformer, the standard split of ETTh1",
        "build": {"units": 64},
        "data": {"columns": ("OT",), "rows": (8640, 2880, 2880)},
        "recipe": {"epochs": 15},
    },
}

RECIPE = {
    "epochs": 30,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "warmup": 0.05,
    "clipnorm": 1.0,
    "weight_decay": 1e-3,
    "monitor": "val_loss",
    "patience": 8,
}

PUBLISHED = (
    {
        "figure": "ETTh1 univariate, horizon 24, MSE",
        "value": "0.114",
        "source": "Zhou et al. 2021 (Informer), its LSTMa",
        "protocol": "standard split, standardised by the training part",
    },
    {
        "figure": "ETTh1 univariate, horizon 24, MSE",
        "value": "0.061",
        "source": "Gu et al. 2022 (S4)",
        "protocol": "standard split, standardised by the training part",
    },
)


def build(
    history: int = 96,
    horizon: int = 24,
    series: int = 1,
    mean: Any = None,
    variance: Any = None,
    units: int = 64,
    dropout: float = 0.1,
    formulation: str = "standard",
) -> Any:
    """What was measured (batch, history, series + 4) to forecasts (batch, horizon, series, 3), in the series' own
    units.

    The four last channels are the calendar (`Series.calendar`); the three forecasts the quantiles 0.1, 0.5 and 0.9.
    The LSTM sees how far each value lies from the last one; what it makes of that and a linear model's share together
    say how far the next ones will.

    Args:
        history, horizon: steps behind and ahead.
        series: how many are forecast.
        mean, variance: of each series, in its units; None is 0 and 1.
        units: of the GateLSTM.
        dropout: before the answer.
        formulation: "standard" or "article".
    """
    import keras

    from keras_gates import GateLSTM

    mean = np.array([0.0] * series if mean is None else mean, "float32")
    deviation = np.sqrt(np.array([1.0] * series if variance is None else variance, "float32"))
    layers = keras.layers
    measured = keras.Input((history, series + 4), name="measured")
    scale = layers.Normalization(mean=[*mean, *[0.0] * 4], variance=[*deviation**2, *[1.0] * 4], name="scale")
    values = scale(measured)
    last = values[:, -1:, :series]
    changes = layers.Concatenate(name="changes")([values[:, :, :series] - last, values[:, :, series:]])
    stm = GateLSTM(units, formulation=formulation, name="memory")(changes)
    stm = layers.Dropout(dropout, name="dropout")(stm)
    straight = layers.Flatten(name="straight")(changes)
    steps = layers.Dense(horizon * series * len(QUANTILES), name="steps")(layers.Concatenate()([stm, straight]))
    steps = layers.Reshape((horizon, series, len(QUANTILES)), name="quantiles")(steps)
    ahead = layers.Reshape((1, series, 1), name="last")(last) + steps
    answer = layers.Rescaling(deviation[:, None].tolist(), mean[:, None].tolist(), dtype="float32", name="forecast")(
        ahead
    )
    return keras.Model(measured, answer, name="forecast")


def data(
    source: str = "builtin",
    data_dir: str | None = None,
    seed: int = 0,
    columns: Sequence[str] = (),
    rows: Sequence[int] = (),
    history: int = 96,
    horizon: int = 24,
) -> Any:
    """Two generated series ("builtin") or a CSV file with a column of times.

    Args:
        columns: the series to forecast; () is all.
        rows: of the training, validation and test part, from the first row on; () is 70, 10 and 20 %. The windows of a
            later part look back into the one before.
        history, horizon: steps behind and ahead.
    """
    from keras_gates.models.data import series as loading
    from keras_gates.models.data.pipeline import from_arrays

    if source == "tfds":
        raise UserError('forecast reads "builtin" or your own CSV file, not TFDS')
    series = loading.generated_series(seed) if source == "builtin" else loading.csv_series(source, columns)
    total = len(series.values)
    rows = tuple(rows) or (int(0.7 * total), int(0.1 * total), total - int(0.7 * total) - int(0.1 * total))
    if sum(rows) > total or rows[0] < history + horizon + 1 or min(rows) < horizon:
        raise UserError(
            f"{series.about['name']} has {total} rows, divided {rows}; history {history} and horizon {horizon} need more"
        )
    ends = np.cumsum(rows)
    known = series.values[: ends[0]]
    splits = []
    for start, end in zip((0, ends[0] - history, ends[1] - history), ends):
        splits.append(windows(series.values[start:end], series.calendar()[start:end], history, horizon))
    return from_arrays(
        *splits,
        labels=series.names,
        build={
            "history": history,
            "horizon": horizon,
            "series": len(series.names),
            "mean": known.mean(0).tolist(),
            "variance": np.maximum(known.var(0), 1e-9).tolist(),
        },
        **series.about,
    )


def windows(values: np.ndarray, calendar: np.ndarray, history: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Every window of a series: (windows, history, series + 4) behind, (windows, horizon, series) ahead."""
    behind = np.lib.stride_tricks.sliding_window_view(np.concatenate([values, calendar], 1)[:-horizon], history, axis=0)
    ahead = np.lib.stride_tricks.sliding_window_view(values[history:], horizon, axis=0)
    return behind.transpose(0, 2, 1).copy(), ahead.transpose(0, 2, 1).copy()


def compile(model: Any, recipe: Any, steps: int | None) -> None:
    """Adam and the quantile loss: q times what a forecast is too low by, 1 − q times what it is too high by, in
    standard deviations of the series."""
    import keras
    from keras_gates.models.training.fitting import learning_rate

    deviation = np.array(model.get_layer("forecast").scale, "float32")
    quantiles = np.array(QUANTILES, "float32")

    def pinball(y: Any, forecast: Any) -> Any:
        low = (keras.ops.expand_dims(y, -1) - forecast) / deviation
        return keras.ops.mean(keras.ops.maximum(quantiles * low, (quantiles - 1) * low))

    optimizer = keras.optimizers.Adam(
        learning_rate(recipe, steps), clipnorm=recipe["clipnorm"], weight_decay=recipe["weight_decay"] or None
    )
    model.compile(optimizer, loss=pinball)


MODEL = ZooModel(
    name="forecast",
    line="what comes next in a series, and between what bounds",
    task="series",
    build=build,
    data=data,
    presets=PRESETS,
    recipe=RECIPE,
    builtin="two generated series, hourly",
    files="a CSV file with a column of times and a column of numbers a series",
    published=PUBLISHED,
    compile=compile,
)
