"""What every gate is: `Gate`, the class to subclass for a custom gate, and `WeightedGate`, one with kernels and a bias."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_gates._compat import flatten_layers
from keras_gates.layers.arguments import positive_integer, resolve, serialize
from keras_gates.layers.gate_checks import check_store
from keras_gates.layers.initializers import forget_bias_of_one, joint_columns


class Gate(keras.layers.Layer):
    """A gate: a layer that returns one tensor of shape `(batch, units)`.

    Subclass it for a custom gate. Its `call` names what it takes, among

    | name | what it is |
    |---|---|
    | `event` | E_t, the input at this time step, `(batch, features)` |
    | `stm`, `ltm` | STM_{t-1} (hidden state) and LTM_{t-1} (cell state), `(batch, units)` |
    | `ignore`, `candidate`, `learned` | the learn gate's factors and result |
    | `forget`, `kept` | the forget gate's factor and result |
    | `remembered` | LTM_t, the remember gate's result |

    If the gate has a method `factors`, its result is passed to `call` as the argument of that name, so that the factors are
    computed once. `factors` returns a dict of tensors of shape `(batch, units)`.

    Args:
        units: Positive integer, the size of STM and LTM.
        **kwargs: `name`, `dtype`, `trainable`, as for every Keras layer.

    Raises:
        ValueError: `units` is not a positive integer.

    Example:

    >>> class HalfForgetGate(keras_gates.Gate):
    ...     def call(self, ltm):
    ...         return 0.5 * ltm
    >>> layer = keras_gates.GateLSTM(4, forget=HalfForgetGate(4))
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = positive_integer(units, "units", type(self).__name__)

    def get_build_config(self) -> None:
        """Return None: the cell, or the first call, builds a gate, because only they know all that its `call` names."""

    def load_own_variables(self, store: Any) -> None:
        """Load the weights of a file.

        Raises:
            ValueError: the file has another number of weights here, or none, because another class wrote it.
        """
        of_parts = {id(weight) for part in flatten_layers(self, include_self=False) for weight in part.weights}
        check_store(self, any(id(weight) not in of_parts for weight in self.weights), store)
        super().load_own_variables(store)

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}


class WeightedGate(Gate):
    """A gate with a kernel for the event, a recurrent kernel for STM and a bias.

        project(E, STM) = E @ kernel + STM @ recurrent_kernel + bias

    Weights: `kernel (features, n * units)`, `recurrent_kernel (units, n * units)`, `bias (n * units,)`, where n is the
    number of `blocks` of the gate: its places in the joint kernel of `keras.layers.LSTM`
    (0 ignore, 1 forget, 2 candidate, 3 use).

    Args:
        units: Positive integer, the size of STM and LTM.
        activation: Activation of the candidate and of U, default `"tanh"`.
        recurrent_activation: Activation of the factors, default `"sigmoid"`.
        use_bias: Boolean, whether the gate has a bias.
        kernel_initializer: Initializer of the kernel, default `"glorot_uniform"`.
        recurrent_initializer: Initializer of the recurrent kernel, default `"orthogonal"`.
        bias_initializer: Initializer of the bias, default `"zeros"`.
        unit_forget_bias: Boolean, whether a forget gate's bias starts at 1.
        kernel_regularizer: Regularizer of the kernel.
        recurrent_regularizer: Regularizer of the recurrent kernel.
        bias_regularizer: Regularizer of the bias.
        kernel_constraint: Constraint of the kernel.
        recurrent_constraint: Constraint of the recurrent kernel.
        bias_constraint: Constraint of the bias.
        **kwargs: `name`, `dtype`, `trainable`.

    Raises:
        ValueError: `units` is not a positive integer.
    """

    blocks: tuple[int, ...] = ()

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        arguments = resolve(locals())
        super().__init__(units, **kwargs)
        for name, value in arguments.items():
            setattr(self, name, value)

    def build(self, event_shape: tuple, stm_shape: tuple | None = None) -> None:
        """Create the weights for events of shape `(batch, features)`."""
        width = len(self.blocks) * self.units
        self.kernel = self.add_weight(
            name="kernel",
            shape=(event_shape[-1], width),
            initializer=joint_columns(self.kernel_initializer, self.blocks, self.units),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel",
            shape=(self.units, width),
            initializer=joint_columns(self.recurrent_initializer, self.blocks, self.units),
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )
        self.bias = None
        if self.use_bias:
            joint_bias = self.bias_initializer
            if self.unit_forget_bias:
                joint_bias = forget_bias_of_one(joint_bias, self.units)
            self.bias = self.add_bias("bias", joint_columns(joint_bias, self.blocks, self.units), width)

    def add_bias(self, name: str, initializer: Callable, width: int) -> Any:
        """Return a new weight of shape `(width,)` with the gate's bias regularizer and constraint."""
        return self.add_weight(
            name=name,
            shape=(width,),
            initializer=initializer,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
        )

    def project(self, event: Any, stm: Any, columns: slice = slice(None)) -> Any:
        """Return `E @ kernel + STM @ recurrent_kernel + bias`, shape `(batch, n * units)`, or these columns of it."""
        z = ops.matmul(event, self.kernel[:, columns]) + ops.matmul(stm, self.recurrent_kernel[:, columns])
        return z if self.bias is None else z + self.bias[columns]

    def get_config(self) -> dict:
        return {**super().get_config(), **serialize(self)}
