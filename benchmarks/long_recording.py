"""Spoken digits in an hour of faint noise: which events `keras-gates predict --stream` finds, and its processor time.

    python benchmarks/long_recording.py [--minutes 60]

The words are the recordings in tests/data/samples.npz, one every six seconds at a random time. An event is right if it overlaps a
word and has its label.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from keras_gates.models import registry

SAMPLES = Path(__file__).parents[1] / "tests" / "data" / "samples.npz"
RATE, EVERY = 8000, 6  # Hz, seconds
PRESETS = ("base", "small", "nano")


def recording(minutes: int, draw: np.random.Generator) -> tuple[np.ndarray, pd.DataFrame]:
    """The sound and its words: start and end in seconds, label."""
    samples = np.load(SAMPLES)
    words, labels = samples["speech_x"], samples["speech_y"]
    sound, rows = draw.normal(0, 1e-3, 60 * minutes * RATE), []
    for second in range(EVERY - 1, 60 * minutes - EVERY, EVERY):
        number, start = draw.integers(len(words)), int((second + draw.uniform(0, EVERY / 2)) * RATE)
        word = words[number].astype("float64")
        sound[start : start + len(word)] += 0.5 * word / np.abs(word).max()
        rows.append((start / RATE, (start + len(word)) / RATE, int(labels[number])))
    return sound, pd.DataFrame(rows, columns=["start", "end", "label"])


def counts(words: pd.DataFrame, events: pd.DataFrame) -> dict[str, int]:
    """How many words have the right label, another one, no event; and the events where no word is."""
    right = wrong = 0
    heard: set[int] = set()
    for word in words.itertuples():
        over = events[(events.start < word.end) & (events.end > word.start)]
        heard.update(over.index)
        if len(over):
            is_right = bool(over.label.iloc[0] == word.label)
            right, wrong = right + is_right, wrong + (not is_right)
    return {"right": right, "wrong": wrong, "missed": len(words) - right - wrong, "false": len(events) - len(heard)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=60)
    minutes = parser.parse_args().minutes
    sound, words = recording(minutes, np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hour.wav"
        soundfile.write(path, sound, RATE, subtype="PCM_16")
        for preset in PRESETS:
            file = registry.load("speech", preset, format="tflite", precision="int8")
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [sys.executable, "-m", "keras_gates", "predict", str(file), str(path), "--stream"]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            table = Path(folder) / "events.txt"
            table.write_bytes(done.stdout)
            seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(
                f"{preset}: {len(words)} words, {counts(words, pd.read_csv(table, sep=chr(9)))}, "
                f"{seconds:.0f} s of processor time",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
