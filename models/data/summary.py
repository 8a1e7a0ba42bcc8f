"""What was understood of the user's data, in sentences, for `train.py check`, the start of each run, and its report."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from keras_gates.models.data.splits import Split

_COARSE = 1e-2  # a float32 step of this share of a channel's variation is worth a notice
_UNEVEN = 3.0


def class_notes(splits: Sequence[Split], labels: Sequence[str], what: str) -> list[str]:
    """Return the number of examples by part and by class, and a sentence if the classes are uneven.

    Args:
        splits: (items, classes) of training, validation and test.
        labels: names of the classes.
        what: the plural of an example, e.g. "recordings".
    """
    counts = np.bincount(np.concatenate([classes for _, classes in splits]), minlength=len(labels))
    sizes = " / ".join(f"{len(classes):,}" for _, classes in splits)
    order = np.argsort(-counts, kind="stable")
    shown = ", ".join(f"{labels[index]} {counts[index]:,}" for index in order[:12])
    more = f" and {len(labels) - 12} more" if len(labels) > 12 else ""
    notes = [
        f"{counts.sum():,} {what}, {sizes} for training, validation and test",
        f"{len(labels)} classes: {shown}{more}",
    ]
    if counts.max() > _UNEVEN * counts.min():
        notes.append("uneven classes: rare ones weigh more in the loss")
    return notes


def length_note(lengths: Sequence[int], unit: str) -> str:
    """Return the shortest, the median and the longest length.

    Args:
        lengths: of the examples.
        unit: their plural unit, e.g. "rows".
    """
    return f"lengths {min(lengths):,} to {max(lengths):,} {unit}, half of them up to {int(np.median(lengths)):,}"


def leak_notes(parts: Sequence[Sequence[Hashable]], what: str) -> list[str]:
    """Return a sentence if the same thing is in the training part and in another.

    Args:
        parts: a key of every example, for training, validation and test: its group, its text, its content.
        what: what a key is, e.g. "group" or "text".
    """
    known = set(parts[0])
    notes = []
    for name, part in zip(("validation", "test"), parts[1:]):
        if both := [key for key in part if key in known]:
            example = f", e.g. {str(both[0])[:40]!r}" if isinstance(both[0], str | int) else ""
            notes.append(
                f"leak: {len(both):,} of {len(part):,} {name} examples have the same {what} as a training example{example}"
            )
    return notes


def precision_notes(values: np.ndarray, names: Sequence[str]) -> list[str]:
    """Return a sentence for each column whose variation float32 (7 digits) cannot hold, such as counters on top of 123,456,789.

    Args:
        values: float64 (rows, columns).
        names: of the columns.
    """
    notes = []
    for name, column in zip(names, np.asarray(values, "float64").T):
        largest, variation = np.abs(column).max(), np.abs(np.diff(column)).mean() if len(column) > 1 else 0.0
        step = np.spacing(np.float32(largest))
        if variation > 0 and step > _COARSE * variation:
            notes.append(
                f"column {name!r} loses accuracy: float32 holds values around {largest:,.0f} only to {step:.3g}, and its rows "
                f"differ by {variation:.3g}; subtract a constant, or leave it out"
            )
    return notes
