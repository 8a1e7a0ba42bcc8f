"""The four gates of the LSTM: learn, forget, remember, use. One Keras layer each, equation first.

Each gate receives the event (the input at one time step), the short-term memory STM (the hidden state), the long-term memory
LTM (the cell state) and everything computed before it in the same time step, by name, and takes what its `call` names.
`factors` names what a gate decides (every entry between its inputs and its result), `call` combines the factors. Tracing and
ablation use these two methods and nothing else.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_gates.layers.arguments import known_formulation
from keras_gates.layers.base_gate import Gate, WeightedGate


@keras.saving.register_keras_serializable("keras_gates")
class LearnGate(WeightedGate):
    """The learn gate (Keras: input gate): what of this event is worth learning, and how much of it is ignored.

        N_t = tanh(W_n [STM_{t-1}, E_t] + b_n)          candidate
        i_t = sigmoid(W_i [STM_{t-1}, E_t] + b_i)       ignore factor (0 ignores all, 1 nothing)
        learned = N_t * i_t

    Weights: `kernel (features, 2 * units)`, `recurrent_kernel (units, 2 * units)`, `bias (2 * units,)`, columns
    `[ignore | candidate]`. Arguments as in `WeightedGate`.

    Call arguments:
        event: `(batch, features)`.
        stm: STM_{t-1}, `(batch, units)`.
        candidate_event: the event that the candidate sees, if dropout hides other values from it than from the ignore factor
            (`implementation=1`); default: `event`.
        candidate_stm: likewise for STM; default: `stm`.
        factors: what `factors` returned; default: computed now.

    Returns:
        What is learned, `(batch, units)`.

    Source: Hochreiter and Schmidhuber, Long Short-Term Memory, 1997 (the input gate and the cell input).

    Example:

    >>> gate = keras_gates.LearnGate(4)
    >>> event, memory = numpy.ones((1, 3), "float32"), numpy.zeros((1, 4), "float32")
    >>> keras.ops.shape(gate(event, memory))
    (1, 4)
    """

    blocks = (0, 2)

    def factors(self, event: Any, stm: Any, candidate_event: Any = None, candidate_stm: Any = None) -> dict[str, Any]:
        """Compute the ignore factor and the candidate.

        Returns:
            By name, tensors `(batch, units)` of the compute dtype.
        """
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
        """Compute what is learned.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        if factors is None:
            factors = self.factors(event, stm, candidate_event, candidate_stm)
        return factors["candidate"] * factors["ignore"]


@keras.saving.register_keras_serializable("keras_gates")
class ForgetGate(WeightedGate):
    """The forget gate: how much of the long-term memory (LTM, cell state) is kept.

        f_t  = sigmoid(W_f [STM_{t-1}, E_t] + b_f)      forget factor (0 forgets all, 1 nothing)
        kept = LTM_{t-1} * f_t

    Weights: `kernel (features, units)`, `recurrent_kernel (units, units)`, `bias (units,)`. Arguments as in
    `WeightedGate`; with `unit_forget_bias` the bias starts at 1.

    Call arguments:
        event: `(batch, features)`.
        stm: STM_{t-1}, `(batch, units)`.
        ltm: LTM_{t-1}, `(batch, units)`.
        factors: what `factors` returned; default: computed now.

    Returns:
        What is kept of LTM, `(batch, units)`.

    Source: Gers, Schmidhuber and Cummins, Learning to Forget, 2000.

    Example:

    >>> gate = keras_gates.ForgetGate(4)
    >>> event, memory = numpy.ones((1, 3), "float32"), numpy.ones((1, 4), "float32")
    >>> keras.ops.shape(gate(event, memory, memory))
    (1, 4)
    """

    blocks = (1,)

    def factors(self, event: Any, stm: Any) -> dict[str, Any]:
        """Compute the forget factor.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        return {"forget": self.recurrent_activation(self.project(event, stm))}

    def call(self, event: Any, stm: Any, ltm: Any, factors: dict | None = None) -> Any:
        """Compute what is kept of LTM.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        if factors is None:
            factors = self.factors(event, stm)
        return ltm * factors["forget"]


@keras.saving.register_keras_serializable("keras_gates")
class RememberGate(Gate):
    """The remember gate: the new long-term memory (LTM, cell state) is what was kept and what was learned.

        LTM_t = kept + learned

    No weights.

    Call arguments:
        kept: the forget gate's result, `(batch, units)`.
        learned: the learn gate's result, `(batch, units)`.

    Returns:
        LTM_t, `(batch, units)`.

    Source: Hochreiter and Schmidhuber, Long Short-Term Memory, 1997 (the constant error carousel).

    Example:

    >>> memory = numpy.ones((1, 4), "float32")
    >>> keras.ops.shape(keras_gates.RememberGate(4)(memory, memory))
    (1, 4)
    """

    def call(self, kept: Any, learned: Any) -> Any:
        """Compute LTM_t.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        return kept + learned


@keras.saving.register_keras_serializable("keras_gates")
class UseGate(WeightedGate):
    """The use gate (Keras: output gate): the prediction, which is also the new short-term memory (STM, hidden state).

        V_t = sigmoid(W_v [STM_{t-1}, E_t] + b_v)       use factor
        standard:  U_t = tanh(LTM_t)
        article:   U_t = tanh(W_u kept + b_u)
        STM_t = U_t * V_t

    Weights: `kernel (features, units)`, `recurrent_kernel (units, units)`, `bias (units,)`; in the article form also
    `kept_kernel (units, units)` and `kept_bias (units,)`, with the recurrent and the bias initializer, regularizer and
    constraint.

    Args:
        units: Positive integer, the size of STM and LTM.
        formulation: `"standard"` or `"article"` (default `"standard"`).
        *args: as in `WeightedGate`.
        **kwargs: as in `WeightedGate`.

    Call arguments:
        event: `(batch, features)`.
        stm: STM_{t-1}, `(batch, units)`.
        kept: the forget gate's result, `(batch, units)`.
        remembered: LTM_t, `(batch, units)`.
        factors: what `factors` returned; default: computed now.

    Returns:
        STM_t, `(batch, units)`.

    Raises:
        ValueError: `units` is not a positive integer, or the formulation is unknown.

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
        """Compute the use factor V and U.

        Returns:
            By name, tensors `(batch, units)` of the compute dtype.
        """
        use = self.recurrent_activation(self.project(event, stm))
        return {"use": use, "U": self.activation(self.source(kept, remembered))}

    def source(self, kept: Any, remembered: Any) -> Any:
        """Return the argument of U's activation, `(batch, units)`: LTM_t, or in the article form `W_u kept + b_u`."""
        if self.formulation == "standard":
            return remembered
        source = ops.matmul(kept, self.kept_kernel)
        return source if self.kept_bias is None else source + self.kept_bias

    def call(self, event: Any, stm: Any, kept: Any, remembered: Any, factors: dict | None = None) -> Any:
        """Compute STM_t.

        Returns:
            A tensor `(batch, units)` of the compute dtype.
        """
        if factors is None:
            factors = self.factors(event, stm, kept, remembered)
        return factors["U"] * factors["use"]

    def get_config(self) -> dict:
        return {**super().get_config(), "formulation": self.formulation}
