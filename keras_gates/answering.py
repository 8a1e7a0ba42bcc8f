"""What a model would answer if the sequence ended here: its answer after every event."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates.interception import Recurrent, exchanged_loops, recurrent_layers, to_numpy
from keras_gates.tracing import some_of

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
    whole = _answer(model, some_of(x, slice(example, example + 1)))[0]
    if whole.ndim >= 2 and len(whole) == time:
        return whole.reshape(time, -1)
    ends = np.unique(np.linspace(0, time - 1, min(points, time)).round().astype(int))
    answers = []
    for start in range(0, len(ends), ROWS):
        some = ends[start : start + ROWS]
        with exchanged_loops(recurrent_layers(model), _ending_at(some, time)):
            answers.append(_answer(model, some_of(x, np.full(len(some), example))))
    after = np.searchsorted(ends, np.arange(time), side="right") - 1
    return np.concatenate(answers).reshape(len(ends), -1)[after]


def _answer(model: keras.layers.Layer, x: Any) -> np.ndarray:
    return to_numpy(keras.tree.flatten(model(x, training=False))[0])


def _ending_at(ends: np.ndarray, time: int) -> Any:
    reached = np.arange(time) <= ends[:, None]

    def run(recurrent: Recurrent, events: Any, memories: Any, mask: Any, training: bool) -> tuple:
        seen = None if mask is None else to_numpy(mask).astype(bool)
        if events.shape[1] == time:
            seen = reached if seen is None else reached & seen
        layer = recurrent.layer
        mask = None if seen is None else ops.convert_to_tensor(seen)
        return type(layer).inner_loop(layer, events, memories, mask, training)

    return run
