"""Gates from the literature to put in the place of the plain ones: peephole, coupled forget (CIFG), layer-normalised."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_gates.layers.gates import ForgetGate, Gate, LearnGate, UseGate, WeightedGate


class _Peephole(WeightedGate):
    """A weighted gate that also owns `peephole (units,)`, drawn like a kernel of one column a unit."""

    def build(self, event_shape: tuple, stm_shape: tuple | None = None) -> None:
        super().build(event_shape)
        self.peephole = self.add_weight(
            name="peephole", shape=(self.units,), initializer="zeros", regularizer=self.recurrent_regularizer
        )


@keras.saving.register_keras_serializable("keras_gates")
class PeepholeLearnGate(_Peephole, LearnGate):
    """A learn gate whose ignore factor sees the long-term memory.

        i_t = sigmoid(W_i [STM_{t-1}, E_t] + p_i * LTM_{t-1} + b_i)
        learned = N_t * i_t

    Weights: those of `LearnGate` and `peephole (units,)`, zero at first. Arguments as in `keras_gates.layers.gates.WeightedGate`.
    Call arguments: `event (batch, features)`, `stm`, `ltm (batch, units)`.

    Source: Gers and Schmidhuber, Recurrent Nets that Time and Count, 2000.

    Example:

    >>> layer = keras_gates.GateLSTM(4, learn=keras_gates.PeepholeLearnGate(4))
    """

    def factors(
        self, event: Any, stm: Any, ltm: Any, candidate_event: Any = None, candidate_stm: Any = None
    ) -> dict[str, Any]:
        """The ignore factor and the candidate, each `(batch, units)`."""
        seen_by_candidate = (
            event if candidate_event is None else candidate_event,
            stm if candidate_stm is None else candidate_stm,
        )
        ignore = self.project(event, stm, slice(None, self.units)) + ltm * self.peephole
        candidate = self.project(*seen_by_candidate, slice(self.units, None))
        return {"ignore": self.recurrent_activation(ignore), "candidate": self.activation(candidate)}

    def call(
        self,
        event: Any,
        stm: Any,
        ltm: Any,
        candidate_event: Any = None,
        candidate_stm: Any = None,
        factors: dict | None = None,
    ) -> Any:
        """What is learned, `(batch, units)`."""
        if factors is None:
            factors = self.factors(event, stm, ltm, candidate_event, candidate_stm)
        return factors["candidate"] * factors["ignore"]


@keras.saving.register_keras_serializable("keras_gates")
class PeepholeForgetGate(_Peephole, ForgetGate):
    """A forget gate that sees the long-term memory it is to forget.

        f_t  = sigmoid(W_f [STM_{t-1}, E_t] + p_f * LTM_{t-1} + b_f)
        kept = LTM_{t-1} * f_t

    Weights: those of `ForgetGate` and `peephole (units,)`, zero at first. Arguments as in
    `keras_gates.layers.gates.WeightedGate`. Call arguments: `event (batch, features)`, `stm`, `ltm (batch, units)`.

    Source: Gers and Schmidhuber, Recurrent Nets that Time and Count, 2000.

    Example:

    >>> layer = keras_gates.GateLSTM(4, forget=keras_gates.PeepholeForgetGate(4))
    """

    def factors(self, event: Any, stm: Any, ltm: Any) -> dict[str, Any]:
        """The forget factor, `(batch, units)`."""
        return {"forget": self.recurrent_activation(self.project(event, stm) + ltm * self.peephole)}

    def call(self, event: Any, stm: Any, ltm: Any, factors: dict | None = None) -> Any:
        """What is kept of LTM, `(batch, units)`."""
        if factors is None:
            factors = self.factors(event, stm, ltm)
        return ltm * factors["forget"]


@keras.saving.register_keras_serializable("keras_gates")
class PeepholeUseGate(_Peephole, UseGate):
    """A use gate that sees the new long-term memory.

        V_t = sigmoid(W_v [STM_{t-1}, E_t] + p_v * LTM_t + b_v)
        STM_t = U_t * V_t

    Weights: those of `UseGate` and `peephole (units,)`, zero at first. Arguments as in `UseGate`. Call arguments:
    `event (batch, features)`, `stm`, `kept`, `remembered (batch, units)`.

    Source: Gers and Schmidhuber, Recurrent Nets that Time and Count, 2000.

    Example:

    >>> layer = keras_gates.GateLSTM(4, use=keras_gates.PeepholeUseGate(4))
    """

    def factors(self, event: Any, stm: Any, kept: Any, remembered: Any) -> dict[str, Any]:
        """The use factor V and U, each `(batch, units)`."""
        use = self.recurrent_activation(self.project(event, stm) + remembered * self.peephole)
        return {"use": use, "U": self.activation(self.source(kept, remembered))}


@keras.saving.register_keras_serializable("keras_gates")
class CoupledForgetGate(Gate):
    """A forget gate without weights: it forgets exactly as much as is learned (CIFG).

        f_t  = 1 - i_t
        kept = LTM_{t-1} * f_t

    Args: `units`. Call arguments: `ignore`, `ltm`, each `(batch, units)`.

    Source: Greff et al., LSTM: A Search Space Odyssey, 2015.

    Example:

    >>> layer = keras_gates.GateLSTM(4, forget=keras_gates.CoupledForgetGate(4))
    """

    def factors(self, ignore: Any) -> dict[str, Any]:
        """The forget factor, `(batch, units)`."""
        return {"forget": 1 - ignore}

    def call(self, ignore: Any, ltm: Any, factors: dict | None = None) -> Any:
        """What is kept of LTM, `(batch, units)`."""
        if factors is None:
            factors = self.factors(ignore)
        return ltm * factors["forget"]


def normalise(x: Any, units: int, epsilon: float) -> Any:
    """Each block of `units` columns brought to mean 0 and variance 1 over its units: `(batch, n * units)` -> the same."""
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
        self.epsilon = epsilon

    def build(self, event_shape: tuple, stm_shape: tuple | None = None) -> None:
        super().build(event_shape)
        width = (len(self.blocks) * self.units,)
        self.event_gain = self.add_weight(name="event_gain", shape=width, initializer="ones")
        self.stm_gain = self.add_weight(name="stm_gain", shape=width, initializer="ones")

    def project(self, event: Any, stm: Any, columns: slice = slice(None)) -> Any:
        """The two normalised projections and the bias, shape `(batch, n * units)`, or these columns of it."""
        of_event = normalise(ops.matmul(event, self.kernel[:, columns]), self.units, self.epsilon)
        of_stm = normalise(ops.matmul(stm, self.recurrent_kernel[:, columns]), self.units, self.epsilon)
        z = of_event * self.event_gain[columns] + of_stm * self.stm_gain[columns]
        return z if self.bias is None else z + self.bias[columns]

    def get_config(self) -> dict:
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("keras_gates")
class LayerNormLearnGate(_LayerNormalised, LearnGate):
    """A learn gate with layer-normalised projections, one normalisation a factor.

        i_t = sigmoid(g * LN(E_t @ kernel) + g' * LN(STM_{t-1} @ recurrent_kernel) + b)     N_t likewise with tanh

    Weights: those of `LearnGate`, `event_gain (2 * units,)`, `stm_gain (2 * units,)`. Args: those of
    `keras_gates.layers.gates.WeightedGate` and `epsilon`.

    Source: Ba, Kiros and Hinton, Layer Normalization, 2016 (equations 20 to 22; here each factor is normalised by itself).

    Example:

    >>> layer = keras_gates.GateLSTM(4, learn=keras_gates.LayerNormLearnGate(4))
    """


@keras.saving.register_keras_serializable("keras_gates")
class LayerNormForgetGate(_LayerNormalised, ForgetGate):
    """A forget gate with layer-normalised projections.

        f_t = sigmoid(g * LN(E_t @ kernel) + g' * LN(STM_{t-1} @ recurrent_kernel) + b)

    Weights: those of `ForgetGate`, `event_gain (units,)`, `stm_gain (units,)`. Args: those of
    `keras_gates.layers.gates.WeightedGate` and `epsilon`.

    Source: Ba, Kiros and Hinton, Layer Normalization, 2016.

    Example:

    >>> layer = keras_gates.GateLSTM(4, forget=keras_gates.LayerNormForgetGate(4))
    """


@keras.saving.register_keras_serializable("keras_gates")
class LayerNormUseGate(_LayerNormalised, UseGate):
    """A use gate with layer-normalised projections that also normalises the long-term memory it reads.

        V_t = sigmoid(g * LN(E_t @ kernel) + g' * LN(STM_{t-1} @ recurrent_kernel) + b)
        U_t = tanh(g'' * LN(LTM_t) + b'')               (article form: of W_u kept + b_u in the place of LTM_t)

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
        """What U is the activation of, `(batch, units)`."""
        memory = normalise(super().source(kept, remembered), self.units, self.epsilon)
        return memory * self.memory_gain + self.memory_bias
