"""Attribution: how much a prediction depends on every past event and on the cell state at every time step, and how far back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates.inspection.gradients import gradients_of
from keras_gates.inspection.hooks import (
    Loop,
    NamedStep,
    Recurrent,
    named_recurrent_layers,
    original_loop,
    replaced_loops,
    run_steps,
    uncompiled_loop,
)
from keras_gates.inspection.inputs import select_examples, to_numpy
from keras_gates.layers.cell import GateLSTMCell
from keras_gates.layers.unchanged import leaves_model_unchanged

METHODS = ("gradient", "integrated")


@dataclass(frozen=True, repr=False)
class Influence:
    """How much one number of the prediction depends on each event and on LTM (the cell state).

    Attributes:
        layer: Name of the layer whose events these are.
        events: `(batch, time, features)`, the gradient with respect to E_t, or its integrated gradient.
        ltm: By layer, `(batch, time, units)`, the gradient with respect to LTM_t.
        score: `(batch,)`, the number of the prediction that is explained.
        method: "gradient" or "integrated".
        mask: `(batch, time)`, False where the layer skipped an event; or None.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4, name="memory")])
    >>> influence = keras_gates.influence(model, numpy.ones((2, 5, 3), "float32"))
    >>> influence.strength.shape, influence.ltm["memory"].shape
    ((2, 5), (2, 5, 4))
    """

    layer: str
    events: np.ndarray
    ltm: dict[str, np.ndarray]
    score: np.ndarray
    method: str
    mask: np.ndarray | None = None

    def __repr__(self) -> str:
        batch, time, features = self.events.shape
        also = f", LTM of {', '.join(self.ltm)}" if self.ltm else ""
        return (
            f"<Influence ({self.method}) of {self.layer}: {batch} sequences, {time} events, {features} features{also}>"
        )

    @property
    def strength(self) -> np.ndarray:
        """One number per event, `(batch, time)`: the gradient's length, or the sum of the integrated gradient (signed)."""
        return np.linalg.norm(self.events, axis=-1) if self.method == "gradient" else self.events.sum(axis=-1)


@leaves_model_unchanged
def influence(
    model: keras.layers.Layer,
    x: Any,
    *,
    target: int | None = None,
    method: str = "gradient",
    layer: str | None = None,
    steps: int = 32,
    memory: bool = True,
) -> Influence:
    """Compute how much the prediction depends on every past event and on LTM_t (the cell state) at every time step.

        gradient:    d score / d E_t          d score / d LTM_t
        integrated:  E_t * mean over a in (0, 1] of d score / d E_t, where all events are a * E (sums to score - score of 0)

    The events are the input of the first recurrent layer: word vectors, or what a convolution computed for a frame. LTM_t is
    changed where the remember gate returns it, so its gradient passes through the use gate of the same step and through all
    later steps.

    Args:
        model: A built Keras model with recurrent layers of any kind.
        x: The model's input, `(batch, ...)`; several inputs in a list or dict.
        target: Index of the explained number in the prediction (of the last prediction, for a model that predicts at every
            event); default: each example's largest.
        method: `"gradient"` or `"integrated"`.
        layer: Name of the layer whose events are meant; default: the first recurrent layer that runs.
        steps: How many gradients an integrated gradient is the mean of.
        memory: Whether to compute gradients with respect to LTM_t; without them every layer runs its own fast loop.

    Returns:
        An `Influence`.

    Raises:
        ValueError: Unknown method or layer, `target` outside of the prediction, or a model without recurrent layers.

    Source: Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks, 2017 (integrated gradients).

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4), keras.layers.Dense(1)])
    >>> keras_gates.influence(model, numpy.ones((2, 5, 3), "float32")).strength.shape
    (2, 5)
    """
    if method not in METHODS:
        raise ValueError(f"influence: method must be 'gradient' or 'integrated', got {method!r}.")
    recurrent = named_recurrent_layers(model)
    inputs = select_examples(x, slice(None))
    first_calls = _FirstCalls()
    with replaced_loops(recurrent, first_calls):
        prediction = keras.tree.flatten(model(inputs, training=False))[0]
    if not first_calls.events:
        raise ValueError(f"influence: {model.name} has no recurrent layer that ran, so there are no events to explain.")
    layer = layer or next(iter(first_calls.events))
    if layer not in first_calls.events:
        raise ValueError(
            f"influence: there is no recurrent layer {layer!r}; there are: {', '.join(one.name for one in recurrent)}."
        )
    size = prediction.shape[-1] if len(prediction.shape) > 1 else 1
    if target is not None and not -size <= target < size:
        raise ValueError(
            f"influence: target={target} is outside of the prediction, which has {size} numbers per example (0 to {size - 1})."
        )
    pair = next(one.pair for one in recurrent if one.name == layer)
    units = {one.name: one.cells[one.name].units for one in recurrent if memory and _has_ltm(one, first_calls)}
    loop = uncompiled_loop if method == "gradient" else original_loop  # many gradients earn back the compilation

    def score(values: list[Any], scale: Any) -> tuple[Any, Any]:
        run = _WithOffsets(pair, scale, values[0], dict(zip(units, values[1:])), loop)
        with replaced_loops(recurrent, run):
            scores = _explained(keras.tree.flatten(model(inputs, training=False))[0], target)
        return ops.sum(scores), scores

    events = first_calls.events[layer]
    zeros = [np.zeros((*first_calls.events[name].shape[:2], n), events.dtype) for name, n in units.items()]
    offsets = [np.zeros_like(events), *zeros]
    scales = [1.0] if method == "gradient" else ((np.arange(steps) + 0.5) / steps).tolist()
    gradients = gradients_of(score)
    results = [gradients(offsets, scale) for scale in scales]
    by_event = np.mean([by_offset[0] for _, by_offset in results], axis=0)
    scores, by_offset = results[-1] if method == "gradient" else gradients(offsets, 1.0)
    if method == "integrated":
        by_event = by_event * events
    return Influence(layer, by_event, dict(zip(units, by_offset[1:])), scores, method, first_calls.masks[layer])


class _FirstCalls:
    """A replacement for the layers' loops that records the events and the mask of each layer's first call."""

    def __init__(self) -> None:
        self.events: dict[str, np.ndarray] = {}
        self.masks: dict[str, np.ndarray] = {}

    def __call__(self, recurrent: Recurrent, events: Any, states: Any, mask: Any, training: bool) -> tuple:
        self.events.setdefault(recurrent.name, to_numpy(events))
        read = np.ones(events.shape[:2], bool) if mask is None else to_numpy(mask).astype(bool)
        self.masks.setdefault(recurrent.name, read)
        return uncompiled_loop(recurrent, events, states, mask, training)


def _has_ltm(recurrent: Recurrent, first_calls: _FirstCalls) -> bool:
    return recurrent.name in first_calls.events and isinstance(recurrent.cells.get(recurrent.name), GateLSTMCell)


class _WithOffsets:
    """A replacement for the layers' loops that adds offsets to the events of one layer and to the LTM of others.

    Offsets are zeros: they are what gradients are taken with respect to.
    """

    def __init__(self, pair: str, scale: Any, offset: Any, ltm_offsets: dict[str, Any], loop: Loop) -> None:
        self.pair, self.scale, self.offset, self.ltm_offsets, self.loop = pair, scale, offset, ltm_offsets, loop
        self.called: set[str] = set()

    def __call__(self, recurrent: Recurrent, events: Any, states: Any, mask: Any, training: bool) -> tuple:
        name, first = recurrent.name, recurrent.name not in self.called
        self.called.add(name)
        if recurrent.pair == self.pair and first:
            events = events * ops.cast(self.scale, events.dtype) + ops.cast(self.offset, events.dtype)
        if name not in self.ltm_offsets or not first:
            return self.loop(recurrent, events, states, mask, training)
        offset = ops.cast(self.ltm_offsets[name], events.dtype)
        step = NamedStep(recurrent, lambda name: False, ltm_columns=offset.shape[-1])
        events = ops.concatenate([events, offset], axis=-1)
        outputs, states = run_steps(step, recurrent.layer, events, states, mask)
        return outputs[:, -1], outputs, states


def _explained(prediction: Any, target: int | None) -> Any:
    """Return the number of each example's prediction that is explained, `(batch,)`."""
    while len(prediction.shape) > 2:
        prediction = prediction[:, -1]
    prediction = ops.cast(prediction if len(prediction.shape) == 2 else prediction[:, None], "float32")
    return ops.max(prediction, axis=-1) if target is None else prediction[:, target]


@dataclass(frozen=True, repr=False)
class Horizon:
    """How far back predictions depend on the input.

    Attributes:
        share: `(time,)`, the share of the influence by distance; index 0 is the last event.
        within: The share of the influence that lies within `events`.
        events: The number of last events that hold `within` of the influence.
    """

    share: np.ndarray
    within: float
    events: int

    def __repr__(self) -> str:
        return f"<Horizon: {self.within:.0%} of the influence lies within the last {self.events} of {len(self.share)} events>"


def memory_horizon(model: keras.layers.Layer, x: Any, *, within: float = 0.9, target: int | None = None) -> Horizon:
    """Measure how far back a model remembers: the share of the influence by distance, and one number.

        share of k = mean over examples of |d score / d E_{T-k}| / sum over all events of |d score / d E|

    Args:
        model: A built Keras model with recurrent layers of any kind that read forward.
        x: Examples, `(batch, ...)`; skipped events at the end do not count.
        within: The share of the influence, 0 to 1, that lies within the returned number of events.
        target: As for `influence`.

    Returns:
        A `Horizon`.

    Raises:
        ValueError: As for `influence`.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.SimpleRNN(4), keras.layers.Dense(1)])
    >>> 1 <= keras_gates.memory_horizon(model, numpy.random.rand(4, 9, 3).astype("float32")).events <= 9
    True
    """
    gradient = influence(model, x, target=target, memory=False)
    mask: Any = gradient.mask
    strength = np.where(mask, gradient.strength.astype("float64"), 0.0)
    time = strength.shape[1]
    ends = np.where(mask.any(1), time - np.argmax(mask[:, ::-1], axis=1), 0)
    back = np.zeros_like(strength)
    for row, end in enumerate(ends):
        back[row, :end] = strength[row, :end][::-1]
    totals = back.sum(axis=1, keepdims=True)
    share = (back / np.where(totals > 0, totals, 1.0)).mean(axis=0)
    total = share.sum()
    share = share / total if total > 0 else share
    events = int(np.searchsorted(np.cumsum(share), within - 1e-9) + 1)  # rounding must not add an event
    return Horizon(share, within, min(events, time))
