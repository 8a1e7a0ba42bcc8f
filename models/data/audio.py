"""Recordings of words: spoken_digit and speech_commands from TFDS, the user's folder of wav files, vowels that are
generated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from keras_gates.models.data.files import labelled_files
from keras_gates.models.data.splits import AT_RANDOM, Split, divide, take, three_parts
from keras_gates.models.data.wav import read_wav, resample
from keras_gates.models.registry import UserError


@dataclass(frozen=True)
class Recordings:
    """Words in three splits.

    Attributes:
        train, validation, test: (recordings, classes): a list of float32 (samples,) in −1…1, and int32 (recordings,).
        labels: names of the classes.
        sample_rate: in Hz, of all recordings.
        about: name, attribution and licence.
    """

    train: Split
    validation: Split
    test: Split
    labels: Sequence[str]
    sample_rate: int
    about: dict[str, str] = field(default_factory=dict)

    def splits(self) -> tuple[Split, Split, Split]:
        """(train, validation, test)"""
        return self.train, self.validation, self.test


def spoken_digit(data_dir: str | None, speaker: str | None = None) -> Recordings:
    """TFDS spoken_digit, 8 kHz: recordings 0–4 of each digit and speaker are the official test split; 5–7 are for
    validation here.

    Args:
        data_dir: where TFDS data is.
        speaker: where given, all recordings of this speaker are the test split and the others' 0–4 the validation
            split.
    """
    from keras_gates.models.data.tfds import attribution, open_tfds

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
    return Recordings(*(take(audio, classes, mask) for mask in masks), [str(digit) for digit in range(10)], 8000, about)


def speech_commands(data_dir: str | None, sample_rate: int = 16000) -> Recordings:
    """TFDS speech_commands, 12 classes, the official splits, resampled from 16 kHz where another rate is asked for."""
    from keras_gates.models.data.tfds import attribution, open_tfds

    builder = open_tfds("speech_commands", data_dir)
    splits = []
    for split in ("train", "validation", "test"):
        audio, classes = [], []
        for row in builder.as_dataset(split=split).as_numpy_iterator():
            sound = row["audio"].astype("float32") / 32768
            audio.append(sound if sample_rate == 16000 else resample(sound, 16000, sample_rate))
            classes.append(int(row["label"]))
        splits.append((audio, np.array(classes, "int32")))
    about = {"name": "speech_commands", "attribution": attribution(builder), "licence": "CC BY 4.0"}
    about["split"] = "the official splits"
    return Recordings(*splits, builder.info.features["label"].names, sample_rate, about)


def wav_folder(folder: str, sample_rate: int | None = None) -> Recordings:
    """A folder of wav files a label, divided by the user into train, (validation,) test folders or else by us, 70 / 10
    / 20 %.

    Args:
        folder: see `keras_gates.models.data.files.labelled_files`.
        sample_rate: in Hz; recordings of another rate are resampled. None is the lowest rate among the files, 16,000
            at most.
    """
    parts, labels = labelled_files(folder, ".wav")
    read = {part: ([read_wav(path) for path in paths], classes) for part, (paths, classes) in parts.items()}
    rate = sample_rate or min(16000, *(found for sounds, _ in read.values() for _, found in sounds))
    read = {
        part: ([sound if found == rate else resample(sound, found, rate) for sound, found in sounds], classes)
        for part, (sounds, classes) in read.items()
    }
    return Recordings(*three_parts(read, labels), labels, rate, {"name": str(folder)})


def vowels(seed: int = 0, sample_rate: int = 8000, each: int = 90) -> Recordings:
    """Generated vowels, a e i o u: the harmonics of a voice of any pitch, through the resonances (formants) of a mouth
    of any size, in noise."""
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
    masks = divide(classes, labels)
    about = {"name": "generated vowels", "licence": "made by this project", "split": AT_RANDOM}
    return Recordings(*(take(audio, classes, mask) for mask in masks), labels, sample_rate, about)


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


def windows(recordings: Sequence[np.ndarray], samples: int) -> np.ndarray:
    """Recordings of any length to (recordings, samples): a short one in the middle of silence, of a long one the
    loudest part."""
    rows = np.zeros((len(recordings), samples), "float32")
    for row, sound in zip(rows, recordings):
        if len(sound) > samples:
            energy = np.concatenate([[0.0], np.cumsum(sound.astype("float64") ** 2)])
            start = int(np.argmax(energy[samples:] - energy[:-samples]))
            row[:] = sound[start : start + samples]
        else:
            start = (samples - len(sound)) // 2
            row[start : start + len(sound)] = sound
    return rows
