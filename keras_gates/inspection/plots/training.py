"""Learning curves and confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_gates._arguments import typed
from keras_gates._errors import InvalidArgument
from keras_gates.inspection.plots.style import CURVES, new_figure
from keras_gates.inspection.plots.text import plain


@typed
def plot_curves(history: Any, names: Sequence[str] | None = None, *, epochs: Sequence[int] | None = None) -> Any:
    """Draw learning curves: a panel for each quantity, training and validation.

    Args:
        history: What `model.fit` returned, its `.history`, or a dict of lists.
        names: Which quantities; default: all but the learning rate.
        epochs: The epoch of each value; default: 1, 2, 3, …

    Returns:
        A matplotlib `Figure`.

    Raises:
        TypeError: `history` is something else.
        InvalidArgument: No such quantity, or nothing to draw.

    Example:

    >>> figure = keras_gates.plot_curves({"loss": [1.0, 0.5], "val_loss": [1.1, 0.7]})
    """
    logs: Mapping[str, Sequence[float]] = getattr(history, "history", history)
    if not isinstance(logs, Mapping):
        raise TypeError(
            f"plot_curves: expected what model.fit returns, or a dict of lists, got a {type(logs).__name__}."
        )
    unknown = [name for name in names or () if name not in logs]
    if unknown or not logs:
        raise InvalidArgument(
            f"plot_curves: no {', '.join(unknown) or 'quantity'}; recorded are: {', '.join(logs) or 'none'}."
        )
    names = list(names or [name for name in logs if not name.startswith("val_") and name != "learning_rate"])
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure = new_figure(4.8 * columns, 3.3 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(panels, names):
        for k, (key, label) in enumerate(((name, "training"), (f"val_{name}", "validation"))):
            if key in logs:
                at = epochs or range(1, len(logs[key]) + 1)
                axes.plot(at, logs[key], "-o" if k else "-s", markersize=3, color=CURVES[k], label=label)
        axes.set(title=plain(name), xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if f"val_{name}" in logs:
            axes.legend()
    return figure


@typed
def plot_confusion(
    predicted: Sequence[int] | np.ndarray, actual: Sequence[int] | np.ndarray, labels: Sequence[str]
) -> Any:
    """Draw a confusion matrix: a row per true class, normalised by row, with counts for up to 20 classes.

    Args:
        predicted: The predicted class number of each example, from 0.
        actual: The true class number of each example, from 0.
        labels: The names of the classes, by number.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ValueError: `predicted` and `actual` have different lengths, or a class number has no label.

    Example:

    >>> figure = keras_gates.plot_confusion([0, 1, 1], [0, 1, 0], ["dog", "wolf"])
    """
    count = len(labels)
    columns, rows = np.asarray(predicted, int), np.asarray(actual, int)
    if columns.shape != rows.shape:
        raise InvalidArgument(
            f"plot_confusion: {columns.size} predicted classes for {rows.size} actual ones; give one each."
        )
    numbers = np.concatenate([columns, rows])
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < count:
        raise InvalidArgument(
            f"plot_confusion: class numbers go from {numbers.min()} to {numbers.max()}, but there are {count} labels."
        )
    table = np.zeros((count, count), int)
    np.add.at(table, (rows, columns), 1)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    size = float(np.clip(1.8 + 0.42 * count, 3.6, 12))
    figure = new_figure(size + 1, size)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    if count <= 20:
        for row in range(count):
            for column in range(count):
                if table[row, column]:
                    colour = "k" if shares[row, column] > 0.5 else "w"
                    axes.text(column, row, str(table[row, column]), ha="center", va="center", color=colour, fontsize=8)
    names = [plain(label) for label in labels]
    axes.set_xticks(range(count), names, rotation=90 if max(map(len, names), default=0) > 2 else 0)
    axes.set_yticks(range(count), names)
    accuracy = np.trace(table) / max(table.sum(), 1)
    axes.set(xlabel="predicted class", ylabel="true class")
    figure.suptitle(
        f"Confusion matrix, rows normalised by true class\naccuracy {accuracy:.1%} of {table.sum():,}", fontsize=10
    )
    figure.colorbar(image, ax=axes, label="share of the true class")
    return figure
