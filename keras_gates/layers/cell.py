"""GateLSTMCell: one step of the LSTM, wired from its four gates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_gates._arguments import real
from keras_gates._compat import dropout_cell
from keras_gates.layers.arguments import (
    FORMAT,
    check_format,
    deserialize_gate,
    known_formulation,
    positive_integer,
    resolve,
    serialize,
)
from keras_gates.layers.call_scope import in_call_scope
from keras_gates.layers.gate_checks import check_gate, check_store, check_value
from keras_gates.layers.gates import ForgetGate, LearnGate, RememberGate, UseGate
from keras_gates.layers.step_context import StepContext
from keras_gates.loops import Weights

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from keras_gates.layers.arguments import LayerOptions

    DropoutRNNCell = object  # a base of unknown type would make the cell's type unknown to its users
else:
    DropoutRNNCell = dropout_cell()

PLAIN = {"learn": LearnGate, "forget": ForgetGate, "remember": RememberGate, "use": UseGate}
GATE_NAMES = tuple(PLAIN)
RESULTS = ("learned", "kept", "remembered", "used")


@keras.saving.register_keras_serializable("keras_gates")
class GateLSTMCell(keras.layers.Layer, DropoutRNNCell):
    """One time step of an LSTM whose four gates are named sublayers: `learn`, `forget`, `remember`, `use`.

        learned    = N_t * i_t                          learn gate
        kept       = LTM_{t-1} * f_t                    forget gate
        LTM_t      = kept + learned                     remember gate
        STM_t      = U_t * V_t                          use gate
        standard:  U_t = tanh(LTM_t)        article:  U_t = tanh(W_u kept + b_u)

    | here | symbol | in `keras.layers.LSTM` |
    |---|---|---|
    | event | E_t | input at one time step |
    | short-term memory (STM), also the output | STM_t | hidden state h |
    | long-term memory (LTM) | LTM_t | cell state c (carry) |
    | ignore factor | i_t | input gate i |
    | forget factor | f_t | forget gate f |
    | use factor | V_t | output gate o |
    | candidate | N_t | cell candidate g |

    Use it in `keras.layers.RNN`, `StackedRNNCells`, `Bidirectional`; `GateLSTM` has the same weights and numbers and runs a
    whole sequence at once. With JAX, custom gates that hold `Dropout` or `BatchNormalization` need `unroll=True` in
    `keras.layers.RNN` (`GateLSTM` sets it itself): JAX allows no change of state inside a loop.

    Args:
        units: Positive integer, the size of STM and LTM.
        activation: Activation of the candidate and of U, default `"tanh"`.
        recurrent_activation: Activation of the factors, default `"sigmoid"`.
        use_bias: Boolean, whether the gates have biases.
        kernel_initializer: Initializer of the kernels (event to gates), default `"glorot_uniform"`.
        recurrent_initializer: Initializer of the recurrent kernels (STM to gates), default `"orthogonal"`.
        bias_initializer: Initializer of the biases, default `"zeros"`.
        unit_forget_bias: Boolean, whether the forget gate's bias starts at 1.
        kernel_regularizer: Regularizer, applied to each gate's kernel.
        recurrent_regularizer: Regularizer, applied to each gate's recurrent kernel.
        bias_regularizer: Regularizer, applied to each gate's bias.
        kernel_constraint: Constraint, applied to each gate's kernel.
        recurrent_constraint: Constraint, applied to each gate's recurrent kernel.
        bias_constraint: Constraint, applied to each gate's bias.
        dropout: Float from 0 to 1, the fraction of the event to drop.
        recurrent_dropout: Float from 0 to 1, the fraction of STM to drop.
        seed: Integer, the random seed of the dropout masks.
        formulation: `"standard"` (Keras, PyTorch, cuDNN) or `"article"` (the use gate is a small network of its own over
            what the forget gate kept).
        learn: Keras layer, a custom gate instead of the plain one (see `keras_gates.Gate`). It is trained, saved and
            loaded with the cell. A config of one is deserialized.
        forget: likewise.
        remember: likewise.
        use: likewise.
        implementation: 1 or 2, as in Keras: whether each gate has its own dropout mask (1) or all share one (2).
        **kwargs: `name`, `dtype`, `trainable`; `format`, the format number of a config from `get_config`.

    Call arguments:
        inputs: the events, `(batch, features)`.
        states: `[STM, LTM]`, each `(batch, units)`.
        training: Boolean, whether dropout is active.

    Returns:
        `(STM, [STM, LTM])`, each `(batch, units)`, in the compute dtype.

    Raises:
        ValueError: `units` is not a positive integer, the formulation is unknown, states are of another number or width, a
            gate's result or factor has another shape or dtype than `(batch, units)` in the cell's compute dtype, or a config
            has a later format.
        TypeError: a gate is not a Keras layer or names an argument that does not exist.

    Source: Hochreiter and Schmidhuber 1997; Gers et al. 2000.

    Example:

    >>> layer = keras.layers.RNN(keras_gates.GateLSTMCell(64))
    >>> keras.ops.shape(layer(numpy.ones((2, 5, 3), "float32")))
    (2, 64)
    >>> keras.ops.shape(layer.cell.forget.recurrent_kernel)
    (64, 64)
    """

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
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        *,
        formulation: str = "standard",
        learn: keras.layers.Layer | None = None,
        forget: keras.layers.Layer | None = None,
        remember: keras.layers.Layer | None = None,
        use: keras.layers.Layer | None = None,
        implementation: int = 2,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        shared = resolve(locals())
        check_format(kwargs.pop("format", FORMAT))
        super().__init__(**kwargs)
        self.units = positive_integer(units, "units", type(self).__name__)
        self.formulation = known_formulation(formulation, type(self).__name__)
        self.dropout = min(1.0, max(0.0, real(dropout, "dropout", type(self).__name__)))
        self.recurrent_dropout = min(1.0, max(0.0, real(recurrent_dropout, "recurrent_dropout", type(self).__name__)))
        self.seed = seed
        self.implementation = 1 if self.recurrent_dropout else implementation
        if self.implementation == 1:
            self.dropout_mask_count = 4
        for name, value in shared.items():
            setattr(self, name, value)
        self.seed_generator = keras.random.SeedGenerator(seed=seed)

        gates = {"learn": learn, "forget": forget, "remember": remember, "use": use}
        custom = {name: deserialize_gate(gate) for name, gate in gates.items() if gate is not None}
        for name, gate in custom.items():
            check_gate(self, name, gate, PLAIN)
        self._custom = tuple(custom)
        shared["dtype"] = self.dtype_policy
        self.learn = custom.get("learn") or LearnGate(self.units, name="learn", **shared)
        self.forget = custom.get("forget") or ForgetGate(self.units, name="forget", **shared)
        self.remember = custom.get("remember") or RememberGate(self.units, name="remember", dtype=self.dtype_policy)
        self.use = custom.get("use") or UseGate(self.units, name="use", formulation=self.formulation, **shared)

        if not self.trainable:
            for gate in self.gates():
                gate.trainable = False

        self.state_size = [self.units, self.units]
        self.output_size = self.units

    @property
    def is_plain(self) -> bool:
        """Whether all four gates are the plain ones, so that a fast loop can run them."""
        return not self._custom

    @property
    def gates_keep_state(self) -> bool:
        """Whether a gate may change its variables while it runs (`Dropout`, `BatchNormalization`)."""
        return any(len(gate.variables) > len(gate.trainable_variables) for gate in self.gates())

    def gates(self) -> tuple[keras.layers.Layer, ...]:
        """Return the four gates in the order of the step.

        A method, because Keras tracks (and saves) any attribute that holds layers.
        """
        return tuple(getattr(self, name) for name in GATE_NAMES)

    def build(self, input_shape: tuple) -> None:
        """Build every gate for events of shape `(batch, features)` and check what it returns, before any loop runs.

        Raises:
            ValueError: the number of features is unknown, or a gate returns another shape or dtype.
        """
        if len(input_shape) != 2 or input_shape[-1] is None:
            raise ValueError(
                f"{self.name}: events must have the shape (batch, features) with a known number of features, got "
                f"{tuple(input_shape)}."
            )
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: input_shape[-1]})
        memory = keras.KerasTensor((None, self.units), dtype=self.compute_dtype)
        event = keras.KerasTensor((None, input_shape[-1]), dtype=self.compute_dtype)
        context = StepContext(event=event, stm=memory, ltm=memory)
        for name, result in zip(GATE_NAMES, RESULTS):
            gate = getattr(self, name)
            value = gate(**context.arguments_of(gate.call))  # builds the gate
            check_value(self, name, "result", value)
            if hasattr(gate, "factors"):
                factors = in_call_scope(gate.factors, context.arguments_of(gate.factors), self.dtype_policy)
                for factor, factor_value in factors.items():
                    check_value(self, name, f"factor {factor!r}", factor_value)
                context.update(factors)
            context[result] = value
        super().build(input_shape)

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        """Run one time step; see the class."""
        stm, ltm = self._checked_states(states)
        step = self.step(inputs, stm, ltm, training=training)
        return step["used"], [step["used"], step["remembered"]]

    def step(
        self, event: Any, stm: Any, ltm: Any, training: bool = False, held: dict[str, Callable] | None = None
    ) -> StepContext:
        """Run one time step and return everything it computed, by name.

        Args:
            event: Tensor `(batch, features)`.
            stm: Tensor `(batch, units)`, the short-term memory (hidden state) before the event.
            ltm: Tensor `(batch, units)`, the long-term memory (cell state) before the event.
            training: Boolean, whether dropout is active.
            held: Dict, factors or results to replace, by name (see `keras_gates.layers.step_context.StepContext`).

        Returns:
            A dict with `event`, `stm`, `ltm`, `ignore`, `candidate`, `learned`, `forget`, `kept`, `remembered`, `use`, `U`,
            `used` (with custom gates: the factors they name), each `(batch, units)` but the event, in the compute dtype.
        """
        if self._weights_are_not_cast():
            memories = {"event": event, "stm": stm, "ltm": ltm}
            return in_call_scope(
                lambda **memories: self._step(**memories, training=training, held=held), memories, self.dtype_policy
            )
        return self._step(event, stm, ltm, training, held)

    def _weights_are_not_cast(self) -> bool:
        """Return whether this is outside of any layer's call, where weights of mixed precision have their stored dtype."""
        if self.compute_dtype == self.variable_dtype or not self.weights:
            return False
        return keras.backend.standardize_dtype(self.weights[0].dtype) != self.compute_dtype

    def _step(self, event: Any, stm: Any, ltm: Any, training: bool, held: dict[str, Callable] | None) -> StepContext:
        step, dropped = StepContext(held, event=event, stm=stm, ltm=ltm), self._dropped(event, stm, training)
        step["learned"] = step.run(self.learn, **dropped.get("learn", {}))
        step["kept"] = step.run(self.forget, **dropped.get("forget", {}))
        step["remembered"] = step.run(self.remember)
        step["used"] = step.run(self.use, **dropped.get("use", {}))
        return step

    def _dropped(self, event: Any, stm: Any, training: bool) -> dict[str, dict[str, Any]]:
        """Return, per gate, the event and STM of which dropout hides parts; an empty dict without dropout."""
        drop_event = training and 0.0 < self.dropout < 1.0
        drop_stm = training and 0.0 < self.recurrent_dropout < 1.0
        if not drop_event and not drop_stm:
            return {}
        events, stms = [event] * 4, [stm] * 4
        if drop_event:
            masks = self.get_dropout_mask(event)
            events = [event * m for m in masks] if self.implementation == 1 else [event * masks] * 4
        if drop_stm:
            stms = [stm * m for m in self.get_recurrent_dropout_mask(stm)]
        ignore, forget, candidate, use = ({"event": e, "stm": s} for e, s in zip(events, stms))
        if self.implementation == 1:
            ignore = {**ignore, "candidate_event": candidate["event"], "candidate_stm": candidate["stm"]}
        return {"learn": ignore, "forget": forget, "use": use}

    def _checked_states(self, states: Any) -> tuple[Any, Any]:
        states = list(states) if isinstance(states, list | tuple) else [states]
        shapes = [tuple(state.shape) for state in states]
        if len(states) != 2 or any(shape[-1:] != (self.units,) or len(shape) != 2 for shape in shapes):
            raise ValueError(
                f"{self.name}: states must be [STM, LTM], two tensors of shape (batch, {self.units}), got {len(states)} of "
                f"shape {shapes}."
            )
        return states[0], states[1]

    def joint_weights(self) -> Weights:
        """Return the plain gates' weights side by side as tensors, for loops and conversions that need one matrix.

        Raises:
            ValueError: the cell has a custom gate, or is not built.
        """
        if not self.is_plain or not self.built:
            raise ValueError(
                f"{self.name}: joint weights exist only for a built cell whose four gates are the plain ones."
            )
        u, learn = self.units, self.learn

        def side_by_side(name: str) -> Any:
            both = ops.convert_to_tensor(getattr(learn, name))
            forget, use = getattr(self.forget, name), getattr(self.use, name)
            return ops.concatenate([both[..., :u], forget, both[..., u:], use], axis=-1)

        article = self.formulation == "article"
        return Weights(
            kernel=side_by_side("kernel"),
            recurrent_kernel=side_by_side("recurrent_kernel"),
            bias=side_by_side("bias") if self.use_bias else None,
            kept_kernel=ops.convert_to_tensor(self.use.kept_kernel) if article else None,
            kept_bias=ops.convert_to_tensor(self.use.kept_bias) if article and self.use_bias else None,
        )

    def load_own_variables(self, store: Any) -> None:
        """Load nothing: the gates hold the weights.

        Raises:
            ValueError: the file has weights of a cell without gates.
        """
        check_store(self, False, store)

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """Return empty memories: `[STM, LTM]`, zeros of shape `(batch_size, units)` in the compute dtype."""
        return [ops.zeros((batch_size, self.units), dtype=self.compute_dtype) for _ in self.state_size]

    def get_config(self) -> dict:
        """Return the arguments of the constructor; `GateLSTMCell(**cell.get_config())` is the same cell without its weights."""
        config = {
            "units": self.units,
            **serialize(self),
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            "seed": self.seed,
            "formulation": self.formulation,
            "implementation": self.implementation,
            "format": FORMAT,
        }
        for name in self._custom:
            config[name] = keras.saving.serialize_keras_object(getattr(self, name))
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict) -> GateLSTMCell:
        """Return the cell of a config."""
        return cls(**config)
