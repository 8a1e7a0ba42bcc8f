"""Stops training at NaN and infinity, and names the place where they occur."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_gates.models.lazy import tf
from keras_gates.models.registry import UserError

MARK = "a non-finite value"


def checked(batches: Any) -> Any:
    """Return the same `tf.data.Dataset`; it raises an error that contains `MARK` at a batch with NaN or infinity."""

    def check(*batch: Any) -> Any:
        return tf.nest.map_structure(
            lambda t: tf.debugging.assert_all_finite(t, MARK) if t.dtype.is_floating else t, batch
        )

    return batches.map(check, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def place(batches: Iterable[Any]) -> str | None:
    """Return where the first non-finite value is, in words: batch, example, step and feature, counted from 0; None if all
    values are finite.

    Args:
        batches: (x, y) or (x, y, weight), as NumPy.
    """
    for number, batch in enumerate(batches):
        for what, part in zip(("x", "y", "the weights"), batch):
            for name, array in _named(part, what):
                if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
                    first = np.argwhere(~np.isfinite(array))[0]
                    value, inner = array[tuple(first)], first[1:]
                    steps = f", step {', '.join(map(str, inner[:-1]))}" if len(inner) > 1 else ""
                    feature = f", feature {inner[-1]}" if len(inner) else ""
                    return f"batch {number}, example {first[0]}{steps}{feature} of {name} is {value}"
    return None


def explain(train: Iterable[Any], validation: Iterable[Any], epoch: int) -> str:
    """Return the error message for data that `checked` has stopped.

    Args:
        train, validation: the batches of the epoch, read again as NumPy.
        epoch: counted from 0.
    """
    for split, batches in (("training", train), ("validation", validation)):
        if where := place(batches):
            return (
                f"epoch {epoch + 1}: the {split} data contain {MARK}: {where}. Remove the example or replace the value"
            )
    return f"epoch {epoch + 1}: the data contained {MARK}, but not when they were read again: the data differ between readings"


def _named(part: Any, what: str) -> list[tuple[str, np.ndarray]]:
    if isinstance(part, dict):
        return [(f"{what}[{key!r}]", np.asarray(value)) for key, value in part.items()]
    if isinstance(part, tuple | list):
        return [(f"{what}[{key}]", np.asarray(value)) for key, value in enumerate(part)]
    return [(what, np.asarray(part))]


class FiniteLoss(keras.callbacks.Callback):
    """Stops training at the first loss that is NaN or infinite; the last saved state of the run stays."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remember the epoch for the message."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Check the training loss."""
        self._check("loss", logs, f"batch {batch}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check the validation loss."""
        self._check("val_loss", logs, "validation")

    def _check(self, name: str, logs: Any, when: str) -> None:
        value = float((logs or {}).get(name, 0.0))
        if not np.isfinite(value):
            raise UserError(
                f"epoch {self.epoch + 1}, {when}: {name} is {value}, although the data are finite. "
                "Try a lower --learning-rate or --set clipnorm=1"
            )
