"""Building the interactive report: everything about a few examples, in one HTML file that needs no network."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_gates._files import write_text
from keras_gates.inspection.attribution import influence
from keras_gates.inspection.hooks import empty_states, named_recurrent_layers
from keras_gates.inspection.html_report.event_views import shown_events
from keras_gates.inspection.html_report.predictions import predictions_by_event
from keras_gates.inspection.inputs import concatenate_batches, fixed_batch, select_examples
from keras_gates.inspection.trace_data import LayerTrace
from keras_gates.inspection.tracing import trace
from keras_gates.layers.unchanged import leaves_model_unchanged

LARGEST = 1_900_000  # bytes
OVERHEAD = 20_000  # bytes for what is not an example: title, names
NAMED_PREDICTIONS = 8
MOST_EXAMPLES = 24
MOST_NUMBERS = 400


@leaves_model_unchanged
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
    """Write an interactive report of what a model does with some examples.

    In the page: move through time, hover over or focus a gate, choose example, layer and unit. The model's prediction changes
    event by event. Under the words, pictures or waveform stands what each event left in the long-term memory (cell state),
    weighted by its effect on the prediction at the end:

        sum over units of learned_s * f_{s+1} * ... * f_t * d prediction / d LTM_t

    Args:
        model: A built Keras model with or without recurrent layers. It stays unchanged.
        examples: A few examples of the model's input, NumPy `(batch, ...)`; those that do not fit are left out. Sequences of
            integers (characters, words) are cut to the first 400.
        path: The file to write or replace. Its folder must exist.
        truth: The true answer of each example: a class number, or anything that can be printed.
        labels: Names of the classes.
        vocabulary: The word or character behind each number, if events are numbers and no layer of the model knows them.
        shows: What to draw as events instead of `examples`: for each example words (a list of strings), pictures
            `(time, height, width, 1 or 3)`, samples `(samples,)` or values `(time, features)`.
        title: Title of the report; default: the model's name.
        largest: Largest size of the file in bytes. If not everything fits, units whose long-term memory moves least are left
            out, then examples; the report says so.

    Returns:
        The path.

    Raises:
        ValueError: No examples, `truth` of another length, or one example with one unit of each layer does not fit.
        OSError: The file cannot be written; an older one stays as it is.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4), keras.layers.Dense(2, "softmax")])
    >>> keras_gates.report(model, numpy.ones((2, 5, 3), "float32"), "report.html", labels=["dog", "wolf"]).name
    'report.html'
    """
    count = len(keras.tree.flatten(examples)[0])
    if not count:
        raise ValueError("report: there are no examples to show.")
    if truth is not None and len(truth) != count:
        raise ValueError(f"report: `truth` must hold one answer per example, {count}, got {len(truth)}.")
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"report: there is no folder {path.parent} to write {path.name} to; create it first.")
    examples = keras.tree.map_structure(_beginning, examples)
    page = _page()
    room = largest - len(page.encode()) - OVERHEAD
    share = room // min(count, 8)
    shown = min(count, MOST_EXAMPLES)
    recurrent = named_recurrent_layers(model)
    stories: list[dict[str, Any]] = []
    with empty_states(recurrent):
        batch = fixed_batch(model) or 1
        rows = np.resize(np.arange(shown), -(-shown // batch) * batch)
        layers, weights = [], {}
        if recurrent:
            traced = trace(model, select_examples(examples, rows))
            layers = list(traced.values())
            is_one_number = keras.tree.flatten(traced.prediction)[0].shape[-1] == 1
            weights = _weights(model, examples, rows, is_one_number and len(labels) == 2)
    for example in range(shown):
        with empty_states(recurrent):
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
    # "<" could close the script element, and the two line separators end a line in older JavaScript.
    safe = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "").replace("\u2029", "")
    write_text(path, page.replace("{{title}}", html.escape(title or model.name)).replace("{{data}}", safe))
    return path


def _beginning(x: Any) -> Any:
    """Return the beginning of long sequences of integers; anything else unchanged."""
    x = np.asarray(x)
    return x[:, :MOST_NUMBERS] if x.ndim == 2 and x.dtype.kind in "iu" else x


def _page() -> str:
    """Return the page with its style and script inserted."""
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
    """Return everything about one example that the page needs."""
    time = layers[0].time if layers else 1
    drawn = shows[example] if shows is not None else keras.tree.flatten(x)[0][example]
    events = _events(model, drawn, time, vocabulary)
    predictions = predictions_by_event(model, x, example, time)
    room = share - len(json.dumps(events)) - 4 * len(predictions) * min(NAMED_PREDICTIONS, predictions.shape[1])
    return {
        "time": time,
        "events": events,
        "answers": _answers(predictions, labels or vocabulary),
        "layers": [_layer(layer, weights.get(layer.name), example, room // max(len(layers), 1)) for layer in layers],
    }


def _weights(model: keras.layers.Layer, x: Any, rows: np.ndarray, one_of_two: bool) -> dict[str, np.ndarray]:
    """Return the effect of each unit of LTM_t on the prediction at the end, by layer: `(batch, time, units)`.

    It is the gradient of the largest answer with respect to LTM_t, scaled at each t so that its largest size is 1.
    `one_of_two`: the model's one number is the probability of the second of two answers.
    """
    parts: dict[str, list[np.ndarray]] = {}
    batch = fixed_batch(model) or 32
    for start in range(0, len(rows), batch):
        gradients = influence(model, select_examples(x, rows[start : start + batch]), method="gradient")
        for name, gradient in gradients.ltm.items():
            if one_of_two:
                gradient = gradient * np.where(gradients.score < 0.5, -1, 1)[:, None, None]
            largest = np.abs(gradient).max(axis=-1, keepdims=True)
            parts.setdefault(name, []).append(gradient / np.where(largest > 0, largest, 1))
    return {name: concatenate_batches(part) for name, part in parts.items()}


def _events(model: keras.layers.Layer, drawn: Any, time: int, vocabulary: Sequence[str]) -> dict[str, Any]:
    if isinstance(drawn, list | tuple) and all(isinstance(word, str) for word in drawn):
        return {"kind": "words", "items": list(drawn)}
    events = shown_events(model, np.asarray(drawn), time, vocabulary)
    for name in ("samples", "values"):
        if name in events:
            events[name] = packed(events[name][:, :16] if name == "values" else events[name])
    return events


def _answers(predictions: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """Return the answers that were large at any event, with their names; `predictions` is `(time, values)`."""
    if predictions.shape[1] == 1 and len(labels) == 2 and predictions.min() >= 0 and predictions.max() <= 1:
        predictions = np.concatenate([1 - predictions, predictions], axis=1)
    largest = np.sort(np.argsort(-np.abs(predictions).max(axis=0), kind="stable")[:NAMED_PREDICTIONS])
    return {
        "names": [_named(np.asarray(k), labels) for k in largest.tolist()],
        "values": packed(predictions[:, largest]),
        "probabilities": bool(predictions.min() >= 0 and predictions.max() <= 1.001),
        "more": predictions.shape[1] - len(largest),
    }


def _named(value: np.ndarray, labels: Sequence[str]) -> str:
    value = value.reshape(-1)[-1] if value.size else value
    if np.issubdtype(value.dtype, np.number) and float(value).is_integer() and 0 <= value < len(labels):
        return str(labels[int(value)])
    return f"{float(value):.3g}" if np.issubdtype(value.dtype, np.floating) else str(value)


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
        "weights": None if weights is None else packed(weights[example][:, units]),
        "mask": packed(layer.mask[example].astype("float32")),
        "arrays": {name: packed(array[:, units]) for name, array in arrays.items()},
    }


def packed(array: np.ndarray) -> dict[str, Any]:
    """Encode an array for the page.

    Args:
        array: Any shape; NaN becomes 0.

    Returns:
        A dict with `shape`, `base64`, `kind` ("share": bytes for 0 to 1; "signed": signed bytes of `scale` for -1 to 1; "half":
        float16) and `scale`. `unpacked` in page/data.js decodes it.
    """
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
