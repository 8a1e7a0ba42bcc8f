"""Dividing examples into train, validation and test, the same way each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras_gates.models.registry import UserError

Split = tuple[list[Any], np.ndarray]
AT_RANDOM = "70 / 10 / 20 % of each class, at random, the same for every seed"  # what `divide` does


def divide(
    classes: np.ndarray, labels: Sequence[str], validation: float = 0.1, test: float = 0.2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the training, validation and test examples: each class is divided by the same shares, at random but
    always alike.

    Args:
        classes: (examples,), indices into labels.
        labels: the names of the classes.
        validation, test: shares, of each class at least one example; 0 is none.

    Raises:
        UserError: a class with too few examples to be in every part.

    Example:
        train, validation, test = divide(classes, ["no", "yes"])
    """
    draw = np.random.default_rng(0)
    parts: tuple[list, list, list] = ([], [], [])
    for index, label in enumerate(labels):
        members = draw.permutation(np.flatnonzero(classes == index))
        tested = max(1, round(test * len(members))) if test else 0
        checked = max(1, round(validation * len(members))) if validation else 0
        if len(members) < tested + checked + 1:
            raise UserError(
                f"the class {label!r} has {len(members)} examples; expected at least {tested + checked + 1}"
            )
        for part, chosen in zip(parts, np.split(members, [len(members) - tested - checked, len(members) - tested])):
            part.extend(chosen)
    return tuple(np.sort(np.array(part, int)) for part in parts)


def three_parts(parts: Mapping[str, Split], labels: Sequence[str]) -> tuple[Split, Split, Split]:
    """(train, validation, test) of "all", or of "train" and what else the user divided: the missing parts are taken
    from it."""
    items, classes = parts["all"] if "all" in parts else parts["train"]
    shares = {part: 0.0 if part in parts else share for part, share in (("validation", 0.1), ("test", 0.2))}
    rest = dict(zip(("train", "validation", "test"), divide(classes, labels, **shares)))
    return tuple(
        parts[part] if part in parts and part != "train" else take(items, classes, rest[part]) for part in rest
    )


def take(items: Sequence[Any], classes: np.ndarray, chosen: np.ndarray) -> Split:
    """The chosen ones, by index or by a mask: (items, classes)."""
    indices = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
    return [items[index] for index in indices], classes[indices]
