"""Reads the times of a table's rows with pandas: every usual form, days before months or after, frequencies, gaps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_gates.edge.optional import need
from keras_gates.edge.tables import Table
from keras_gates.edge.tflite import EdgeError

NAMES = ("time", "date", "datetime", "timestamp", "ds")
FILLS = ("previous", "interpolate")
_PLAUSIBLE = (1900, 2100)  # years; outside, a number is not a date
_DIGITS = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_EPOCH = {10: "s", 13: "ms", 16: "us", 19: "ns"}
_NUMERIC_DATE = re.compile(r"^(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})\b(.*)", re.DOTALL)
_GRIDS = ("B", "MS", "ME", "BMS", "BME", "QS", "QE", "YS", "YE")
_JITTER = 0.15  # of the usual distance: months and loggers are not exact


@dataclass(frozen=True)
class Times:
    """The times of a table's rows.

    Attributes:
        index: `pandas.DatetimeIndex`, increasing; in UTC if the table has offsets or a time zone was given, else as written.
        local: the same on the clock of the place.
        frequency: as pandas writes it ("h", "B", "MS", …); None if the rows are only about evenly spaced.
        rows: for each time its row of the table, −1 for times that were filled in.
        notes: what was decided.
    """

    index: Any
    local: Any
    frequency: str | None
    rows: np.ndarray
    notes: list[str] = field(default_factory=list)

    def after(self, steps: int) -> Any:
        """Return the next times, `pandas.DatetimeIndex` (steps,), on the clock of the place.

        Args:
            steps: number of times.
        """
        pandas = need("pandas", "a table")
        if self.frequency is None:
            usual = pandas.Series(self.local).diff().median()
            return pandas.DatetimeIndex([self.local[-1] + usual * step for step in range(1, steps + 1)])
        return pandas.date_range(self.local[-1], periods=steps + 1, freq=self.frequency)[1:]


def time_columns(table: Table) -> list[str]:
    """Return the columns with the times: one named like a time, `date` and `time` together, or the first column.

    Args:
        table: of `read_table`.
    """
    by_name = {name.lower(): name for name in reversed(table.names)}
    if "date" in by_name and "time" in by_name:
        return [by_name["date"], by_name["time"]]
    return [next((by_name[name] for name in NAMES if name in by_name), table.names[0])]


def read_times(
    table: Table, day_first: bool | None = None, timezone: str | None = None, fill: str | None = None
) -> Times:
    """Read the times of a table and check that they are evenly spaced.

    Args:
        table: of `read_table`.
        day_first: whether 1/2/2023 is the first of February; None decides by the whole column.
        timezone: of times without an offset, such as "Europe/Berlin"; resolves changes of daylight-saving time.
        fill: "previous" or "interpolate" adds missing times; None makes them an error.

    Raises:
        EdgeError: a cell is not a time, day and month are undecidable, times are not evenly spaced, or there are too few.

    Example:

    >>> read_times(read_table("sales.csv")).frequency  # doctest: +SKIP
    'D'
    """
    pandas = need("pandas", "a table")
    if fill not in (None, *FILLS):
        raise EdgeError(f"fill must be one of {', '.join(FILLS)}; got {fill!r}")
    notes: list[str] = []
    columns = time_columns(table)
    name = " and ".join(columns)
    if len(table) < 3:
        raise EdgeError(f"{table.path} has {len(table)} rows; a series needs at least 3")
    stamps = _stamps(table, columns, day_first, notes)
    rows = np.arange(len(stamps))
    if stamps.is_monotonic_decreasing and stamps.is_unique:
        stamps, rows = stamps[::-1], rows[::-1]
        notes.append("the newest row comes first: reversed")
    index, local = _zoned(stamps, timezone, table, columns[0], notes)
    if not index.is_monotonic_increasing or not index.is_unique:
        row = int(np.flatnonzero(np.diff(index.asi8) <= 0)[0]) + 1
        hint = (
            "; a change of daylight-saving time: --set timezone=Europe/Berlin or yours" if _an_hour(index, row) else ""
        )
        raise EdgeError(
            f"{table.where(int(rows[row]), name)}: {local[row]} comes after {local[row - 1]}; sort the rows, one per time{hint}"
        )
    frequency = pandas.infer_freq(local) or pandas.infer_freq(index)
    if frequency is None and not _about_even(index):
        frequency, grid = _grid(local)
        if fill is None:
            raise EdgeError(_gap(table, local, rows, name, frequency, grid, zoned=index is not local))
        if grid is None:
            raise EdgeError(
                f"{table.path}: the times are not on a regular grid, so {fill!r} cannot fill them; resample them"
            )
        rows = pandas.Series(rows, local).reindex(grid, fill_value=-1).to_numpy()
        notes.append(f"{int((rows < 0).sum())} missing times filled in ({fill})")
        index = local = grid
    return Times(index, local, frequency, rows, [*notes, *_span(local, frequency)])


def filled(values: np.ndarray, times: Times, fill: str | None) -> np.ndarray:
    """Return the values (time, series) at the times, with the missing ones filled in.

    Args:
        values: (rows, series) of the table.
        times: of `read_times`.
        fill: as in `read_times`.
    """
    known = np.flatnonzero(times.rows >= 0)
    if fill == "interpolate":
        columns = [
            np.interp(np.arange(len(times.rows)), known, values[times.rows[known], c]) for c in range(values.shape[1])
        ]
        return np.stack(columns, 1)
    latest = np.maximum.accumulate(np.where(times.rows >= 0, np.arange(len(times.rows)), 0))
    return values[times.rows[latest]]


def _stamps(table: Table, columns: list[str], day_first: bool | None, notes: list[str]) -> Any:
    pandas = need("pandas", "a table")
    cells = table.frame[columns[0]]
    if len(columns) == 1 and pandas.api.types.is_datetime64_any_dtype(cells):
        return pandas.DatetimeIndex(cells)
    if pandas.api.types.is_float_dtype(cells) and np.isfinite(cells).all() and (cells % 1 == 0).all():
        cells = cells.astype("int64")
    text = cells.astype(str).str.strip()
    if len(columns) == 2:
        if pandas.to_datetime(text, errors="coerce", format="mixed").dt.normalize().notna().all():
            text = text.str.replace(r"[T ]00:00:00$", "", regex=True)  # a sheet's date carries midnight
        text = text + " " + table.frame[columns[1]].astype(str).str.strip()
    stamps = (
        _numbers(text)
        if text.str.fullmatch(r"\d+(\.\d*)?|-\d+").mean() > 0.5
        else _texts(text, day_first, table, notes)
    )
    bad = np.flatnonzero(stamps.isna())
    if len(bad):
        raise EdgeError(
            f"{table.where(int(bad[0]), ' and '.join(columns))}: {text.iloc[bad[0]]!r:.60} is not a time; write 2016-07-01 "
            "00:00:00, or seconds since 1970"
        )
    return stamps


def _numbers(text: Any) -> Any:
    """Dates without separators if every cell is a plausible one, else seconds, milli-, micro- or nanoseconds since 1970."""
    pandas = need("pandas", "a table")
    lengths = text.str.len()
    if lengths.nunique() == 1 and (form := _DIGITS.get(int(lengths.iloc[0]))):
        stamps = pandas.DatetimeIndex(pandas.to_datetime(text, format=form, errors="coerce"))
        if stamps.notna().all() and (_PLAUSIBLE[0] <= stamps.year.min()) and (stamps.year.max() < _PLAUSIBLE[1]):
            return stamps
    whole = text.str.partition(".")[0].str.lstrip("-").str.len().max()
    unit = next((unit for digits, unit in _EPOCH.items() if whole <= digits), "ns")
    values = pandas.to_numeric(text, errors="coerce")
    return pandas.DatetimeIndex(pandas.to_datetime(values, unit=unit, errors="coerce"))


def _texts(text: Any, day_first: bool | None, table: Table, notes: list[str]) -> Any:
    pandas = need("pandas", "a table")
    parts = text.str.extract(_NUMERIC_DATE)
    if parts[0].notna().all():
        text = _iso(parts, day_first, table, notes)
    offsets = text.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True)
    plausible = text.str.contains(r"\d{4}", regex=True)  # dateutil would take "10:30" for a time of today
    try:
        stamps = pandas.to_datetime(text.where(plausible), format="ISO8601", utc=bool(offsets.any()), errors="coerce")
        if stamps.isna().any():
            stamps = pandas.to_datetime(text.where(plausible), format="mixed", utc=bool(offsets.any()), errors="coerce")
    except (ValueError, OverflowError) as error:
        raise EdgeError(f"{table.path}: the times cannot be read: {str(error)[:120]}") from None
    return pandas.DatetimeIndex(stamps)


def _iso(parts: Any, day_first: bool | None, table: Table, notes: list[str]) -> Any:
    pandas = need("pandas", "a table")
    first, second = parts[0].astype(int), parts[2].astype(int)
    year = parts[3].where(parts[3].str.len() == 4, "20" + parts[3])

    def written(day: Any, month: Any) -> Any:
        return year + "-" + month.astype(str).str.zfill(2) + "-" + day.astype(str).str.zfill(2) + parts[4]

    if day_first is None:
        if (first > 12).any() or (second > 12).any() or (parts[1] == ".").all():
            day_first = bool((first > 12).any() or not (second > 12).any())
        else:
            readings = [
                pandas.to_datetime(written(*both), errors="coerce", format="mixed")
                for both in ((first, second), (second, first))
            ]
            even = [stamps.notna().all() and _regular(stamps) for stamps in readings]
            if even[0] == even[1] and not readings[0].equals(readings[1]):
                cell = table.frame[time_columns(table)[0]].iloc[0]
                raise EdgeError(
                    f"{table.path}: {cell!r} may be day/month or month/day, and no row decides it: --set day_first=True or False"
                )
            day_first = bool(even[0])
        notes.append("dates are " + ("day/month/year" if day_first else "month/day/year"))
    return written(first, second) if day_first else written(second, first)


def _regular(stamps: Any) -> bool:
    pandas = need("pandas", "a table")
    index = pandas.DatetimeIndex(stamps)
    index = index[::-1] if index.is_monotonic_decreasing else index
    return bool(index.is_monotonic_increasing and index.is_unique and pandas.infer_freq(index))


def _zoned(stamps: Any, timezone: str | None, table: Table, column: str, notes: list[str]) -> tuple[Any, Any]:
    if stamps.tz is not None:
        local = stamps.tz_convert(timezone).tz_localize(None) if timezone else stamps.tz_localize(None)
        return stamps.tz_convert("UTC").tz_localize(None), local
    if timezone is None:
        return stamps, stamps
    try:
        zoned = stamps.tz_localize(timezone, ambiguous="infer", nonexistent="raise")
    except Exception as error:  # pandas and zoneinfo have several classes for it
        raise EdgeError(f"{table.path}, column {column!r}: not times of {timezone}: {str(error)[:160]}") from None
    notes.append(f"times of {timezone}")
    return zoned.tz_convert("UTC").tz_localize(None), stamps


def _about_even(index: Any) -> bool:
    steps = np.diff(index.asi8).astype("float64")
    usual = np.median(steps)
    return bool((np.abs(steps - usual) <= _JITTER * usual).all())


def _an_hour(index: Any, row: int) -> bool:
    pandas = need("pandas", "a table")
    return bool(-pandas.Timedelta("1h") <= index[row] - index[row - 1] <= pandas.Timedelta(0))


def _grid(index: Any) -> tuple[str | None, Any]:
    """The coarsest regular grid that has all times, and its frequency; None if there is none."""
    pandas = need("pandas", "a table")
    steps = pandas.Series(np.diff(index))
    usual = steps.mode().iloc[0]
    own = pandas.tseries.frequencies.to_offset(usual).freqstr
    for frequency in ("B", "D") if usual == pandas.Timedelta("1D") else (own, *_GRIDS):
        grid = pandas.date_range(index[0], index[-1], freq=frequency)
        if len(grid) and index.isin(grid).all():
            return frequency, grid
    return None, None


def _gap(table: Table, local: Any, rows: np.ndarray, name: str, frequency: str | None, grid: Any, zoned: bool) -> str:
    pandas = need("pandas", "a table")
    steps = np.diff(local.asi8)
    usual = np.median(steps)
    if grid is None:
        place = int(np.argmax(np.abs(steps - usual))) + 1
        missing, advice = "", "make them evenly spaced"
    else:
        place = int(np.flatnonzero(np.diff(grid.get_indexer(local)) > 1)[0]) + 1
        missing = f"; {len(grid) - len(local)} times are missing on the grid of pandas' frequency {frequency!r}"
        advice = "--set fill=previous or fill=interpolate adds them"
    distance, common = (pandas.Timedelta(int(step), unit=local.unit) for step in (steps[place - 1], usual))
    hour = pandas.Timedelta("1h")
    if not zoned and abs(distance - common) == hour and common <= hour:
        advice += "; if it is a change of daylight-saving time, --set timezone=Europe/Berlin or yours"
    return (
        f"{table.where(int(rows[place]), name)}: {local[place]} comes {distance} after {local[place - 1]}, most rows are "
        f"{common} apart{missing}; {advice}"
    )


def _span(local: Any, frequency: str | None) -> list[str]:
    return [
        f"{len(local):,} times from {local[0]} to {local[-1]}, "
        + (f"frequency {frequency}" if frequency else "about evenly spaced")
    ]
