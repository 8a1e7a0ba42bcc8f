"""Movements measured by sensors: smartwatch_gestures from TFDS, the user's CSV files, generated gestures."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates.edge.chunks import is_large
from keras_gates.edge.recordings import channels_of, clock, cut_recordings, time_column
from keras_gates.edge.tables import SUFFIXES, Table, read_table
from keras_gates.models.data.files import labelled_files, user_errors
from keras_gates.models.data.intervals import (
    Window,
    divided,
    interval_table,
    long_recordings,
    read_intervals,
    training_windows,
)
from keras_gates.models.data.large import by_recording, read_large, runs
from keras_gates.models.data.splits import AT_RANDOM, Split, divide, take_parts, three_parts
from keras_gates.models.data.summary import class_notes, leak_notes, length_note, precision_notes
from keras_gates.models.data.tfds import attribution, open_tfds
from keras_gates.models.registry import UserError

_MOST_CHECKED = 100_000  # recordings, for a note about accuracy


@dataclass(frozen=True)
class Movements:
    """Recordings of sensors in three splits.

    Attributes:
        train, validation, test: (recordings, classes): a list of (time, channels), float32 or float64, in the sensor's units, and
            int32 (recordings,).
        labels: names of the classes.
        channels: names of the channels.
        about: name, attribution and licence.
        notes: what was understood of the user's files, one sentence each.
    """

    train: Split
    validation: Split
    test: Split
    labels: Sequence[str]
    channels: Sequence[str]
    about: dict[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def splits(self) -> tuple[Split, Split, Split]:
        """Return (train, validation, test)."""
        return self.train, self.validation, self.test


def smartwatch_gestures(data_dir: str | None, participant: int | None = None) -> Movements:
    """Load TFDS smartwatch_gestures: 20 gestures, 8 participants, acceleration in m/s² at 10 Hz, split at random 70 / 10 / 20 %.

    Args:
        data_dir: folder of the TFDS data sets; None is TFDS' default.
        participant: if given, all attempts of this participant (1–8) are the test split, and 10 % of the others' attempts the
            validation split.

    Raises:
        UserError: there is no such participant, or the data cannot be loaded.
    """
    builder = open_tfds("smartwatch_gestures", data_dir)
    rows = sorted(
        builder.as_dataset(split="train").as_numpy_iterator(),
        key=lambda row: (row["participant"], row["gesture"], row["attempt"], row["features"]["time_millis"].tolist()),
    )
    names = ("accel_x", "accel_y", "accel_z")
    recordings = [np.stack([row["features"][name] for name in names], 1).astype("float32") for row in rows]
    classes = np.array([row["gesture"] for row in rows], "int32")
    who = np.array([row["participant"] for row in rows])
    labels = builder.info.features["gesture"].names
    if participant is None:
        parts = divide(classes, labels)
    elif participant in who:
        other = np.flatnonzero(who != participant)
        train, validation, _ = divide(classes[other], labels, test=0.0)
        parts = other[train], other[validation], np.flatnonzero(who == participant)
    else:
        raise UserError(f"smartwatch_gestures has no participant {participant}; it has 1 to {who.max()}")
    about = {"name": "smartwatch_gestures", "attribution": attribution(builder), "licence": "none stated; for research"}
    left_out = f"90 / 10 % of the other participants; all of participant {participant}"
    about["split"] = AT_RANDOM if participant is None else left_out
    return Movements(*take_parts(recordings, classes, parts), labels, names, about)


@user_errors()
def csv_recordings(
    path: str | Path,
    steps: int = 50,
    group: str | None = None,
    split: str = "random",
    wide: bool = False,
    stride: int | None = None,
) -> Movements:
    """Load the user's recordings: a folder with one sub-folder of tables per label, one table per recording; or one table with
    a column `label`.

    Every other column is a channel, except the time, `recording` and the group. In a single table, rows of the same `recording`
    belong together, also if those of several recordings take turns; without that column, consecutive rows of one label are cut
    into recordings of `steps` rows.

    Args:
        path: of the folder or file.
        steps: rows per recording, see above.
        group: column (in a folder "name": the file's name up to the first "_") of which no value is in two parts.
        split: "random" or "time", see `keras_gates.models.data.splits.three_parts`.
        wide: whether each row is a recording; columns named x1, x2, … y1, y2, … are the time steps of the channels x and y.
        stride: rows between the starts of two recordings cut from consecutive rows; None is `steps`.

    Raises:
        UserError: a file cannot be read or has other columns.
    """
    path = Path(path)
    if path.is_dir():
        parts, labels, channels, groups, notes = _folder(path, group)
    elif path.suffix.lower() in SUFFIXES:
        parts, labels, channels, groups, notes = (
            _wide(path, group) if wide else _table(path, steps, stride or steps, group)
        )
    else:
        raise UserError(
            f"{path} is neither a folder (one sub-folder of CSV files per label) nor a .csv file with a column label"
        )
    splits, indices = three_parts(parts, labels, groups if group else None, split)
    recordings = [recording for items, _ in splits for recording in items]
    notes += [f"channels {', '.join(channels)}", length_note([len(each) for each in recordings], "rows")]
    notes += class_notes(splits, labels, "recordings")
    if indices is not None and groups is not None:
        what = f"{group}" if group else "uncut stretch of rows"
        notes += leak_notes([[groups[index] for index in part.tolist()] for part in indices], what)
    notes += leak_notes([[_digest(recording) for recording in items] for items, _ in splits], "values")
    notes += precision_notes(np.concatenate(splits[0][0][:_MOST_CHECKED]), channels)
    return Movements(*splits, labels, channels, {"name": str(path)}, notes)


def _digest(recording: np.ndarray) -> bytes:
    return hashlib.blake2b(recording.tobytes(), digest_size=16).digest()


@user_errors()
def long_recordings_of(
    path: str | Path,
    steps: int = 50,
    stride: int | None = None,
    background: str = "background",
    group: str | None = None,
    split: str = "random",
) -> Movements:
    """Cut long recordings with labelled intervals into windows: a table of sensor values, or a folder of them, each with a table
    NAME.labels.csv of `start,end,label` in the units of its time column (or in rows, if it has none), see
    `keras_gates.models.data.intervals`.

    Args:
        path: of the file or folder.
        steps: rows per window.
        stride: rows between the starts of two windows; None is half of a window.
        background: label of windows without an interval; "" leaves them out.
        group: "name": no part of a file's name up to the first "_" is in two parts.
        split: "random" or "time".

    Raises:
        UserError: a file cannot be read, or a class has too few intervals.
    """
    files, stride = long_recordings(path, SUFFIXES), stride or max(1, steps // 2)
    windows: list[Window] = []
    recording: list[int] = []
    pieces: list[np.ndarray] = []
    channels: list[str] = []
    notes: list[str] = []
    for number, file in enumerate(files):
        table = read_table(file)
        own = channels_of(table)
        channels = channels or own
        if own != channels:
            raise UserError(f"{file} has the channels {', '.join(own)}; the first file has {', '.join(channels)}")
        values = np.stack([table.numbers(name) for name in channels], 1)
        intervals = read_intervals(interval_table(file) or file, len(values), _row_of(table))
        cut = training_windows(len(values), intervals, steps, stride, background)
        windows += cut
        recording += [number] * len(cut)
        pieces += [values[window.start : window.start + steps] for window in cut]
        notes += [f"{file.name}: {note}" for note in table.notes]
    labels = _labels(np.array([window.label for window in windows]), Path(path))
    splits = divided(pieces, windows, recording, labels, files, group, split)
    notes += [
        f"{len(files)} long recordings, windows of {steps} rows, one every {stride} rows of an interval; no row is in two parts",
        f"channels {', '.join(channels)}",
        *class_notes(splits, labels, "windows"),
        *precision_notes(np.concatenate(splits[0][0]), channels),
    ]
    return Movements(*splits, labels, channels, {"name": str(path)}, notes)


def _row_of(table: Table) -> Any:
    """Return (intervals, column) → float64 (intervals,): the row of the table at these times."""
    name = time_column(table)
    if name is None:
        return lambda intervals, column: intervals.numbers(column)
    times = clock(table, name)
    if times is None:
        raise UserError(
            f"{table.path}, column {name!r}: the times cannot be read; write numbers, or 2016-07-01 00:00:00"
        )
    if (falling := np.flatnonzero(np.diff(times) < 0)).size:
        raise UserError(
            f"{table.where(int(falling[0]) + 1, name)}: the time is before that of the row above; sort the rows"
        )

    def rows(intervals: Table, column: str) -> np.ndarray:
        own = clock(intervals, column)
        if own is None:
            raise UserError(
                f"{intervals.path}, column {column!r}: not all cells are times; write them as in {table.path}"
            )
        beyond = own > times[-1] + np.median(np.diff(times))
        return np.where(own < times[0], -1.0, np.where(beyond, len(times) + 2.0, np.searchsorted(times, own)))

    return rows


Loaded = tuple[dict[str, Split], list[str], list[str], "list[str] | None", list[str]]


def _folder(folder: Path, group: str | None) -> Loaded:
    files, labels = labelled_files(folder, SUFFIXES)
    channels: list[str] = []
    parts, notes = {}, []
    for part, (paths, classes) in files.items():
        recordings = []
        for path in paths:
            table = read_table(path)
            own_channels = channels_of(table)
            channels = channels or own_channels
            if own_channels != channels:
                raise UserError(
                    f"{path} has the channels {', '.join(own_channels)}; the first file has {', '.join(channels)}"
                )
            recordings.append(np.stack([table.numbers(name) for name in channels], 1))
            notes += [f"{path.name}: {note}" for note in table.notes]
        parts[part] = recordings, classes
    groups = [path.stem.partition("_")[0] for path in files["all"][0]] if group and "all" in files else None
    return (
        parts,
        labels,
        channels,
        groups,
        notes[:5] + ([f"… and {len(notes) - 5} more notes"] if len(notes) > 5 else []),
    )


def _table(path: Path, steps: int, stride: int, group: str | None) -> Loaded:
    if is_large(path):
        return _large(path, steps, stride, group)
    table = read_table(path, required=["label", *([group] if group else [])])
    cut = cut_recordings(table, steps, besides=[group] if group else [], stride=stride)
    label = np.array(table.texts("label"))
    labels = _labels(label, path)
    classes = np.array([labels.index(label[rows[0]]) for rows in cut.rows], "int32")
    groups: list[str] | None = None
    if group:
        column = table.texts(group)
        groups = [column[rows[0]] for rows in cut.rows]
    elif "recording" not in table.names:  # pieces of one stretch of rows resemble each other
        stretch = np.cumsum(np.concatenate([[0], label[1:] != label[:-1]]))
        groups = [str(stretch[rows[0]]) for rows in cut.rows]
    return {"all": (cut.values, classes)}, labels, cut.channels, groups, [*table.notes, *cut.notes]


def _large(path: Path, steps: int, stride: int, group: str | None) -> Loaded:
    table = by_recording(read_large(path, [group] if group else []))
    rows = runs(table, steps, stride)
    names = table.words["label"]
    labels = _labels(np.array(names), path)
    first = np.array([run.start for run in rows])
    label = table.columns["label"]
    classes = np.array([labels.index(names[code]) for code in label[first].tolist()], "int32")
    groups: list[str] | None = None
    if group:
        groups = [table.words[group][code] for code in table.columns[group][first].tolist()]
    elif "recording" not in table.columns:
        stretch = np.cumsum(np.concatenate([[0], label[1:] != label[:-1]]))
        groups = [str(number) for number in stretch[first].tolist()]
    recordings = [table.values[run] for run in rows]
    note = f"{len(label):,} rows, read in chunks; their numbers are in a temporary file"
    return {"all": (recordings, classes)}, labels, table.channels, groups, [note]


def _wide(path: Path, group: str | None) -> Loaded:
    table = read_table(path, required=["label", *([group] if group else [])])
    label = np.array(table.texts("label"))
    labels = _labels(label, path)
    columns = [name for name in table.names if name not in ("label", "recording", group)]
    channels: dict[str, list[str]] = {}
    for name in columns:
        channels.setdefault(re.sub(r"[ _.\-]?\d+$", "", name) or "value", []).append(name)
    lengths = {len(names) for names in channels.values()}
    if len(lengths) != 1:
        counts = ", ".join(f"{name} {len(names)}" for name, names in list(channels.items())[:6])
        raise UserError(
            f"{path}: the channels of a wide table need the same number of columns, e.g. x1, x2, y1, y2; got {counts}"
        )
    values = np.stack([np.stack([table.numbers(name) for name in names], 1) for names in channels.values()], 2)
    classes = np.array([labels.index(cell) for cell in label], "int32")
    groups = table.texts(group) if group else None
    return {"all": (list(values), classes)}, labels, list(channels), groups, [*table.notes, "one recording per row"]


def _labels(label: np.ndarray, path: Path) -> list[str]:
    labels = sorted(set(label.tolist()))
    if len(labels) < 2:
        raise UserError(f"{path} has one label, {labels[0]!r}; expected at least 2")
    return labels


def drawn_gestures(seed: int = 0, each: int = 100) -> Movements:
    """Generate gestures of a hand with an accelerometer: circles in both directions, a swipe, a shake, a tap, with random tilt,
    speed, strength and noise.

    Args:
        seed: random seed.
        each: recordings per gesture.
    """
    labels = ["circle", "circle back", "shake", "swipe", "tap"]
    draw = np.random.default_rng(seed)
    classes = np.tile(np.arange(len(labels), dtype="int32"), each)
    recordings = [_gesture(labels[index], draw) for index in classes]
    about = {"name": "generated gestures", "licence": "made by this project", "split": AT_RANDOM}
    parts = divide(classes, labels)
    return Movements(*take_parts(recordings, classes, parts), labels, ("x", "y", "z"), about)


def _gesture(label: str, draw: np.random.Generator) -> np.ndarray:
    steps = int(draw.integers(15, 36))
    phase = np.linspace(0, 2 * np.pi, steps) + draw.uniform(-0.5, 0.5)
    swell = np.sin(np.linspace(0, np.pi, steps))
    sideways, upward = {
        "circle": (np.cos(phase), np.sin(phase)),
        "circle back": (np.cos(phase), -np.sin(phase)),
        "shake": (np.sin(draw.uniform(3, 5) * phase), 0 * phase),
        "swipe": (np.sin(phase), 0.2 * np.cos(phase)),
        "tap": (0 * phase, np.exp(-(((phase - np.pi) / 0.4) ** 2))),
    }[label]
    motion = draw.uniform(3, 9) * np.stack([sideways * swell, upward * swell, 0 * phase], 1)
    tilt = draw.normal(0, 0.15, 3)
    gravity = 9.81 * np.array([np.sin(tilt[0]), np.sin(tilt[1]), np.cos(tilt[0]) * np.cos(tilt[1])])
    return (motion + gravity + draw.normal(0, 0.5, (steps, 3))).astype("float32")
