"""Training windows from long recordings: a table `start,end,label` next to a sound file or a table of sensor values.

A long interval is cut into windows that overlap; a short one, such as a word, is in the middle of its window; where no interval
is, windows show the background. Windows that share samples are in one group, so that no part of the data sees another's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates.edge.tables import Table, read_table
from keras_gates.models.data.files import visible
from keras_gates.models.data.splits import Parts, Split, by_group, by_time, take_parts, three_parts
from keras_gates.models.registry import UserError

COLUMNS = ("start", "end", "label")
_BLOCK = 10  # windows, end to end: of a longer interval, blocks of this length may be in different parts
_MOST_BACKGROUND = 2  # windows of background for each labelled one


@dataclass(frozen=True)
class Interval:
    """A stretch of a recording, in samples or rows.

    Attributes:
        start, end: first sample, and the one after the last.
        label: what was recorded.
    """

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Window:
    """An example for training.

    Attributes:
        start: first sample or row.
        label: of the interval, or the name of the background.
        group: windows of different groups share no sample.
    """

    start: int
    label: str
    group: int


def long_recordings(source: str | Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the long recordings of a source: the file itself, or the files directly in a folder, that have a table of intervals;
    [] if the source has none.

    Args:
        source: a file or a folder.
        suffixes: of recordings.

    Raises:
        UserError: only some of a folder's recordings have a table.
    """
    source = Path(source)
    if source.is_file():
        return [source] if source.suffix.lower() in suffixes and interval_table(source) else []
    if not source.is_dir():
        return []
    files = sorted(path for path in visible(source, suffixes) if not path.stem.endswith(".labels"))
    files = [path for path in files if not any(interval_table(other) == path for other in visible(source, suffixes))]
    without = [path for path in files if not interval_table(path)]
    if files and len(without) < len(files) and without:
        raise UserError(
            f"{without[0]} has no table of intervals; expected {without[0].stem}.labels.csv with start,end,label"
        )
    return [] if without else files


def interval_table(recording: Path) -> Path | None:
    """Return the table of intervals of a recording: NAME.labels.csv; of sound also NAME.csv or a label track of Audacity,
    NAME.txt. None if there is none.

    Args:
        recording: the file.
    """
    names = [f"{recording.stem}.labels.csv", f"{recording.stem}.csv", f"{recording.stem}.txt"]
    paths = (recording.with_name(name) for name in names)
    return next((path for path in paths if path.is_file() and path != recording and _is_intervals(path)), None)


def _is_intervals(path: Path) -> bool:
    if path.name.endswith(".labels.csv"):
        return True
    with path.open("rb") as file:
        first = file.readline(4096).decode("utf-8-sig", "replace").strip().lower()
    cells = [cell.strip().strip('"') for cell in first.replace(";", ",").replace("\t", ",").split(",")]
    return set(COLUMNS) <= set(cells) or (path.suffix == ".txt" and "\t" in first)


def read_intervals(path: Path, length: int, position: Callable[[Table, str], np.ndarray]) -> list[Interval]:
    """Read a table of intervals.

    Args:
        path: of the table; a .txt is a label track of Audacity, without a header.
        length: of the recording, in samples or rows.
        position: (table, column) → float64 (rows,), samples or rows of the recording.

    Returns:
        The intervals in temporal order.

    Raises:
        UserError: an interval is empty, or none is within the recording.
    """
    if path.suffix == ".txt":
        table = read_table(path, header=False)
        if len(table.names) < 3:
            raise UserError(f"{path} is no label track: expected start, end and label, separated by tabs")
        table = replace(table, frame=table.frame.set_axis([*COLUMNS, *table.names[3:]], axis=1))
    else:
        table = read_table(path, required=COLUMNS)
    starts, ends = (np.round(position(table, name)).astype("int64") for name in COLUMNS[:2])
    labels = table.texts("label")
    for row in np.flatnonzero(ends <= starts).tolist():
        cells = " to ".join(str(table.frame[name].iloc[row]) for name in COLUMNS[:2])
        raise UserError(f"{table.where(row)}: the interval from {cells} is empty; the end comes after the start")
    for row in np.flatnonzero((ends > length + 1) | (starts < 0)).tolist():
        raise UserError(f"{table.where(row)}: the interval of {labels[row]!r} is not within the recording; correct it")
    every = [Interval(int(start), min(int(end), length), label) for start, end, label in zip(starts, ends, labels)]
    return sorted(every, key=lambda interval: interval.start)


def training_windows(
    length: int, intervals: Sequence[Interval], size: int, stride: int, background: str = ""
) -> list[Window]:
    """Return the windows of one recording, in temporal order.

    Args:
        length: of the recording, in samples or rows.
        intervals: in temporal order.
        size: of a window.
        stride: between the starts of two windows.
        background: label of windows without an interval, at most two for each labelled one; "" leaves them out.

    Example:

    >>> [window.start for window in training_windows(100, [Interval(10, 50, "walk")], size=20, stride=10)]
    [10, 20, 30]
    """
    if length < size:
        return []
    windows: list[Window] = []
    group = 0
    for interval in intervals:
        span = interval.end - interval.start
        if span < size:
            start = int(np.clip(interval.start - (size - span) // 2, 0, length - size))
            if windows and windows[-1].start + size > start:
                group -= 1  # shares samples with the window before
            windows.append(Window(start, interval.label, group))
            group += 1
            continue
        block = int(np.clip(span // 5, 2 * size, _BLOCK * size))
        for first in range(interval.start, interval.end - size + 1, block):
            last = min(first + block, interval.end) - size
            if windows and windows[-1].start + size > first:
                group -= 1
            windows += [Window(start, interval.label, group) for start in range(first, last + 1, stride)]
            group += 1
    if background:
        windows += _background(length, intervals, windows, size, stride, background)
    return sorted(windows, key=lambda window: window.start)


def _background(
    length: int, intervals: Sequence[Interval], windows: Sequence[Window], size: int, stride: int, label: str
) -> list[Window]:
    """Windows without an interval, each in the group of the nearest labelled window; none that shares samples with another
    group's."""
    begins = np.array([interval.start for interval in intervals])
    ends = np.maximum.accumulate([interval.end for interval in intervals])
    starts = np.array([window.start for window in windows])
    empty: list[Window] = []
    for start in range(0, length - size + 1, stride):
        before = np.searchsorted(begins, start + size)  # intervals that begin before the window's end
        if before and ends[before - 1] > start:
            continue
        distance = np.abs(starts - start)
        group = windows[int(distance.argmin())].group
        shared = {windows[at].group for at in np.flatnonzero(distance < size).tolist()}
        if empty and empty[-1].start + size > start:
            shared.add(empty[-1].group)
        if shared <= {group}:
            empty.append(Window(start, label, group))
    most = _MOST_BACKGROUND * len(windows)
    return empty if len(empty) <= most else [empty[at] for at in np.linspace(0, len(empty) - 1, most).astype(int)]


def divided(
    pieces: Sequence[np.ndarray],
    windows: Sequence[Window],
    recording: Sequence[int],
    labels: Sequence[str],
    files: Sequence[Path],
    group: str | None,
    split: str,
) -> tuple[Split, Split, Split]:
    """Return the training, validation and test windows. No group of windows is in two parts.

    Args:
        pieces: what the windows show, of all recordings.
        windows: where they are.
        recording: of each window, its recording's place in `files`.
        labels: names of the classes.
        files: the recordings.
        group: "name": no part of a file's name up to the first "_" is in two parts; None: files may be in several.
        split: "random", or "time": of each class the first 70 %, the next 10 % and the last 20 % of the groups.

    Raises:
        UserError: a class has too few intervals, or the split is unknown or does not go with groups.
    """
    classes = np.array([labels.index(window.label) for window in windows], "int32")
    if group or split not in ("random", "time"):
        names = [files[number].stem.partition("_")[0] for number in recording]
        return three_parts({"all": (list(pieces), classes)}, labels, names, split)[0]
    return take_parts(pieces, classes, _parts(windows, recording, classes, labels, split))


def _parts(
    windows: Sequence[Window], recording: Sequence[int], classes: np.ndarray, labels: Sequence[str], split: str
) -> Parts:
    """Return the indices of the training, validation and test windows."""
    keys: list[Any] = [(number, window.group) for number, window in zip(recording, windows)]
    if split != "time":
        return by_group(classes, labels, [f"{number}-{group}" for number, group in keys])
    label_of: dict[Any, int] = {}
    counts = np.bincount(classes)
    for key, index in zip(keys, classes.tolist()):  # the rarest class of a group decides: background is in many
        label_of[key] = min(label_of.get(key, index), index, key=lambda each: counts[each])
    groups = sorted(label_of)
    own = sorted({label_of[group] for group in groups})
    divided = by_time(np.array([own.index(label_of[group]) for group in groups]), [labels[index] for index in own])
    part_of = {groups[at]: part for part, members in enumerate(divided) for at in members.tolist()}
    parts = np.array([part_of[key] for key in keys])
    train, validation, test = (np.flatnonzero(parts == part) for part in range(3))
    return train, validation, test
