"""Attribution: how much a prediction depends on every past event and on the cell state at every time step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_gates._arguments import typed
from keras_gates._errors import InvalidArgument
from keras_gates.inspection.event_passes import EventPasses
from keras_gates.inspection.explained import Explained
from keras_gates.inspection.hooks import uncompiled_loop
from keras_gates.inspection.influence_data import Influence
from keras_gates.inspection.inputs import to_numpy
from keras_gates.layers.unchanged import leaves_model_unchanged

METHODS = ("integrated", "gradient")
OF = ("log-odds", "prediction")
STEPS, OTHERS = 8, 4  # gradients per neutral example; other examples that are neutral by default


@typed
@leaves_model_unchanged
def influence(
    model: keras.layers.Layer,
    x: Any,
    *,
    target: int | None = None,
    method: str = "integrated",
    of: str = "log-odds",
    background: Any = None,
    at: int = -1,
    layer: str | None = None,
    steps: int = STEPS,
    memory: bool = True,
) -> Influence:
    """Compute how much a prediction depends on every past event and on LTM_t (the cell state) at every time step.

        integrated:  (E_t - N_t) * mean over a from 0 to 1 of d explained / d E_t, where all events are N + a * (E - N)
        gradient:    d explained / d E_t

    Integrated gradients add up: their sum is what is explained minus its value for the neutral events N (`Influence.gap` is the
    difference that numerical integration leaves). A gradient alone says how much a small change would matter, and vanishes
    where a gate or the answer is saturated.

    The events are the input of the first recurrent layer: word vectors, or what a convolution computed for a frame. LTM_t is
    changed where the remember gate returns it, so its gradient passes through the use gate of the same step and through all
    later steps.

    Args:
        model: A built Keras model with recurrent layers of any kind.
        x: The model's input, `(batch, ...)`; several inputs in a list or dict.
        target: Index of the explained number in the prediction; default: each example's largest.
        method: `"integrated"` or `"gradient"`.
        of: `"log-odds"`: of the answer, where the prediction is a softmax or sigmoid (any other prediction is explained as it
            is); or `"prediction"`, the number itself.
        background: Input whose events are the neutral ones, a few examples of the same length as `x`; the attribution is the
            mean over them. Default: four other examples of `x` for each (so the question is what makes this answer differ from
            theirs), with the mean event where they have skipped ones; if there is one example only, the mean event.
        at: For a model that predicts at every event, the index of the event after which it is asked, from 0; negative from the
            last event that is not skipped.
        layer: Name of the layer whose events are meant; default: the first recurrent layer that runs.
        steps: How many gradients an integrated gradient takes for each neutral example; most are taken where the explained
            number changes most. More make `Influence.gap` smaller.
        memory: Whether to compute gradients with respect to LTM_t.

    Returns:
        An `Influence`.

    Raises:
        ValueError: Unknown method or layer, `target` or `at` outside of the prediction, a background whose events do not fit, or
            a model without recurrent layers.

    Source: Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks, 2017 (integrated gradients).

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4), keras.layers.Dense(1)])
    >>> keras_gates.influence(model, numpy.ones((2, 5, 3), "float32")).strength.shape
    (2, 5)
    """
    for name, value, known in (("method", method, METHODS), ("of", of, OF)):
        if value not in known:
            raise InvalidArgument(f"influence: {name} must be {known[0]!r} or {known[1]!r}, got {value!r}.")
    if steps < 1:
        raise InvalidArgument(f"influence: steps must be at least 1, got {steps}.")
    passes = EventPasses(model, x, layer, "influence")
    explained = passes.explained(target, of, at)
    neutral = None if method == "gradient" else neutral_events(passes, background)
    return attributed(passes, explained, neutral, steps, memory)


def neutral_events(passes: EventPasses, background: Any) -> list[np.ndarray]:
    """Return neutral events, each `(1 or batch, 1 or time, features)`.

    Args:
        passes: The model and its input.
        background: Input whose events are neutral; None takes other examples of the input, or the mean event.
    """
    events, mask = passes.events, passes.mask
    if background is None:
        mean = events[mask].mean(axis=0) if mask.any() else np.zeros(events.shape[-1], events.dtype)
        if len(events) == 1:
            return [mean[None, None]]
        events = np.where(mask[..., None], events, mean)
        shifts = np.unique(np.linspace(1, len(events) - 1, min(OTHERS, len(events) - 1)).round().astype(int))
        return [np.roll(events, shift, axis=0) for shift in shifts.tolist()]
    samples = EventPasses(passes.model, background, passes.layer, passes.caller).events
    if samples.shape[1:] != events.shape[1:]:
        raise InvalidArgument(
            f"{passes.caller}: the background has {samples.shape[1]} events of {samples.shape[2]} features, the input "
            f"{events.shape[1]} of {events.shape[2]}; give a background of the same length."
        )
    return list(samples[:, None])


def attributed(
    passes: EventPasses, explained: Explained, neutral: list[np.ndarray] | None, steps: int, memory: bool
) -> Influence:
    """Return the influence on one number of each example's prediction.

    Args:
        passes: The model and its input.
        explained: The number.
        neutral: Neutral events, each `(1 or batch, 1 or time, features)`, for integrated gradients; None for the gradient.
        steps: How many gradients are taken along the path from each.
        memory: Whether to compute gradients with respect to LTM_t.
    """
    of = explained.of
    score = to_numpy(explained.score(passes.prediction))
    value = to_numpy(explained.explained(passes.prediction))
    if neutral is None:
        nothing = np.zeros((1, 1, passes.events.shape[-1]), passes.events.dtype)
        [(by_event, by_ltm)] = passes.gradients(explained, [(nothing, 1.0)], memory, uncompiled_loop)
        return Influence(passes.layer, by_event, by_ltm, score, "gradient", passes.mask, of, value, None, passes.events)
    evenly = np.linspace(0, 1, max(steps // 2, 2) + 1).tolist()[:-1]
    on_paths = passes.values(explained, [(sample, share) for sample in neutral for share in evenly])
    on_paths = on_paths.reshape(len(neutral), len(evenly), -1)
    points, weights = [], []
    for sample, values in zip(neutral, on_paths):
        shares, widths = path_points(np.concatenate([values, value[None]]), steps)
        points += [(sample, share) for share in shares]
        weights += list(widths)
    by_event = np.zeros(passes.events.shape, "float64")
    gradients = passes.gradients(explained, points, memory=False)  # many gradients earn back a compilation
    for (sample, _), weight, (gradient, _) in zip(points, weights, gradients):
        by_event += weight[:, None, None] * gradient * (passes.events - sample)
    by_event = (by_event / len(neutral)).astype(value.dtype)
    at_neutral = on_paths[:, 0].astype("float64").mean(axis=0)
    by_ltm = {}
    if memory:
        [(_, by_ltm)] = passes.gradients(explained, [(neutral[0], 1.0)], True, uncompiled_loop)
    return Influence(
        passes.layer, by_event, by_ltm, score, "integrated", passes.mask, of, value, at_neutral, passes.events
    )


def path_points(values: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where gradients are taken along a path from 0 to 1, so that most are where the value changes most.

    What a saturated network answers changes within a small part of the path, which evenly spaced points would miss.

    Args:
        values: The value at evenly spaced points of the path, 0 and 1 included, `(points, batch)`.
        steps: How many gradients are taken.

    Returns:
        Shares of the path and the weights of the gradients there for each example, `(steps, batch)`: two of Gauss' points in
        each of `steps / 2` stretches (one in each stretch, if `steps` is odd).
    """
    changes = np.abs(np.diff(values.astype("float64"), axis=0))
    total = changes.sum(axis=0)
    shares = np.where(total > 0, changes / np.where(total > 0, total, 1), 1 / len(changes))
    # Half of the points are evenly spaced: the value may change between two points.
    density = (shares + 1 / len(changes)) / 2
    reached = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(density, axis=0)])
    inside, weights = np.polynomial.legendre.leggauss(1 if steps % 2 else 2)
    places, wanted = np.linspace(0, 1, len(values)), np.linspace(0, 1, steps // len(inside) + 1)
    edges = np.stack([np.interp(wanted, column, places) for column in reached.T], axis=1)
    middles, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges, axis=0)
    shares_of_path = [middles + x / 2 * widths for x in inside.tolist()]
    return np.concatenate(shares_of_path), np.concatenate([w / 2 * widths for w in weights.tolist()])
