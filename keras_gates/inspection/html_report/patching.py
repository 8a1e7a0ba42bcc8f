"""Whether the long-term memory causes the answer: that of one example is put into another, and the model goes on from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates.inspection.hooks import Loop, Recurrent, named_recurrent_layers, replaced_loops, uncompiled_loop
from keras_gates.inspection.inputs import fixed_batch, select_examples, to_numpy
from keras_gates.inspection.trace_data import LayerTrace

BATCH = 256


def patched_predictions(
    model: keras.layers.Layer, x: Any, traced: Mapping[str, LayerTrace], patches: Sequence[tuple[int, int, int]]
) -> np.ndarray:
    """Compute predictions with the long-term memory (cell state) of another example from one event on.

    After event `t`, LTM_t of the receiver is replaced by LTM_t of the donor in every layer with named gates; STM_t (the hidden
    state) and all events stay the receiver's. What a layer put out up to event `t` stays as it was.

    Args:
        model: A Keras model; of several outputs, the first is used.
        x: Its input, `(batch, ...)`.
        traced: The trace of `x`.
        patches: For each prediction (receiver, donor, event): indices of examples, and of an event of the first layer.

    Returns:
        The predictions at the end, `(patches, ...)`.

    Source: Vig et al., Investigating Gender Bias in Language Models Using Causal Mediation Analysis, 2020 (the method; there
    in a transformer).

    Example:

    >>> model = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(4, name="memory")])
    >>> x = numpy.random.rand(2, 5, 3).astype("float32")
    >>> patched_predictions(model, x, keras_gates.trace(model, x), [(0, 1, 2), (1, 0, 4)]).shape
    (2, 4)
    """
    recurrent, batch = named_recurrent_layers(model), fixed_batch(model) or BATCH
    predictions = []
    for start in range(0, len(patches), batch):
        some = np.asarray(patches[start : start + batch])
        rows = some[np.resize(np.arange(len(some)), fixed_batch(model) or len(some))]
        with replaced_loops(recurrent, _patched_loop(traced, *rows.T)):
            prediction = keras.tree.flatten(model(select_examples(x, rows[:, 0]), training=False))[0]
        predictions.append(to_numpy(prediction)[: len(some)])
    return np.concatenate(predictions)


def can_be_patched(traced: Mapping[str, LayerTrace]) -> bool:
    """Whether at least one layer of a trace has a long-term memory of its own (not one of several cells of a layer)."""
    return any("ltm" in layer and "/" not in name for name, layer in traced.items())


def _patched_loop(
    traced: Mapping[str, LayerTrace], receivers: np.ndarray, donors: np.ndarray, events_of_first: np.ndarray
) -> Loop:
    time_of_first = next(iter(traced.values())).time
    called: set[str] = set()

    def run(recurrent: Recurrent, events: Any, states: Any, mask: Any, training: bool) -> tuple:
        layer = traced.get(recurrent.name)
        first = recurrent.name not in called
        called.add(recurrent.name)
        fits = layer is not None and "ltm" in layer and events.shape[1] == layer.time and len(receivers) == len(events)
        if layer is None or not fits or not first:
            return uncompiled_loop(recurrent, events, states, mask, training)
        at = np.maximum((events_of_first + 1) * layer.time // time_of_first - 1, 0)
        stm, ltm = layer.stm[receivers, at], layer.ltm[donors, at]
        read = np.ones(events.shape[:2], bool) if mask is None else to_numpy(mask).astype(bool)
        back = recurrent.layer.go_backwards
        times = np.arange(layer.time)[None]
        later = (times < at[:, None] if back else times > at[:, None]) & read
        before = [_like(stm, events), _like(ltm, events)]
        last, outputs, after = uncompiled_loop(recurrent, events, before, ops.convert_to_tensor(later), training)

        order = slice(None, None, -1 if back else 1)
        own = layer.stm[receivers][:, order]
        if recurrent.layer.zero_output_for_mask:
            own = own * read[:, order, None]
        goes_on, in_order = later.any(axis=1, keepdims=True), later[:, order, None]
        # Where no event is left, the loop's last output is not the state that it started with on every backend.
        last = ops.where(ops.convert_to_tensor(goes_on), last, _like(stm, events))
        reached = np.logical_or.accumulate(in_order, axis=1)
        if recurrent.layer.zero_output_for_mask:
            reached = reached & in_order
        if outputs.shape[1] == layer.time:  # else the layer returns its last output alone
            outputs = ops.where(ops.convert_to_tensor(reached), outputs, _like(own, events))
        return last, outputs, after

    return run


def _like(array: np.ndarray, tensor: Any) -> Any:
    return ops.convert_to_tensor(array, dtype=keras.backend.standardize_dtype(tensor.dtype))
