"""Reads a table for a model: the file that it was trained on, or another of its kind, by the metadata entry `table`.

{"kind": "recordings", "columns": ["x", "y"], "steps": 50, "besides": ["person"]}
{"kind": "texts", "column": "text"}
{"kind": "series", "columns": ["shop"], "history": 96, "horizon": 24, "fill": "previous"}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_gates.edge.description import Description
from keras_gates.edge.frontends import events_of
from keras_gates.edge.recordings import cut_recordings
from keras_gates.edge.series import SeriesTable, calendar, read_series
from keras_gates.edge.tables import read_table
from keras_gates.edge.tflite import EdgeError


def read_examples(description: Description, path: str) -> Any:
    """Return what `EdgeModel.predict` takes for a table.

    Args:
        description: of a file whose metadata have the entry `table`.
        path: of the table.

    Returns:
        The recordings as float32 (batch, time, channels), the texts as a list, or the end of the series as float32 (1, history,
        series + 4).

    Raises:
        EdgeError: the table cannot be read or does not fit the model.

    Example:

    >>> model.predict(read_examples(model.description, "movements.csv"))  # doctest: +SKIP
    """
    entry = description.table
    kind = entry.get("kind")
    if kind == "texts":
        return read_table(path, required=[str(entry.get("column", "text"))]).texts(str(entry.get("column", "text")))
    if kind == "recordings":
        cut = cut_recordings(
            read_table(path), _whole(entry, "steps"), _words(entry, "columns"), _words(entry, "besides")
        )
        return np.stack([events_of(description, values) for values in cut.values])
    if kind == "series":
        table, history = series_of(description, path), _whole(entry, "history")
        if len(table.values) < history:
            raise EdgeError(f"{path} has {len(table.values)} rows; this model needs the last {history}")
        past = np.concatenate([table.values, calendar(table.seconds())], 1)[-history:].astype("float32")
        return (events_of(description, past) if description.scales else past)[None]
    raise EdgeError(f"the file's metadata have a table of the unknown kind {kind!r}; install a newer keras_gates")


def series_of(description: Description, path: str) -> SeriesTable:
    """Read a table of measurements over time as the model's training did.

    Args:
        description: of a file whose metadata have a `table` of kind "series".
        path: of the table.

    Raises:
        EdgeError: the table cannot be read.
    """
    entry = description.table
    options = {name: entry[name] for name in ("day_first", "timezone", "fill") if entry.get(name) is not None}
    return read_series(path, _words(entry, "columns"), **options)


def forecast_rows(description: Description, path: str, forecast: np.ndarray) -> tuple[list[str], list[list[str]]]:
    """Return a forecast as a table for people: a heading, and one row per time.

    Args:
        description: of a file whose metadata have a `table` of kind "series".
        path: of the table that the forecast continues.
        forecast: (horizon, series, quantiles).
    """
    table = series_of(description, path)
    quantiles = description.labels or tuple(str(number) for number in range(forecast.shape[-1]))
    heading = ["time", *(f"{name} {quantile}" for name in table.names for quantile in quantiles)]
    times = table.times.after(len(forecast))
    return heading, [[str(time), *(f"{v:.6g}" for v in row.ravel())] for time, row in zip(times, forecast)]


def _whole(entry: dict[str, Any], name: str) -> int:
    value = entry.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise EdgeError(f"the metadata's table has {name} = {value!r}; expected a whole number above 0: export again")
    return value


def _words(entry: dict[str, Any], name: str) -> Sequence[str]:
    value = entry.get(name, [])
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise EdgeError(f"the metadata's table has {name} = {value!r:.60}; expected a list of names: export again")
    return value
