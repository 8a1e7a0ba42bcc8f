"""The coupled forget gate (CIFG): it forgets as much as is learned."""

from __future__ import annotations

from typing import Any

import keras

from keras_gates.layers.base_gate import Gate


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
        """Compute the forget factor.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        return {"forget": 1 - ignore}

    def call(self, ignore: Any, ltm: Any, factors: dict | None = None) -> Any:
        """Compute what is kept of LTM.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        if factors is None:
            factors = self.factors(ignore)
        return ltm * factors["forget"]
