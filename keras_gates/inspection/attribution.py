"""How much a prediction depends on every past event and on the long-term memory at every step, and how far back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates.inspection.hooks import (
    NamedStep,
    Recurrent,
    as_it_is,
    exchanged_loops,
    recurrent_layers,
    run_steps,
    to_numpy,
    uncompiled,
)
from keras_gates.inspection.tracing import some_of
from keras_gates.layers.cell import GateLSTMCell


@dataclass(frozen=True)
class Influence:
    """How much one number of the prediction depends on each event and memory.

    Attributes:
        layer: the layer whose events these are.
        events: `(batch, time, features)`: the gradient with respect to E_t, or its integrated gradient.
        ltm: by layer: `(batch, time, units)`, the gradient with respect to LTM_t.
        score: `(batch,)`, the number of the prediction that was asked about.
        method: "gradient" or "integrated".
        mask: `(batch, time)`, False where the layer skipped an event.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4, name="memory")])
    >>> found = keras_gates.influence(model, numpy.ones((2, 5, 3), "float32"))
    >>> found.strength.shape, found.ltm["memory"].shape
    ((2, 5), (2, 5, 4))
    """

    layer: str
    events: np.ndarray
    ltm: dict[str, np.ndarray]
    score: np.ndarray
    method: str
    mask: np.ndarray | None = None

    @property
    def strength(self) -> np.ndarray:
        """One number for each event, `(batch, time)`: the gradient's length, or the sum of the integrated gradient (signed)."""
        return np.linalg.norm(self.events, axis=-1) if self.method == "gradient" else self.events.sum(axis=-1)


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
    """How much the prediction depends on every past event and on LTM_t at every step.

        gradient:    d score / d E_t          d score / d LTM_t
        integrated:  E_t * mean over a in (0, 1] of d score / d E_t, where all events are a * E (sums to score - score of 0)

    The events are those that the first recurrent layer gets: word vectors, what a convolution saw in a frame. LTM_t is
    changed where it is remembered, so its gradient goes through the use gate of the same step and through all later ones.

    Args:
        model: a built Keras model with recurrent layers of any kind.
        x: what the model takes, `(batch, ...)`.
        target: which number of the prediction (for an answer at every event: of the last); default: the largest of each example.
        method: `"gradient"` or `"integrated"`.
        layer: whose events, by name; default: the first recurrent layer that runs.
        steps: how many gradients an integrated one is the mean of.
        memory: whether gradients with respect to LTM_t are wanted; without them every layer runs its own fast loop.

    Raises:
        ValueError: an unknown method or layer, or a model without recurrent layers.

    Source: Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks, 2017 (integrated gradients).

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4), keras.layers.Dense(1)])
    >>> keras_gates.influence(model, numpy.ones((2, 5, 3), "float32")).strength.shape
    (2, 5)
    """
    if method not in ("gradient", "integrated"):
        raise ValueError(f"influence: method must be 'gradient' or 'integrated', got {method!r}.")
    found = recurrent_layers(model)
    inputs = some_of(x, slice(None))
    seen = _Seeing()
    with exchanged_loops(found, seen):
        model(inputs, training=False)
    if not seen.events:
        raise ValueError(
            f"influence: {model.name} has no recurrent layer that ran, so there are no events to ask about."
        )
    layer = layer or next(iter(seen.events))
    pair = next((one.pair for one in found if one.name == layer), None)
    if pair is None:
        raise ValueError(
            f"influence: there is no recurrent layer {layer!r}; there are: {', '.join(one.name for one in found)}."
        )
    units = {one.name: one.cells[one.name].units for one in found if memory and _has_memory(one, seen)}
    nudged = list(units)

    def answer(values: list[Any], share: Any) -> tuple[Any, Any]:
        run = _Nudging(pair, share, values[0], dict(zip(nudged, values[1:])), loop)
        with exchanged_loops(found, run):
            each = _asked(keras.tree.flatten(model(inputs, training=False))[0], target)
        return ops.sum(each), each

    events = seen.events[layer]
    of_memory = [np.zeros((*seen.events[name].shape[:2], units[name]), events.dtype) for name in nudged]
    nothing = [np.zeros_like(events), *of_memory]
    shares = [1.0] if method == "gradient" else ((np.arange(steps) + 0.5) / steps).tolist()
    loop = uncompiled if method == "gradient" else as_it_is
    gradients_of = _gradients(answer)
    results = [gradients_of(nothing, share) for share in shares]
    of_events = np.mean([gradients[0] for _, gradients in results], axis=0)
    score, by_value = results[-1] if method == "gradient" else gradients_of(nothing, 1.0)
    if method == "integrated":
        of_events = of_events * events
    return Influence(layer, of_events, dict(zip(nudged, by_value[1:])), score, method, seen.masks[layer])


class _Seeing:
    """Stands for the layers' loops, and keeps the events and the mask of each layer's first call."""

    def __init__(self) -> None:
        self.events: dict[str, np.ndarray] = {}
        self.masks: dict[str, np.ndarray] = {}

    def __call__(self, recurrent: Recurrent, events: Any, memories: Any, mask: Any, training: bool) -> tuple:
        self.events.setdefault(recurrent.name, to_numpy(events))
        self.masks.setdefault(
            recurrent.name, np.ones(events.shape[:2], bool) if mask is None else to_numpy(mask).astype(bool)
        )
        return uncompiled(recurrent, events, memories, mask, training)


def _has_memory(recurrent: Recurrent, seen: _Seeing) -> bool:
    return recurrent.name in seen.events and isinstance(recurrent.cells.get(recurrent.name), GateLSTMCell)


class _Nudging:
    """Stands for the layers' loops, with something added to the events of one and to the LTM of others."""

    def __init__(self, pair: str, share: Any, nudge: Any, ltm_nudges: dict[str, Any], loop: Callable) -> None:
        self.pair, self.share, self.nudge, self.ltm_nudges, self.loop = pair, share, nudge, ltm_nudges, loop
        self.seen: set[str] = set()

    def __call__(self, recurrent: Recurrent, events: Any, memories: Any, mask: Any, training: bool) -> tuple:
        layer, name = recurrent.layer, recurrent.name
        first = name not in self.seen
        self.seen.add(name)
        if recurrent.pair == self.pair and first:
            events = events * ops.cast(self.share, events.dtype) + ops.cast(self.nudge, events.dtype)
        if name not in self.ltm_nudges or not first:
            return self.loop(recurrent, events, memories, mask, training)
        nudge = ops.cast(self.ltm_nudges[name], events.dtype)
        step = NamedStep(recurrent, lambda name: False, nudged=nudge.shape[-1])
        outputs, memories = run_steps(step, layer, ops.concatenate([events, nudge], axis=-1), memories, mask)
        return outputs[:, -1], outputs, memories


def _asked(prediction: Any, target: int | None) -> Any:
    """The number of each example's prediction that is asked about, `(batch,)`."""
    while len(prediction.shape) > 2:
        prediction = prediction[:, -1]
    prediction = ops.cast(prediction, "float32")
    if target is not None:
        return prediction[:, target]
    return ops.max(prediction, axis=-1)


def _gradients(score: Callable[[list[Any], Any], tuple[Any, Any]]) -> Callable[[list[np.ndarray], float], tuple]:
    """From values and a share to what `score` gives beside its sum, and the gradients of the sum with respect to the values."""
    taken = {"tensorflow": _by_tape, "jax": _by_jax, "torch": _by_torch}[keras.backend.backend()](score)

    def gradients(values: list[np.ndarray], share: float) -> tuple[np.ndarray, list[np.ndarray]]:
        each, found = taken([ops.convert_to_tensor(value) for value in values], share)
        return to_numpy(each), [np.zeros_like(v) if g is None else to_numpy(g) for g, v in zip(found, values)]

    return gradients


def _by_tape(score: Callable) -> Callable:
    import tensorflow as tf

    def taken(values: list[Any], share: float) -> tuple[Any, list[Any]]:
        with tf.GradientTape() as tape:
            tape.watch(values)
            total, each = score(values, share)
        return each, tape.gradient(total, values)

    return taken


def _by_jax(score: Callable) -> Callable:
    import jax

    def stateless(values: list[Any], share: Any) -> tuple[Any, Any]:
        with keras.StatelessScope():
            return score(values, share)

    compiled = jax.jit(jax.value_and_grad(stateless, has_aux=True))

    def taken(values: list[Any], share: float) -> tuple[Any, list[Any]]:
        (_, each), found = compiled(values, share)
        return each, found

    return taken


def _by_torch(score: Callable) -> Callable:
    import torch

    def taken(values: list[Any], share: float) -> tuple[Any, list[Any]]:
        values = [value.requires_grad_(True) for value in values]
        total, each = score(values, share)
        return each, torch.autograd.grad(total, values, allow_unused=True)

    return taken


@dataclass(frozen=True)
class Horizon:
    """How far back predictions depend on what was seen.

    Attributes:
        share: `(time,)`, the share of the influence of the event so many events back; index 0 is the last event.
        within: the share of the influence that `events` holds.
        events: within how many of the last events `within` of the influence lies.
    """

    share: np.ndarray
    within: float
    events: int


def memory_horizon(model: keras.layers.Layer, x: Any, *, within: float = 0.9, target: int | None = None) -> Horizon:
    """How far back a model really remembers: the share of influence over events back, and one number.

        share of k = mean over examples of |d score / d E_{T-k}| / sum over all events of |d score / d E|

    Args:
        model: a built Keras model with recurrent layers of any kind that read forward.
        x: examples, `(batch, ...)`; skipped events at the end do not count.
        within: the number is within how many of the last events this share of the influence lies.
        target: as for `influence`.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.SimpleRNN(4), keras.layers.Dense(1)])
    >>> 1 <= keras_gates.memory_horizon(model, numpy.random.rand(4, 9, 3).astype("float32")).events <= 9
    True
    """
    found = influence(model, x, target=target, memory=False)
    mask: Any = found.mask
    strength = np.where(mask, found.strength.astype("float64"), 0.0)
    time = strength.shape[1]
    ends = np.where(mask.any(1), time - np.argmax(mask[:, ::-1], axis=1), 0)
    back = np.zeros_like(strength)
    for row, end in enumerate(ends):
        back[row, :end] = strength[row, :end][::-1]
    totals = back.sum(axis=1, keepdims=True)
    share = (back / np.where(totals > 0, totals, 1.0)).mean(axis=0)
    total = share.sum()
    share = share / total if total > 0 else share
    events = int(np.searchsorted(np.cumsum(share), within - 1e-9) + 1)
    return Horizon(share, within, min(events, time))
