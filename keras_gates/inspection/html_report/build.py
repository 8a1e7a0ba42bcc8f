"""Building the interactive report: everything about a few examples, in one HTML file that needs no network."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_gates._arguments import typed
from keras_gates._files import write_text
from keras_gates.inspection.attribution import STEPS, attributed, neutral_events
from keras_gates.inspection.event_passes import EventPasses
from keras_gates.inspection.hooks import empty_states, named_recurrent_layers
from keras_gates.inspection.html_report.answers import both_of_two
from keras_gates.inspection.html_report.packing import packed
from keras_gates.inspection.html_report.patching import can_be_patched, patched_predictions
from keras_gates.inspection.html_report.search import searched
from keras_gates.inspection.html_report.story import Names, Seen, story_of
from keras_gates.inspection.inputs import concatenate_batches, fixed_batch, select_examples
from keras_gates.inspection.tracing import trace
from keras_gates.layers.unchanged import leaves_model_unchanged

LARGEST = 1_900_000  # bytes
OVERHEAD = 40_000  # bytes for what is not an example: title, names, patched answers
MOST_EXAMPLES = 24
MOST_NUMBERS = 400
MOST_PATCHED = 4  # examples of which each is patched into each other
PATCHED_EVENTS = 16


@typed
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
    search: Any = None,
) -> Path:
    """Write an interactive report of what a model does with some examples.

    In the page: move through time, hover over or focus a gate, choose example, layer and unit. The model's prediction changes
    event by event. The page opens at the last event (padding is left out) of an example whose answer changes at the event with
    the largest influence. Under the words, pictures or waveform stands what each event left in the long-term memory (cell
    state), weighted by its effect on the prediction at the end:

        sum over units of learned_s * f_{s+1} * ... * f_t * d prediction / d LTM_t

    Two examples stand side by side, with the answer of one if the long-term memory of the other is put into it after an event;
    and the events at which a unit does the same as at the chosen one are listed. The address of the page holds the view
    (`report.html#example=2&t=22`).

    Args:
        model: A built Keras model with or without recurrent layers. It stays unchanged.
        examples: A few examples of the model's input, NumPy `(batch, ...)`; those that do not fit are left out. Sequences of
            integers (characters, words) are cut to the first 400.
        path: The file to write or replace. Its folder must exist.
        truth: The true answer of each example: a class number, a series `(horizon, series)`, or anything that can be printed.
        labels: Names of the classes; of a model that forecasts, the series.
        vocabulary: The word or character behind each number, if events are numbers and no layer of the model knows them.
        shows: What to draw as events instead of `examples`: for each example words (a list of strings), pictures
            `(time, height, width, 1 or 3)`, samples `(samples,)` or values `(time, features)`.
        title: Title of the report; default: the model's name.
        largest: Largest size of the file in bytes. If not everything fits, units whose long-term memory moves least are left
            out, then examples; the report says so.
        search: A larger data set of the model's input, `(batch, ...)`. For each unit and each of the first four examples the page
            lists the sequences in which the unit does most nearly what it does where its memory changes most. Runs in batches;
            only the nearest events are kept.

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
    shapes = [np.shape(array) for array in keras.tree.flatten(examples)]
    if () in shapes:
        raise ValueError(
            f"report: examples must be an array (batch, …), one per input of the model, got {type(examples).__name__}."
        )
    count = shapes[0][0] if shapes else 0
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
    seen = _look(model, examples, min(count, MOST_EXAMPLES), labels)
    names = Names(labels, vocabulary, shows)
    alike = None
    if search is not None and seen.layers:
        search = keras.tree.map_structure(_beginning, search)
        with empty_states(named_recurrent_layers(model)):
            alike = searched(model, search, seen.layers, count, vocabulary)
        room -= len(json.dumps(alike))
    share = room // min(count, 8)
    stories: list[dict[str, Any]] = []
    openings: list[float] = []
    for example in range(min(count, MOST_EXAMPLES)):
        true = None if truth is None else np.asarray(truth[example])
        with empty_states(named_recurrent_layers(model)):
            story, opening = story_of(model, examples, example, seen, true, names, share)
        size = len(json.dumps(story))
        if stories and size > room:
            break
        if size > room:
            raise ValueError(
                f"report: one example takes {size} bytes, more than largest={largest}. Give shorter examples."
            )
        room -= size
        stories.append(story)
        openings.append(opening)
    import keras_gates

    content = {
        "title": title or model.name,
        "model": f"{model.name}, {model.count_params():,} weights",
        "version": keras_gates.__version__,
        "left_out": count - len(stories),
        "start": int(np.argmax(openings)),
        "examples": stories,
        "search": alike,
        "patches": _patches(model, examples, seen, stories, labels),
    }
    # "<" could close the script element, and the two line separators end a line in older JavaScript.
    safe = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "").replace("\u2029", "")
    write_text(path, page.replace("{{title}}", html.escape(title or model.name)).replace("{{data}}", safe))
    return path


def _beginning(x: Any) -> Any:
    """Return the beginning of long sequences of integers; anything else unchanged."""
    x = x if isinstance(x, np.ndarray) else np.asarray(x)  # a file that is mapped into memory stays one
    return x[:, :MOST_NUMBERS] if x.ndim == 2 and x.dtype.kind in "iu" else x


def _page() -> str:
    """Return the page with its style and scripts inserted."""
    folder = resources.files("keras_gates.inspection.html_report") / "page"
    page = (folder / "report.html").read_text(encoding="utf-8")
    for name in re.findall(r"\{\{(\w+\.(?:css|js))\}\}", page):
        page = page.replace("{{" + name + "}}", (folder / name).read_text(encoding="utf-8"))
    return page


def _look(model: keras.layers.Layer, x: Any, shown: int, labels: Sequence[str]) -> Seen:
    """Trace the examples and compute what counts for their predictions."""
    recurrent = named_recurrent_layers(model)
    if not recurrent:
        return Seen()
    with empty_states(recurrent):
        batch = fixed_batch(model) or 1
        rows = np.resize(np.arange(shown), -(-shown // batch) * batch)
        traced = trace(model, select_examples(x, rows))
        prediction = keras.tree.flatten(traced.prediction)[0]
        # One number is the probability of the second of two names: what counts for the first lowers it.
        first_of_two = prediction.shape[-1] == 1 and len(labels) == 2
        sign = np.where(first_of_two & (prediction.reshape(len(rows), -1)[:, -1] < 0.5), -1.0, 1.0)
        parts: dict[str, list[np.ndarray]] = {}
        batch = fixed_batch(model) or 32
        for start in range(0, len(rows), batch):
            some = select_examples(x, rows[start : start + batch])
            passes = EventPasses(model, some, None, "report")
            explained = passes.explained(None, "log-odds")
            by_memory = attributed(passes, explained, None, STEPS, memory=True)
            # Many gradients, but of the events alone: every layer runs its own fast loop.
            by_event = attributed(passes, explained, neutral_events(passes, None), STEPS, memory=False)
            for name, array in {"": by_event.strength[..., None], **by_memory.ltm}.items():
                parts.setdefault(name, []).append(array * sign[start : start + batch, None, None])
    joined = {name: concatenate_batches(part) for name, part in parts.items()}
    strength = joined.pop("")[..., 0]
    return Seen(traced.layers, prediction, joined, strength)


def _patches(
    model: keras.layers.Layer, x: Any, seen: Seen, stories: Sequence[Mapping[str, Any]], labels: Sequence[str]
) -> dict[str, Any]:
    """Return, by "receiver,donor", at which events a long-term memory was replaced and the answers at the end that followed."""
    shown = [k for k, story in enumerate(stories[:MOST_PATCHED]) if story["answers"]["kind"] == "named"]
    if len(shown) < 2 or not can_be_patched(seen.layers):
        return {}
    pairs = [(one, other) for one in shown for other in shown if one != other]
    events = {k: np.unique(np.linspace(0, stories[k]["time"] - 1, PATCHED_EVENTS).round().astype(int)) for k in shown}
    patches = [(one, other, event) for one, other in pairs for event in events[one].tolist()]
    with empty_states(named_recurrent_layers(model)):
        predictions = patched_predictions(model, x, seen.layers, patches)
    every_event = seen.prediction.ndim > 2
    predictions = both_of_two(predictions[:, -1] if every_event else predictions.reshape(len(patches), -1), labels)
    result: dict[str, Any] = {}
    for (one, other, event), values in zip(patches, predictions):
        pair = result.setdefault(f"{one},{other}", {"events": [], "values": []})
        pair["events"].append(event)
        pair["values"].append(values[stories[one]["answers"]["places"]])
    return {name: {**pair, "values": packed(np.array(pair["values"]))} for name, pair in result.items()}
