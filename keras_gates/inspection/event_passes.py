"""A model's prediction as a function of the events of one recurrent layer: its values, and its gradients by event and LTM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates._errors import InvalidArgument
from keras_gates.inspection.explained import Explained, answers, kind_of_prediction
from keras_gates.inspection.front import Front
from keras_gates.inspection.gradients import gradients_of
from keras_gates.inspection.hooks import (
    Loop,
    NamedStep,
    Recurrent,
    named_recurrent_layers,
    original_loop,
    replaced_loops,
    run_steps,
    uncompiled_loop,
)
from keras_gates.inspection.inputs import check_examples, fixed_batch, rows_per_pass, select_examples, to_numpy
from keras_gates.inspection.plain_gradients import has_plain_gradients, plain_loop
from keras_gates.layers.cell import GateLSTMCell

# Neutral events, `(1 or batch, 1 or time, features)`, and a share, a number or `(batch,)`: at this point of a path the events
# are `neutral + share * (events - neutral)`.
Point = tuple[np.ndarray, Any]


class EventPasses:
    """Forward and backward passes of a model in which the events of one layer are replaced.

    Args:
        model: A built Keras model.
        x: Its input, `(batch, ...)`.
        layer: Name of the layer whose events are meant; None is the first recurrent layer that runs.
        caller: The function that errors name.

    Attributes:
        layer: Name of the layer.
        events: Its events, `(batch, time, features)`.
        mask: `(batch, time)`, False where it skips an event.
        prediction: The model's first output, a tensor.

    Raises:
        ValueError: A model without recurrent layers, or an unknown layer.
    """

    def __init__(self, model: keras.layers.Layer, x: Any, layer: str | None, caller: str) -> None:
        check_examples(model, x, caller)
        self.model, self.caller = model, caller
        self.recurrent = named_recurrent_layers(model)
        self.inputs = select_examples(x, slice(None))
        self._x = keras.tree.map_structure(lambda a: a if isinstance(a, np.ndarray) else ops.convert_to_numpy(a), x)
        self.front = Front(model)
        first_calls = _FirstCalls(layer, self.front.end)
        with replaced_loops(self.recurrent, first_calls), self.front.recorded():
            self.prediction = keras.tree.flatten(model(self.inputs, training=False))[0]
        if not first_calls.events:
            raise InvalidArgument(
                f"{caller}: {model.name} has no recurrent layer that ran, so there are no events to explain."
            )
        self.layer = layer or next(iter(first_calls.events))
        if self.layer not in first_calls.events:
            raise InvalidArgument(
                f"{caller}: there is no recurrent layer {layer!r}; there are: {', '.join(first_calls.events)}."
            )
        self.events, self.mask = first_calls.events[self.layer], first_calls.masks[self.layer]
        self._shapes = {name: events.shape[:2] for name, events in first_calls.events.items()}
        self._pair = next(one.pair for one in self.recurrent if one.name == self.layer)

    @property
    def predicts_every_event(self) -> bool:
        """Whether the prediction has an axis of as many events as the layer reads."""
        return len(self.prediction.shape) > 2 and self.prediction.shape[1] == self.events.shape[1]

    def explained(self, target: int | None, of: str, at: int = -1) -> Explained:
        """Return which number is explained.

        Args:
            target: Index of the number; None is each example's largest.
            of: "log-odds" or "prediction".
            at: Index of the event after which a model that predicts at every event is asked, from 0; negative from the last
                that was not skipped.

        Raises:
            ValueError: `target` or `at` is outside of the prediction.
        """
        rows, time = len(self.events), self.prediction.shape[1] if len(self.prediction.shape) > 2 else 1
        if not -time <= at < time:
            raise InvalidArgument(
                f"{self.caller}: at={at} is outside of the prediction, which has {time} events (0 to {time - 1})."
            )
        ends = np.full(rows, time)
        if self.predicts_every_event:
            ends = np.where(self.mask.any(1), time - np.argmax(self.mask[:, ::-1], axis=1), time)
        events = np.full(rows, at) if at >= 0 else np.maximum(ends + at, 0)
        numbers = to_numpy(answers(self.prediction, events))
        size = numbers.shape[1]
        if target is not None and not -size <= target < size:
            raise InvalidArgument(
                f"{self.caller}: target={target} is outside of the prediction, which has {size} numbers per example "
                f"(0 to {size - 1})."
            )
        columns = numbers.argmax(axis=1) if target is None else np.full(rows, target % size)
        kind = kind_of_prediction(self.model, self.prediction, events)
        return Explained("prediction" if kind == "value" else of, kind, columns, events)

    def numbers(self) -> np.ndarray:
        """Return the prediction, after the last event, `(batch, numbers)`."""
        time = self.prediction.shape[1] if len(self.prediction.shape) > 2 else 1
        return to_numpy(answers(self.prediction, np.full(len(self.events), time - 1)))

    def values(self, explained: Explained, points: Sequence[Point]) -> np.ndarray:
        """Return what is explained at points of paths, `(points, batch)`."""
        parts = []
        for some, neutral, share in self._batches(points):
            copies = len(neutral) // len(self.events)
            run = _Replaced(self._pair, share, neutral, None, {}, uncompiled_loop)
            numbers = to_numpy(explained.repeated(copies).explained(self._predict(run, copies)))
            parts.append(numbers.reshape(copies, -1)[:some])
        return np.concatenate(parts)

    def gradients(
        self, explained: Explained, points: Sequence[Point], memory: bool, loop: Loop = original_loop
    ) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Compute gradients at points of paths.

        Args:
            explained: The number whose gradient is taken.
            points: The points.
            memory: Whether gradients with respect to LTM are wanted.
            loop: How layers run that have no `plain_loop`.

        Returns:
            For each point the gradient by event, `(batch, time, features)`, and by LTM_t and layer, `(batch, time, units)`.
        """
        copies = self._copies(len(points))
        repeated = explained.repeated(copies)
        units = {one.name: one.cells[one.name].units for one in self.recurrent if memory and self._has_ltm(one)}

        def score(values: list[Any], path: Any) -> tuple[Any, Any]:
            neutral, share = path
            run = _Replaced(self._pair, share, neutral, values[0], dict(zip(units, values[1:])), loop)
            numbers = repeated.explained(self._predict(run, copies))
            return ops.sum(numbers), numbers

        shapes = [(*self._shapes[name], n) for name, n in units.items()]
        offsets = [np.zeros((copies * rows, *rest), self.events.dtype) for rows, *rest in [self.events.shape, *shapes]]
        by_offset = gradients_of(score)
        for some, neutral, share in self._batches(points):
            _, arrays = by_offset(offsets, (ops.convert_to_tensor(neutral), ops.convert_to_tensor(share)))
            arrays = [array.reshape(copies, -1, *array.shape[1:]) for array in arrays]
            for k in range(some):
                yield arrays[0][k], {name: array[k] for name, array in zip(units, arrays[1:])}

    def _predict(self, run: Loop, copies: int) -> Any:
        """Return the prediction for the input, repeated `copies` times, with `run` in the place of the layers' loops."""
        inputs = self.inputs
        if copies > 1:
            inputs = select_examples(self._x, np.tile(np.arange(len(keras.tree.flatten(self._x)[0])), copies))
        with replaced_loops(self.recurrent, run), self.front.kept(copies):
            return keras.tree.flatten(self.model(inputs, training=False))[0]

    def _batches(self, points: Sequence[Point]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield points that share a pass: how many, their neutral events `(rows, time, features)` and shares `(rows, 1, 1)`.

        Every pass has the same number of rows, so that a loop is compiled once; the last one repeats points.
        """
        copies = self._copies(len(points))
        for start in range(0, len(points), copies):
            places = np.minimum(np.arange(start, start + copies), len(points) - 1)
            neutral = [np.broadcast_to(points[k][0], self.events.shape) for k in places]
            shares = [np.broadcast_to(np.reshape(points[k][1], (-1, 1, 1)), (len(self.events), 1, 1)) for k in places]
            some = min(copies, len(points) - start)
            yield some, np.concatenate(neutral), np.concatenate(shares).astype(self.events.dtype)

    def _copies(self, points: int) -> int:
        """Return how many points of a path share a pass: each repeats the input, so that the loops run once for all."""
        if fixed_batch(self.model) or any(one.layer.stateful for one in self.recurrent):
            return 1
        units = [cell.units for one in self.recurrent for cell in one.cells.values() if hasattr(cell, "units")]
        sizes = [self.events[..., 0].size * width for width in (self.events.shape[-1], *units)]
        sizes += [int(np.prod(array.shape)) for array in (*keras.tree.flatten(self._x), *self.front.arrays())]
        passes = -(-points // rows_per_pass(max(sizes)))
        return -(-points // passes)

    def _has_ltm(self, recurrent: Recurrent) -> bool:
        return recurrent.name in self._shapes and isinstance(recurrent.cells.get(recurrent.name), GateLSTMCell)


class _FirstCalls:
    """A replacement for the layers' loops that records the events and the mask of each layer's first call.

    `at_layer` is called where `layer`, or the first one, runs.
    """

    def __init__(self, layer: str | None, at_layer: Callable[[], None]) -> None:
        self.events: dict[str, np.ndarray] = {}
        self.masks: dict[str, np.ndarray] = {}
        self.layer, self.at_layer = layer, at_layer

    def __call__(self, recurrent: Recurrent, events: Any, states: Any, mask: Any, training: bool) -> tuple:
        if self.layer in (None, recurrent.name):
            self.at_layer()
        self.events.setdefault(recurrent.name, to_numpy(events))
        read = np.ones(events.shape[:2], bool) if mask is None else to_numpy(mask).astype(bool)
        self.masks.setdefault(recurrent.name, read)
        return _fast_loop(uncompiled_loop, recurrent, events, states, mask, training)


class _Replaced:
    """A replacement for the layers' loops that moves the events of one layer towards neutral ones, and adds offsets.

    Offsets, of the events and of the LTM of layers by name, are zeros: they are what gradients are taken with respect to.
    """

    def __init__(
        self, pair: str, share: Any, neutral: Any, offset: Any, ltm_offsets: dict[str, Any], loop: Loop
    ) -> None:
        self.pair, self.share, self.neutral, self.offset = pair, share, neutral, offset
        self.ltm_offsets, self.loop = ltm_offsets, loop
        self.called: set[str] = set()

    def __call__(self, recurrent: Recurrent, events: Any, states: Any, mask: Any, training: bool) -> tuple:
        name, first = recurrent.name, recurrent.name not in self.called
        self.called.add(name)
        if recurrent.pair == self.pair and first:
            neutral = ops.cast(self.neutral, events.dtype)
            events = neutral + ops.cast(self.share, events.dtype) * (events - neutral)
            if self.offset is not None:
                events = events + ops.cast(self.offset, events.dtype)
        offset = self.ltm_offsets.get(name) if first else None
        if offset is None or has_plain_gradients(recurrent):
            return _fast_loop(self.loop, recurrent, events, states, mask, training, offset)
        offset = ops.cast(offset, events.dtype)
        step = NamedStep(recurrent, lambda name: False, ltm_columns=offset.shape[-1])
        outputs, states = run_steps(step, recurrent.layer, ops.concatenate([events, offset], axis=-1), states, mask)
        return outputs[:, -1], outputs, states


def _fast_loop(
    loop: Loop, recurrent: Recurrent, events: Any, states: Any, mask: Any, training: bool, ltm_offset: Any = None
) -> tuple:
    if training or not has_plain_gradients(recurrent):
        return loop(recurrent, events, states, mask, training)
    if ltm_offset is None:
        (cell,) = recurrent.cells.values()
        ltm_offset = ops.zeros((*events.shape[:2], cell.units), events.dtype)
    return plain_loop(recurrent, events, states, mask, ltm_offset)
