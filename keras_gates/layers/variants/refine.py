"""The refine gate: a second gate moves the forget factor towards 0 or 1, where a sigmoid alone hardly learns."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_gates.layers.gates import ForgetGate
from keras_gates.layers.initializers import joint_columns


@keras.saving.register_keras_serializable("keras_gates")
class RefineForgetGate(ForgetGate):
    """A forget gate whose factor is refined by a second gate, and that starts with forget factors spread evenly over 0 to 1.

        f_t  = sigmoid(W_f [STM_{t-1}, E_t] + b_f)
        r_t  = sigmoid(W_r [STM_{t-1}, E_t] + b_r)                  refine factor
        g_t  = r_t * (1 - (1 - f_t)^2) + (1 - r_t) * f_t^2          forget factor
        kept = LTM_{t-1} * g_t

    Near 0 and 1 the gradient of g is larger than that of a sigmoid, so memories of hundreds of time steps are learned. In the
    publication the ignore factor is 1 - g; here the learn gate keeps its own.

    Weights: those of `ForgetGate`, `refine_kernel (features, units)`, `refine_recurrent_kernel (units, units)`,
    `refine_bias (units,)`. Arguments as in `keras_gates.layers.base_gate.WeightedGate`; with `unit_forget_bias` the forget
    factors start at 0.5/units, 1.5/units, …, and b_r = -b_f; without it both biases start as `bias_initializer` says.

    Call arguments: those of `ForgetGate`.

    Source: Gu et al., Improving the Gating Mechanism of Recurrent Neural Networks, 2020 (equations 4 to 9, "UR").

    Example:

    >>> layer = keras_gates.GateLSTM(4, forget=keras_gates.RefineForgetGate(4))
    """

    def build(self, event_shape: tuple, stm_shape: tuple | None = None) -> None:
        """Create the weights for events of shape `(batch, features)`."""
        super().build(event_shape)
        # Other columns of the joint kernel than the forget gate's: the same initializer draws the same numbers again.
        self.refine_kernel = self.add_weight(
            name="refine_kernel",
            shape=(event_shape[-1], self.units),
            initializer=joint_columns(self.kernel_initializer, (0,), self.units),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.refine_recurrent_kernel = self.add_weight(
            name="refine_recurrent_kernel",
            shape=(self.units, self.units),
            initializer=joint_columns(self.recurrent_initializer, (0,), self.units),
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )
        self.refine_bias = None
        if self.use_bias:
            self.refine_bias = self.add_bias("refine_bias", self.bias_initializer, self.units)

    def add_bias(self, name: str, initializer: Any, width: int) -> Any:
        """Return a new weight of shape `(width,)`; see the class for what it starts with."""
        if self.unit_forget_bias:
            forget = (np.arange(width) + 0.5) / width
            logits = np.log(forget / (1 - forget)) * (-1 if name == "refine_bias" else 1)
            initializer = lambda shape, dtype=None: keras.ops.cast(keras.ops.convert_to_tensor(logits), dtype)  # noqa: E731
        return super().add_bias(name, initializer, width)

    def factors(self, event: Any, stm: Any) -> dict[str, Any]:
        """Compute the refined forget factor and the refine factor.

        Returns:
            By name, tensors `(batch, units)` of the compute dtype.
        """
        forget = self.recurrent_activation(self.project(event, stm))
        z = keras.ops.matmul(event, self.refine_kernel) + keras.ops.matmul(stm, self.refine_recurrent_kernel)
        refine = self.recurrent_activation(z if self.refine_bias is None else z + self.refine_bias)
        return {"forget": refine * (1 - (1 - forget) ** 2) + (1 - refine) * forget**2, "refine": refine}
