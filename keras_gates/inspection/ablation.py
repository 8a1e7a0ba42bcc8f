"""Ablation: what each gate is worth, measured with gates held open, closed or at their mean at prediction time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates._arguments import typed
from keras_gates._compat import compile_arguments
from keras_gates._errors import InvalidArgument
from keras_gates.inspection.explained import kind_of_prediction
from keras_gates.inspection.hooks import NamedStep, Recurrent, named_recurrent_layers, replaced_loops, run_steps
from keras_gates.inspection.inputs import check_examples, fixed_batch, select_examples, text_tensors
from keras_gates.inspection.trace_data import FACTORS
from keras_gates.inspection.tracing import trace
from keras_gates.layers.unchanged import leaves_model_unchanged

HOLDS = ("open", "closed", "mean")
HELD = (*FACTORS, "learned", "kept", "remembered", "used")
KERAS_NAMES = {"input": "ignore", "output": "use", "cell": "candidate"}


@typed
@leaves_model_unchanged
def ablate(
    model: keras.layers.Layer, *, x: Any = None, layers: Sequence[str] | None = None, **held: str | float
) -> keras.Model:
    """Return the same model with factors of its gates held at a value, for prediction; the model itself stays unchanged.

    Args:
        model: A built Keras model with `GateLSTM`, `RNN(GateLSTMCell)` or `keras.layers.LSTM` layers.
        x: Input from which means are taken, `(batch, ...)`; needed for `"mean"`.
        layers: Names of the layers to hold; default: all that have named gates.
        **held: By factor (`ignore`, `forget`, `use`, `candidate`, `U`, or one of a gate class that you wrote): `"open"` (1),
            `"closed"` (0), `"mean"` (each unit's mean over `x`), or a number.

    Returns:
        A `keras.Model` for `predict`, `evaluate` and calls, compiled as `model` is; it shares the model's weights. (Those of
        `keras.layers.LSTM` are copied now, so later training does not reach it.)

    Raises:
        ValueError: Nothing to hold, an unknown value or layer, or a mean without `x`; when it runs: a factor that
            a layer does not have.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4)])
    >>> keras_gates.ablate(model, forget="open").predict(numpy.ones((2, 5, 3), "float32"), verbose=0).shape
    (2, 4)
    """
    if not held:
        raise InvalidArgument("ablate: say which factor to hold and how, for example forget='open'.")
    for factor, value in held.items():
        if value not in HOLDS and (isinstance(value, str) or not isinstance(value, int | float)):
            raise InvalidArgument(f"ablate: {factor} must be one of {', '.join(HOLDS)} or a number, got {value!r}.")
    gated = [one for one in named_recurrent_layers(model) if one.gated]
    names, layers = [one.name for one in gated], [layers] if isinstance(layers, str) else layers
    unknown = [name for name in layers or () if name not in names]
    if unknown or not gated:
        raise InvalidArgument(
            f"ablate: no layer with named gates called {', '.join(unknown) or 'anything'}; there are: {', '.join(names)}."
        )
    chosen = [one for one in gated if layers is None or one.name in layers]
    _check_factors(chosen, held)
    means = {}
    if "mean" in held.values():
        if x is None:
            raise InvalidArgument("ablate: 'mean' needs `x`, the input to take the means from.")
        traced = trace(model, x, keep=[factor for factor, value in held.items() if value == "mean"])
        means = {name: {f: np.nanmean(one[f], axis=(0, 1)) for f in held if f in one} for name, one in traced.items()}
    ablated = _Ablated(model, chosen, held, means)
    if getattr(model, "compiled", False):
        with keras.saving.custom_object_scope(_custom_objects(model)):
            ablated.compile_from_config(model.get_compile_config())
    return ablated


def _check_factors(layers: Sequence[Recurrent], held: Mapping[str, Any]) -> None:
    """Raise where a factor's name is unknown. Gates that a user wrote may name any; those are checked when they run."""
    for recurrent in layers:
        unknown = [name for name in held if name not in HELD]
        if unknown and all(cell.is_plain for cell in recurrent.cells.values()):
            meant = "".join(
                f"; what Keras calls {name} is {KERAS_NAMES[name]}" for name in unknown if name in KERAS_NAMES
            )
            raise InvalidArgument(
                f"ablate: {recurrent.name} has no factor {', '.join(unknown)}; it has: {', '.join(FACTORS)}{meant}."
            )


def _custom_objects(model: keras.Model) -> dict[str, Any]:
    """Return by name the losses and metrics that the model was compiled with; Keras does not find unregistered ones alone."""
    things = [t for t in keras.tree.flatten(compile_arguments(model)) if callable(t) and not isinstance(t, str)]
    named = [thing if hasattr(thing, "__name__") else type(thing) for thing in things]
    return {thing.__name__: thing for thing in named}


class _Ablated(keras.Model):
    """Calls `model` while the loops of some of its layers are replaced by one in which factors are held."""

    def __init__(
        self,
        model: keras.layers.Layer,
        layers: Sequence[Recurrent],
        held: Mapping[str, str | float],
        means: Mapping[str, Mapping[str, np.ndarray]],
    ) -> None:
        super().__init__(name=f"{model.name}_ablated")
        self.model = model
        held = dict(held)

        def run(recurrent: Recurrent, events: Any, states: Any, mask: Any, training: bool) -> tuple:
            holds = {f: _hold(value, means.get(recurrent.name, {}).get(f)) for f, value in held.items()}
            step = NamedStep(recurrent, lambda name: name in held, holds)
            outputs, states = run_steps(step, recurrent.layer, events, states, mask)
            last_cell = list(recurrent.cells)[-1]
            missing = [f for f in held if f not in step.names[last_cell]]
            if missing:
                raise InvalidArgument(f"ablate: {recurrent.name} has no factor {', '.join(missing)} to hold.")
            outputs = outputs[..., -recurrent.layer.cell.output_size :]
            last = outputs[:, -1]
            if mask is not None and recurrent.layer.zero_output_for_mask:
                read = ops.flip(mask, axis=1) if recurrent.layer.go_backwards else mask
                outputs = outputs * ops.cast(ops.expand_dims(read, -1), outputs.dtype)
            return last, outputs, states

        # A function, because Keras would track (and save) layers in an attribute. States are not restored: `predict` traces this
        # call into a graph, which carries the states of stateful layers over as the model itself does.
        self._held_gates: Callable[[], AbstractContextManager[None]] = lambda: replaced_loops(
            layers, run, restore_states=False
        )
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        with self._held_gates():
            return self.model(inputs, training=training)


def _hold(value: str | float, mean: np.ndarray | None) -> Callable[[Any], Any]:
    if value == "mean":
        return lambda factor: ops.zeros_like(factor) + ops.convert_to_tensor(mean, dtype=factor.dtype)
    number = {"open": 1.0, "closed": 0.0}[value] if isinstance(value, str) else value
    return lambda factor: ops.full_like(factor, number)


@typed
@leaves_model_unchanged
def worth_of_gates(
    model: keras.Model,
    x: Any,
    y: Any,
    *,
    factors: Sequence[str] = ("ignore", "forget", "use"),
    holds: Sequence[str | float] = HOLDS,
    layers: Sequence[str] | None = None,
    batch_size: int = 64,
) -> list[dict[str, Any]]:
    """Score a model with and without each gate.

    Args:
        model: A built model; `model.evaluate` gives the scores. One that is not compiled (loaded without its loss) is scored by
            the usual loss and metric of its prediction: cross-entropy and accuracy of probabilities, else squared and absolute
            error.
        x: Input to score on, `(batch, ...)`; means are taken from it.
        y: Targets, `(batch, ...)`.
        factors: Which factors to hold, one after the other.
        holds: How to hold each: `"open"`, `"closed"`, `"mean"` or a number.
        layers: Names of the layers to hold; default: all that have named gates.
        batch_size: Examples per batch of `evaluate`.

    Returns:
        A list of rows `{"factor", "held", "scores"}`. The first has `factor=None`: the model with no gate held. `scores` is what
        `model.evaluate(..., return_dict=True)` returns.

    Raises:
        ValueError: As for `ablate`.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> x, y = numpy.ones((8, 5, 3), "float32"), numpy.ones((8, 1), "float32")
    >>> len(keras_gates.worth_of_gates(model, x, y, holds=["open"]))
    4
    """
    check_examples(model, x, "worth_of_gates")
    if isinstance(y, list) and not any(hasattr(each, "shape") for each in y):
        y = np.asarray(y)
    targets, examples = keras.tree.flatten(y), len(keras.tree.flatten(x)[0])
    if not targets or any(getattr(each, "shape", ())[:1] != (examples,) for each in targets):
        raise InvalidArgument(
            f"worth_of_gates: y must be an array of {examples} targets, one per example of x, got {y!r:.60}."
        )
    usual = None if getattr(model, "compiled", False) else _usual_scores(model, x, y)

    def score(one: keras.Model) -> dict[str, float]:
        if usual is not None:
            one.compile(loss=usual[0], metrics=[usual[1]])
        measured = one.evaluate(text_tensors(x), y, batch_size=batch_size, verbose=0, return_dict=True)
        return {name: float(value) for name, value in measured.items()}

    whole = model if usual is None else _Ablated(model, [], {}, {})  # the model itself stays without a loss
    rows: list[dict[str, Any]] = [{"factor": None, "held": None, "scores": score(whole)}]
    for factor in factors:
        for value in holds:
            ablated = ablate(model, x=x if value == "mean" else None, layers=layers, **{factor: value})
            rows.append({"factor": factor, "held": value, "scores": score(ablated)})
    return rows


def _usual_scores(model: keras.layers.Layer, x: Any, y: Any) -> tuple[str, str]:
    """Return the usual loss and metric for what a model predicts."""
    prediction = keras.tree.flatten(model(select_examples(x, slice(0, fixed_batch(model) or 8)), training=False))[0]
    kind = kind_of_prediction(model, prediction, np.zeros(len(prediction), int))
    if kind == "value":
        return "mse", "mae"
    if kind == "sigmoid":
        return "binary_crossentropy", "accuracy"
    in_columns = np.ndim(y) == len(prediction.shape) and np.shape(y)[-1] == prediction.shape[-1]
    return "categorical_crossentropy" if in_columns else "sparse_categorical_crossentropy", "accuracy"
