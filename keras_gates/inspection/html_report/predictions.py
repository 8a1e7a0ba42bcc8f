"""The prediction after every event: what the model would predict if the sequence ended there."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates.inspection.hooks import Loop, Recurrent, named_recurrent_layers, original_loop, replaced_loops
from keras_gates.inspection.inputs import fixed_batch, rows_per_pass, select_examples, to_numpy

LEAST = 32  # ends of a sequence per pass


def predictions_by_event(model: keras.layers.Layer, x: Any, example: int, time: int, points: int = 160) -> np.ndarray:
    """Compute the model's prediction after each event of one example.

    A model that predicts at every event runs once. Any other runs with every recurrent layer skipping the events after this
    one, which is exact for layers that read backwards too.

    Args:
        model: A Keras model; of several outputs, the first is used.
        x: Its input, `(batch, ...)`.
        example: Index of the example.
        time: The number of events.
        points: The number of sequence ends that are computed, at most; an event between two has the prediction of the earlier.

    Returns:
        `(time, values)`; `(time, horizon, …)` where the prediction of an example is no vector (a forecast).
    """
    whole = _predict(model, x, np.array([example]), original_loop)[0]
    if whole.ndim >= 2 and len(whole) == time:
        return whole.reshape(time, -1)
    ends = np.unique(np.linspace(0, time - 1, min(points, time)).round().astype(int))
    batch = fixed_batch(model) or max(LEAST, rows_per_pass(_numbers(model, x, time)))
    predictions = []
    for start in range(0, len(ends), batch):
        some = ends[start : start + batch]
        predictions.append(_predict(model, x, np.full(len(some), example), _ending_at(some, time)))
    nearest = np.searchsorted(ends, np.arange(time), side="right") - 1
    joined = np.concatenate(predictions)
    return (joined if joined.ndim > 2 else joined.reshape(len(ends), -1))[nearest]


def _numbers(model: keras.layers.Layer, x: Any, time: int) -> int:
    """Return the numbers per row of the largest array that is known: an input, or what a layer computes."""
    cells = [cell for one in named_recurrent_layers(model) for cell in one.cells.values()]
    units = [getattr(cell, "units", 1) for cell in cells]
    return max(time * max(units, default=1), *(np.asarray(array[:1]).size for array in keras.tree.flatten(x)))


def _predict(model: keras.layers.Layer, x: Any, rows: np.ndarray, run: Loop) -> np.ndarray:
    """Return the predictions for these rows of `x`; to a model with a fixed batch size, rows are repeated."""
    repeated = np.resize(rows, fixed_batch(model) or len(rows))
    with replaced_loops(named_recurrent_layers(model), run):
        prediction = keras.tree.flatten(model(select_examples(x, repeated), training=False))[0]
    return to_numpy(prediction)[: len(rows)]


def _ending_at(ends: np.ndarray, time: int) -> Loop:
    def run(recurrent: Recurrent, events: Any, states: Any, mask: Any, training: bool) -> tuple:
        read = None if mask is None else to_numpy(mask).astype(bool)
        if events.shape[1] == time:
            reached = np.arange(time) <= np.resize(ends, events.shape[0])[:, None]
            read = reached if read is None else reached & read
        return original_loop(recurrent, events, states, None if read is None else ops.convert_to_tensor(read), training)

    return run
