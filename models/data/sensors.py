"""Movements measured by sensors: smartwatch_gestures from TFDS, the user's CSV files, generated gestures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_gates.models.data.files import labelled_files, numbers, read_table
from keras_gates.models.data.splits import AT_RANDOM, Split, divide, take_parts, three_parts
from keras_gates.models.data.tfds import attribution, open_tfds
from keras_gates.models.registry import UserError

TIME = {"time", "timestamp", "date", "datetime", "seconds", "t", "index"}


@dataclass(frozen=True)
class Movements:
    """Recordings of sensors in three splits.

    Attributes:
        train, validation, test: (recordings, classes): a list of float32 (time, channels) in the sensor's units, and
            int32 (recordings,).
        labels: names of the classes.
        channels: names of the channels.
        about: name, attribution and licence.
    """

    train: Split
    validation: Split
    test: Split
    labels: Sequence[str]
    channels: Sequence[str]
    about: dict[str, str] = field(default_factory=dict)

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


def csv_recordings(path: str | Path, steps: int = 50) -> Movements:
    """Load the user's recordings: a folder with one sub-folder of CSV files per label, one file per recording; or one CSV file
    with a column `label`.

    Every other column is a channel, except those named time, timestamp, date, datetime, seconds, t, index or `recording`. In a
    single CSV file, rows of the same `recording` belong together; without that column, consecutive rows of one label are cut
    into recordings of `steps` rows.

    Args:
        path: of the folder or file.
        steps: rows per recording, see above.

    Raises:
        UserError: a file cannot be read or has other columns.
    """
    path = Path(path)
    if path.is_dir():
        parts, labels, channels = _folder(path)
    elif path.suffix.lower() == ".csv":
        parts, labels, channels = _table(path, steps)
    else:
        raise UserError(
            f"{path} is neither a folder (one sub-folder of CSV files per label) nor a .csv file with a column label"
        )
    return Movements(*three_parts(parts, labels), labels, channels, {"name": str(path)})


def _folder(folder: Path) -> tuple[dict[str, Split], list[str], list[str]]:
    files, labels = labelled_files(folder, ".csv")
    channels: list[str] = []
    parts = {}
    for part, (paths, classes) in files.items():
        recordings = []
        for path in paths:
            table = read_table(path)
            own_channels = _channels(table, path)
            channels = channels or own_channels
            if own_channels != channels:
                raise UserError(
                    f"{path} has the channels {', '.join(own_channels)}; the first file has {', '.join(channels)}"
                )
            recordings.append(np.stack([numbers(table[name], name, path) for name in channels], 1))
        parts[part] = recordings, classes
    return parts, labels, channels


def _table(path: Path, steps: int) -> tuple[dict[str, Split], list[str], list[str]]:
    table = read_table(path, required=("label",))
    channels = _channels(table, path)
    values = np.stack([numbers(table[name], name, path) for name in channels], 1)
    label = np.array([cell.strip() for cell in table["label"]])
    if "" in label:
        raise UserError(f"{path}, data row {np.flatnonzero(label == '')[0] + 1}: the label is empty")
    labels = sorted(set(label.tolist()))
    if len(labels) < 2:
        raise UserError(f"{path} has one label, {labels[0]!r}; expected at least 2")
    marks = np.array(table.get("recording", label))
    edges = np.flatnonzero((marks[1:] != marks[:-1]) | (label[1:] != label[:-1])) + 1
    runs = np.split(np.arange(len(label)), edges)
    if "recording" not in table:
        runs = [run[start : start + steps] for run in runs for start in range(0, max(1, len(run) - steps // 2), steps)]
    classes = np.array([labels.index(label[run[0]]) for run in runs], "int32")
    return {"all": ([values[run] for run in runs], classes)}, labels, channels


def _channels(table: dict[str, list[str]], path: Path) -> list[str]:
    channels = [name for name in table if name.lower() not in TIME | {"label", "recording"}]
    if not channels:
        raise UserError(f"{path} has no sensor column; its columns are: {', '.join(table)}")
    return channels


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


def padded(recordings: Sequence[np.ndarray], steps: int) -> np.ndarray:
    """Return recordings of any length as (recordings, steps, channels): short ones padded with zeros at the start, of long ones
    the end.

    Args:
        recordings: each (time, channels).
        steps: of the result.
    """
    rows = np.zeros((len(recordings), steps, recordings[0].shape[1]), "float32")
    for row, recording in zip(rows, recordings):
        row[max(0, steps - len(recording)) :] = recording[-steps:]
    return rows
