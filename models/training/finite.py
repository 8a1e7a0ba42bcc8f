"""NaN and infinity, caught where they come in, with the place named."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras_gates.models.registry import UserError

MARK = "not a finite number"


def checked(batches: Any) -> Any:
    """The same `tf.data.Dataset`, which stops with an error at a batch that holds NaN or infinity; `place` finds it."""
    import tensorflow as tf

    def check(*batch: Any) -> Any:
        return tf.nest.map_structure(
            lambda t: tf.debugging.assert_all_finite(t, MARK) if t.dtype.is_floating else t, batch
        )

    return batches.map(check, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def place(batches: Any) -> str | None:
    """Where the first number is that is not finite, in words: batch, example and feature, counted from 0; None where
    all are.

    Args:
        batches: of (x, y) or (x, y, weight), as NumPy.
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


def sentence(train: Any, validation: Any, epoch: int) -> str:
    """What to tell the user about data that `checked` has stopped, given the batches of the epoch once more."""
    for split, batches in (("training", train), ("validation", validation)):
        found = place(batches)
        if found:
            return (
                f"the {split} data of epoch {epoch + 1} hold {MARK}: {found}. Remove the example or put a number there"
            )
    return f"the data of epoch {epoch + 1} held {MARK}, but do not hold it now: they change from reading to reading"


def _named(part: Any, what: str) -> list[tuple[str, np.ndarray]]:
    if isinstance(part, dict):
        return [(f"{what}[{key!r}]", np.asarray(value)) for key, value in part.items()]
    if isinstance(part, tuple | list):
        return [(f"{what}[{key}]", np.asarray(value)) for key, value in enumerate(part)]
    return [(what, np.asarray(part))]


class FiniteLoss(keras.callbacks.Callback):
    """Stops the training at the first loss that is NaN or infinite; the run's last state stays as it was."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._check("loss", logs, f"batch {batch}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._check("val_loss", logs, "validation")

    def _check(self, name: str, logs: Any, when: str) -> None:
        value = float((logs or {}).get(name, 0.0))
        if not np.isfinite(value):
            raise UserError(
                f"epoch {self.epoch + 1}, {when}: {name} is {value}, though the data are finite. "
                "Try a lower --learning-rate or --set clipnorm=1"
            )
