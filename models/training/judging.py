"""Evaluation of a classifier that has no `judge` of its own: metrics on the test split, a confusion matrix, example
predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from keras_gates.inspection.plots import plot_confusion
from keras_gates.models.registry import Judgement

EXAMPLES = 6
BATCH = 128


def judge(model: Any, data: Any, folder: Path) -> Judgement:
    """Evaluate a model on the whole test split, and write confusion.png if there are classes.

    Args:
        model: a compiled `keras.Model`.
        data: a `keras_gates.models.data.pipeline.Data`.
        folder: for the picture.

    Returns:
        The scores, the loss last.
    """
    metrics = model.evaluate(data.held_out("test", BATCH), return_dict=True, verbose=0)
    scores = {name: float(value) for name, value in sorted(metrics.items(), key=lambda item: item[0] == "loss")}
    judgement = Judgement(scores)
    if data.labels:
        predicted, actual = predictions(model, data)
        plot_confusion(predicted.tolist(), actual.tolist(), data.labels).savefig(folder / "confusion.png", dpi=100)
        judgement.pictures.append(
            ("confusion.png", "Confusion matrix of the test data, rows normalised by true class.")
        )
        judgement.text += _examples(model, data)
    return judgement


def probabilities(output: np.ndarray) -> np.ndarray:
    """Return a model's output as probabilities (batch, classes); a single number is the probability of the second of two
    classes."""
    output = np.asarray(output, "float64")
    return np.concatenate([1 - output, output], -1) if output.shape[-1] == 1 else output


def predictions(model: Any, data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the predicted and the actual class of every test example, each int (examples,)."""
    predicted, actual = [], []
    for x, y, *_ in data.held_out("test", BATCH):
        predicted.append(probabilities(model.predict_on_batch(x)).argmax(-1))
        actual.append(np.asarray(y))
    return np.concatenate(predicted), np.concatenate(actual)


def _examples(model: Any, data: Any) -> list[str]:
    x, y = data.arrays("test", EXAMPLES)
    lines = ["| example | actual | predicted |", "|---|---|---|"]
    for number, (actual, shares) in enumerate(zip(y, probabilities(model.predict_on_batch(x)))):
        best = np.argsort(shares)[::-1][:2]
        predicted = ", ".join(f"{data.labels[index]} {shares[index]:.0%}" for index in best)
        shown = data.show(x[number], actual) if data.show else None
        name = (
            shown.replace("|", "/").replace("\n", " ")[:200] if isinstance(shown, str) else f"test example {number + 1}"
        )
        lines.append(f"| {name} | {data.labels[int(actual)]} | {predicted} |")
    return lines
