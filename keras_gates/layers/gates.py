"""The four gates of the LSTM: learn, forget, remember, use. One Keras layer each, equation first.

A gate is offered the event, the short-term memory (STM), the long-term memory (LTM) and all that was computed before
it in the same step, by name, and takes what its `call` names. `factors` names what a gate decides (every entry between
its inputs and its result), `call` combines the factors. Looking inside a network uses these two and nothing else.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_gates.layers.arguments import resolve, serialize


def positive_integer(value: Any, name: str, owner: str) -> int:
    """`value` as an `int`, or a `ValueError` that says what was expected."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if isinstance(value, bool) or number <= 0:
        raise ValueError(f"{owner}: `{name}` must be a positive integer, got {value!r}.")
    return number


class Gate(keras.layers.Layer):
    """What every gate is: a layer that answers with one tensor of shape `(batch, units)`.

    Subclass it for a gate of your own. `call` names what the gate wants to see among

    | name | what it is |
    |---|---|
    | `event` | E_t, `(batch, features)` |
    | `stm`, `ltm` | STM_{t-1} and LTM_{t-1}, `(batch, units)` |
    | `ignore`, `candidate`, `learned` | the learn gate's factors and result |
    | `forget`, `kept` | the forget gate's factor and result |
    | `remembered` | LTM_t, the remember gate's result |

    A gate that also has `factors` is handed them back in `call` as the argument of that name, so that they are computed
    once; each factor has the shape `(batch, units)`.

    Args:
        units: Positive integer, the size of STM and LTM.
        **kwargs: `name`, `dtype`, `trainable`, as for every Keras layer.

    Raises:
        ValueError: `units` is not a positive integer.

    Example:

    >>> class HalfForgetGate(keras_gates.layers.gates.Gate):
    ...     def call(self, ltm):
    ...         return 0.5 * ltm
    >>> layer = keras_gates.GateLSTM(4, forget=HalfForgetGate(4))
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = positive_integer(units, "units", type(self).__name__)

    def get_build_config(self) -> None:
        """Nothing is saved: the cell builds a gate, or its first call does, for they alone know all that `call` names."""

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}


def joint_columns(initializer: Callable, blocks: tuple[int, ...], units: int) -> Callable:
    """An initializer that draws the joint kernel of all four gates and keeps the columns of `blocks`.

    Drawn for one gate alone, glorot and orthogonal kernels come out twice too large, and one seeded initializer given to
    two gates would make them equal. Drawing what `keras.layers.LSTM` draws, `(rows, 4 * units)` in its order
    ignore | forget | candidate | use, and slicing gives every gate exactly the columns it has there.
    """

    def draw(shape: tuple[int, ...], dtype: str | None = None) -> Any:
        joint = initializer((*shape[:-1], 4 * units), dtype=dtype)
        return ops.concatenate([joint[..., b * units : (b + 1) * units] for b in blocks], axis=-1)

    return draw


def forget_bias_of_one(initializer: Callable, units: int) -> Callable:
    """The joint bias with `unit_forget_bias`, drawn in the three pieces in which `keras.layers.LSTM` draws it."""

    def draw(shape: tuple[int, ...], dtype: str | None = None) -> Any:
        ignore = initializer((units,), dtype=dtype)
        candidate_and_use = initializer((2 * units,), dtype=dtype)
        return ops.concatenate([ignore, ops.ones((units,), dtype=dtype), candidate_and_use], axis=-1)

    return draw


class WeightedGate(Gate):
    """A gate with a kernel for the event, a recurrent kernel for STM and a bias.

        project(E, STM) = E @ kernel + STM @ recurrent_kernel + bias

    Weights: `kernel (features, n * units)`, `recurrent_kernel (units, n * units)`, `bias (n * units,)`, where n is the
    number of `blocks` of the gate: its places in the joint kernel of `keras.layers.LSTM`
    (0 ignore, 1 forget, 2 candidate, 3 use).

    Args:
        units: Positive integer, the size of STM and LTM.
        activation ... bias_constraint: as for `keras.layers.LSTMCell`.
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
        """A weight of shape `(width,)` with the gate's bias regularizer and constraint."""
        return self.add_weight(
            name=name,
            shape=(width,),
            initializer=initializer,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
        )

    def project(self, event: Any, stm: Any, columns: slice = slice(None)) -> Any:
        """`E @ kernel + STM @ recurrent_kernel + bias`, shape `(batch, n * units)`, or these columns of it."""
        z = ops.matmul(event, self.kernel[:, columns]) + ops.matmul(stm, self.recurrent_kernel[:, columns])
        return z if self.bias is None else z + self.bias[columns]

    def get_config(self) -> dict:
        return {**super().get_config(), **serialize(self)}


@keras.saving.register_keras_serializable("keras_gates")
class LearnGate(WeightedGate):
    """What of this event is worth learning, and how much of it is ignored.

        N_t = tanh(W_n [STM_{t-1}, E_t] + b_n)          candidate
        i_t = sigmoid(W_i [STM_{t-1}, E_t] + b_i)       ignore factor (0 ignores all, 1 nothing)
        learned = N_t * i_t

    Weights: `kernel (features, 2 * units)`, `recurrent_kernel (units, 2 * units)`, `bias (2 * units,)`, columns
    `[ignore | candidate]`. Arguments as in `WeightedGate`.

    Call arguments:
        event: `(batch, features)`.
        stm: `(batch, units)`.
        candidate_event, candidate_stm: what the candidate sees where dropout hides other values from it than from the
            ignore factor (`implementation=1`); default: the same.

    Source: Hochreiter and Schmidhuber, Long Short-Term Memory, 1997 (the input gate and the cell input).

    Example:

    >>> gate = keras_gates.LearnGate(4)
    >>> event, memory = numpy.ones((1, 3), "float32"), numpy.zeros((1, 4), "float32")
    >>> keras.ops.shape(gate(event, memory))
    (1, 4)
    """

    blocks = (0, 2)

    def factors(self, event: Any, stm: Any, candidate_event: Any = None, candidate_stm: Any = None) -> dict[str, Any]:
        """The ignore factor and the candidate, each `(batch, units)`."""
        if candidate_event is None and candidate_stm is None:
            z = self.project(event, stm)
            ignore, candidate = z[..., : self.units], z[..., self.units :]
        else:
            candidate_event = event if candidate_event is None else candidate_event
            candidate_stm = stm if candidate_stm is None else candidate_stm
            ignore = self.project(event, stm, slice(None, self.units))
            candidate = self.project(candidate_event, candidate_stm, slice(self.units, None))
        return {"ignore": self.recurrent_activation(ignore), "candidate": self.activation(candidate)}

    def call(
        self, event: Any, stm: Any, candidate_event: Any = None, candidate_stm: Any = None, factors: dict | None = None
    ) -> Any:
        """What is learned, `(batch, units)`."""
        if factors is None:
            factors = self.factors(event, stm, candidate_event, candidate_stm)
        return factors["candidate"] * factors["ignore"]


@keras.saving.register_keras_serializable("keras_gates")
class ForgetGate(WeightedGate):
    """How much of the long-term memory is kept.

        f_t  = sigmoid(W_f [STM_{t-1}, E_t] + b_f)      forget factor (0 forgets all, 1 nothing)
        kept = LTM_{t-1} * f_t

    Weights: `kernel (features, units)`, `recurrent_kernel (units, units)`, `bias (units,)`. Arguments as in
    `WeightedGate`; with `unit_forget_bias` the bias starts at 1.

    Call arguments: `event (batch, features)`, `stm (batch, units)`, `ltm (batch, units)`.

    Source: Gers, Schmidhuber and Cummins, Learning to Forget, 2000.

    Example:

    >>> gate = keras_gates.ForgetGate(4)
    >>> event, memory = numpy.ones((1, 3), "float32"), numpy.ones((1, 4), "float32")
    >>> keras.ops.shape(gate(event, memory, memory))
    (1, 4)
    """

    blocks = (1,)

    def factors(self, event: Any, stm: Any) -> dict[str, Any]:
        """The forget factor, `(batch, units)`."""
        return {"forget": self.recurrent_activation(self.project(event, stm))}

    def call(self, event: Any, stm: Any, ltm: Any, factors: dict | None = None) -> Any:
        """What is kept of LTM, `(batch, units)`."""
        if factors is None:
            factors = self.factors(event, stm)
        return ltm * factors["forget"]


@keras.saving.register_keras_serializable("keras_gates")
class RememberGate(Gate):
    """The new long-term memory: what was kept and what was learned.

        LTM_t = kept + learned

    No weights. Call arguments: `kept (batch, units)`, `learned (batch, units)`.

    Source: Hochreiter and Schmidhuber, Long Short-Term Memory, 1997 (the constant error carousel).

    Example:

    >>> memory = numpy.ones((1, 4), "float32")
    >>> keras.ops.shape(keras_gates.RememberGate(4)(memory, memory))
    (1, 4)
    """

    def call(self, kept: Any, learned: Any) -> Any:
        """LTM_t, `(batch, units)`."""
        return kept + learned


@keras.saving.register_keras_serializable("keras_gates")
class UseGate(WeightedGate):
    """What of the memories is used now: the prediction, which is also the new short-term memory.

        V_t = sigmoid(W_v [STM_{t-1}, E_t] + b_v)       use factor
        standard:  U_t = tanh(LTM_t)
        article:   U_t = tanh(W_u kept + b_u)
        STM_t = U_t * V_t

    Weights: `kernel (features, units)`, `recurrent_kernel (units, units)`, `bias (units,)`; in the article form also
    `kept_kernel (units, units)` and `kept_bias (units,)`, with the recurrent and the bias initializer, regularizer and
    constraint.

    Args:
        units: Positive integer, the size of STM and LTM.
        formulation: `"standard"` or `"article"`.
        **kwargs: as in `WeightedGate`.

    Call arguments: `event (batch, features)`, `stm`, `kept`, `remembered`, each `(batch, units)`.

    Raises:
        ValueError: an unknown formulation.

    Source: Hochreiter and Schmidhuber, Long Short-Term Memory, 1997 (the output gate).

    Example:

    >>> gate, memory = keras_gates.UseGate(4, formulation="article"), numpy.ones((1, 4), "float32")
    >>> keras.ops.shape(gate(numpy.ones((1, 3), "float32"), memory, memory, memory))
    (1, 4)
    """

    blocks = (3,)

    def __init__(self, units: int, *args: Any, formulation: str = "standard", **kwargs: Any) -> None:
        super().__init__(units, *args, **kwargs)
        self.formulation = known_formulation(formulation, type(self).__name__)

    def build(self, event_shape: tuple, stm_shape: tuple | None = None) -> None:
        """Create the weights for events of shape `(batch, features)`."""
        super().build(event_shape)
        self.build_source()

    def build_source(self) -> None:
        """Create the weights of U: none in the standard form."""
        if self.formulation == "article":
            self.kept_kernel = self.add_weight(
                name="kept_kernel",
                shape=(self.units, self.units),
                initializer=self.recurrent_initializer,
                regularizer=self.recurrent_regularizer,
                constraint=self.recurrent_constraint,
            )
            self.kept_bias = self.add_bias("kept_bias", self.bias_initializer, self.units) if self.use_bias else None

    def factors(self, event: Any, stm: Any, kept: Any, remembered: Any) -> dict[str, Any]:
        """The use factor V and U, each `(batch, units)`."""
        use = self.recurrent_activation(self.project(event, stm))
        return {"use": use, "U": self.activation(self.source(kept, remembered))}

    def source(self, kept: Any, remembered: Any) -> Any:
        """What U is the activation of, `(batch, units)`: LTM_t, or in the article form `W_u kept + b_u`."""
        if self.formulation == "standard":
            return remembered
        source = ops.matmul(kept, self.kept_kernel)
        return source if self.kept_bias is None else source + self.kept_bias

    def call(self, event: Any, stm: Any, kept: Any, remembered: Any, factors: dict | None = None) -> Any:
        """STM_t, `(batch, units)`."""
        if factors is None:
            factors = self.factors(event, stm, kept, remembered)
        return factors["U"] * factors["use"]

    def get_config(self) -> dict:
        return {**super().get_config(), "formulation": self.formulation}


def known_formulation(formulation: str, owner: str) -> str:
    """`formulation` if it is one, else a `ValueError` that names both."""
    if formulation not in ("standard", "article"):
        raise ValueError(f"{owner}: `formulation` must be 'standard' or 'article', got {formulation!r}.")
    return formulation
