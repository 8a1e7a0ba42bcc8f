"""What a model would answer if the sequence ended here: its answer after every event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates.inspection.hooks import Recurrent, as_it_is, exchanged_loops, recurrent_layers, to_numpy
from keras_gates.inspection.tracing import fixed_batch, some_of

ROWS = 32


def answers_by_event(model: keras.layers.Layer, x: Any, example: int, time: int, points: int = 160) -> np.ndarray:
    """The model's answer after each of the first `time` events of one example, `(time, values)`.

    A model that answers at every event is asked once. Any other is asked with every recurrent layer made to skip the events
    after this one, which is exact for layers that read backwards too. Of a model with several outputs, the first.

    Args:
        model: a Keras model. x: its input, `(batch, ...)`.
        example: which example. time: how many events the sequence has.
        points: at most so many ends are asked about; an event between two has the answer of the one before.
    """
    whole = _answers(model, x, np.array([example]), as_it_is)[0]
    if whole.ndim >= 2 and len(whole) == time:
        return whole.reshape(time, -1)
    ends = np.unique(np.linspace(0, time - 1, min(points, time)).round().astype(int))
    rows = fixed_batch(model) or ROWS
    answers = []
    for start in range(0, len(ends), rows):
        some = ends[start : start + rows]
        answers.append(_answers(model, x, np.full(len(some), example), _ending_at(some, time)))
    after = np.searchsorted(ends, np.arange(time), side="right") - 1
    return np.concatenate(answers).reshape(len(ends), -1)[after]


def _answers(model: keras.layers.Layer, x: Any, rows: np.ndarray, run: Callable[..., tuple]) -> np.ndarray:
    """The answers to these rows of `x`; a model with a fixed batch gets some of them more than once."""
    filled = np.resize(rows, fixed_batch(model) or len(rows))
    with exchanged_loops(recurrent_layers(model), run):
        answer = keras.tree.flatten(model(some_of(x, filled), training=False))[0]
    return to_numpy(answer)[: len(rows)]


def _ending_at(ends: np.ndarray, time: int) -> Callable[..., tuple]:
    def run(recurrent: Recurrent, events: Any, memories: Any, mask: Any, training: bool) -> tuple:
        seen = None if mask is None else to_numpy(mask).astype(bool)
        if events.shape[1] == time:
            reached = np.arange(time) <= np.resize(ends, events.shape[0])[:, None]
            seen = reached if seen is None else reached & seen
        return as_it_is(recurrent, events, memories, None if seen is None else ops.convert_to_tensor(seen), training)

    return run
