"""The interactive report: one HTML file in which to scrub through time and see what the gates did."""

from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_gates.inspection.attribution import influence
from keras_gates.inspection.hooks import empty_memories, recurrent_layers
from keras_gates.inspection.html_report.event_views import shown_events
from keras_gates.inspection.html_report.predictions import answers_by_event
from keras_gates.inspection.trace_data import LayerTrace
from keras_gates.inspection.tracing import fixed_batch, some_of, trace

LARGEST = 1_900_000
NAMED_ANSWERS = 8
MOST_EXAMPLES = 24
MOST_NUMBERS = 400


def report(
    model: keras.layers.Layer,
    examples: Any,
    path: str | Path,
    *,
    truth: Sequence[Any] | None = None,
    labels: Sequence[str] = (),
    vocabulary: Sequence[str] = (),
    shows: Sequence[Any] | None = None,
    title: str | None = None,
    largest: int = LARGEST,
) -> Path:
    """Write an interactive report of what a model does with some examples: one HTML file that needs no network.

    In it: scrub through time, hover or focus a gate, choose example, layer and unit; the model's answer changes event by
    event, and what each event left in the long-term memory is drawn under the words, pictures or waveform, by how much it
    counts for the answer at the end:

        sum over units of learned_s * f_{s+1} * ... * f_t * d answer / d LTM_t

    Args:
        model: a built Keras model with or without recurrent layers.
        examples: what the model takes, NumPy `(batch, ...)`, a few examples; those that do not fit are left out.
            Of long sequences of numbers (characters, words) the first 400.
        path: of the file; written under a temporary name first.
        truth: the right answer of each example: a class number, or anything that can be printed.
        labels: the names of the classes.
        vocabulary: the word or character behind each number, where the events are numbers and no layer of the model knows.
        shows: instead of `examples`, what to draw as events: for each example words (a list of strings), pictures
            `(time, height, width, 1 or 3)`, samples `(samples,)` or values `(time, features)`.
        title: of the report; default: the model's name.
        largest: the size that the file may have, in bytes. Where all does not fit, units whose long-term memory moves
            least are left out, then examples; the report says so.

    Returns:
        The path.

    Raises:
        ValueError: no examples, or one example with one unit of each layer does not fit.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4), keras.layers.Dense(2, "softmax")])
    >>> keras_gates.report(model, numpy.ones((2, 5, 3), "float32"), "report.html", labels=["dog", "wolf"]).name
    'report.html'
    """
    count = len(keras.tree.flatten(examples)[0])
    if not count:
        raise ValueError("report: there are no examples to show.")
    examples = keras.tree.map_structure(_beginning, examples)
    page = _page()
    room = largest - len(page.encode()) - 20_000
    share = room // min(count, 8)
    shown = min(count, MOST_EXAMPLES)
    found = recurrent_layers(model)
    stories: list[dict[str, Any]] = []
    with empty_memories(found):
        batch = fixed_batch(model) or 1
        rows = np.resize(np.arange(shown), -(-shown // batch) * batch)
        layers, weights = [], {}
        if found:
            traced = trace(model, some_of(examples, rows))
            layers = list(traced.values())
            one_number = keras.tree.flatten(traced.prediction)[0].shape[-1] == 1
            weights = _weights(model, examples, rows, one_number and len(labels) == 2)
    for example in range(shown):
        with empty_memories(found):
            story = _story(model, examples, example, layers, weights, share, vocabulary, labels, shows)
        story["truth"] = "" if truth is None else _named(np.asarray(truth[example]), labels)
        size = len(json.dumps(story))
        if stories and size > room:
            break
        if size > room:
            raise ValueError(
                f"report: one example takes {size} bytes, more than largest={largest}. Give shorter examples."
            )
        room -= size
        stories.append(story)
    content = {
        "title": title or model.name,
        "model": f"{model.name}, {model.count_params():,} weights",
        "left_out": count - len(stories),
        "examples": stories,
    }
    safe = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "").replace("\u2029", "")
    path = Path(path)
    waiting = path.with_name(path.name + ".tmp")
    waiting.write_text(
        page.replace("{{title}}", html.escape(title or model.name)).replace("{{data}}", safe), encoding="utf-8"
    )
    os.replace(waiting, path)
    return path


def _beginning(x: Any) -> Any:
    """The first of long sequences of whole numbers; anything else as it is."""
    x = np.asarray(x)
    return x[:, :MOST_NUMBERS] if x.ndim == 2 and x.dtype.kind in "iu" else x


def _page() -> str:
    """The page with its style and script put in."""
    folder = resources.files("keras_gates.inspection.html_report") / "page"
    page = (folder / "report.html").read_text(encoding="utf-8")
    for name in ("report.css", "data.js", "draw.js", "report.js"):
        page = page.replace("{{" + name + "}}", (folder / name).read_text(encoding="utf-8"))
    return page


def _story(
    model: keras.layers.Layer,
    x: Any,
    example: int,
    layers: Sequence[LayerTrace],
    weights: dict[str, np.ndarray],
    share: int,
    vocabulary: Sequence[str],
    labels: Sequence[str],
    shows: Sequence[Any] | None,
) -> dict[str, Any]:
    """Everything about one example that the page needs."""
    time = layers[0].time if layers else 1
    seen = shows[example] if shows is not None else keras.tree.flatten(x)[0][example]
    events = _events(model, seen, time, vocabulary)
    answers = answers_by_event(model, x, example, time)
    room = share - len(json.dumps(events)) - 4 * answers.shape[0] * min(NAMED_ANSWERS, answers.shape[1])
    return {
        "time": time,
        "events": events,
        "answers": _answers(answers, labels or vocabulary),
        "layers": [_layer(layer, weights.get(layer.name), example, room // max(len(layers), 1)) for layer in layers],
    }


def _weights(model: keras.layers.Layer, x: Any, rows: np.ndarray, one_of_two: bool) -> dict[str, np.ndarray]:
    """How much each unit of LTM_t counts for the answer at the end, `(batch, time, units)` by layer: the gradient of the largest
    answer with respect to it, its largest size at each t made 1. `one_of_two`: the model gives the second answer's share alone.
    """
    parts: dict[str, list[np.ndarray]] = {}
    batch = fixed_batch(model) or 32
    for start in range(0, len(rows), batch):
        found = influence(model, some_of(x, rows[start : start + batch]))
        for name, gradient in found.ltm.items():
            if one_of_two:
                gradient = gradient * np.where(found.score < 0.5, -1, 1)[:, None, None]
            largest = np.abs(gradient).max(axis=-1, keepdims=True)
            parts.setdefault(name, []).append(gradient / np.where(largest > 0, largest, 1))
    return {name: np.concatenate(_of_one_length(part)) for name, part in parts.items()}


def _of_one_length(parts: list[np.ndarray]) -> list[np.ndarray]:
    time = max(part.shape[1] for part in parts)
    return [np.pad(part, ((0, 0), (0, time - part.shape[1]), (0, 0))) for part in parts]


def _events(model: keras.layers.Layer, seen: Any, time: int, vocabulary: Sequence[str]) -> dict[str, Any]:
    if isinstance(seen, list | tuple) and all(isinstance(word, str) for word in seen):
        return {"kind": "words", "items": list(seen)}
    events = shown_events(model, np.asarray(seen), time, vocabulary)
    for name in ("samples", "values"):
        if name in events:
            events[name] = packed(events[name][:, :16] if name == "values" else events[name])
    return events


def _answers(answers: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """The answers that were ever large, with their names."""
    if answers.shape[1] == 1 and len(labels) == 2 and answers.min() >= 0 and answers.max() <= 1:
        answers = np.concatenate([1 - answers, answers], axis=1)
    largest = np.sort(np.argsort(-np.abs(answers).max(axis=0), kind="stable")[:NAMED_ANSWERS])
    sure = answers.min() >= 0 and answers.max() <= 1.001
    return {
        "names": [_named(np.asarray(k), labels) for k in largest.tolist()],
        "values": packed(answers[:, largest]),
        "probabilities": bool(sure),
        "more": answers.shape[1] - len(largest),
    }


def _named(value: np.ndarray, labels: Sequence[str]) -> str:
    value = value.reshape(-1)[-1] if value.size else value
    if np.issubdtype(value.dtype, np.number) and float(value).is_integer() and 0 <= value < len(labels):
        return str(labels[int(value)])
    return f"{float(value):.3g}" if np.issubdtype(value.dtype, np.floating) else str(value)


def _layer(layer: LayerTrace, weights: np.ndarray | None, example: int, room: int) -> dict[str, Any]:
    """A layer's arrays of one example; where not all units fit, those whose long-term memory moves most there."""
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
        "weights": None if weights is None else packed(weights[example][:, units]),
        "mask": packed(layer.mask[example].astype("float32")),
        "arrays": {name: packed(array[:, units]) for name, array in arrays.items()},
    }


def packed(array: np.ndarray) -> dict[str, Any]:
    """An array as base64: bytes between 0 and 1, scaled signed bytes between -1 and 1, float16 elsewhere; NaN becomes 0."""
    array = np.asarray(array, "float64")
    low, high, scale = np.nanmin(array, initial=0), np.nanmax(array, initial=0), 1.0
    if low >= 0 and high <= 1:
        kind, values = "share", np.nan_to_num(array * 255).round().astype("uint8")
    elif low >= -1 and high <= 1:
        scale = max(-low, high)
        kind, values = "signed", np.nan_to_num(array / scale * 127).round().astype("int8")
    else:
        kind, values = "half", np.nan_to_num(np.clip(array, -65504, 65504)).astype("<f2")
    return {
        "kind": kind,
        "scale": scale,
        "shape": list(array.shape),
        "base64": base64.b64encode(values.tobytes()).decode(),
    }
