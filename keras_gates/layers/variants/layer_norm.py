"""Layer-normalised gates: the projections of event and STM are normalised before they are added."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_gates._arguments import real
from keras_gates.layers.base_gate import WeightedGate
from keras_gates.layers.gates import ForgetGate, LearnGate, UseGate


def normalise(x: Any, units: int, epsilon: float) -> Any:
    """Return `x`, `(batch, n * units)`, with each block of `units` columns at mean 0 and variance 1 over its units."""
    blocks = ops.reshape(x, (-1, x.shape[-1] // units, units))
    mean, variance = ops.moments(blocks, axes=-1, keepdims=True)
    return ops.reshape((blocks - mean) * ops.rsqrt(variance + epsilon), (-1, x.shape[-1]))


class _LayerNormalised(WeightedGate):
    """A weighted gate that normalises its two projections before it adds them.

        project(E, STM) = g_e * LN(E @ kernel) + g_s * LN(STM @ recurrent_kernel) + bias
        LN(z) = (z - mean(z)) / sqrt(variance(z) + epsilon)         over the units of one factor

    Args: those of `WeightedGate`, then `epsilon`, keyword-only, added to the variance (default 1e-3).
    """

    def __init__(self, units: int, *args: Any, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(units, *args, **kwargs)
        self.epsilon = real(epsilon, "epsilon", type(self).__name__)

    def build(self, event_shape: tuple, stm_shape: tuple | None = None) -> None:
        super().build(event_shape)
        width = (len(self.blocks) * self.units,)
        self.event_gain = self.add_weight(name="event_gain", shape=width, initializer="ones")
        self.stm_gain = self.add_weight(name="stm_gain", shape=width, initializer="ones")

    def project(self, event: Any, stm: Any, columns: slice = slice(None)) -> Any:
        """Return the two normalised projections and the bias, shape `(batch, n * units)`, or these columns of it."""
        of_event = normalise(ops.matmul(event, self.kernel[:, columns]), self.units, self.epsilon)
        of_stm = normalise(ops.matmul(stm, self.recurrent_kernel[:, columns]), self.units, self.epsilon)
        z = of_event * self.event_gain[columns] + of_stm * self.stm_gain[columns]
        return z if self.bias is None else z + self.bias[columns]

    def get_config(self) -> dict:
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("keras_gates")
class LayerNormLearnGate(_LayerNormalised, LearnGate):
    """A learn gate with layer-normalised projections, one normalisation per factor.

        i_t = sigmoid(g * LN(E_t @ kernel) + g' * LN(STM_{t-1} @ recurrent_kernel) + b)     N_t likewise with tanh

    Weights: those of `LearnGate`, `event_gain (2 * units,)`, `stm_gain (2 * units,)`. Args: those of
    `keras_gates.layers.base_gate.WeightedGate` and `epsilon`.

    Source: Ba, Kiros and Hinton, Layer Normalization, 2016 (equations 20 to 22; here each factor is normalised by itself).

    Example:

    >>> layer = keras_gates.GateLSTM(4, learn=keras_gates.LayerNormLearnGate(4))
    """


@keras.saving.register_keras_serializable("keras_gates")
class LayerNormForgetGate(_LayerNormalised, ForgetGate):
    """A forget gate with layer-normalised projections.

        f_t = sigmoid(g * LN(E_t @ kernel) + g' * LN(STM_{t-1} @ recurrent_kernel) + b)

    Weights: those of `ForgetGate`, `event_gain (units,)`, `stm_gain (units,)`. Args: those of
    `keras_gates.layers.base_gate.WeightedGate` and `epsilon`.

    Source: Ba, Kiros and Hinton, Layer Normalization, 2016.

    Example:

    >>> layer = keras_gates.GateLSTM(4, forget=keras_gates.LayerNormForgetGate(4))
    """


@keras.saving.register_keras_serializable("keras_gates")
class LayerNormUseGate(_LayerNormalised, UseGate):
    """A use gate with layer-normalised projections that also normalises the long-term memory it reads.

        V_t = sigmoid(g * LN(E_t @ kernel) + g' * LN(STM_{t-1} @ recurrent_kernel) + b)
        U_t = tanh(g'' * LN(LTM_t) + b'')               (article form: of W_u kept + b_u instead of LTM_t)

    Weights: those of `UseGate`, `event_gain (units,)`, `stm_gain (units,)`, `memory_gain (units,)`, `memory_bias (units,)`.
    Args: those of `UseGate` and `epsilon`.

    Source: Ba, Kiros and Hinton, Layer Normalization, 2016.

    Example:

    >>> layer = keras_gates.GateLSTM(4, use=keras_gates.LayerNormUseGate(4))
    """

    def build(self, event_shape: tuple, stm_shape: tuple | None = None) -> None:
        """Create the weights for events of shape `(batch, features)`."""
        super().build(event_shape)
        self.memory_gain = self.add_weight(name="memory_gain", shape=(self.units,), initializer="ones")
        self.memory_bias = self.add_weight(name="memory_bias", shape=(self.units,), initializer="zeros")

    def source(self, kept: Any, remembered: Any) -> Any:
        """Compute the argument of U's activation.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        memory = normalise(super().source(kept, remembered), self.units, self.epsilon)
        return memory * self.memory_gain + self.memory_bias
