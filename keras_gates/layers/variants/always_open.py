"""Gates that stand open: the no-input-gate, no-forget-gate and no-output-gate LSTMs."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_gates.layers.base_gate import Gate, WeightedGate
from keras_gates.layers.gates import UseGate


@keras.saving.register_keras_serializable("keras_gates")
class OpenLearnGate(WeightedGate):
    """A learn gate that ignores nothing (NIG: no input gate).

        N_t = tanh(W_n [STM_{t-1}, E_t] + b_n)          candidate
        i_t = 1
        learned = N_t

    Weights: `kernel (features, units)`, `recurrent_kernel (units, units)`, `bias (units,)`. Arguments as in
    `keras_gates.layers.base_gate.WeightedGate`. Call arguments: `event (batch, features)`, `stm (batch, units)`.

    Source: Greff et al., LSTM: A Search Space Odyssey, 2015.

    Example:

    >>> layer = keras_gates.GateLSTM(4, learn=keras_gates.OpenLearnGate(4))
    """

    blocks = (2,)

    def factors(self, event: Any, stm: Any) -> dict[str, Any]:
        """Compute the ignore factor, ones, and the candidate.

        Returns:
            By name, tensors `(batch, units)` of the compute dtype.
        """
        candidate = self.activation(self.project(event, stm))
        return {"ignore": ops.ones_like(candidate), "candidate": candidate}

    def call(self, event: Any, stm: Any, factors: dict | None = None) -> Any:
        """Compute what is learned.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        if factors is None:
            factors = self.factors(event, stm)
        return factors["candidate"] * factors["ignore"]


@keras.saving.register_keras_serializable("keras_gates")
class OpenForgetGate(Gate):
    """A forget gate that forgets nothing (NFG: no forget gate), as in the first LSTM.

        f_t  = 1
        kept = LTM_{t-1}

    No weights. Args: `units`. Call arguments: `ltm (batch, units)`.

    Source: Hochreiter and Schmidhuber, Long Short-Term Memory, 1997; Greff et al., LSTM: A Search Space Odyssey, 2015.

    Example:

    >>> layer = keras_gates.GateLSTM(4, forget=keras_gates.OpenForgetGate(4))
    """

    def factors(self, ltm: Any) -> dict[str, Any]:
        """Compute the forget factor, ones.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        return {"forget": ops.ones_like(ltm)}

    def call(self, ltm: Any, factors: dict | None = None) -> Any:
        """Compute what is kept of LTM.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        return ltm if factors is None else ltm * factors["forget"]


@keras.saving.register_keras_serializable("keras_gates")
class OpenUseGate(UseGate):
    """A use gate that uses everything (NOG: no output gate).

        V_t = 1
        STM_t = U_t          standard: U_t = tanh(LTM_t)        article: U_t = tanh(W_u kept + b_u)

    Weights: none in the standard form; `kept_kernel (units, units)` and `kept_bias (units,)` in the article form.
    Arguments as in `UseGate`. Call arguments: `kept`, `remembered`, each `(batch, units)`.

    Source: Greff et al., LSTM: A Search Space Odyssey, 2015.

    Example:

    >>> layer = keras_gates.GateLSTM(4, use=keras_gates.OpenUseGate(4))
    """

    def build(self, kept_shape: tuple, remembered_shape: tuple | None = None) -> None:
        """Create the weights of the article form."""
        self.build_source()

    def factors(self, kept: Any, remembered: Any) -> dict[str, Any]:
        """Compute the use factor, ones, and U.

        Returns:
            By name, tensors `(batch, units)` of the compute dtype.
        """
        used = self.activation(self.source(kept, remembered))
        return {"use": ops.ones_like(used), "U": used}

    def call(self, kept: Any, remembered: Any, factors: dict | None = None) -> Any:
        """Compute STM_t.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        if factors is None:
            factors = self.factors(kept, remembered)
        return factors["U"] * factors["use"]
