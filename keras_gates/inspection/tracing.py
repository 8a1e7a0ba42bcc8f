"""Tracing a model: one forward pass in which each recurrent layer takes its sequence step by step.

The steps go through `GateLSTMCell.step`, on the events, mask and initial states that the layer really gets, and everything
that a step computes is recorded. Those of plain gates are computed in NumPy (`plain_steps.py`), which is faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates._arguments import typed
from keras_gates._errors import InvalidArgument
from keras_gates.inspection.hooks import (
    NamedStep,
    Recurrent,
    jitted_on_jax,
    named_recurrent_layers,
    replaced_loops,
    run_steps,
)
from keras_gates.inspection.inputs import (
    check_examples,
    concatenate_batches,
    fixed_batch,
    padded_time,
    select_examples,
    to_numpy,
)
from keras_gates.inspection.plain_steps import PlainWeights, has_plain_steps, plain_steps
from keras_gates.inspection.trace_data import LayerTrace, Trace
from keras_gates.layers.unchanged import leaves_model_unchanged

_MEMORIES = {"used": "stm", "remembered": "ltm"}


@typed
@leaves_model_unchanged
def trace(
    model: keras.layers.Layer,
    x: Any,
    *,
    keep: Sequence[str] | None = None,
    batch_size: int | None = None,
    chunk: int = 512,
) -> Trace:
    """Record what every gate of a trained model does with every event of `x`.

    The model is not rebuilt or retrained and stays unchanged. Functional, sequential, subclassed and nested models work, and so
    do `Bidirectional`, `StackedRNNCells`, shared layers, masks and initial states. `keras.layers.LSTM` is traced with its
    gates named; `SimpleRNN`, `GRU` and other recurrent layers have STM (their hidden state) alone.

    Args:
        model: A built Keras model (or a single layer).
        x: The model's input, NumPy arrays or tensors `(batch, ...)`; several inputs in a list or dict.
        keep: Names of the arrays to keep (see `LayerTrace`), for long inputs; default: all. STM is always kept.
        batch_size: Examples per forward pass; default: the model's fixed batch size, or 32.
        chunk: Time steps per transfer of results to NumPy; bounds the memory that the backend needs.

    Returns:
        A `Trace`: a mapping from layer names to `LayerTrace`, and the model's `prediction`. A layer that is called several
        times in one pass has a `LayerTrace` for each call: `"memory"`, `"memory call 2"`.

    Raises:
        ValueError: The model holds no recurrent layer, or none ran.
        TypeError: The model runs its layers inside a compiled function, where values cannot be read.

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4, name="memory")])
    >>> keras_gates.trace(model, numpy.ones((2, 5, 3), "float32"))["memory"].forget.shape
    (2, 5, 4)
    """
    check_examples(model, x, "trace")
    recurrent = named_recurrent_layers(model)
    if not recurrent:
        raise InvalidArgument(f"{model.name} holds no recurrent layer, so there is nothing to trace.")
    batch_size = batch_size or fixed_batch(model) or 32
    size = len(keras.tree.flatten(x)[0])
    parts: list[Trace] = []
    for start in range(0, size, batch_size):
        tracer, batch = Tracer(keep, chunk), select_examples(x, slice(start, start + batch_size))
        with replaced_loops(recurrent, tracer.run):
            outputs = model(batch, training=False)
        prediction = [to_numpy(tensor) for tensor in keras.tree.flatten(outputs)]
        parts.append(Trace(tracer.layers, prediction[0] if len(prediction) == 1 else prediction))
    if not parts or not parts[0].layers:
        raise InvalidArgument(
            f"{model.name} ran none of its recurrent layers on this input, so there is nothing to trace. Of a model in integers "
            "(quantize_aware), trace the float model that it was made from."
        )
    return _joined(parts)


class Tracer:
    """A replacement for the loop of each recurrent layer during one forward pass; records what every step computes.

    Args:
        keep: Names of the arrays to keep, or None for all.
        chunk: Time steps per transfer of results to NumPy.

    Attributes:
        layers: A `LayerTrace` by name for each call of a recurrent layer so far.
    """

    def __init__(self, keep: Sequence[str] | None = None, chunk: int = 512) -> None:
        self.keep, self.chunk = keep, chunk
        self.layers: dict[str, LayerTrace] = {}

    def run(self, recurrent: Recurrent, events: Any, states: Any, mask: Any, training: bool = False) -> tuple:
        """Run the sequence and record it; a `run` for `replaced_loops`."""
        layer = recurrent.layer
        read = np.ones(events.shape[:2], bool) if mask is None else to_numpy(mask).astype(bool)
        first = keras.tree.map_structure(to_numpy, states)
        if not training and has_plain_steps(recurrent):
            event, states = self._plain(recurrent, to_numpy(events), first, read, states)
        else:
            event, states = self._step_by_step(recurrent, events, first, mask, read, states)

        in_reading_order = slice(None, None, -1 if layer.go_backwards else 1)
        read, outputs = read[:, in_reading_order, None], event[:, in_reading_order]
        last = outputs[:, -1]
        if layer.zero_output_for_mask:
            outputs = outputs * read
        elif keras.backend.backend() != "jax":  # Before the first event that is not skipped, JAX gives the first STM.
            outputs = outputs * np.logical_or.accumulate(read, axis=1)
            last = outputs[:, -1]
        return _like(last, events), _like(outputs, events), states

    def _plain(
        self, recurrent: Recurrent, events: np.ndarray, first: list[np.ndarray], read: np.ndarray, states: Any
    ) -> tuple[np.ndarray, Any]:
        """Record plain gates without Keras' operations; return STM after every event, and the last states."""
        [(name, cell)], backwards = recurrent.cells.items(), recurrent.layer.go_backwards
        stm, ltm = keras.tree.flatten(first)
        arrays = plain_steps(PlainWeights.of(cell), events, stm, ltm, read, backwards)
        last = 0 if backwards else -1
        after = [_like(arrays["stm"][:, last], states[0]), _like(arrays["ltm"][:, last], states[1])]
        arrays = _respecting_mask({"event": events, **arrays, "first_stm": stm, "first_ltm": ltm}, read, backwards)
        self._add(name, recurrent.direction, cell.formulation, {**arrays, "mask": read})
        return arrays["stm"], after

    def _step_by_step(
        self, recurrent: Recurrent, events: Any, first: Any, mask: Any, read: np.ndarray, states: Any
    ) -> tuple[np.ndarray, Any]:
        """Record what every step computes by Keras' operations; as `_plain`."""
        layer = recurrent.layer
        step = NamedStep(recurrent, lambda name: self.keep is None or _MEMORIES.get(name, name) in self.keep)
        columns, states = self._in_chunks(step, layer, events, states, mask)
        event, at = to_numpy(events), 0
        for (name, cell), before in zip(recurrent.cells.items(), [first] if len(recurrent.cells) == 1 else first):
            arrays, width = {"event": event}, _width(cell)
            for wanted in step.names[name]:
                arrays[_MEMORIES.get(wanted, wanted)], at = columns[..., at : at + width], at + width
            before = dict(zip(("first_stm", "first_ltm"), keras.tree.flatten(before)))
            arrays = _respecting_mask({**arrays, **before}, read, layer.go_backwards)
            self._add(name, recurrent.direction, getattr(cell, "formulation", ""), {**arrays, "mask": read})
            event = arrays["stm"]
        return event, states

    def _in_chunks(self, step: NamedStep, layer: Any, events: Any, states: Any, mask: Any) -> tuple[np.ndarray, Any]:
        parts = []
        run = jitted_on_jax(lambda events, states, mask: run_steps(step, layer, events, states, mask))
        starts = range(0, events.shape[1], self.chunk)
        for start in reversed(starts) if layer.go_backwards else starts:
            part = slice(start, start + self.chunk)
            outputs, states = run(events[:, part], states, None if mask is None else mask[:, part])
            parts.append(to_numpy(outputs))
        whole = np.concatenate(parts, axis=1)
        return (whole[:, ::-1] if layer.go_backwards else whole), states

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


def _respecting_mask(arrays: dict[str, np.ndarray], read: np.ndarray, backwards: bool) -> dict[str, np.ndarray]:
    """Return the arrays with the memories carried over skipped events, and NaN there for all that a gate would have decided."""
    if read.all():
        return arrays
    in_order = read[:, ::-1] if backwards else read
    last_read = np.maximum.accumulate(np.where(in_order, np.arange(read.shape[1]), -1), axis=1)
    result = {}
    for name, array in arrays.items():
        if name in ("stm", "ltm"):
            array = array[:, ::-1] if backwards else array
            carried = np.take_along_axis(array, np.maximum(last_read, 0)[..., None], axis=1)
            array = np.where(last_read[..., None] >= 0, carried, arrays[f"first_{name}"][:, None])
            array = array[:, ::-1] if backwards else array
        elif name != "event" and array.ndim == 3:
            array = np.where(read[..., None], array, np.nan)
        result[name] = array
    return result


def _joined(parts: list[Trace]) -> Trace:
    """Return the batches as one trace; where a batch has fewer events, skipped ones are appended."""
    if len(parts) == 1:
        return parts[0]
    layers = {}
    for name, traced in parts[0].items():
        time = max(part[name].time for part in parts)
        arrays = {n: np.concatenate([_padded(n, part[name][n], time) for part in parts]) for n in traced}
        layers[name] = LayerTrace(name, traced.direction, traced.formulation, arrays)
    predictions = [part.prediction if isinstance(part.prediction, list) else [part.prediction] for part in parts]
    joined = [concatenate_batches(list(arrays), np.nan) for arrays in zip(*predictions)]
    return Trace(layers, joined[0] if len(joined) == 1 else joined)


def _padded(name: str, array: np.ndarray, time: int) -> np.ndarray:
    if name.startswith("first_"):
        return array
    if name in ("stm", "ltm"):
        return np.pad(array, ((0, 0), (0, time - array.shape[1]), (0, 0)), mode="edge")
    return padded_time(array, time, False if name == "mask" else 0 if name == "event" else np.nan)
