"""What a trained classifier is worth, where its model does not say so itself: metrics on the test split, a confusion
matrix, example predictions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from keras_gates.inspection.plots import plot_confusion
from keras_gates.models.registry import Judgement

EXAMPLES = 6
BATCH = 128


def judge(model: Any, data: Any, folder: Path) -> Judgement:
    """Scores `model` on all of `data.test` and writes `confusion.png` where there are labels."""
    measured = model.evaluate(data.held_out("test", BATCH), return_dict=True, verbose=0)
    scores = {name: float(value) for name, value in sorted(measured.items(), key=lambda item: item[0] == "loss")}
    judgement = Judgement(scores)
    if data.labels:
        predicted, actual = answers(model, data)
        plot_confusion(predicted, actual, data.labels).savefig(folder / "confusion.png", dpi=100)
        judgement.pictures.append(("confusion.png", "Confusion matrix, rows normalised by true class, test data."))
        judgement.text += _examples(model, data)
    return judgement


def probabilities(output: np.ndarray) -> np.ndarray:
    """A model's output as probabilities (batch, classes), also where it gives one number for the second of two classes."""
    output = np.asarray(output, "float64")
    return np.concatenate([1 - output, output], -1) if output.shape[-1] == 1 else output


def answers(model: Any, data: Any) -> tuple[np.ndarray, np.ndarray]:
    """For every test example: the class that the model says, and the true one."""
    said, truth = [], []
    for x, y, *_ in data.held_out("test", BATCH):
        said.append(probabilities(model.predict_on_batch(x)).argmax(-1))
        truth.append(np.asarray(y))
    return np.concatenate(said), np.concatenate(truth)


def _examples(model: Any, data: Any) -> list[str]:
    x, y = data.arrays("test", EXAMPLES)
    shares = probabilities(model.predict_on_batch(x))
    lines = ["| example | truth | the model says |", "|---|---|---|"]
    for number, (truth, share) in enumerate(zip(y, shares)):
        best = np.argsort(share)[::-1][:2]
        says = ", ".join(f"{data.labels[place]} {share[place]:.0%}" for place in best)
        shown = data.show(x[number], truth) if data.show else f"number {number + 1}"
        name = (
            shown.replace("|", "/").replace("\n", " ")[:200] if isinstance(shown, str) else f"test example {number + 1}"
        )
        lines.append(f"| {name} | {data.labels[int(truth)]} | {says} |")
    return lines
