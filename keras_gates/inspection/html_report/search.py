"""Search of a data set for events at which a unit does the same as at an event of an example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_gates._errors import InvalidArgument
from keras_gates.inspection.html_report.event_views import shown_events
from keras_gates.inspection.inputs import check_examples, fixed_batch, rows_per_pass, select_examples
from keras_gates.inspection.trace_data import LayerTrace
from keras_gates.inspection.tracing import trace

AROUND = 2  # events before and after that must agree, as in page/compare.js
NEAREST = 4  # sequences that are listed
MOST_UNITS = 64
MOST_SEARCHED = 4  # examples whose events are searched for


@dataclass(frozen=True)
class Alike:
    """The sequences in which units do most nearly the same, the nearest first.

    Attributes:
        sequence: `(examples, units, count)`, index in the data set; -1 where there are fewer sequences.
        event: `(examples, units, count)`, the event of that sequence that is nearest.
        distance: `(examples, units, count)`, Euclidean over the events around.
        value: `(examples, units, count)`, the memory after that event.
    """

    sequence: np.ndarray
    event: np.ndarray
    distance: np.ndarray
    value: np.ndarray


def memory_of(layer: LayerTrace) -> np.ndarray:
    """Return LTM_t, or STM_t of a layer without named gates, `(batch, time, units)`."""
    return layer.ltm if "ltm" in layer else layer.stm


def asked_events(layer: LayerTrace, examples: int) -> np.ndarray:
    """Return for each unit the event at which its memory changes most, `(examples, units)`."""
    memory, first = memory_of(layer)[:examples], layer["first_ltm" if "ltm" in layer else "first_stm"][:examples]
    if layer.direction == "backward":
        changes = np.diff(memory, axis=1, append=first[:, None])
    else:
        changes = np.diff(memory, axis=1, prepend=first[:, None])
    return np.where(layer.mask[:examples, :, None], np.abs(changes), -1.0).argmax(axis=1)


def around(memory: np.ndarray) -> np.ndarray:
    """Return the memory around every event, `(batch, time, 2 * AROUND + 1, units)`; beyond the ends that of the last event."""
    time = memory.shape[1]
    places = np.clip(np.arange(time)[:, None] + np.arange(-AROUND, AROUND + 1), 0, time - 1)
    return memory[:, places]


def events_alike(
    model: keras.layers.Layer, data: Any, patterns: Mapping[str, np.ndarray], count: int = NEAREST
) -> dict[str, Alike]:
    """Search a data set in batches; of each batch only the nearest events are kept.

    Args:
        model: A Keras model with recurrent layers.
        data: Its input, `(batch, ...)`, of any size (for example `numpy.load(path, mmap_mode="r")`).
        patterns: By layer, the memory around an event of each example, `(examples, 2 * AROUND + 1, units)`, per unit.
        count: How many sequences are returned.

    Returns:
        An `Alike` by layer. Skipped events do not count.
    """
    check_examples(model, data, "report: search")
    size = len(keras.tree.flatten(data)[0])
    kept: dict[str, Alike] = {}
    for rows in _batches(model, size, patterns):
        traced = trace(model, select_examples(data, rows), keep=("ltm",))
        real = rows[: max(0, min(len(rows), size - int(rows[0])))]
        for name, pattern in patterns.items():
            if name not in traced:
                raise InvalidArgument(f"report: the layer {name} does not run on the data to search.")
            nearest = _nearest(traced[name], pattern, real)
            kept[name] = _joined([kept[name], nearest] if name in kept else [nearest], count)
    return kept


def _batches(model: keras.layers.Layer, size: int, patterns: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return the rows of each batch; to a model with a fixed batch size the first rows are repeated at the end."""
    width = max(pattern.shape[1] * pattern.shape[2] for pattern in patterns.values())
    batch = fixed_batch(model) or min(32, max(1, rows_per_pass(width * 512)))
    starts = range(0, size, batch)
    if fixed_batch(model):
        return [np.arange(start, start + batch) % size for start in starts]
    return [np.arange(start, min(start + batch, size)) for start in starts]


def _nearest(layer: LayerTrace, pattern: np.ndarray, rows: np.ndarray) -> Alike:
    """Return the nearest event of every sequence of a batch, `(examples, units, sequences)`."""
    memory = memory_of(layer)[: len(rows)]
    windows, skipped = around(memory), ~layer.mask[: len(rows)]
    events, distances = [], []
    for wanted in pattern:
        distance = np.sqrt(((windows - wanted) ** 2).sum(axis=2))
        distance[skipped] = np.inf
        event = distance.argmin(axis=1)
        events.append(event.T)
        distances.append(np.take_along_axis(distance, event[:, None], axis=1)[:, 0].T)
    event = np.stack(events)
    value = np.stack([np.take_along_axis(memory, each.T[:, None], axis=1)[:, 0].T for each in events])
    return Alike(np.broadcast_to(rows, event.shape), event, np.stack(distances), value)


def _joined(parts: Sequence[Alike], count: int) -> Alike:
    """Return the `count` nearest of all parts."""
    distance = np.concatenate([part.distance for part in parts], axis=-1)
    order = np.argsort(distance, axis=-1, kind="stable")[..., :count]

    def chosen(name: str) -> np.ndarray:
        return np.take_along_axis(np.concatenate([getattr(part, name) for part in parts], axis=-1), order, axis=-1)

    return Alike(*(chosen(name) for name in ("sequence", "event", "distance", "value")))


def searched(
    model: keras.layers.Layer, data: Any, layers: Mapping[str, LayerTrace], examples: int, vocabulary: Sequence[str]
) -> dict[str, Any]:
    """Return what the page lists: by layer, example and unit the event that was asked for and where the data are alike.

    Args:
        model: The model.
        data: The data set.
        layers: The trace of the examples.
        examples: How many examples there are.
        vocabulary: The word or character behind each number.
    """
    examples = min(examples, MOST_SEARCHED)
    asked = {name: asked_events(layer, examples) for name, layer in layers.items()}
    patterns = {
        name: np.take_along_axis(around(memory_of(layer)[:examples]), asked[name][:, None, None], axis=1)[:, 0]
        for name, layer in layers.items()
    }
    alike = events_alike(model, data, patterns)
    first = keras.tree.flatten(data)[0]
    listed: dict[str, Any] = {}
    for name, layer in layers.items():
        moving = np.nanstd(memory_of(layer)[:examples], axis=(0, 1))
        units = np.sort(np.argsort(-moving, kind="stable")[:MOST_UNITS]).tolist()
        listed[name] = [{} for _ in range(examples)]
        for example, unit in np.ndindex(examples, len(units)):
            own = units[unit]
            same = [
                [sequence, event, value, _text(model, np.asarray(first[sequence]), layer.time, event, vocabulary)]
                for sequence, event, value in _rows(alike[name], example, own)
            ]
            listed[name][example][str(own)] = {"event": int(asked[name][example, own]), "same": same}
    return {"sequences": len(first), "layers": listed}


def _rows(alike: Alike, example: int, unit: int) -> list[tuple[int, int, float]]:
    """Sequence, event and value where there is a sequence."""
    parts = (part[example, unit] for part in (alike.sequence, alike.event, alike.value, alike.distance))
    return [(int(s), int(t), round(float(v), 3)) for s, t, v, distance in zip(*parts) if np.isfinite(distance)]


def _text(model: keras.layers.Layer, x: np.ndarray, time: int, event: int, vocabulary: Sequence[str]) -> str:
    """Return the words around an event; nothing where events are no words."""
    if x.dtype.kind not in "USOiu" or x.ndim > 1:
        return ""
    shown = shown_events(model, x, len(x) if x.ndim else time, vocabulary)
    if shown["kind"] != "words":
        return ""
    words = shown["items"][max(0, event - 4) : event + 5]
    return ("" if max(map(len, shown["items"])) == 1 else " ").join(words)
