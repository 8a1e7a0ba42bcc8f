"""GateLSTMCell: one step of the LSTM, wired from its four gates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_gates._compat import dropout_cell
from keras_gates.layers.arguments import resolve, serialize
from keras_gates.layers.gates import (
    ForgetGate,
    Gate,
    LearnGate,
    RememberGate,
    UseGate,
    known_formulation,
    positive_integer,
)
from keras_gates.layers.step_context import Offer

FORMAT = 1
GATE_NAMES = ("learn", "forget", "remember", "use")

DropoutRNNCell: Any = dropout_cell()


class Weights(NamedTuple):
    """The gates' weights side by side, in the column order of `keras.layers.LSTM`: ignore, forget, candidate, use.

    `kernel (features, 4 * units)`, `recurrent_kernel (units, 4 * units)`, `bias (4 * units,)` or None; in the article form
    also `kept_kernel (units, units)` and `kept_bias (units,)` or None.
    """

    kernel: Any
    recurrent_kernel: Any
    bias: Any = None
    kept_kernel: Any = None
    kept_bias: Any = None


@keras.saving.register_keras_serializable("keras_gates")
class GateLSTMCell(keras.layers.Layer, DropoutRNNCell):
    """One step of an LSTM whose four gates are sublayers with names: `learn`, `forget`, `remember`, `use`.

        learned    = N_t * i_t                          learn gate
        kept       = LTM_{t-1} * f_t                    forget gate
        LTM_t      = kept + learned                     remember gate
        STM_t      = U_t * V_t                          use gate
        standard:  U_t = tanh(LTM_t)        article:  U_t = tanh(W_u kept + b_u)

    Use it in `keras.layers.RNN`, `StackedRNNCells`, `Bidirectional`; `GateLSTM` has the same weights and numbers and runs a
    whole sequence at once. With JAX, gates of your own that hold `Dropout` or `BatchNormalization` need `unroll=True` in
    `keras.layers.RNN` (`GateLSTM` sees to it itself): JAX lets nothing change state inside a loop.

    Args:
        units: Positive integer, the size of STM and LTM.
        activation ... seed: as for `keras.layers.LSTMCell`. A regularizer or constraint is applied to each gate's weights.
        formulation: `"standard"` (Keras, PyTorch, cuDNN) or `"article"` (the use gate is a small network of its own over
            what the forget gate kept).
        learn, forget, remember, use: a gate of your own (a Keras layer, see `keras_gates.layers.gates.Gate`) in the place of the
            plain one. It is trained, saved and loaded with the cell.
        **kwargs: `implementation` (1 or 2, as in Keras: how many dropout masks), `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: the events, `(batch, features)`.
        states: `[STM, LTM]`, each `(batch, units)`.
        training: whether dropout is active.

    Returns:
        `(STM, [STM, LTM])`, each `(batch, units)`, in the compute dtype.

    Raises:
        ValueError: units not a positive integer, unknown formulation, states of another number or width, a gate whose
            result or factor has another shape or dtype than `(batch, units)` in the cell's compute dtype.
        TypeError: a gate that is not a Keras layer or asks for something that is not offered.

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
        **kwargs: Any,
    ) -> None:
        shared = resolve(locals())
        super().__init__(**kwargs)
        self.units = positive_integer(units, "units", type(self).__name__)
        self.formulation = known_formulation(formulation, type(self).__name__)
        self.dropout = min(1.0, max(0.0, dropout))
        self.recurrent_dropout = min(1.0, max(0.0, recurrent_dropout))
        self.seed = seed
        self.implementation = 1 if self.recurrent_dropout else implementation
        if self.implementation == 1:
            self.dropout_mask_count = 4
        for name, value in shared.items():
            setattr(self, name, value)
        self.seed_generator = keras.random.SeedGenerator(seed=seed)

        given = {"learn": learn, "forget": forget, "remember": remember, "use": use}
        self._given = tuple(name for name, gate in given.items() if gate is not None)
        for name in self._given:
            self._check_gate(name, given[name])
        shared["dtype"] = self.dtype_policy
        self.learn = learn or LearnGate(self.units, name="learn", **shared)
        self.forget = forget or ForgetGate(self.units, name="forget", **shared)
        self.remember = remember or RememberGate(self.units, name="remember", dtype=self.dtype_policy)
        self.use = use or UseGate(self.units, name="use", formulation=self.formulation, **shared)

        if not self.trainable:
            for gate in self.gates():
                gate.trainable = False

        self.state_size = [self.units, self.units]
        self.output_size = self.units

    def _check_gate(self, name: str, gate: Any) -> None:
        if not isinstance(gate, keras.layers.Layer):
            raise TypeError(
                f"{self.name}: the {name} gate must be a Keras layer, got {gate!r}. Subclass keras_gates.Gate."
            )
        if gate.compute_dtype != self.compute_dtype:
            raise ValueError(
                f"{self.name}: the {name} gate computes in {gate.compute_dtype}, the cell in {self.compute_dtype}. Give both "
                "the same `dtype`."
            )
        if gate.activity_regularizer is not None:
            raise ValueError(
                f"{self.name}: the {name} gate has an activity_regularizer, whose loss would be lost inside the loop over "
                "time. Put it on the layer (GateLSTM or RNN) instead."
            )
        if getattr(gate, "units", self.units) != self.units:
            raise ValueError(f"{self.name}: the {name} gate has {gate.units} units, the cell has {self.units}.")

    @property
    def is_plain(self) -> bool:
        """Whether all four gates are the plain ones, so that a fast loop may stand for them."""
        return not self._given

    @property
    def gates_keep_state(self) -> bool:
        """Whether a gate may change variables of its own while it runs (`Dropout`, `BatchNormalization`)."""
        return any(len(gate.variables) > len(gate.trainable_variables) for gate in self.gates())

    def gates(self) -> tuple[keras.layers.Layer, ...]:
        """The four gates in the order of the step. A method, for Keras files weights under any attribute that holds layers."""
        return tuple(getattr(self, name) for name in GATE_NAMES)

    def build(self, input_shape: tuple) -> None:
        """Build every gate for events of shape `(batch, features)` and check what it answers, before any loop runs."""
        if len(input_shape) != 2 or input_shape[-1] is None:
            raise ValueError(
                f"{self.name}: events must have the shape (batch, features) with a known number of features, got "
                f"{tuple(input_shape)}."
            )
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: input_shape[-1]})
        memory = keras.KerasTensor((None, self.units), dtype=self.compute_dtype)
        event = keras.KerasTensor((None, input_shape[-1]), dtype=self.compute_dtype)
        seen = Offer(event=event, stm=memory, ltm=memory)
        for name, result in zip(GATE_NAMES, ("learned", "kept", "remembered", "used")):
            gate = getattr(self, name)
            answer = gate(**seen.named_by(gate.call))
            self._check_answer(name, "result", answer)
            if hasattr(gate, "factors"):
                asked = seen.named_by(gate.factors)
                factors = _InScope(gate.factors, dtype=self.dtype_policy)(asked)
                for factor, value in factors.items():
                    self._check_answer(name, f"factor {factor!r}", value)
                seen.update(factors)
            seen[result] = answer
        super().build(input_shape)

    def _check_answer(self, name: str, what: str, answer: Any) -> None:
        shape = tuple(getattr(answer, "shape", ()))
        dtype = keras.backend.standardize_dtype(getattr(answer, "dtype", "float32"))
        # Keras' operations answer float64 in float32 but on TensorFlow.
        dtypes = {self.compute_dtype, keras.backend.result_type(self.compute_dtype, float)}
        if keras.backend.backend() == "torch":  # where symbolic weights show the variables' dtype
            dtypes.add(self.variable_dtype)
        if shape != (None, self.units) or dtype not in dtypes:
            raise ValueError(
                f"{self.name}: the {name} gate's {what} must have the shape (batch, {self.units}) in {self.compute_dtype}, "
                f"got {('batch', *shape[1:]) if shape[:1] == (None,) else shape} in {dtype}."
            )

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        """One step; see the class."""
        stm, ltm = self._checked_states(states)
        step = self.step(inputs, stm, ltm, training=training)
        return step["used"], [step["used"], step["remembered"]]

    def step(
        self, event: Any, stm: Any, ltm: Any, training: bool = False, held: dict[str, Callable] | None = None
    ) -> Offer:
        """One step with everything it computed, by name.

        Args:
            event: `(batch, features)`. stm, ltm: `(batch, units)`.
            training: whether dropout is active.
            held: factors held at a value, by name (see `keras_gates.layers.step_context.Offer`).

        Returns:
            A dict with `event`, `stm`, `ltm`, `ignore`, `candidate`, `learned`, `forget`, `kept`, `remembered`, `use`, `U`,
            `used` (with gates of your own: the factors these name), each `(batch, units)` but the event, in the compute dtype.
        """
        if self._weights_are_not_cast():
            taken = _InScope(
                lambda **memories: self._step(**memories, training=training, held=held), dtype=self.dtype_policy
            )
            return taken({"event": event, "stm": stm, "ltm": ltm})
        return self._step(event, stm, ltm, training, held)

    def _weights_are_not_cast(self) -> bool:
        """Whether this is outside of any layer's call, where Keras leaves weights of mixed precision as they are stored."""
        if self.compute_dtype == self.variable_dtype or not self.weights:
            return False
        return keras.backend.standardize_dtype(self.weights[0].dtype) != self.compute_dtype

    def _step(self, event: Any, stm: Any, ltm: Any, training: bool, held: dict[str, Callable] | None) -> Offer:
        offer, dropped = Offer(held, event=event, stm=stm, ltm=ltm), self._dropped(event, stm, training)
        offer["learned"] = offer.to(self.learn, **dropped.get("learn", {}))
        offer["kept"] = offer.to(self.forget, **dropped.get("forget", {}))
        offer["remembered"] = offer.to(self.remember)
        offer["used"] = offer.to(self.use, **dropped.get("use", {}))
        return offer

    def _dropped(self, event: Any, stm: Any, training: bool) -> dict[str, dict[str, Any]]:
        """What each gate sees in the place of the event and STM while dropout hides parts of them; empty otherwise."""
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
        """The plain gates' weights side by side as tensors, for loops and conversions that want one matrix.

        Raises:
            ValueError: the cell holds a gate that was passed in, or is not built.
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

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """Empty memories: `[STM, LTM]`, zeros of shape `(batch_size, units)` in the compute dtype."""
        return [ops.zeros((batch_size, self.units), dtype=self.compute_dtype) for _ in self.state_size]

    def get_config(self) -> dict:
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
        for name in self._given:
            config[name] = keras.saving.serialize_keras_object(getattr(self, name))
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict) -> GateLSTMCell:
        """The cell of a config, with its own gates deserialized."""
        return cls(**readable_config(config))


def readable_config(config: dict) -> dict:
    """Constructor arguments from a saved config: the format checked, gates deserialized.

    Raises:
        ValueError: the config was written by a later format than this version reads.
    """
    config = dict(config)
    written = config.pop("format", FORMAT)
    if written > FORMAT:
        raise ValueError(
            f"This layer was saved in format {written}; this version of keras_gates reads up to {FORMAT}. Update keras_gates."
        )
    for name in GATE_NAMES:
        if isinstance(config.get(name), dict):
            config[name] = keras.saving.deserialize_keras_object(config[name])
    return config


class _InScope(keras.layers.Layer):
    """Runs a gate's `factors` as Keras runs a call: symbolically, in the compute dtype."""

    def __init__(self, function: Callable, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def call(self, offered: dict[str, Any]) -> dict[str, Any]:
        return self.function(**offered)


__all__ = ["ForgetGate", "Gate", "GateLSTMCell", "LearnGate", "RememberGate", "UseGate", "Weights"]
