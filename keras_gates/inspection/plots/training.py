"""Learning curves and what was said for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_gates.inspection.plots.style import CURVES


def plot_curves(history: Any, names: Sequence[str] | None = None) -> Any:
    """Learning curves: a panel for each quantity, training and validation.

    Args:
        history: what `model.fit` returned, its `.history`, or a dict of lists.
        names: which quantities; default: all.

    Returns:
        A matplotlib `Figure`.

    Example:

    >>> figure = keras_gates.plot_curves({"loss": [1.0, 0.5], "val_loss": [1.1, 0.7]})
    """
    from matplotlib.figure import Figure

    logs: Mapping[str, Sequence[float]] = getattr(history, "history", history)
    names = list(names or [name for name in logs if not name.startswith("val_") and name != "learning_rate"])
    figure = Figure((4.8 * len(names), 3.3), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
        for k, (key, label) in enumerate(((name, "training"), (f"val_{name}", "validation"))):
            if key in logs:
                axes.plot(
                    range(1, len(logs[key]) + 1),
                    logs[key],
                    "-o" if k else "-s",
                    markersize=3,
                    color=CURVES[k],
                    label=label,
                )
        axes.set(title=name, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def plot_confusion(said: Sequence[int], truth: Sequence[int], labels: Sequence[str]) -> Any:
    """What was said for what: a row for each true class, in shares of the row, with counts where they can be read.

    Args:
        said, truth: class numbers, one each for an example.
        labels: the names of the classes.

    Returns:
        A matplotlib `Figure`.

    Example:

    >>> figure = keras_gates.plot_confusion([0, 1, 1], [0, 1, 0], ["dog", "wolf"])
    """
    from matplotlib.figure import Figure

    count = len(labels)
    table = np.zeros((count, count), int)
    np.add.at(table, (np.asarray(truth, int), np.asarray(said, int)), 1)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    size = float(np.clip(1.8 + 0.42 * count, 3.6, 12))
    figure = Figure((size + 1, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    if count <= 20:
        for row in range(count):
            for column in range(count):
                if table[row, column]:
                    colour = "k" if shares[row, column] > 0.5 else "w"
                    axes.text(column, row, str(table[row, column]), ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(count), labels, rotation=90 if max(map(len, labels)) > 2 else 0)
    axes.set_yticks(range(count), labels)
    right = np.trace(table) / max(table.sum(), 1)
    axes.set(xlabel="the model's answer", ylabel="truth", title=f"{right:.1%} of {table.sum():,} right")
    figure.colorbar(image, ax=axes, label="share of the row")
    return figure
