"""The projected LSTM as a use gate: a short-term memory (STM, hidden state) of fewer numbers than the long-term memory."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_gates.layers.arguments import positive_integer
from keras_gates.layers.gates import UseGate


@keras.saving.register_keras_serializable("keras_gates")
class ProjectionUseGate(UseGate):
    """A use gate that projects what it uses to fewer numbers (LSTMP).

        STM_t = [W_p (U_t * V_t) | 0]

    The first `projection` entries of STM are the projected memory and the rest are zeros, because a cell's two memories have one
    width. The numbers are those of the projected LSTM; rows of the recurrent kernels beyond `projection` are never used, so
    the file does not get smaller by them.

    Weights: those of `UseGate` and `projection_kernel (units, projection)`.

    Args:
        units: Positive integer, the size of LTM.
        projection: Positive integer up to `units`, keyword-only: how many entries of STM are used.
        **kwargs: as in `UseGate`.

    Call arguments: those of `UseGate`.

    Raises:
        ValueError: `projection` is not a positive integer up to `units`.

    Source: Sak, Senior and Beaufays, Long Short-Term Memory Recurrent Neural Network Architectures for Large Scale Acoustic
    Modeling, 2014.

    Example:

    >>> layer = keras_gates.GateLSTM(8, use=keras_gates.ProjectionUseGate(8, projection=2))
    """

    def __init__(self, units: int, *args: Any, projection: int, **kwargs: Any) -> None:
        super().__init__(units, *args, **kwargs)
        self.projection = positive_integer(projection, "projection", type(self).__name__)
        if self.projection > self.units:
            raise ValueError(
                f"{type(self).__name__}: `projection` must be at most units={self.units}, got {projection!r}."
            )

    def build(self, event_shape: tuple, stm_shape: tuple | None = None) -> None:
        """Create the weights for events of shape `(batch, features)`."""
        super().build(event_shape)
        self.projection_kernel = self.add_weight(
            name="projection_kernel",
            shape=(self.units, self.projection),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )

    def call(self, event: Any, stm: Any, kept: Any, remembered: Any, factors: dict | None = None) -> Any:
        """Compute STM_t.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        used = super().call(event, stm, kept, remembered, factors)
        return ops.pad(ops.matmul(used, self.projection_kernel), [[0, 0], [0, self.units - self.projection]])

    def get_config(self) -> dict:
        return {**super().get_config(), "projection": self.projection}
