"""Time series: the user's CSV file, for example ETTh1, and generated series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from keras_gates.models.data.files import numbers, read_table
from keras_gates.models.registry import UserError

LATEST = 1e11  # seconds since 1970: the year 5138
TIME = ("time", "date", "datetime", "timestamp", "ds")
FORMATS = ("%d.%m.%Y %H:%M", "%d.%m.%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y-%m", "%Y")


@dataclass(frozen=True)
class Series:
    """Several measurements at the same times.

    Attributes:
        seconds: (time,), int64, since 1970 in UTC, evenly spaced.
        values: (time, series), float32, in their own units.
        names: of the series.
        about: name, attribution and licence.
    """

    seconds: np.ndarray
    values: np.ndarray
    names: Sequence[str]
    about: dict[str, str] = field(default_factory=dict)

    def calendar(self) -> np.ndarray:
        """Return the position of each time in the day and in the week, as cosines and sines: float32 (time, 4)."""
        turns = np.stack([self.seconds / 86400, (self.seconds / 86400 + 3) / 7], 1) % 1 * 2 * np.pi
        return np.concatenate([np.cos(turns), np.sin(turns)], 1).astype("float32")


def csv_series(path: str | Path, columns: Sequence[str] = ()) -> Series:
    """Load a CSV file with a column of times and one column of numbers per series.

    Args:
        path: of the file. The time column is named time, date, datetime, timestamp or ds, or is the first; times are ISO 8601
            (2016-07-01 00:00:00), 1.7.2016 00:00, 7/1/2016 00:00 or seconds since 1970.
        columns: the series to load; () is all.

    Raises:
        UserError: a column or time cannot be read, times are not evenly spaced (months may differ by days), or there are too
            few rows.
    """
    table = read_table(path, required=columns)
    time = next((name for name in table if name.lower() in TIME), next(iter(table)))
    names = [name for name in columns or table if name != time]
    if not names:
        raise UserError(f"{path} has no column besides {time!r}; expected one per series")
    seconds = np.array([_seconds(cell, row, time, path) for row, cell in enumerate(table[time], 1)], "int64")
    values = np.stack([numbers(table[name], name, path) for name in names], 1)
    gaps = np.diff(seconds)
    if len(gaps) < 2:
        raise UserError(f"{path} has {len(seconds)} rows; a series needs at least 3")
    usual = np.median(gaps)
    odd = np.flatnonzero(np.abs(gaps - usual) > 0.15 * usual) if usual > 0 else np.flatnonzero(gaps <= 0)
    if len(odd):
        row = int(odd[0])
        raise UserError(
            f"{path}, data row {row + 2}: {table[time][row + 1]} comes {timedelta(seconds=int(gaps[row]))} after "
            f"{table[time][row]}, the rows before it {timedelta(seconds=float(usual))} apart; sort them and fill the gaps"
        )
    return Series(seconds, values, names, {"name": Path(path).name})


def _seconds(cell: str, row: int, column: str, path: str | Path) -> int:
    cell = cell.strip()
    try:
        counted = (
            float(cell) if not cell.isdigit() or len(cell) > 6 else None
        )  # up to six digits are a date: 2016, 201607
    except ValueError:
        counted = None
    try:
        return _moment(cell) if counted is None else _counted(counted)
    except ValueError:
        raise UserError(
            f"{path}, column {column!r}, data row {row}: {cell!r} is not a time; write 2016-07-01 00:00:00, or seconds "
            "since 1970"
        ) from None


def _counted(seconds: float) -> int:
    if not abs(seconds) < LATEST:  # milliseconds, infinity, NaN
        raise ValueError(seconds)
    return round(seconds)


def _moment(cell: str) -> int:
    for form in (None, *FORMATS):
        try:
            moment = datetime.strptime(cell, form) if form else datetime.fromisoformat(cell.replace("Z", "+00:00"))
        except ValueError:
            continue
        return round((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp())
    raise ValueError(cell)


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
