"""Splits examples into train, validation and test, reproducibly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_gates.models.registry import UserError

Split = tuple[list[Any], np.ndarray]
AT_RANDOM = "70 / 10 / 20 % of each class, at random, the same for every seed"  # by `divide`


def divide(
    classes: np.ndarray, labels: Sequence[str], validation: float = 0.1, test: float = 0.2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the indices of the training, validation and test examples: a stratified random split that is always the same.

    Args:
        classes: (examples,), indices into labels.
        labels: the names of the classes.
        validation, test: shares; at least one example of each class; 0 is none.

    Raises:
        UserError: a class with too few examples to be in every part.

    Example:
        train, validation, test = divide(classes, ["no", "yes"])
    """
    draw = np.random.default_rng(0)
    train: list[int] = []
    checked: list[int] = []
    tested: list[int] = []
    for index, label in enumerate(labels):
        members = draw.permutation(np.flatnonzero(classes == index))
        for_test = max(1, round(test * len(members))) if test else 0
        for_validation = max(1, round(validation * len(members))) if validation else 0
        needed = for_test + for_validation + 1
        if len(members) < needed:
            raise UserError(f"the class {label!r} has {len(members)} examples; expected at least {needed}")
        parts = np.split(members, [len(members) - for_test - for_validation, len(members) - for_test])
        for indices, part in zip((train, checked, tested), parts):
            indices.extend(part.tolist())
    first, second, third = (np.sort(np.array(indices, int)) for indices in (train, checked, tested))
    return first, second, third


def three_parts(parts: Mapping[str, Split], labels: Sequence[str]) -> tuple[Split, Split, Split]:
    """Return (train, validation, test) of parts that the user divided completely, partly or not at all.

    Args:
        parts: "all", or "train" and any of "validation" and "test". Missing parts are split off "all" or "train".
        labels: the names of the classes.

    Raises:
        UserError: a class has too few examples.
    """
    items, classes = parts["all"] if "all" in parts else parts["train"]
    shares = {part: 0.0 if part in parts else share for part, share in (("validation", 0.1), ("test", 0.2))}
    rest = dict(zip(("train", "validation", "test"), divide(classes, labels, **shares)))
    train, validation, test = (
        parts[part] if part in parts and part != "train" else take(items, classes, rest[part]) for part in rest
    )
    return train, validation, test


def take(items: Sequence[Any], classes: np.ndarray, chosen: np.ndarray) -> Split:
    """Return the chosen (items, classes).

    Args:
        items, classes: of all examples.
        chosen: indices or a mask.
    """
    indices = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
    return [items[index] for index in indices.tolist()], classes[indices]


def take_parts(items: Sequence[Any], classes: np.ndarray, parts: Sequence[np.ndarray]) -> tuple[Split, Split, Split]:
    """Return (train, validation, test) of three index arrays or masks, such as `divide` returns.

    Args:
        items, classes: of all examples.
        parts: which of them are for training, validation and test.
    """
    train, validation, test = (take(items, classes, part) for part in parts)
    return train, validation, test
