"""The moving average of the weights, which a run validates and keeps instead of the last weights."""

from __future__ import annotations

import keras


class AveragedWeights(keras.callbacks.SwapEMAWeights):
    """Exchanges the weights and their exponential moving average, which the optimizer keeps, around each validation and at the
    end of each epoch, so that what is saved there is the average (Polyak & Juditsky 1992).

    Args:
        resumed: whether the weights come from the end of an epoch, where they were already exchanged.

    Example:

    >>> model.compile(keras.optimizers.Adam(use_ema=True, ema_momentum=0.999), "mse")  # doctest: +SKIP
    >>> model.fit(x, y, callbacks=[AveragedWeights()])  # doctest: +SKIP
    """

    def __init__(self, resumed: bool = False) -> None:
        super().__init__(swap_on_epoch=True)
        self._ema_weights_in_model = resumed
