"""Reads a table of measurements over time, for training a forecast and for forecasting from it on a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_gates.edge.chunks import is_large, read_chunks
from keras_gates.edge.optional import need
from keras_gates.edge.tables import Table, read_table
from keras_gates.edge.tflite import EdgeError
from keras_gates.edge.times import Times, filled, read_times, time_columns


@dataclass(frozen=True)
class SeriesTable:
    """Measurements at evenly spaced times.

    Attributes:
        values: float64 (time, series), in their own units.
        names: of the series.
        times: when they were measured.
        notes: what was understood of the file.
    """

    values: np.ndarray
    names: list[str]
    times: Times
    notes: list[str]

    def seconds(self) -> np.ndarray:
        """Return the times as whole seconds since 1970 on the clock of the place, int64 (time,)."""
        return self.times.local.to_numpy("datetime64[s]").astype("int64")


def read_series(
    path: str | Path,
    columns: Sequence[str] = (),
    day_first: bool | None = None,
    timezone: str | None = None,
    fill: str | None = None,
) -> SeriesTable:
    """Read a table with a column of times and one column of numbers per series.

    Args:
        path: of the file.
        columns: the series; () is all.
        day_first, timezone, fill: as in `keras_gates.edge.times.read_times`.

    Raises:
        EdgeError: a column or a cell cannot be read, or the times are not evenly spaced.

    Example:

    >>> read_series("sales.csv").names  # doctest: +SKIP
    ['shop', 'web']
    """
    table = _numbers_only(path, columns) if is_large(path) else read_table(path, required=columns)
    time = time_columns(table)
    names = [name for name in columns or table.names if name not in time]
    if not names:
        raise EdgeError(f"{path} has no column besides {' and '.join(time)!r}; expected one per series")
    times = read_times(table, day_first, timezone, fill)
    values = filled(np.stack([table.numbers(name) for name in names], 1), times, fill)
    return SeriesTable(values, names, times, [*table.notes, *times.notes])


def _numbers_only(path: str | Path, columns: Sequence[str]) -> Table:
    """A table read in chunks, of which the numbers and the cells of its times are kept: a tenth of the memory."""
    pandas = need("pandas", "a table")
    frames = []
    for chunk in read_chunks(path, columns):
        time = time_columns(chunk)
        names = [name for name in columns or chunk.names if name not in time]
        frames.append(chunk.frame[time].join(pandas.DataFrame({n: chunk.numbers(n) for n in names}, chunk.frame.index)))
    if not frames:
        raise EdgeError(f"{path} has a header but no rows")
    frame = pandas.concat(frames)
    return Table(Path(path), frame, [f"{len(frame):,} rows, read in chunks"])


def calendar(seconds: np.ndarray) -> np.ndarray:
    """Return the position of each time in the day and in the week, as cosines and sines.

    Args:
        seconds: since 1970, (time,).

    Returns:
        float32 (time, 4).
    """
    turns = np.stack([seconds / 86400, (seconds / 86400 + 3) / 7], 1) % 1 * 2 * np.pi
    return np.concatenate([np.cos(turns), np.sin(turns)], 1).astype("float32")
