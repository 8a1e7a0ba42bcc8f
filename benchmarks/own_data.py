"""The defaults of train.py on data sets of other people, next to presets, hand-chosen settings and simple models.

    pip install -e ".[train,minirocket]"
    python benchmarks/own_data.py [--minutes 10]        # continues where it stopped; writes docs/own-data.json

Each data set is written as a table that `python train.py gesture --data` (or forecast) reads, split by it, and learned once per
setting with one seed. The package aeon contains the real ones; the others are generated as in their publications.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pandas as pd

from keras_gates._files import read_json, write_json
from keras_gates.models.training import baselines, fitting, options, recipe, running
from keras_gates.models.training.distribution import ALONE

RESULT = Path(__file__).parents[1] / "docs" / "own-data.json"
CLASSIFIERS = {
    "defaults": [],
    "preset small": ["--preset", "small"],
    "preset nano": ["--preset", "nano"],
    "by hand": [
        *("--preset", "small", "--epochs", "100", "--batch-size", "16"),
        *("--learning-rate", "0.005", "--set", "augment=False"),
    ],
}
FORECASTS = {
    "defaults": [],
    "preset nano": ["--preset", "nano"],
    "by hand": ["--preset", "nano", "--epochs", "60", "--batch-size", "16", "--learning-rate", "0.003"],
}


def recordings(examples: list[np.ndarray], labels: list[str]) -> pd.DataFrame:
    """One table of recordings (time, channels)."""
    frames = []
    for number, (values, label) in enumerate(zip(examples, labels)):
        frame = pd.DataFrame(values, columns=[f"c{channel}" for channel in range(values.shape[1])])
        frames.append(frame.assign(recording=number, label=f"class {label}"))
    return pd.concat(frames, ignore_index=True)


def from_aeon(name: str) -> Callable[[], pd.DataFrame]:
    def load() -> pd.DataFrame:
        import aeon.datasets

        x, y = getattr(aeon.datasets, f"load_{name}")()
        return recordings([np.asarray(each).T for each in x], [str(label) for label in y])

    return load


def digits() -> pd.DataFrame:
    """scikit-learn's digits: eight rows of eight pixels; the first 600."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return recordings(list(data.images[:600]), [str(label) for label in data.target[:600]])


def cylinder_bell_funnel(each: int = 50, steps: int = 64) -> pd.DataFrame:
    """Saito 1994."""
    draw = np.random.default_rng(0)
    examples, labels = [], []
    for number in range(3 * each):
        a, b = draw.integers(steps // 8, steps // 4), draw.integers(steps // 2, 7 * steps // 8)
        t = np.arange(steps)
        inside = (t >= a) & (t <= b)
        shape = [np.ones(steps), (t - a) / (b - a), (b - t) / (b - a)][number % 3]
        examples.append(((6 + draw.normal()) * inside * shape + draw.normal(size=steps))[:, None])
        labels.append(["cylinder", "bell", "funnel"][number % 3])
    return recordings(examples, labels)


def control_charts(each: int = 30, steps: int = 60) -> pd.DataFrame:
    """Alcock and Manolopoulos 1999: normal, cyclic, up, down, shift up, shift down."""
    draw = np.random.default_rng(0)
    examples, labels, t = [], [], np.arange(60)
    for number in range(6 * each):
        trend, shift, at = draw.uniform(0.2, 0.5), draw.uniform(7.5, 20), draw.integers(steps // 3, 2 * steps // 3)
        cycle = draw.uniform(10, 15) * np.sin(2 * np.pi * t / draw.uniform(10, 15))
        parts = [0 * t, cycle, trend * t, -trend * t, shift * (t >= at), -shift * (t >= at)]
        examples.append((30 + 2 * draw.uniform(-3, 3, steps) + parts[number % 6])[:, None])
        labels.append(str(number % 6))
    return recordings(examples, labels)


def two_patterns(each: int = 40, steps: int = 64) -> pd.DataFrame:
    """Geurts 2002: two steps, each up or down, in noise; only their order tells the four classes."""
    draw = np.random.default_rng(0)
    examples, labels = [], []
    for number in range(4 * each):
        values = draw.normal(size=steps)
        first = draw.integers(2, 16)
        second = draw.integers(first + 16, steps - 14)
        for at, up in ((first, number & 1), (second, number & 2)):
            values[at : at + 6], values[at + 6 : at + 12] = (-5, 5) if up else (5, -5)
        examples.append(values[:, None])
        labels.append(str(number % 4))
    return recordings(examples, labels)


def barometer(each: int = 40, steps: int = 40) -> pd.DataFrame:
    """Air pressure in Pa: rising, falling, level."""
    draw = np.random.default_rng(0)
    drifts = {"rising": 3.0, "falling": -3.0, "level": 0.0}
    labels = [name for name in drifts for _ in range(each)]
    noise = [draw.normal(0, 5, steps) + draw.normal(0, 200) for _ in labels]
    values = [(101_325 + drifts[name] * np.arange(steps) + own)[:, None] for name, own in zip(labels, noise)]
    return recordings(values, labels)


def series(name: str, start: str, frequency: str) -> Callable[[], pd.DataFrame]:
    def load() -> pd.DataFrame:
        import aeon.datasets

        values = np.asarray(getattr(aeon.datasets, f"load_{name}")(), "float64").ravel()
        return pd.DataFrame({"date": pd.date_range(start, periods=len(values), freq=frequency), "value": values})

    return load


WINDOW = ["--set", "history=24", "--set", "horizon=6"]
SETS: dict[str, tuple[str, Callable[[], pd.DataFrame], list[str]]] = {
    "ItalyPowerDemand (aeon)": ("gesture", from_aeon("italy_power_demand"), []),
    "JapaneseVowels (aeon)": ("gesture", from_aeon("japanese_vowels"), []),
    "BasicMotions (aeon)": ("gesture", from_aeon("basic_motions"), []),
    "digits, row by row (scikit-learn)": ("gesture", digits, []),
    "cylinder, bell, funnel (generated)": ("gesture", cylinder_bell_funnel, []),
    "control charts (generated)": ("gesture", control_charts, []),
    "two patterns (generated)": ("gesture", two_patterns, []),
    "barometer (generated)": ("gesture", barometer, []),
    "airline passengers (aeon)": ("forecast", series("airline", "1949-01-01", "MS"), WINDOW),
    "lynx (aeon)": ("forecast", series("lynx", "1821-01-01", "YS"), WINDOW),
}


def learned(model: str, path: Path, words: list[str]) -> tuple[float, Any, dict[str, float]]:
    """Train once; return the score on the test part, the data, and all scores."""
    config = options.configuration(options.parser().parse_args([model, "--data", str(path), *words]))
    task = running.prepare(config, ALONE)
    config = running.for_its_size(config, task.data)
    with tempfile.TemporaryDirectory() as folder:
        fitting.fit(task.zoo, task.model, task.data, {**recipe.DEFAULTS, **config.recipe}, 0, Path(folder), verbose=0)
        judgement = running.evaluate(task, Path(folder))
    return float(next(iter(judgement.scores.values()))), task.data, judgement.scores


def measure(name: str, setting: str, words: list[str], row: dict[str, Any]) -> None:
    """Add one setting's score to the row of a data set, with the first one those of simple models."""
    model, load, extra = SETS[name]
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        load().to_csv(path, index=False)
        score, data, scores = learned(model, path, [*words, *extra])
    row["settings"][setting] = score
    if not row["baselines"]:
        row["examples"] = [int(getattr(data, split).cardinality()) for split in ("train", "validation", "test")]
        simple = baselines.baselines(data, 600.0) if model == "gesture" else []
        own = {key.removesuffix(" mse"): value for key, value in scores.items() if key.endswith(" mse")}
        row["baselines"] = {each["baseline"]: each["value"] for each in simple} or own
    keras.backend.clear_session()
    print(f"{name}, {setting}: {score:.4g}, {time.monotonic() - start:.0f} s", flush=True)


def table(results: dict[str, Any]) -> str:
    """The Markdown table of docs/own-data.md."""
    lines = ["| data | examples | defaults | best other setting | best simple model |", "|---|---|---|---|---|"]
    for name, row in results.items():
        if "defaults" not in row["settings"]:
            continue
        better = max if row["model"] == "gesture" else min
        others = {setting: score for setting, score in row["settings"].items() if setting != "defaults"}

        def text(scores: dict[str, float], of: Any = row, best: Any = better) -> str:
            if not scores:
                return "–"
            key = best(scores, key=scores.get)
            value = f"{scores[key]:.1%}".replace("%", " %") if of["model"] == "gesture" else f"MSE {scores[key]:.3g}"
            return value + ("" if key == "defaults" else f", {key}")

        sizes = " / ".join(map(str, row["examples"]))
        cells = (text({"defaults": row["settings"]["defaults"]}), text(others), text(row["baselines"]))
        lines.append(f"| {name} | {sizes} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    arguments = parser.parse_args()
    results = read_json(RESULT) if RESULT.exists() else {}
    end = time.monotonic() + 60 * arguments.minutes
    for setting in CLASSIFIERS:  # first the defaults everywhere
        for name, (model, *_) in SETS.items():
            row = results.setdefault(name, {"model": model, "settings": {}, "baselines": {}})
            words = (CLASSIFIERS if model == "gesture" else FORECASTS).get(setting)
            if words is None or setting in row["settings"] or time.monotonic() > end:
                continue
            measure(name, setting, words, row)
            write_json(RESULT, {each: content for each, content in results.items() if content["settings"]})
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
