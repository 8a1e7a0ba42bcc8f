"""Peephole gates: each also sees the long-term memory (LTM, cell state), by one weight per unit."""

from __future__ import annotations

from typing import Any

import keras

from keras_gates.layers.base_gate import WeightedGate
from keras_gates.layers.gates import ForgetGate, LearnGate, UseGate


class _Peephole(WeightedGate):
    """A weighted gate that also owns `peephole (units,)`, zero at first."""

    def build(self, event_shape: tuple, stm_shape: tuple | None = None) -> None:
        super().build(event_shape)
        self.peephole = self.add_weight(
            name="peephole", shape=(self.units,), initializer="zeros", regularizer=self.recurrent_regularizer
        )


@keras.saving.register_keras_serializable("keras_gates")
class PeepholeLearnGate(_Peephole, LearnGate):
    """A learn gate whose ignore factor also sees the long-term memory (LTM, cell state).

        i_t = sigmoid(W_i [STM_{t-1}, E_t] + p_i * LTM_{t-1} + b_i)
        learned = N_t * i_t

    Weights: those of `LearnGate` and `peephole (units,)`, zero at first. Arguments as in
    `keras_gates.layers.base_gate.WeightedGate`. Call arguments: `event (batch, features)`, `stm`, `ltm (batch, units)`.

    Source: Gers and Schmidhuber, Recurrent Nets that Time and Count, 2000.

    Example:

    >>> layer = keras_gates.GateLSTM(4, learn=keras_gates.PeepholeLearnGate(4))
    """

    def factors(
        self, event: Any, stm: Any, ltm: Any, candidate_event: Any = None, candidate_stm: Any = None
    ) -> dict[str, Any]:
        """Compute the ignore factor and the candidate.

        Returns:
            By name, tensors `(batch, units)` of the compute dtype.
        """
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
        """Compute what is learned.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        if factors is None:
            factors = self.factors(event, stm, ltm, candidate_event, candidate_stm)
        return factors["candidate"] * factors["ignore"]


@keras.saving.register_keras_serializable("keras_gates")
class PeepholeForgetGate(_Peephole, ForgetGate):
    """A forget gate that also sees the long-term memory (LTM, cell state) it is to forget.

        f_t  = sigmoid(W_f [STM_{t-1}, E_t] + p_f * LTM_{t-1} + b_f)
        kept = LTM_{t-1} * f_t

    Weights: those of `ForgetGate` and `peephole (units,)`, zero at first. Arguments as in
    `keras_gates.layers.base_gate.WeightedGate`. Call arguments: `event (batch, features)`, `stm`, `ltm (batch, units)`.

    Source: Gers and Schmidhuber, Recurrent Nets that Time and Count, 2000.

    Example:

    >>> layer = keras_gates.GateLSTM(4, forget=keras_gates.PeepholeForgetGate(4))
    """

    def factors(self, event: Any, stm: Any, ltm: Any) -> dict[str, Any]:
        """Compute the forget factor.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        return {"forget": self.recurrent_activation(self.project(event, stm) + ltm * self.peephole)}

    def call(self, event: Any, stm: Any, ltm: Any, factors: dict | None = None) -> Any:
        """Compute what is kept of LTM.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        if factors is None:
            factors = self.factors(event, stm, ltm)
        return ltm * factors["forget"]


@keras.saving.register_keras_serializable("keras_gates")
class PeepholeUseGate(_Peephole, UseGate):
    """A use gate that also sees the new long-term memory (LTM, cell state).

        V_t = sigmoid(W_v [STM_{t-1}, E_t] + p_v * LTM_t + b_v)
        STM_t = U_t * V_t

    Weights: those of `UseGate` and `peephole (units,)`, zero at first. Arguments as in `UseGate`. Call arguments:
    `event (batch, features)`, `stm`, `kept`, `remembered (batch, units)`.

    Source: Gers and Schmidhuber, Recurrent Nets that Time and Count, 2000.

    Example:

    >>> layer = keras_gates.GateLSTM(4, use=keras_gates.PeepholeUseGate(4))
    """

    def factors(self, event: Any, stm: Any, kept: Any, remembered: Any) -> dict[str, Any]:
        """Compute the use factor V and U.

        Returns:
            By name, tensors `(batch, units)` of the compute dtype.
        """
        use = self.recurrent_activation(self.project(event, stm) + remembered * self.peephole)
        return {"use": use, "U": self.activation(self.source(kept, remembered))}
