"""Rows of a stateful model that start from an empty state in some batches."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_gates.models.registry import UserError


class FreshRows(keras.callbacks.Callback):
    """Clears the states of random rows before every training batch.

    A model whose states are carried over through the whole training hardly ever sees an empty one, and predicts the start of a
    short text badly. Which rows are cleared follows from epoch and batch, so that a resumed run ends with the same weights.

    Args:
        share: of the rows, from 0 to 1.

    Raises:
        UserError: `share` is no such number.

    Example:

    >>> model.fit(batches, shuffle=False, callbacks=[FreshRows(0.5)])  # doctest: +SKIP
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise UserError(f"fresh_rows is a share of the rows, from 0 to 1, not {share!r}; 0.5 clears half of them")
        self.share, self.epoch = share, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remember the epoch, by which the rows are drawn."""
        self.epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Clear the rows."""
        model = (
            self.model
        )  # on JAX the access copies the states from the training loop, which then takes them from the model
        for layer in model.layers:
            for state in keras.tree.flatten(layer.states) if getattr(layer, "stateful", False) else ():
                kept = np.random.default_rng((self.epoch, batch)).random((state.shape[0], 1)) >= self.share
                state.assign(state * keras.ops.cast(kept, state.dtype))
