"""The ranges of activations on calibration data: from NumPy's steps of an LSTM, and Keras' outputs of the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_gates._compat import functional_graph, input_structure, without_new_nodes
from keras_gates._errors import InvalidArgument
from keras_gates.layers.standard import is_article, weights_of

BATCH = 32
_EMPTY = "quantize_aware: calibration is empty; pass about a hundred whole sequences of real inputs."
_MOST_BATCHES = 100


class Range:
    """The smallest and largest value seen."""

    def __init__(self) -> None:
        self.low, self.high = 0.0, 0.0

    def see(self, x: np.ndarray) -> None:
        """Widen to the values of an array."""
        if x.size and x.dtype.kind in "fiu":
            self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))

    def join(self, other: Range) -> None:
        """Widen to another range."""
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)


def batches_of(model: keras.Model, calibration: Any) -> Iterator[Any]:
    """Give calibration data in batches as the model takes them.

    Args:
        model: A functional model.
        calibration: An array `(samples, time, …)`, a dict or tuple of such per input, a list with one sequence each, or a
            `tf.data.Dataset` of batches.

    Raises:
        InvalidArgument: It is of another kind, or empty.
    """
    size = model.inputs[0].shape[0] or BATCH
    if isinstance(calibration, np.ndarray) or (isinstance(calibration, list) and len(model.inputs) == 1):
        samples = [np.asarray(sample) for sample in calibration]
        if not samples:
            raise InvalidArgument(_EMPTY)
        several = size if len({sample.shape for sample in samples}) == 1 else 1
        for start in range(0, len(samples), several):
            yield _whole_batch(np.stack(samples[start : start + several]), model)
    elif isinstance(calibration, dict | tuple | list):
        arrays = keras.tree.flatten(calibration)
        if not arrays or not len(arrays[0]):
            raise InvalidArgument(_EMPTY)
        for start in range(0, len(arrays[0]), size):
            part = slice(start, start + size)
            yield keras.tree.map_structure(lambda x: _whole_batch(np.asarray(x)[part], model), calibration)  # noqa: B023
    elif hasattr(calibration, "as_numpy_iterator"):
        for number, batch in enumerate(calibration.as_numpy_iterator()):
            if number == _MOST_BATCHES:
                return
            yield batch[0] if isinstance(batch, tuple) else batch
    else:
        raise InvalidArgument(
            f"quantize_aware: calibration must be an array, a dict of arrays, a list of sequences or a tf.data.Dataset, got "
            f"{type(calibration).__name__}."
        )


def _whole_batch(x: np.ndarray, model: keras.Model) -> np.ndarray:
    """Return an array with its first samples repeated up to the batch size that the model fixes."""
    return np.resize(x, (model.inputs[0].shape[0] or len(x), *x.shape[1:]))


@dataclass
class Ranges:
    """Ranges of a model's activations.

    Attributes:
        tensors: of every layer's output, by `id` of the symbolic tensor.
        sums: of a dense layer's output before its activation, by `id` of the layer.
        hidden, cell: of the states of an LSTM, by `id` of the layer.
        steps: of what a time step of the article's formulation computes, by `id` of the layer and name.
    """

    tensors: dict[int, Range]
    sums: dict[int, Range]
    hidden: dict[int, Range]
    cell: dict[int, Range]
    steps: dict[int, dict[str, Range]] = field(default_factory=dict)


def ranges_of(model: keras.Model, calibration: Any) -> Ranges:
    """Run calibration data through the float model, and return the ranges.

    Args:
        model: A functional or sequential model.
        calibration: See `batches_of`.
    """
    graph = functional_graph(model)
    tensors = {id(x): x for layer in graph.operations for x in keras.tree.flatten(layer.output)}
    dense = [layer for layer in graph.layers if isinstance(layer, keras.layers.Dense)]
    recurrent = [(layer, part) for layer in graph.layers for part in recurrent_parts(layer)]
    parts = [part for _, part in recurrent]
    sums, hidden, cell = ({id(x): Range() for x in on} for on in (dense, parts, parts))
    ranges = Ranges({key: Range() for key in tensors}, sums, hidden, cell)
    with without_new_nodes(model):
        every = keras.Model(input_structure(graph), list(tensors.values()))
        for number, batch in enumerate(batches_of(model, calibration)):
            if not all(
                np.isfinite(np.asarray(x)).all() for x in keras.tree.flatten(batch) if np.asarray(x).dtype.kind == "f"
            ):
                raise InvalidArgument(
                    f"quantize_aware: batch {number} of the calibration data has NaN or infinity; leave that sample out."
                )
            values = dict(zip(tensors, map(keras.ops.convert_to_numpy, every(batch, training=False))))
            for key, x in values.items():
                ranges.tensors[key].see(x)
            for layer in dense:
                kernel, *bias = (keras.ops.convert_to_numpy(weight) for weight in layer.weights)
                ranges.sums[id(layer)].see(values[id(layer.input)] @ kernel + (bias[0] if bias else 0.0))
            for layer, part in recurrent:
                x, *mask = (values[id(tensor)] for tensor in keras.tree.flatten(layer.input))
                if is_article(part.cell):
                    see_steps(part, x, ranges.steps.setdefault(id(part), defaultdict(Range)))
                    continue
                see_states(part, x, ranges.hidden[id(part)], ranges.cell[id(part)], *mask)
    return ranges


def recurrent_parts(layer: Any) -> list[keras.layers.RNN]:
    """Return the recurrent layers in a layer: itself, or those of a `Bidirectional`; none in others."""
    if isinstance(layer, keras.layers.Bidirectional):
        return [layer.forward_layer, layer.backward_layer]
    return [layer] if isinstance(layer, keras.layers.RNN) else []


def is_mask(tensor: Any) -> bool:
    """Return whether a tensor of a model holds booleans."""
    return keras.backend.standardize_dtype(tensor.dtype) == "bool"


def see_states(
    layer: keras.layers.RNN, x: np.ndarray, hidden: Range, cell: Range, mask: np.ndarray | None = None
) -> None:
    """Run a standard LSTM from zero states, and widen the ranges to its hidden state and to the size of its cell state."""
    kernel, recurrent, bias = weights_of(layer.cell)
    kernel, recurrent = keras.ops.convert_to_numpy(kernel), keras.ops.convert_to_numpy(recurrent)
    projected = x @ kernel + (0.0 if bias is None else keras.ops.convert_to_numpy(bias))
    h = c = np.zeros((len(x), len(recurrent)), np.float32)
    steps = range(x.shape[1])
    for time in reversed(steps) if layer.go_backwards else steps:
        i, f, g, o = np.split(projected[:, time] + h @ recurrent, 4, axis=-1)
        before = h, c
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        if mask is not None:
            h, c = (np.where(mask[:, time, None], *both) for both in zip((h, c), before))
        hidden.see(h)
        cell.see(np.abs(c))


def see_steps(layer: keras.layers.RNN, x: np.ndarray, seen: dict[str, Range]) -> None:
    """Run an LSTM of the article's formulation from zero states, and widen the ranges of all that a time step computes.

    Args:
        layer: A `GateLSTM`.
        x: Its input, `(batch, time, features)`.
        seen: By name: event_0 … event_3 (what the event adds to a gate, in the order ignore, forget, candidate, use), stm_0 …,
            sum_0 …, learned, kept, source (of the use gate's tanh), cell and hidden.
    """
    kernel, recurrent, bias = weights_of(layer.cell)
    kernel, recurrent = keras.ops.convert_to_numpy(kernel), keras.ops.convert_to_numpy(recurrent)
    use = layer.cell.use
    kept_kernel = keras.ops.convert_to_numpy(use.kept_kernel)
    kept_bias = 0.0 if bias is None else keras.ops.convert_to_numpy(use.kept_bias)
    projected = x @ kernel + (0.0 if bias is None else keras.ops.convert_to_numpy(bias))
    h = c = np.zeros((len(x), len(recurrent)), np.float32)
    for time in range(x.shape[1]):
        both = projected[:, time], h @ recurrent
        for name, columns in (("event", both[0]), ("stm", both[1]), ("sum", both[0] + both[1])):
            for gate, part in enumerate(np.split(columns, 4, axis=-1)):
                seen[f"{name}_{gate}"].see(part)
        i, f, n, v = np.split(both[0] + both[1], 4, axis=-1)
        learned, kept = np.tanh(n) * _sigmoid(i), c * _sigmoid(f)
        source = kept @ kept_kernel + kept_bias
        c, h = kept + learned, np.tanh(source) * _sigmoid(v)
        for name, value in (("learned", learned), ("kept", kept), ("source", source), ("cell", c), ("hidden", h)):
            seen[name].see(value)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * np.tanh(0.5 * x) + 0.5
