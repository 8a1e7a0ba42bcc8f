"""Cuts a table of sensor values into recordings, the same way in training and on a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_gates.edge.optional import need
from keras_gates.edge.tables import Table
from keras_gates.edge.tflite import EdgeError

TIME = ("time", "timestamp", "date", "datetime", "seconds", "t", "index", "ms", "millis", "time_ms")
LABEL, RECORDING = "label", "recording"
_RATE_CHANGE = 1.5  # ratio of the median distances of two recordings


@dataclass(frozen=True)
class Cut:
    """The recordings of a table.

    Attributes:
        values: each float64 (time, channels), in the sensor's units.
        rows: each the rows of the table, (time,).
        channels: names of the channels.
        notes: what was decided.
    """

    values: list[np.ndarray]
    rows: list[np.ndarray]
    channels: list[str]
    notes: list[str] = field(default_factory=list)


def channels_of(table: Table, besides: Sequence[str] = ()) -> list[str]:
    """Return the columns that are channels: all but the label, the recording, the time and `besides`.

    Args:
        table: of `read_table`.
        besides: further columns that are none, e.g. a person or a device.

    Raises:
        EdgeError: there is none.
    """
    others = {LABEL, RECORDING, *TIME, *(name.lower() for name in besides)}
    channels = [name for name in table.names if name.lower() not in others]
    if not channels:
        raise EdgeError(f"{table.path} has no sensor column; its columns are: {', '.join(table.names)}")
    return channels


def cut_recordings(
    table: Table,
    steps: int,
    channels: Sequence[str] | None = None,
    besides: Sequence[str] = (),
    stride: int | None = None,
) -> Cut:
    """Cut a table into recordings: by its column `recording`, in which rows of several recordings may take turns, or else
    where the label changes and after every `steps` rows (or every `stride` rows, then they overlap). A recording is also cut
    where its label changes.

    Args:
        table: of `read_table`; the column `label` may be missing.
        steps: rows of a recording, if the table has no column `recording`.
        channels: names of the channels; None is every column that is nothing else.
        besides: columns that are no channels.
        stride: rows between the starts of two recordings; None is `steps`.

    Raises:
        EdgeError: a channel is missing or has a cell that is not a number.

    Example:

    >>> cut_recordings(read_table("movements.csv"), 50).channels  # doctest: +SKIP
    ['x', 'y', 'z']
    """
    channels = list(channels or channels_of(table, besides))
    if missing := [name for name in channels if name not in table.names]:
        raise EdgeError(f"{table.path} has no column {missing[0]!r}; its columns are: {', '.join(table.names)}")
    values = np.stack([table.numbers(name) for name in channels], 1)
    notes: list[str] = []
    rows = _runs(table, steps, stride or steps, notes)
    if note := _rates(table, rows):
        notes.append(note)
    return Cut([values[run] for run in rows], rows, channels, notes)


def _runs(table: Table, steps: int, stride: int, notes: list[str]) -> list[np.ndarray]:
    pandas = need("pandas", "a table")
    everything = np.arange(len(table))
    label = np.array(table.texts(LABEL)) if LABEL in table.names else np.zeros(len(table), int)
    if RECORDING in table.names:
        groups = pandas.Series(everything).groupby(np.array(table.texts(RECORDING)), sort=False)
        whole = [group.to_numpy() for _, group in groups]
        runs = [part for rows in whole for part in _where_changed(rows, label[rows])]
        if len(runs) > len(whole):
            notes.append(f"{len(whole)} recordings were cut into {len(runs)} where their label changes")
        return runs
    runs = _where_changed(everything, label)
    return [run[start : start + steps] for run in runs for start in range(0, max(1, len(run) - steps // 2), stride)]


def _where_changed(rows: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    return np.split(rows, np.flatnonzero(values[1:] != values[:-1]) + 1)


def time_column(table: Table) -> str | None:
    """Return the name of the column with the time of each row; None if there is none.

    Args:
        table: of `read_table`.
    """
    return next((name for name in table.names if name.lower() in TIME and name.lower() != "index"), None)


def clock(table: Table, column: str) -> np.ndarray | None:
    """Return a column of times as float64 (rows,): numbers as they are, dates in seconds since 1970; None if a cell is neither.

    Args:
        table: of `read_table`.
        column: its name.
    """
    pandas = need("pandas", "a table")
    times = pandas.to_numeric(table.frame[column], errors="coerce").to_numpy("float64")
    if not np.isnan(times).any():
        return times
    stamps = pandas.to_datetime(table.frame[column], errors="coerce", format="mixed", utc=True)
    if stamps.isna().any():
        return None
    return (stamps - pandas.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy()


def _rates(table: Table, rows: list[np.ndarray]) -> str | None:
    """A sentence if recordings were sampled at different rates, by their time column."""
    name = time_column(table)
    seconds = clock(table, name) if name else None
    if seconds is None:
        return None
    apart = np.array([np.median(np.diff(seconds[run])) for run in rows if len(run) > 2])
    if not len(apart) or apart.min() <= 0 or apart.max() <= _RATE_CHANGE * apart.min():
        return None
    odd = int(np.argmax(np.maximum(apart / np.median(apart), np.median(apart) / apart)))
    run = [run for run in rows if len(run) > 2][odd]
    return (
        f"the sampling rate changes: rows are {np.median(apart):.4g} apart in {name!r}, but {apart[odd]:.4g} in the recording at "
        f"{table.where(int(run[0]))}; resample it"
    )


def padded(recordings: Sequence[np.ndarray], steps: int, fill: Any = 0.0, rows: np.ndarray | None = None) -> np.ndarray:
    """Return recordings of any length as float32 (recordings, steps, channels): short ones padded at the start, of long ones
    the end.

    Args:
        recordings: each (time, channels).
        steps: of the result.
        fill: what padding consists of: one value, or one per channel.
        rows: the array to write to, of the shape of the result; None is a new one.
    """
    if rows is None:
        rows = np.empty((len(recordings), steps, recordings[0].shape[1]), "float32")
    rows[:] = fill
    for row, recording in zip(rows, recordings):
        row[max(0, steps - len(recording)) :] = recording[-steps:]
    return rows
