"""Splits examples into train, validation and test, reproducibly."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_gates.models.registry import UserError

Split = tuple[list[Any], np.ndarray]
Parts = tuple[np.ndarray, np.ndarray, np.ndarray]
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


def three_parts(
    parts: Mapping[str, Split], labels: Sequence[str], groups: Sequence[Any] | None = None, split: str = "random"
) -> tuple[tuple[Split, Split, Split], tuple[np.ndarray, np.ndarray, np.ndarray] | None]:
    """Return (train, validation, test) of parts that the user divided completely, partly or not at all.

    Args:
        parts: "all", or "train" and any of "validation" and "test". Missing parts are split off "all" or "train".
        labels: the names of the classes.
        groups: of the examples of "all": no group is in two parts; None is no groups.
        split: "random", or "time" for the first 70 %, the next 10 % and the last 20 % of each class, in the order of the file.

    Returns:
        The parts, and the indices of "all" that they consist of; None if the user divided.

    Raises:
        UserError: a class has too few examples, or groups or an order for data that are already divided.
    """
    if split not in ("random", "time"):
        raise UserError(f'the split must be "random" or "time", not {split!r}')
    if "all" in parts:
        items, classes = parts["all"]
        indices = _divided(classes, labels, groups, split)
        return take_parts(items, classes, indices), indices
    if groups is not None or split != "random":
        raise UserError("the data are already divided into train, validation and test; leave --group and --split out")
    items, classes = parts["train"]
    shares = {part: 0.0 if part in parts else share for part, share in (("validation", 0.1), ("test", 0.2))}
    rest = dict(zip(("train", "validation", "test"), divide(classes, labels, **shares)))
    train, validation, test = (
        parts[part] if part in parts and part != "train" else take(items, classes, rest[part]) for part in rest
    )
    return (train, validation, test), None


def _divided(classes: np.ndarray, labels: Sequence[str], groups: Sequence[Any] | None, split: str) -> Parts:
    if groups is not None and split == "time":
        raise UserError("the data can be divided by groups or by time, not by both; leave out --group or --split time")
    if groups is not None:
        return by_group(classes, labels, groups)
    return by_time(classes, labels) if split == "time" else divide(classes, labels)


def by_group(classes: np.ndarray, labels: Sequence[str], groups: Sequence[Any]) -> Parts:
    """Return the indices of the training, validation and test examples such that no group (a person, a device, a day) is in two
    parts: about 70, 10 and 20 %, by scikit-learn's `StratifiedGroupKFold`.

    Args:
        classes: (examples,), indices into labels.
        labels: the names of the classes.
        groups: of the examples.

    Raises:
        UserError: fewer than three groups, or a class that only one part would have.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # takes a second: only where it is needed

    count = len(set(groups))
    if count < 3:
        raise UserError(f"there are {count} groups; expected at least 3, one each for training, validation and test")
    folds = min(10, count)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class with fewer examples than folds: counted below
        held_out = [test for _, test in splitter.split(np.zeros(len(classes)), classes, np.asarray(groups))]
    for_test = max(1, round(0.2 * folds))
    test, validation = np.concatenate(held_out[:for_test]), held_out[for_test]
    train = np.concatenate(held_out[for_test + 1 :])
    for index, label in enumerate(labels):
        if not (classes[train] == index).any():
            raise UserError(f"no group of the training part has the class {label!r}; it needs examples in more groups")
    return np.sort(train), np.sort(validation), np.sort(test)


def by_time(classes: np.ndarray, labels: Sequence[str]) -> Parts:
    """Return the indices of the training, validation and test examples: of each class the first 70 %, the next 10 % and the last
    20 %, in their order.

    Args:
        classes: (examples,), indices into labels.
        labels: the names of the classes.

    Raises:
        UserError: a class with fewer than three examples.
    """
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for index, label in enumerate(labels):
        members = np.flatnonzero(classes == index)
        if len(members) < 3:
            raise UserError(f"the class {label!r} has {len(members)} examples; expected at least 3")
        for_test, for_validation = max(1, round(0.2 * len(members))), max(1, round(0.1 * len(members)))
        edges = [len(members) - for_test - for_validation, len(members) - for_test]
        for part, rows in zip(parts, np.split(members, edges)):
            part.extend(rows.tolist())
    train, validation, test = (np.sort(np.array(part, int)) for part in parts)
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
