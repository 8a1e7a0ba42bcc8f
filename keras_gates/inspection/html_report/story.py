"""One example as the page shows it: its events, the answers after each, and what its layers did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_gates.inspection.html_report.answers import answers_of, both_of_two, change_of_answer, named
from keras_gates.inspection.html_report.event_views import shown_events
from keras_gates.inspection.html_report.packing import packed
from keras_gates.inspection.html_report.predictions import predictions_by_event
from keras_gates.inspection.trace_data import LayerTrace


@dataclass
class Seen:
    """What was recorded of all examples at once."""

    layers: dict[str, LayerTrace] = field(default_factory=dict)
    prediction: Any = None
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    strength: np.ndarray | None = None


@dataclass(frozen=True)
class Names:
    labels: Sequence[str]
    vocabulary: Sequence[str]
    shows: Sequence[Any] | None


def story_of(
    model: keras.layers.Layer, x: Any, example: int, seen: Seen, truth: Any, names: Names, share: int
) -> tuple[dict[str, Any], float]:
    """Return everything about one example that the page needs, and how well it suits as the first one to be shown."""
    layers = list(seen.layers.values())
    time = layers[0].time if layers else 1
    same = [layer for layer in layers if layer.time == time]
    end = max((layer.end_of(example) for layer in same), default=time)
    drawn = names.shows[example] if names.shows is not None else keras.tree.flatten(x)[0][example]
    events = _until(end, time, _events(model, drawn, time, names.vocabulary))
    predictions = predictions_by_event(model, x, example, time)[:end]
    next_events = seen.prediction is not None and seen.prediction.ndim > 2 and seen.prediction.shape[1] == time
    numbers = np.asarray(drawn) if next_events and events.get("kind") == "words" else np.zeros(0)
    coded = numbers.dtype.kind in "iu" and numbers.ndim == 1
    answers = answers_of(predictions, names.labels or names.vocabulary, numbers[:end] if coded else None, truth)
    strength = None if seen.strength is None or seen.strength.shape[1] != time else seen.strength[example, :end]
    room = share - len(json.dumps(events)) - len(json.dumps(answers))
    cut = [layer.until(end if layer.time == time else layer.end_of(example)) for layer in _last_first(layers)]
    story = {
        "time": end,
        "events": events,
        "answers": answers,
        "influence": None if strength is None else packed(_relative(strength)),
        "layers": [_layer(one, seen.weights.get(one.name), example, room // len(cut)) for one in cut],
        "truth": "" if truth is None or answers["kind"] == "forecast" else named(truth, names.labels),
    }
    return story, _opening(predictions, strength, truth, names.labels)


def _opening(predictions: np.ndarray, strength: np.ndarray | None, truth: Any, labels: Sequence[str]) -> float:
    """Return how much the answer of an example changes at one event: more if that event counts most, less if it is wrong."""
    values = both_of_two(predictions, labels)
    if values.ndim != 2 or values.shape[1] < 2:
        return 0.0
    event, rise = change_of_answer(values)
    if strength is not None and event == int(np.abs(strength[:-1]).argmax() if len(strength) > 1 else 0):
        rise *= 4
    wrong = truth is not None and truth.size == 1 and truth.dtype.kind in "iuf" and truth.item() != values[-1].argmax()
    return rise * (0.25 if wrong else 1.0)


def _relative(array: np.ndarray) -> np.ndarray:
    """Return an array scaled so that its largest size is 1."""
    largest = np.abs(array).max(initial=0.0)
    return array / largest if largest > 0 else array


def _last_first(layers: Sequence[LayerTrace]) -> list[LayerTrace]:
    """Return the layer first that the answer is read from; of two directions the forward one comes first."""
    groups: list[list[LayerTrace]] = []
    for layer in layers:
        if layer.direction == "backward" and groups and groups[-1][-1].direction == "forward":
            groups[-1].append(layer)
        else:
            groups.append([layer])
    return [layer for group in reversed(groups) for layer in group]


def _events(model: keras.layers.Layer, drawn: Any, time: int, vocabulary: Sequence[str]) -> dict[str, Any]:
    if isinstance(drawn, list | tuple) and all(isinstance(word, str) for word in drawn):
        return {"kind": "words", "items": list(drawn)}
    events = shown_events(model, np.asarray(drawn), time, vocabulary)
    for name in ("samples", "values"):
        if name in events:
            events[name] = packed(events[name][:, :16] if name == "values" else events[name])
    return events


def _until(end: int, time: int, events: dict[str, Any]) -> dict[str, Any]:
    """Leave words after the last event out, which are padding; other events are cut by the page."""
    if events["kind"] == "words" and len(events["items"]) == time:
        events["items"] = events["items"][:end]
    return events


def _layer(layer: LayerTrace, weights: np.ndarray | None, example: int, room: int) -> dict[str, Any]:
    """Return a layer's arrays of one example; if not all units fit, those whose long-term memory moves most there."""
    arrays = {name: array[example] for name, array in layer.over_time.items()}
    wanted = max(1, min(layer.units, int(room / (2.2 * layer.time * (len(arrays) + 1))), 256))
    moving = np.nanstd(arrays.get("ltm", arrays["stm"]), axis=0)
    units = np.sort(np.argsort(-moving, kind="stable")[:wanted])
    return {
        "name": layer.name,
        "direction": layer.direction,
        "formulation": layer.formulation,
        "time": layer.time,
        "units": units.tolist(),
        "all_units": layer.units,
        "adds_up": layer.adds_up(),
        "weights": None if weights is None else packed(_relative(weights[example][: layer.time, units])),
        "mask": packed(layer.mask[example].astype("float32")),
        "arrays": {name: packed(array[:, units]) for name, array in arrays.items()},
    }
