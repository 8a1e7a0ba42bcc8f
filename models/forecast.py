"""forecast: several time steps ahead, for several series, with an interval between the 10 % and the 90 % quantile.

Built in are two generated series; `--data PATH` is a CSV file with a column of times and one column of numbers per series:

    python train.py forecast --data sales.csv                           # date,shop,web
    python train.py forecast --preset etth1 --data ETTh1.csv
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import keras_gates
from keras_gates.models.data import series as loading
from keras_gates.models.data.pipeline import Data
from keras_gates.models.front_end_split import without_front_end
from keras_gates.models.lazy import keras, lazy_function, tf
from keras_gates.models.registry import DeviceModel, UserError, ZooModel
from keras_gates.models.training.recipe import optimizer

QUANTILES = (0.1, 0.5, 0.9)
MOST = 100_000_000  # numbers of all windows of a part: 400 MB
ETTH1 = {
    "columns": ("OT",),
    "rows": (8640, 2880, 2880),
    "attribution": "Zhou et al.: Informer. Beyond Efficient Transformer for Long Sequence Time-Series Forecasting, 2021",
    "licence": "CC BY-ND 4.0",
}
ETTH1_RECIPE = {"epochs": 15, "weight_decay": 3e-2, "linear_start": False}  # 8,521 windows: training finds more itself
PRESETS = {
    "base": {"about": "24 time steps ahead from the last 96; 64 units", "build": {"units": 64}},
    "small": {"about": "32 units", "build": {"units": 32}},
    "nano": {"about": "for a microcontroller", "build": {"units": 16}},
    "etth1": {
        "about": "oil temperature of a transformer, the standard split of ETTh1",
        "build": {"units": 64, "dropout": 0.5},
        "data": ETTH1,
        "recipe": ETTH1_RECIPE,
    },
    "etth1-nano": {
        "about": "the same for a microcontroller: 16 units",
        "build": {"units": 16, "dropout": 0.5},
        "data": ETTH1,
        "recipe": ETTH1_RECIPE,
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
    "linear_start": True,
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

TRIED = (
    "int8 had a mean squared error of 0.76: calibrated with the first 200 training windows, all of one season, and "
    "the output in units by a multiplication, whose range the converter gives to the sum before it. Calibrated with "
    "windows from the whole training part, the input in standard deviations and the output by a dense layer, it has "
    "the error of float32.",
    "ETTh1, test split, a random initial linear path, as in the first version: 64 units 0.0311, 16 units 0.0304 (three "
    "seeds each), with six epochs 0.0299, a linear path that sees the calendar as well 0.0311. One run each, 16 units, "
    "ten epochs, the same initialised with zeros: 0.0297, with half of the STM dropped and more weight decay, as at "
    "present, 0.0283, without the calendar 0.0277, the window also divided by its own spread 0.0280, without an LSTM "
    "0.0269. The validation split does not tell these apart (0.052 to 0.053), and none reaches ridge regression, 0.0264.",
    "The linear path started from ridge regression, 16 units, one run: 0.0273 before training (the median of its errors added), "
    "0.0289 after eight epochs; the quantile loss on the validation split falls meanwhile, its squared error does not.",
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
    """Build the model: measurements (batch, history, series + 4) to forecasts (batch, horizon, series, 3), in the units of the
    series.

    The last four channels of the input are the calendar (`Series.calendar`); the three forecasts are the quantiles 0.1, 0.5 and
    0.9. The LSTM sees the difference of each value from the last one; a dense layer over its hidden state and, as a linear path,
    over these differences predicts the differences of the next values.

    Args:
        history, horizon: time steps of the input and of the forecast.
        series: number of series.
        mean, variance: of each series, in its units; None is 0 and 1.
        units: of the GateLSTM.
        dropout: rate before the output layer.
        formulation: "standard" or "article".

    Returns:
        A `keras.Model`, not compiled.
    """
    mean = np.array([0.0] * series if mean is None else mean, "float32")
    deviation = np.sqrt(np.array([1.0] * series if variance is None else variance, "float32"))
    layers = keras.layers
    measured = keras.Input((history, series + 4), name="measured")
    scale = layers.Normalization(mean=[*mean, *[0.0] * 4], variance=[*deviation**2, *[1.0] * 4], name="scale")
    values = scale(measured)
    last = values[:, -1:, :series]
    distances = values[:, :, :series] - last
    changes = layers.Concatenate(name="changes")([distances, values[:, :, series:]])
    stm = keras_gates.GateLSTM(units, formulation=formulation, name="memory")(changes)
    stm = layers.Dropout(dropout, name="dropout")(stm)
    straight = layers.Flatten(name="straight")(distances)  # the linear path; the names are in the shipped weights
    steps = layers.Dense(horizon * series * len(QUANTILES), kernel_initializer="zeros", name="steps")
    steps = steps(layers.Concatenate()([stm, straight]))
    steps = layers.Reshape((horizon, len(QUANTILES), series), name="quantiles")(steps)
    ahead = layers.Reshape((1, 1, series), name="last")(last) + steps
    in_units = layers.Dense(series, trainable=False, dtype="float32", name="in_units")
    output = layers.Permute((1, 3, 2), name="forecast")(in_units(ahead))
    in_units.set_weights([np.diag(deviation), mean])
    return keras.Model(measured, output, name="forecast")


def data(
    source: str = "builtin",
    data_dir: str | None = None,
    seed: int = 0,
    columns: Sequence[str] = (),
    rows: Sequence[int] = (),
    history: int = 96,
    horizon: int = 24,
    day_first: bool | None = None,
    timezone: str | None = None,
    fill: str | None = None,
    attribution: str = "",
    licence: str = "",
) -> Data:
    """Load two generated series ("builtin") or a CSV file with a column of times.

    Args:
        source: "builtin" or the path of a CSV file.
        data_dir: unused: there is no TFDS data.
        seed: of the generated series.
        columns: the series to forecast; () is all.
        rows: of the training, validation and test part, from the first row on; () is 70, 10 and 20 %. The history of a
            later part's first windows lies in the part before.
        history, horizon: time steps of the input and of the forecast.
        day_first: whether 1/2/2023 is the first of February; None decides by the whole column.
        timezone: of the times, e.g. "Europe/Berlin", if daylight-saving time changes in them.
        fill: "previous" or "interpolate" for missing times.
        attribution, licence: of a file that is not the user's own.

    Raises:
        UserError: the file cannot be read, or is too short for these windows.
    """
    if source == "tfds":
        raise UserError('forecast reads "builtin" or your own CSV file, not TFDS')
    for name, value in (("history", history), ("horizon", horizon)):
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{name} must be a whole number above 0, not {value!r}")
    columns = [columns] if isinstance(columns, str) else list(columns)
    if source == "builtin":
        series = loading.generated_series(seed)
    else:
        series = loading.csv_series(source, columns, day_first, timezone, fill)
    reading = {"day_first": day_first, "timezone": timezone, "fill": fill}
    total = len(series.values)
    rows = tuple(rows) or (int(0.7 * total), int(0.1 * total), total - int(0.7 * total) - int(0.1 * total))
    if sum(rows) > total or rows[0] < history + horizon + 1 or min(rows) < horizon:
        raise UserError(
            f"{series.about['name']} has {total} rows, divided into {rows}: too few for history {history} and horizon "
            f"{horizon}; give more rows, or --set history=… and --set horizon=…"
        )
    ends = np.cumsum(rows)
    known = series.values[: ends[0]].astype("float64")  # float32 sums drift after a million rows
    calendar = series.calendar()
    splits: list[Any] = []
    for start, end in zip((0, ends[0] - history, ends[1] - history), ends):
        part = series.values[start:end], calendar[start:end], history, horizon
        late = (end - start) * history * (len(series.names) + 4) > MOST
        splits.append(late_windows(*part) if late else from_windows(*windows(*part)))
    about: dict[str, Any] = {"attribution": attribution, "licence": licence, **series.about}
    train, validation, test = splits
    return Data(
        train,
        validation,
        test,
        labels=series.names,
        build={
            "history": history,
            "horizon": horizon,
            "series": len(series.names),
            "mean": known.mean(0).tolist(),
            "variance": np.maximum(known.var(0), 1e-9).tolist(),
        },
        notes=series.notes,
        table={
            "kind": "series",
            "columns": list(series.names),
            "history": history,
            "horizon": horizon,
            **{name: value for name, value in reading.items() if value is not None},
        },
        split=f"rows {rows[0]:,} / {rows[1]:,} / {rows[2]:,}, in temporal order",
        **about,
    )


def windows(values: np.ndarray, calendar: np.ndarray, history: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Return every window of a series: inputs (windows, history, series + 4) and targets (windows, horizon, series).

    Args:
        values: (time, series).
        calendar: (time, 4).
        history, horizon: time steps of input and target.
    """
    behind = np.lib.stride_tricks.sliding_window_view(np.concatenate([values, calendar], 1)[:-horizon], history, axis=0)
    ahead = np.lib.stride_tricks.sliding_window_view(values[history:], horizon, axis=0)
    return behind.transpose(0, 2, 1).copy(), ahead.transpose(0, 2, 1).copy()


def from_windows(x: np.ndarray, y: np.ndarray) -> Any:
    """Return a `tf.data.Dataset` of windows.

    Args:
        x, y: of `windows`.
    """
    return tf.data.Dataset.from_tensor_slices((x, y))


def late_windows(values: np.ndarray, calendar: np.ndarray, history: int, horizon: int) -> Any:
    """Return a `tf.data.Dataset` of the windows that `windows` returns, each cut when it is needed: all of them together take
    as many times the memory of the series as `history` has steps.

    Args:
        values, calendar, history, horizon: as in `windows`.
    """
    both = tf.constant(np.concatenate([values, calendar], 1))

    def cut(start: Any) -> tuple[Any, Any]:
        behind = tf.ensure_shape(both[start : start + history], (history, both.shape[1]))
        ahead = both[start + history : start + history + horizon, : values.shape[1]]
        return behind, tf.ensure_shape(ahead, (horizon, values.shape[1]))

    return tf.data.Dataset.range(len(values) - history - horizon + 1).map(cut, num_parallel_calls=2)


def compile(model: Any, recipe: Any, steps: int | None) -> None:
    """Compile with the quantile loss (pinball loss), in standard deviations of the series: q · error where a forecast is too
    low, (1 − q) · error where it is too high.

    Args:
        model: a model of `build`.
        recipe: with every entry of `keras_gates.models.training.recipe.DEFAULTS`.
        steps: number of all training steps; None if it is not known.
    """
    spread = np.diag(model.get_layer("in_units").get_weights()[0])[:, None]

    def pinball(y: Any, forecast: Any) -> Any:
        # Tensors, because PyTorch multiplies no NumPy array with a tensor.
        quantiles, deviation = (keras.ops.convert_to_tensor(each, "float32") for each in (np.array(QUANTILES), spread))
        low = (keras.ops.expand_dims(y, -1) - forecast) / deviation
        return keras.ops.mean(keras.ops.maximum(quantiles * low, (quantiles - 1) * low))

    model.compile(optimizer(recipe, steps), loss=pinball)


def device(model: Any, precision: str = "float32") -> DeviceModel:
    """Return the whole model; for integer activations the part after standardization, because one quantization scale for all
    input channels would round the calendar away. `keras_gates.edge` then standardizes as the file's metadata describe. The export
    leaves `in_units` outside such a file in the same way.

    Args:
        model: a model of `build`.
        precision: of the .tflite file.
    """
    metadata: dict[str, Any] = {"labels": [f"{quantile:.0%}" for quantile in QUANTILES]}
    if precision not in ("int8", "int16x8"):
        return DeviceModel(model, lambda measured: measured, metadata)
    scale = model.get_layer("scale")
    mean, deviation = (np.array(statistic).reshape(-1) for statistic in (scale.mean, np.sqrt(scale.variance)))
    metadata["frontend"] = {"kind": "scale", "mean": mean.tolist(), "deviation": deviation.tolist()}
    return DeviceModel(
        without_front_end(model, "scale", "measured"), lambda measured: np.array(scale(measured)), metadata
    )


def score(data: Data, forecast: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """Return the mean squared error of the median, in variances of the series, and the share of values between the 10 % and the
    90 % forecast.

    Args:
        data: of the model.
        forecast: (windows, horizon, series, 3), in units of the series.
        actual: (windows, horizon, series).
    """
    error = (forecast[..., QUANTILES.index(0.5)] - actual) / np.sqrt(np.asarray(data.build["variance"], "float64"))
    inside = (actual >= forecast[..., 0]) & (actual <= forecast[..., -1])
    return {"mse": float(np.mean(error**2)), "inside": float(inside.mean())}


MODEL = ZooModel(
    name="forecast",
    line="the next values of a series, with an interval",
    task="series",
    build=build,
    data=data,
    presets=PRESETS,
    recipe=RECIPE,
    builtin="two generated series, hourly",
    files="a CSV file with a column of times and one column of numbers per series",
    published=PUBLISHED,
    tried=TRIED,
    compile=compile,
    start=lazy_function("keras_gates.models.forecast_linear:start"),
    judge=lazy_function("keras_gates.models.forecast_study:judge"),
    device=device,
    score=score,
)
