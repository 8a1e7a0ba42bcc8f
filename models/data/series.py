"""Time series: the user's table, for example ETTh1, and generated series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_gates.edge.series import calendar, read_series
from keras_gates.models.data.files import user_errors
from keras_gates.models.data.summary import precision_notes


@dataclass(frozen=True)
class Series:
    """Several measurements at the same times.

    Attributes:
        seconds: (time,), int64, since 1970 on the clock of the place, evenly spaced.
        values: (time, series), float32, in their own units.
        names: of the series.
        about: name, attribution and licence.
        notes: what was understood of the file, one sentence each.
    """

    seconds: np.ndarray
    values: np.ndarray
    names: Sequence[str]
    about: dict[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def calendar(self) -> np.ndarray:
        """Return the position of each time in the day and in the week, as cosines and sines: float32 (time, 4)."""
        return calendar(self.seconds)


@user_errors()
def csv_series(
    path: str | Path,
    columns: Sequence[str] = (),
    day_first: bool | None = None,
    timezone: str | None = None,
    fill: str | None = None,
) -> Series:
    """Load a table (CSV, Excel, Parquet) with a column of times and one column of numbers per series.

    Args:
        path: of the file. The time column is named time, date, datetime, timestamp or ds, or is the first; or there are two,
            date and time.
        columns: the series to load; () is all.
        day_first: whether 1/2/2023 is the first of February; None decides by the whole column.
        timezone: of the times, e.g. "Europe/Berlin", if daylight-saving time changes in them.
        fill: "previous" or "interpolate" for missing times.

    Raises:
        UserError: a column or time cannot be read, times are not evenly spaced, or there are too few rows.
    """
    table = read_series(path, columns, day_first, timezone, fill)
    notes = [*table.notes, *precision_notes(table.values, table.names)]
    return Series(table.seconds(), table.values.astype("float32"), table.names, {"name": Path(path).name}, notes)


def generated_series(seed: int = 0, hours: int = 4000) -> Series:
    """Generate two hourly series: a load that depends on hour, weekday and the day before, and a drifting temperature that
    depends on the hour.

    Args:
        seed: random seed.
        hours: length of the series.
    """
    draw = np.random.default_rng(seed)
    hour = np.arange(hours)
    day, week = 2 * np.pi * hour / 24, 2 * np.pi * hour / 168
    drift = np.zeros((hours, 2))
    shocks = draw.normal(0, 1, (hours, 2)) * [1.5, 0.3]
    for now in range(1, hours):
        drift[now] = [0.95, 0.99] * drift[now - 1] + shocks[now]
    load = 50 + 12 * np.sin(day - 2) + 5 * np.sin(2 * day) + 8 * np.cos(week) + drift[:, 0]
    temperature = 12 + 6 * np.sin(day - 2.5) + drift[:, 1]
    seconds = 1704067200 + 3600 * hour.astype("int64")
    about = {"name": "generated series", "licence": "made by this project"}
    return Series(seconds, np.stack([load, temperature], 1).astype("float32"), ("load", "temperature"), about)
