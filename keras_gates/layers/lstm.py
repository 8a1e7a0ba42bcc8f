"""GateLSTM: the cell over a whole sequence, fast. It stands wherever `keras.layers.LSTM` stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_gates import loops
from keras_gates.layers.arguments import FORMAT, SHARED, checked_saturation
from keras_gates.layers.call_scope import calls_in_short, in_short
from keras_gates.layers.cell import GATE_NAMES, GateLSTMCell
from keras_gates.layers.kernel_gates import kernel_arrays, kernel_has

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from keras_gates.layers.arguments import LayerOptions

LOOPS = loops.LOOPS


@keras.saving.register_keras_serializable("keras_gates")
class GateLSTM(keras.layers.RNN):
    """An LSTM over a whole sequence whose gates have names: `layer.cell.learn`, `.forget`, `.remember`, `.use`.

        learned = N_t * i_t        kept = LTM_{t-1} * f_t        LTM_t = kept + learned        STM_t = U_t * V_t
        standard:  U_t = tanh(LTM_t)        article:  U_t = tanh(W_u kept + b_u)

    STM is Keras' hidden state h, LTM its cell state c (carry); the ignore, forget and use factors are its input, forget and
    output gates, the candidate its cell candidate g, and an event is the input at one time step (see `GateLSTMCell`).

    Same weights and numbers as `keras.layers.RNN(GateLSTMCell(units))`, but fast. `GateLSTM(u)` takes the arguments of
    `keras.layers.LSTM(u)` with the same names, order, defaults and meaning, starts from the same weights for the same seed, and
    gives the same numbers for the same weights.

    Args:
        Sizes and activations

        units: Positive integer, the size of STM and LTM.
        activation: Activation of the candidate and of U, default `"tanh"`.
        recurrent_activation: Activation of the factors, default `"sigmoid"`.
        use_bias: Boolean, whether the gates have biases.

        Initializers, regularizers, constraints (each gate draws its part of what `keras.layers.LSTM` draws)

        kernel_initializer: Initializer of the kernels (event to gates), default `"glorot_uniform"`.
        recurrent_initializer: Initializer of the recurrent kernels (STM to gates), default `"orthogonal"`.
        bias_initializer: Initializer of the biases, default `"zeros"`.
        unit_forget_bias: Boolean, whether the forget gate's bias starts at 1, so that LTM is kept at first.
        kernel_regularizer: Regularizer, applied to each gate's kernel.
        recurrent_regularizer: Regularizer, applied to each gate's recurrent kernel.
        bias_regularizer: Regularizer, applied to each gate's bias.
        activity_regularizer: Regularizer, applied to the layer's output.
        kernel_constraint: Constraint, applied to each gate's kernel.
        recurrent_constraint: Constraint, applied to each gate's recurrent kernel.
        bias_constraint: Constraint, applied to each gate's bias.

        Dropout

        dropout: Float from 0 to 1, the fraction of the events to drop.
        recurrent_dropout: Float from 0 to 1, the fraction of STM to drop; the sequence then runs at the speed of
            `keras.layers.RNN`.
        seed: Integer, the random seed of the dropout masks.

        Sequence behaviour

        return_sequences: Boolean, return the STM of every time step instead of the last.
        return_state: Boolean, also return the last STM and LTM.
        go_backwards: Boolean, run from the last event to the first; with `return_sequences` the output is in that order.
        stateful: Boolean, start each batch from the memories that the batch before ended with.
        zero_output_for_mask: Boolean (in `**kwargs`), output zeros at a masked event instead of the STM before it.

        Gates and formulation (keyword-only)

        formulation: `"standard"` (Keras, PyTorch, cuDNN) or `"article"` (the use gate is a small network of its own over
            what the forget gate kept).
        learn: Keras layer, a custom gate instead of the plain one (see `keras_gates.Gate`). The layer then runs at the
            speed of `keras.layers.RNN`. A config of one is deserialized.
        forget: likewise.
        remember: likewise.
        use: likewise.

        For integers (keyword-only)

        saturation: Positive number, e.g. 8: in training, what the event adds to a gate's input (`kernel · E_t + bias`) is clipped
            to ±saturation, as int8 files clip it at ±8; inference is not changed. None clips nothing.

        How it runs

        unroll: Boolean, trace the time steps one by one instead of a loop.
        use_cudnn: `"auto"`, True (raise if cuDNN cannot run the layer) or False.
        loop: how the sequence is run (keyword-only): `"auto"`, or a loop by name; `layer.explain()` tells which and why.
        implementation: 1 or 2 (keyword-only), as in Keras: whether each gate has its own dropout mask (1) or all share one (2).
        **kwargs: `name`, `dtype`, `trainable`; `format`, the format number of a config from `get_config`.

    Call arguments:
        sequences: events, `(batch, time, features)`.
        initial_state: `[STM, LTM]`, each `(batch, units)`; default: zeros.
        mask: `(batch, time)` booleans, False where an event is to be skipped.
        training: Boolean, whether dropout is active.

    Returns:
        The last STM `(batch, units)`; with `return_sequences` every STM `(batch, time, units)`; with `return_state` a tuple
        of that, the last STM and the last LTM. In the compute dtype.

    Raises:
        ValueError: `units` is not a positive integer, the formulation or loop is unknown, events have another rank or number of
            features, an initial state has another number or shape, `stateful` without a batch size, a gate returns another shape
            or dtype, or a config has a later format.

    Source: Hochreiter and Schmidhuber 1997; Gers et al. 2000.

    Example:

    >>> layer = keras_gates.GateLSTM(64, return_sequences=True)
    >>> keras.ops.shape(layer(numpy.ones((2, 5, 3), "float32")))
    (2, 5, 64)
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
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        *,
        formulation: str = "standard",
        learn: keras.layers.Layer | None = None,
        forget: keras.layers.Layer | None = None,
        remember: keras.layers.Layer | None = None,
        use: keras.layers.Layer | None = None,
        saturation: float | None = None,
        loop: str = "auto",
        implementation: int = 2,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        scope = locals()
        # Not declared in the class: there a checker looks for `__get__` among the bases of the cell, which it does not know.
        self.cell: GateLSTMCell
        if use_cudnn not in ("auto", True, False):
            raise ValueError(f"GateLSTM: `use_cudnn` must be 'auto', True or False, got {use_cudnn!r}.")
        if loop not in LOOPS:
            raise ValueError(f"GateLSTM: `loop` must be one of {', '.join(LOOPS)}, got {loop!r}.")
        cell = GateLSTMCell(
            units,
            **{name: scope[name] for name in SHARED},
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            formulation=formulation,
            learn=learn,
            forget=forget,
            remember=remember,
            use=use,
            implementation=implementation,
            format=kwargs.pop("format", FORMAT),
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name="cell",
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.use_cudnn = use_cudnn
        self.loop = loop
        self.saturation = checked_saturation(saturation, cell)
        self.input_spec = keras.layers.InputSpec(ndim=3)

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The four gates, for `model.summary(expand_nested=True)`."""
        return list(self.cell.gates())

    def __getattr__(self, name: str) -> Any:
        if name in GATE_NAMES:
            raise AttributeError(f"{type(self).__name__} has its gates in its cell: layer.cell.{name}.")
        inherited = getattr(super(), "__getattr__", None)  # on PyTorch a layer is a module, which finds its parts so
        if inherited is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return inherited(name)

    def build(self, sequences_shape: tuple, initial_state_shape: Any = None) -> None:
        """Build the gates for events of shape `(batch, time, features)`."""
        super().build(sequences_shape)
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: sequences_shape[-1]})
        if keras.backend.backend() == "tensorflow" and self.explain().name == "cudnn":
            self.supports_jit = False  # XLA cannot compile TensorFlow's cuDNN operator

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        """Run the layer over a sequence; see the class."""
        if sequences.shape[1] == 0:
            raise ValueError(
                f"{self.name}: expected events (batch, time, features) with at least one time step, got the shape "
                f"{tuple(sequences.shape)}. Leave empty sequences out, or pad them and pass a mask."
            )
        if not keras.backend.is_float_dtype(sequences.dtype):
            # Keras casts floats alone; a product promotes the others.
            sequences = ops.cast(sequences, self.compute_dtype)
        if initial_state is not None:
            self._check_initial_state(sequences, initial_state)
        if calls_in_short(self):
            return in_short(self, sequences, initial_state, mask, training)
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def _check_initial_state(self, sequences: Any, initial_state: Any) -> None:
        states = list(initial_state) if isinstance(initial_state, list | tuple) else [initial_state]
        shapes = [tuple(ops.shape(state)) for state in states]
        batch = sequences.shape[0]
        right = len(states) == 2 and all(
            len(shape) == 2
            and shape[1] == self.units
            and (not isinstance(shape[0], int) or batch is None or shape[0] == batch)
            for shape in shapes
        )
        if not right:
            raise ValueError(
                f"{self.name}: initial_state must be [STM, LTM], two tensors of shape "
                f"({'batch' if batch is None else batch}, {self.units}), got {len(states)} of shape {shapes}."
            )

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> tuple:
        """Run the sequence from the initial memories, by the loop that `explain` names."""
        mask = mask[0] if isinstance(mask, list | tuple) else mask
        if self.stateful and keras.backend.backend() == "torch":
            # Assigned in place after the loop, while the backward pass still needs the values.
            initial_state = [ops.copy(state) for state in initial_state]
        choice = loops.choose(self._problem(sequences.shape[0], sequences.shape[1], mask is not None, bool(training)))
        if choice.name == "general":
            return self._general_loop(sequences, initial_state, mask, training)
        if training and 0.0 < self.dropout < 1.0:
            sequences = sequences * ops.expand_dims(self.cell.get_dropout_mask(sequences[:, 0, :]), 1)
        stm, ltm = initial_state
        native = choice.name == "native"
        arrays, drawn = kernel_arrays(self.cell, sequences, bool(training)) if native else (None, False)
        inputs = loops.LoopInputs(
            sequences,
            stm,
            ltm,
            loops.NO_WEIGHTS if native else self.cell.joint_weights(),
            activation=self.activation,
            recurrent_activation=self.recurrent_activation,
            mask=mask,
            go_backwards=self.go_backwards,
            return_sequences=self.return_sequences,
            zero_output_for_mask=self.zero_output_for_mask,
            unroll=self.unroll,
            arrays=arrays,
            drawn=drawn,
            saturation=self.saturation if training else None,
        )
        return loops.run(choice.name, inputs)

    def _general_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool) -> tuple:
        """Run `keras.layers.RNN` over the cell; unrolled where JAX would not let a gate change its state inside a loop, never on
        PyTorch, where both loops are Python's and Keras' unrolled one fails on a mask read backwards."""
        unroll, backend = self.unroll, keras.backend.backend()
        self.unroll: bool = (unroll and backend != "torch") or (backend == "jax" and self.cell.gates_keep_state)
        try:
            return super().inner_loop(sequences, initial_state, mask, training=training)
        finally:
            self.unroll = unroll

    def explain(
        self, batch: int | None = None, time: int | None = None, masked: bool = False, training: bool = False
    ) -> loops.LoopChoice:
        """Return which loop would run a sequence of this size here, and why, and why no faster one.

        In a graph that leaves this process (`model.export`) and in one that XLA compiles another loop runs than in `fit`.

        Args:
            batch: Integer, sequences per call, or None if not known statically.
            time: Integer, time steps, or None if not known statically.
            masked: Boolean, whether the sequence has a mask.
            training: Boolean, whether dropout is active.

        Returns:
            The loop's `name` and the `reason`.

        Raises:
            ValueError: the loop requested by name, or cuDNN with `use_cudnn=True`, cannot run this layer.

        Example:

        >>> choice = keras_gates.GateLSTM(64).explain(batch=32, time=100)
        >>> choice.name in keras_gates.layers.lstm.LOOPS
        True
        """
        return loops.choose(self._problem(batch, time, masked, training))

    def _problem(self, batch: int | None, time: int | None, masked: bool, training: bool) -> loops.SequenceProblem:
        drops = training and (
            0.0 < self.recurrent_dropout < 1.0 or (0.0 < self.dropout < 1.0 and self.implementation == 1)
        )
        return loops.SequenceProblem(
            backend=keras.backend.backend(),
            formulation=self.formulation,
            batch=batch,
            time=time,
            features=self.input_spec.axes.get(-1),
            units=self.units,
            dtype=self.compute_dtype,
            activation=_known(self.activation),
            recurrent_activation=_known(self.recurrent_activation),
            use_bias=self.use_bias,
            masked=masked,
            training=training,
            custom_gates=not self.cell.is_plain,
            kernel_gates=kernel_has(self.cell),
            masks_per_gate=drops,
            clips=training and self.saturation is not None,
            unroll=self.unroll,
            go_backwards=self.go_backwards,
            return_sequences=self.return_sequences,
            use_cudnn=self.use_cudnn,
            gpu=loops.has_gpu(keras.backend.backend()),
            loop=self.loop,
            no_kernel=loops.why_absent(),
            no_kernel_here=loops.why_not_here(),
        )

    def get_config(self) -> dict:
        """Return the arguments of the constructor; `GateLSTM(**layer.get_config())` is the same layer without its weights."""
        config = super().get_config()
        del config["cell"]
        cell = self.cell.get_config()
        for name in ("name", "trainable", "dtype"):
            del cell[name]
        activity_regularizer = keras.regularizers.serialize(self.activity_regularizer)
        own = {"activity_regularizer": activity_regularizer, "use_cudnn": self.use_cudnn, "loop": self.loop}
        return {**config, **cell, **own, "saturation": self.saturation}

    @classmethod
    def from_config(cls, config: dict) -> GateLSTM:
        """Return the layer of a config."""
        return cls(**config)


def _known(activation: Any) -> str:
    """Return the name of one of Keras' activations; a user's function is `own`, whatever it is called."""
    name = getattr(activation, "__name__", "own")
    return name if getattr(keras.activations, name, None) is activation else "own"


def _of_cell(name: str) -> property:
    return property(lambda self: getattr(self.cell, name), doc=f"`cell.{name}`.")


for _name in ("units", *SHARED, "dropout", "recurrent_dropout", "seed", "formulation", "implementation"):
    setattr(GateLSTM, _name, _of_cell(_name))
