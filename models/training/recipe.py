"""A training recipe: its default values, and the optimizer that it describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_gates.models.lazy import keras
from keras_gates.models.registry import UserError

DEFAULTS: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "schedule": "constant",
    "warmup": 0.0,
    "optimizer": "adam",
    "weight_decay": 0.0,
    "momentum": 0.0,
    "clipnorm": None,
    "loss": None,
    "metrics": [],
    "monitor": "val_loss",
    "patience": None,
    "linear_start": False,  # a forecast's linear path starts as ridge regression
    "average": 0.0,  # decay per step of a moving average of the weights, which are validated and kept; 0 keeps the last ones
    "fresh_rows": 0.0,  # share of a stateful model's rows that start each batch from an empty state
}


ADAPTABLE = ("epochs", "batch_size", "learning_rate", "patience")
_STEPS = 1200  # updates that a small data set gets at least
_EPOCHS = 300
_BATCHES = 16  # per epoch, by smaller batches
_PATIENCE = 0.25  # of the epochs


def adapted(recipe: Mapping[str, Any], examples: int, free: Sequence[str] = ADAPTABLE) -> dict[str, Any]:
    """Return the recipe for a data set of another size: smaller batches and more epochs for few examples, the learning rate
    scaled by the square root of the batch size, early stopping.

    Args:
        recipe: entries that replace those of `DEFAULTS`.
        examples: in the training part.
        free: the entries that may change; the user's own stay.

    Example:

    >>> small = adapted({"epochs": 40, "batch_size": 64, "learning_rate": 4e-3}, examples=84)
    >>> small["batch_size"], small["epochs"], small["patience"]
    (8, 110, 27)
    """
    new = {**DEFAULTS, **recipe}
    if "batch_size" in free:
        smaller = 2 ** int(np.log2(max(1, examples / _BATCHES)))
        new["batch_size"] = int(min(new["batch_size"], max(8, smaller)))
    if "learning_rate" in free:
        new["learning_rate"] *= (new["batch_size"] / {**DEFAULTS, **recipe}["batch_size"]) ** 0.5
    if "epochs" in free:
        per_epoch = -(-examples // new["batch_size"])
        new["epochs"] = max(new["epochs"], min(_EPOCHS, -(-_STEPS // per_epoch)))
    if "patience" in free:
        new["patience"] = max(new["patience"] or 0, 10, int(_PATIENCE * new["epochs"]))
    return new


def optimizer(recipe: Mapping[str, Any], steps: int | None) -> Any:
    """Return the recipe's `keras.optimizers.Optimizer`.

    Args:
        recipe: with every entry of `DEFAULTS`.
        steps: number of all training steps; None if it is not known, which makes the learning rate constant.

    Raises:
        UserError: unknown optimizer or schedule.
    """
    rate = learning_rate(recipe, steps)
    shared = {"clipnorm": recipe["clipnorm"], **decays(recipe)}
    if recipe["optimizer"] == "adam":
        return keras.optimizers.Adam(rate, **shared)
    if recipe["optimizer"] == "sgd":
        return keras.optimizers.SGD(rate, recipe["momentum"], **shared)
    raise UserError(f'optimizer must be "adam" or "sgd", not {recipe["optimizer"]!r}')


def decays(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of any Keras optimizer for decoupled weight decay and for the moving average of the weights.

    Args:
        recipe: with "weight_decay" and "average".

    Raises:
        UserError: "average" is no decay per step.
    """
    average = recipe.get("average", 0.0)
    if not 0 <= average < 1:
        raise UserError(
            f"average is the decay per step of a moving average, from 0 to below 1, not {average!r}; 0.999 is usual"
        )
    moving = {"use_ema": True, "ema_momentum": average} if average else {}
    return {"weight_decay": recipe.get("weight_decay") or None, **moving}


def learning_rate(recipe: Mapping[str, Any], steps: int | None) -> Any:
    """Return the recipe's learning rate: a number, or a schedule with a linear warm-up from zero over a share of all steps,
    then constant or with cosine decay to zero.

    Args:
        recipe: with "learning_rate", "schedule" and "warmup".
        steps: number of all training steps; None if it is not known, which makes the learning rate constant.

    Raises:
        UserError: unknown schedule.
    """
    rate, schedule = recipe["learning_rate"], recipe["schedule"]
    if schedule not in ("constant", "cosine"):
        raise UserError(f'schedule must be "constant" or "cosine", not {schedule!r}')
    if steps is None or (schedule == "constant" and not recipe["warmup"]):
        return rate
    warmup_steps = round(recipe["warmup"] * steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup_steps else rate,
        max(1, steps - warmup_steps),
        alpha=0.0 if schedule == "cosine" else 1.0,
        warmup_target=rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
