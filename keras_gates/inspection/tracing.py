"""Looking into a trained model: one forward pass in which each recurrent layer takes its sequence step by step.

The steps go through `GateLSTMCell.step`, on the events, mask and first memories that the layer really gets, and everything
that a step computed is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates.inspection.hooks import (
    NamedStep,
    Recurrent,
    compiled_on_jax,
    exchanged_loops,
    recurrent_layers,
    run_steps,
    to_numpy,
)
from keras_gates.inspection.trace_data import LayerTrace, Trace

_MEMORIES = {"used": "stm", "remembered": "ltm"}


def trace(
    model: keras.layers.Layer,
    x: Any,
    *,
    keep: Sequence[str] | None = None,
    batch_size: int | None = None,
    chunk: int = 512,
) -> Trace:
    """What every gate of a trained model did with every event of `x`.

    Nothing is rebuilt or retrained and nothing of the model changes: functional, sequential, subclassed and nested models,
    `Bidirectional`, `StackedRNNCells` and shared layers, masks and first memories as they come. `keras.layers.LSTM` is
    traced with its gates named; `SimpleRNN`, `GRU` and other recurrent layers show their STM alone.

    Args:
        model: a built Keras model (or a single layer).
        x: what the model takes, as NumPy arrays or tensors `(batch, ...)`, in a list or dict for several inputs.
        keep: the names of the arrays to keep (see `LayerTrace`), all by default; for long inputs. STM is always kept.
        batch_size: how many examples are run at once; default: the model's fixed batch, or 32.
        chunk: how many events are run before what they gave is moved to NumPy.

    Returns:
        A `Trace`: a mapping from layer names to `LayerTrace`, and the model's `prediction`. A layer called more than once in
        one pass gives a `LayerTrace` for each call: `"memory"`, `"memory call 2"`.

    Raises:
        ValueError: the model holds no recurrent layer, or none ran.
        TypeError: the model runs its layers inside a compiled function of its own, where no numbers can be seen.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4, name="memory")])
    >>> keras_gates.trace(model, numpy.ones((2, 5, 3), "float32"))["memory"].forget.shape
    (2, 5, 4)
    """
    found = recurrent_layers(model)
    if not found:
        raise ValueError(f"{model.name} holds no recurrent layer, so there is nothing to trace.")
    batch_size = batch_size or fixed_batch(model) or 32
    size = len(keras.tree.flatten(x)[0])
    parts: list[Trace] = []
    for start in range(0, size, batch_size):
        tracer, batch = Tracer(keep, chunk), some_of(x, slice(start, start + batch_size))
        with exchanged_loops(found, tracer.run):
            answer = model(batch, training=False)
        prediction = [to_numpy(tensor) for tensor in keras.tree.flatten(answer)]
        parts.append(Trace(tracer.layers, prediction[0] if len(prediction) == 1 else prediction))
    if not parts or not parts[0].layers:
        raise ValueError(f"{model.name} ran none of its recurrent layers on this input, so there is nothing to trace.")
    return _joined(parts)


def some_of(x: Any, rows: Any) -> Any:
    """These rows of a model's input, or of each of its inputs, as tensors; texts become TensorFlow's strings."""
    return keras.tree.map_structure(
        lambda array: ops.convert_to_tensor(array[rows]) if not _is_text(array) else text_tensors(array[rows]), x
    )


def text_tensors(x: Any) -> Any:
    """A model's input with texts, which Keras takes as TensorFlow's strings alone; all else as it is."""

    def one(array: Any) -> Any:
        if not _is_text(array):
            return array
        import tensorflow as tf

        return tf.constant(array)

    return keras.tree.map_structure(one, x)


def _is_text(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "UOS"


def fixed_batch(model: keras.layers.Layer) -> int | None:
    """The batch size that a model was built for, or None where any will do."""
    inputs = keras.tree.flatten(getattr(model, "inputs", None) or [])
    return inputs[0].shape[0] if inputs else None


class Tracer:
    """Stands for the loop of each recurrent layer during one pass, and keeps what every step computed in `layers`."""

    def __init__(self, keep: Sequence[str] | None = None, chunk: int = 512) -> None:
        self.keep, self.chunk = keep, chunk
        self.layers: dict[str, LayerTrace] = {}

    def run(self, recurrent: Recurrent, events: Any, memories: Any, mask: Any, training: bool = False) -> tuple:
        """What `RNN.inner_loop` answers."""
        layer = recurrent.layer
        seen = np.ones(events.shape[:2], bool) if mask is None else to_numpy(mask).astype(bool)
        step = NamedStep(recurrent, lambda name: self.keep is None or _MEMORIES.get(name, name) in self.keep)
        first = keras.tree.map_structure(to_numpy, memories)
        columns, memories = self._in_chunks(step, layer, events, memories, mask)

        event, at = to_numpy(events), 0
        for (name, cell), before in zip(recurrent.cells.items(), [first] if len(recurrent.cells) == 1 else first):
            arrays, width = {"event": event}, _width(cell)
            for wanted in step.names[name]:
                arrays[_MEMORIES.get(wanted, wanted)], at = columns[..., at : at + width], at + width
            before = dict(zip(("first_stm", "first_ltm"), keras.tree.flatten(before)))
            arrays = _respecting_mask({**arrays, **before}, seen, layer.go_backwards)
            self._add(name, recurrent.direction, getattr(cell, "formulation", ""), {**arrays, "mask": seen})
            event = arrays["stm"]

        in_reading_order = slice(None, None, -1 if layer.go_backwards else 1)
        read, outputs = seen[:, in_reading_order, None], event[:, in_reading_order]
        last = outputs[:, -1]
        if layer.zero_output_for_mask:
            outputs = outputs * read
        elif keras.backend.backend() != "jax":  # Before the first event that is not skipped, JAX gives the first STM.
            outputs = outputs * np.logical_or.accumulate(read, axis=1)
            last = outputs[:, -1]
        return _like(last, events), _like(outputs, events), memories

    def _in_chunks(self, step: NamedStep, layer: Any, events: Any, memories: Any, mask: Any) -> tuple[np.ndarray, Any]:
        parts = []
        run = compiled_on_jax(lambda events, memories, mask: run_steps(step, layer, events, memories, mask))
        starts = range(0, events.shape[1], self.chunk)
        for start in reversed(starts) if layer.go_backwards else starts:
            part = slice(start, start + self.chunk)
            answers, memories = run(events[:, part], memories, None if mask is None else mask[:, part])
            parts.append(to_numpy(answers))
        whole = np.concatenate(parts, axis=1)
        return (whole[:, ::-1] if layer.go_backwards else whole), memories

    def _add(self, name: str, direction: str, formulation: str, arrays: dict[str, np.ndarray]) -> None:
        always = ("stm", "first_stm", "mask")
        kept = {n: array for n, array in arrays.items() if self.keep is None or n in self.keep or n in always}
        calls = sum(known == name or known.startswith(f"{name} call ") for known in self.layers)
        name = f"{name} call {calls + 1}" if calls else name
        self.layers[name] = LayerTrace(name, direction, formulation, kept)


def _width(cell: Any) -> int:
    return getattr(cell, "units", None) or keras.tree.flatten(cell.state_size)[0]


def _like(array: np.ndarray, tensor: Any) -> Any:
    return ops.convert_to_tensor(array, dtype=keras.backend.standardize_dtype(tensor.dtype))


def _respecting_mask(arrays: dict[str, np.ndarray], seen: np.ndarray, backwards: bool) -> dict[str, np.ndarray]:
    """Where an event was skipped: the memories as they were before it, NaN for all that a gate would have decided."""
    if seen.all():
        return arrays
    read = seen[:, ::-1] if backwards else seen
    last_read = np.maximum.accumulate(np.where(read, np.arange(read.shape[1]), -1), axis=1)
    result = {}
    for name, array in arrays.items():
        if name in ("stm", "ltm"):
            array = array[:, ::-1] if backwards else array
            carried = np.take_along_axis(array, np.maximum(last_read, 0)[..., None], axis=1)
            array = np.where(last_read[..., None] >= 0, carried, arrays[f"first_{name}"][:, None])
            array = array[:, ::-1] if backwards else array
        elif name != "event" and array.ndim == 3:
            array = np.where(seen[..., None], array, np.nan)
        result[name] = array
    return result


def _joined(parts: list[Trace]) -> Trace:
    """The batches behind each other; a shorter batch gets skipped events at its end."""
    if len(parts) == 1:
        return parts[0]
    layers = {}
    for name, traced in parts[0].items():
        time = max(part[name].time for part in parts)
        arrays = {n: np.concatenate([_padded(n, part[name][n], time) for part in parts]) for n in traced}
        layers[name] = LayerTrace(name, traced.direction, traced.formulation, arrays)
    answers = [part.prediction if isinstance(part.prediction, list) else [part.prediction] for part in parts]
    joined = [np.concatenate(_of_one_time(arrays)) for arrays in zip(*answers)]
    return Trace(layers, joined[0] if len(joined) == 1 else joined)


def _padded(name: str, array: np.ndarray, time: int) -> np.ndarray:
    missing = time - array.shape[1]
    if not missing or name.startswith("first_"):
        return array
    width = ((0, 0), (0, missing), (0, 0))[: array.ndim]
    if name in ("stm", "ltm"):
        return np.pad(array, width, mode="edge")
    return np.pad(array, width, constant_values=False if name == "mask" else 0 if name == "event" else np.nan)


def _of_one_time(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    if all(array.shape[1:] == arrays[0].shape[1:] for array in arrays):
        return list(arrays)
    time = max(array.shape[1] for array in arrays)
    return [
        np.pad(a, [(0, 0), (0, time - a.shape[1]), *[(0, 0)] * (a.ndim - 2)], constant_values=np.nan) for a in arrays
    ]
