"""Recordings of words: spoken_digit and speech_commands from TFDS, the user's folder of WAV files, generated vowels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_gates.edge.sound import RATES, SUFFIXES, read_wav, resample
from keras_gates.edge.tables import Table
from keras_gates.models.data.files import labelled_files, user_errors, visible
from keras_gates.models.data.intervals import divided, interval_table, long_recordings, read_intervals, training_windows
from keras_gates.models.data.splits import AT_RANDOM, Split, divide, take_parts, three_parts
from keras_gates.models.data.summary import class_notes, leak_notes, length_note
from keras_gates.models.data.tfds import attribution, open_tfds
from keras_gates.models.registry import UserError

NOISE = "_background_noise_"  # as in speech_commands


@dataclass(frozen=True)
class Recordings:
    """Recorded words in three splits.

    Attributes:
        train, validation, test: (recordings, classes): a list of float32 (samples,) in −1…1, and int32 (recordings,).
        labels: names of the classes.
        sample_rate: in Hz, of all recordings.
        about: name, attribution and licence.
        notes: what was understood of the user's files, one sentence each.
        noise: recordings (samples,) to mix in during training.
    """

    train: Split
    validation: Split
    test: Split
    labels: Sequence[str]
    sample_rate: int
    about: dict[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    noise: Sequence[np.ndarray] = ()

    def splits(self) -> tuple[Split, Split, Split]:
        """Return (train, validation, test)."""
        return self.train, self.validation, self.test


def spoken_digit(data_dir: str | None, speaker: str | None = None) -> Recordings:
    """Load TFDS spoken_digit, 8 kHz. Recordings 0–4 of each digit and speaker are the official test split, 5–7 the validation
    split.

    Args:
        data_dir: folder of the TFDS data sets; None is TFDS' default.
        speaker: if given, all recordings of this speaker are the test split and the others' 0–4 the validation split.

    Raises:
        UserError: there is no such speaker, or the data cannot be loaded.
    """
    builder = open_tfds("spoken_digit", data_dir)
    examples = sorted(
        (
            (row["audio/filename"].decode(), int(row["label"]), row["audio"])
            for row in builder.as_dataset(split="train").as_numpy_iterator()
        ),
        key=lambda example: example[0],
    )
    speakers = np.array([name.split("_")[1] for name, *_ in examples])
    number = np.array([int(name.split("_")[2].removesuffix(".wav")) for name, *_ in examples])
    if speaker is None:
        masks = number > 7, (number > 4) & (number <= 7), number <= 4
    elif speaker in speakers:
        other = speakers != speaker
        masks = other & (number > 4), other & (number <= 4), ~other
    else:
        raise UserError(f"spoken_digit has no speaker {speaker!r}; it has: {', '.join(np.unique(speakers))}")
    audio = [sound.astype("float32") / 32768 for *_, sound in examples]
    classes = np.array([label for _, label, _ in examples], "int32")
    about = {
        "name": "spoken_digit (Free Spoken Digit Dataset)",
        "attribution": attribution(builder),
        "licence": "CC BY-SA 4.0",
        "split": "recordings 8–49, 5–7 and 0–4 of each digit and speaker; 0–4 are the official test split"
        if speaker is None
        else f"recordings 5–49 and 0–4 of the other speakers; all of {speaker}",
    }
    return Recordings(*take_parts(audio, classes, masks), [str(digit) for digit in range(10)], 8000, about)


def speech_commands(data_dir: str | None, sample_rate: int = 16000) -> Recordings:
    """Load TFDS speech_commands, 12 classes, with the official splits.

    Args:
        data_dir: folder of the TFDS data sets; None is TFDS' default.
        sample_rate: in Hz, to which the recordings are resampled from 16 kHz.

    Raises:
        UserError: the data cannot be loaded.
    """
    builder = open_tfds("speech_commands", data_dir)
    splits: dict[str, Split] = {}
    for split in ("train", "validation", "test"):
        audio, classes = [], []
        for row in builder.as_dataset(split=split).as_numpy_iterator():
            sound = row["audio"].astype("float32") / 32768
            audio.append(sound if sample_rate == 16000 else resample(sound, 16000, sample_rate))
            classes.append(int(row["label"]))
        splits[split] = audio, np.array(classes, "int32")
    about = {"name": "speech_commands", "attribution": attribution(builder), "licence": "CC BY 4.0"}
    about["split"] = "the official splits"
    train, validation, test = splits.values()
    return Recordings(train, validation, test, builder.info.features["label"].names, sample_rate, about)


@user_errors()
def wav_folder(
    folder: str, sample_rate: int | None = None, group: str | None = None, split: str = "random"
) -> Recordings:
    """Load a folder with one sub-folder of sound files per label, split by the user into train, validation and test folders, or
    else at random, 70 / 10 / 20 %. A sub-folder `_background_noise_` is no word: its recordings are noise to mix in.

    Args:
        folder: see `keras_gates.models.data.files.labelled_files`.
        sample_rate: in Hz, to which the recordings are resampled; None is the lowest rate of the files, at most 16,000.
        group: "name": no part of a file's name up to the first "_", such as a speaker, is in two parts.
        split: "random" or "time", see `keras_gates.models.data.splits.three_parts`.

    Raises:
        UserError: a folder or file cannot be read, or the sample rate is impossible.
    """
    _check_rate(sample_rate)
    parts, labels = labelled_files(folder, SUFFIXES, besides=[NOISE])
    sounds = {part: [read_wav(path) for path in paths] for part, (paths, _) in parts.items()}
    rates = [own_rate for part in sounds.values() for _, own_rate in part]
    rate = sample_rate or min(16000, *rates)
    resampled = {part: ([_at(rate, *one) for one in sounds[part]], classes) for part, (_, classes) in parts.items()}
    groups = [path.stem.partition("_")[0] for path in parts["all"][0]] if group and "all" in parts else None
    splits, indices = three_parts(resampled, labels, groups, split)
    every = [sound for items, _ in splits for sound in items]
    notes = [f"sample rates {', '.join(f'{own:,}' for own in sorted(set(rates)))} Hz, read at {rate:,} Hz"]
    notes += [
        *class_notes(splits, labels, "recordings"),
        length_note([round(1000 * len(s) / rate) for s in every], "ms"),
    ]
    if silent := sum(not sound.any() for sound in every):
        notes.append(f"{silent} recordings are silent")
    if groups is not None and indices is not None:
        notes += leak_notes([[groups[index] for index in part.tolist()] for part in indices], "name")
    notes += leak_notes([[sound.tobytes() for sound in items if sound.any()] for items, _ in splits], "sound")
    noise = (
        [_at(rate, *read_wav(path)) for path in sorted(visible(Path(folder) / NOISE, SUFFIXES))]
        if (Path(folder) / NOISE).is_dir()
        else []
    )
    if noise:
        notes.append(
            f"{len(noise)} recordings of noise, {sum(map(len, noise)) / rate:.0f} s, are mixed in during training"
        )
    return Recordings(*splits, labels, rate, {"name": str(folder)}, notes, noise)


@user_errors()
def long_sounds(
    source: str,
    sample_rate: int | None = None,
    seconds: float = 1.0,
    stride: float | None = None,
    background: str = "background",
    group: str | None = None,
    split: str = "random",
) -> Recordings:
    """Cut long recordings with labelled intervals into windows: a sound file, or a folder of them, each with a table
    `start,end,label` in seconds, see `keras_gates.models.data.intervals`.

    Args:
        source: of the file or folder.
        sample_rate: in Hz, to which the recordings are resampled; None is the lowest rate of the files, at most 16,000.
        seconds: per window.
        stride: seconds between the starts of two windows; None is half of a window.
        background: label of windows without an interval; "" leaves them out.
        group: "name": no part of a file's name up to the first "_" is in two parts.
        split: "random" or "time".

    Raises:
        UserError: a file cannot be read, or a class has too few intervals.
    """
    _check_rate(sample_rate)
    files = long_recordings(source, SUFFIXES)
    loaded = [read_wav(path) for path in files]
    rate = sample_rate or min(16000, *(own for _, own in loaded))
    size, step = round(seconds * rate), round((stride or seconds / 2) * rate)
    if step < 1:
        raise UserError(f"stride must be above 0 seconds, not {stride!r}")

    def position(table: Table, column: str) -> np.ndarray:
        return table.numbers(column) * rate

    windows, recording, pieces, total = [], [], [], 0
    for number, (path, (sound, own)) in enumerate(zip(files, loaded)):
        sound = _at(rate, sound, own)
        table = interval_table(path)
        intervals = read_intervals(table, len(sound), position) if table else []
        cut = training_windows(len(sound), intervals, size, step, background)
        windows += cut
        recording += [number] * len(cut)
        pieces += [sound[window.start : window.start + size] for window in cut]
        total += len(sound)
    labels = sorted({window.label for window in windows})
    if len(labels) < 2:
        raise UserError(f"{source}: the intervals have {len(labels)} labels; expected at least 2")
    splits = divided(pieces, windows, recording, labels, files, group, split)
    notes = [
        f"{len(files)} long recordings, {total / rate:,.0f} s, read at {rate:,} Hz",
        f"windows of {seconds:g} s, one every {step / rate:g} s of an interval; no two parts share a sample",
        *class_notes(splits, labels, "windows"),
    ]
    return Recordings(*splits, labels, rate, {"name": str(source)}, notes)


def _check_rate(sample_rate: int | None) -> None:
    if sample_rate is not None and (not isinstance(sample_rate, int) or not RATES[0] <= sample_rate <= RATES[1]):
        raise UserError(f"sample_rate must be a whole number from {RATES[0]:,} to {RATES[1]:,} Hz, not {sample_rate!r}")


def _at(rate: int, sound: np.ndarray, own_rate: int) -> np.ndarray:
    return sound if own_rate == rate else resample(sound, own_rate, rate)


def vowels(seed: int = 0, sample_rate: int = 8000, each: int = 90) -> Recordings:
    """Generate vowels, a e i o u: harmonics of a random pitch, filtered by the formants of a vocal tract of random size, with
    noise.

    Args:
        seed: random seed.
        sample_rate: in Hz.
        each: recordings per vowel.
    """
    formants = {
        "a": (730, 1090, 2440),
        "e": (530, 1840, 2480),
        "i": (270, 2290, 3010),
        "o": (570, 840, 2410),
        "u": (300, 870, 2240),
    }
    labels = list(formants)
    draw = np.random.default_rng(seed)
    classes = np.tile(np.arange(len(labels), dtype="int32"), each)
    audio = [_vowel(np.array(formants[labels[index]]), draw, sample_rate) for index in classes]
    parts = divide(classes, labels)
    about = {"name": "generated vowels", "licence": "made by this project", "split": AT_RANDOM}
    return Recordings(*take_parts(audio, classes, parts), labels, sample_rate, about)


def _vowel(formants: np.ndarray, draw: np.random.Generator, rate: int) -> np.ndarray:
    seconds, pitch, size = (
        draw.uniform(0.25, 0.6),
        np.exp(draw.uniform(np.log(90), np.log(260))),
        np.exp(draw.normal(0, 0.06)),
    )
    time = np.arange(int(seconds * rate)) / rate
    glide = 2 * np.pi * pitch * (time + draw.uniform(-0.15, 0.15) * time**2)
    harmonics = np.arange(1, int(0.45 * rate / pitch / 1.3))
    distance = (harmonics[:, None] * pitch - formants * size) / (60 + 0.06 * formants)
    gain = (1 / (1 + distance**2)).sum(1) / harmonics**0.3
    sound = (gain[:, None] * np.sin(harmonics[:, None] * glide + draw.uniform(0, 6, (len(harmonics), 1)))).sum(0)
    sound = sound * np.sin(np.pi * time / seconds) ** 0.4
    sound = sound / np.abs(sound).max() * draw.uniform(0.1, 0.7)
    return (sound + draw.normal(0, 0.01, len(sound))).astype("float32")
