"""The units of an output stay outside an integer graph: the file ends in standard deviations, its metadata hold scale and offset.

One scale for all series of a forecast rounds those with a small spread away, and a large offset leaves nothing of the signal.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_gates import _compat
from keras_gates._patch import patched
from keras_gates.exporting.options import ExportRequest
from keras_gates.exporting.units import Units
from keras_gates.exporting.verify import compare, samples

_MOST = 64  # sequences from which the spread of an output is estimated
_VISIBLE = 10.0  # times what rounding the input of a dense layer costs: what varies less is lost in any unit
_UNLIKE = 20.0  # largest value of an output, in standard deviations of a column, from which on int8 rounds more than 5 % of it
_MOVING = (keras.layers.Permute, keras.layers.Reshape, keras.layers.Flatten)
_MOVING_OPERATIONS = ("Transpose", "Reshape", "Squeeze", "ExpandDims", "Swapaxes", "Moveaxis", "GetItem")
_WITHOUT_EFFECT = (
    keras.layers.Dropout,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.Identity,
)


@dataclass(frozen=True)
class _Step:
    """One operation between the last operator of the file and an output of the model.

    Attributes:
        layer: the layer or operation whose call is replaced.
        shape: of the numbers that are scaled or moved, without batch axis; 1 for an open axis.
        scale, offset: of an affine map, to be broadcast to the shape; None for an operation that only moves numbers.
        call: what takes the place of the layer's call.
        move: indices of that shape to where the operation puts them.
    """

    layer: Any
    shape: tuple[int, ...]
    scale: np.ndarray | None = None
    offset: np.ndarray | None = None
    call: Callable | None = None
    move: Callable[[np.ndarray], np.ndarray] | None = None


@dataclass(frozen=True)
class _Head:
    """A last dense layer without activation, and the shape of its output as in `_Step`."""

    layer: keras.layers.Dense
    shape: tuple[int, ...]


@contextlib.contextmanager
def units_outside(request: ExportRequest) -> Iterator[tuple[ExportRequest, list[str]]]:
    """Give the request for the graph without the affine maps that end it, valid within the block, and notes for the report.

    Affine maps are Rescaling, Normalization, BatchNormalization, a dense layer with a diagonal kernel, and sums and products
    with constants. A last dense layer without activation whose columns have unlike spreads or large offsets is computed in
    standard deviations of the calibration data. Nothing changes in other precisions than integers.

    Args:
        request: What was asked for.
    """
    if not request.is_integer or request.float_operators or request.trained:
        yield request, []
        return
    outputs = range(len(getattr(request.model, "outputs", None) or ()))
    ends = [_end_of(request.model, place) for place in outputs]
    paths: list[list[_Step]] = [steps if _units(steps, request) else [] for steps, _ in ends]
    with contextlib.ExitStack() as block:
        block.enter_context(patched(_changes(paths)))
        heads = [head for _, head in ends if head is not None]
        if heads and not (request.metadata or {}).get("labels"):
            request, standardized = _standardized(request, heads)
            for place, (steps, head) in enumerate(ends):
                if head in standardized and _units([*steps, standardized[head]], request):
                    block.enter_context(patched(_changes([[standardized[head]]])))
                    paths[place] = [*steps, standardized[head]]
        units = tuple(_units(steps, request) for steps in paths)
        notes = [_note(steps) for steps, unit in zip(paths, units) if unit is not None]
        yield dataclasses.replace(request, units=units), list(dict.fromkeys(notes))


def _changes(paths: Iterable[list[_Step]]) -> list[_compat.Change]:
    return [(step.layer, "call", step.call) for steps in paths for step in steps if step.call is not None]


def _note(steps: list[_Step]) -> str:
    layers = " and ".join(dict.fromkeys(step.layer.name for step in reversed(steps) if step.scale is not None))
    return (
        f"{layers}: the units of the output stay outside the integer graph, and differences above are in the file's numbers. "
        "EdgeModel and the kits compute value · scale + offset, as in the metadata; in other runtimes compute it yourself"
    )


def _end_of(model: keras.Model, place: int) -> tuple[list[_Step], _Head | None]:
    """Return the steps at the end of a functional model, from the output towards the input, and the dense layer they follow."""
    graph = _compat.functional_graph(model)
    if not hasattr(graph, "operations"):
        return [], None
    nodes = _compat.graph_nodes(graph)
    uses = Counter(id(x) for node in nodes for x in node.input_tensors) + Counter(id(x) for x in graph.outputs)
    calls = Counter(id(node.operation) for node in nodes)
    tensor = graph.outputs[place]
    steps: list[_Step] = []
    while True:
        operation, node, index = _compat.producer(tensor)
        if node is None or node.is_input or uses[id(tensor)] != 1 or calls[id(operation)] != 1:
            return steps, None
        if isinstance(operation, keras.Model):
            inner, head = _end_of(operation, index)
            return steps + inner, head
        step = _affine(operation, node) or _moving(operation, node)
        if step is None:
            head = _head(operation)
            return steps, None if head is None else _Head(head, _sizes(tensor))
        steps.append(step)
        tensor = node.input_tensors[0]


def _affine(operation: Any, node: Any) -> _Step | None:
    """Return the step of a layer or operation that scales and shifts every number of its input."""
    if len(node.input_tensors) != 1:
        return None
    place, layer = 0, operation
    if isinstance(operation, keras.layers.TimeDistributed):
        layer = operation.layer  # whose call is replaced: the lowering replaces that of the wrapper
    statistics = _of_layer(layer, node) if isinstance(layer, keras.layers.Layer) else _of_operation(operation, node)
    if statistics is None:
        return None
    scale, offset = (np.asarray(each, np.float64) for each in statistics)
    if not isinstance(operation, keras.layers.Layer):
        place = next(place for place, x in enumerate(node.arguments.args) if x is node.input_tensors[0])
    shape = _sizes(node.input_tensors[0])
    fits = all(_broadcasts(each.shape, shape) and np.isfinite(each).all() for each in (scale, offset))
    if not fits or not np.abs(scale).min(initial=1) > 0:
        return None
    return _Step(layer, shape, scale, offset, lambda *args, **rest: args[place])


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(have in (1, want) for have, want in zip(shape[::-1], to[::-1]))


def _of_layer(layer: keras.layers.Layer, node: Any) -> tuple[Any, Any] | None:
    rank = len(node.input_tensors[0].shape)
    if type(layer) is keras.layers.Rescaling and not isinstance(layer.scale, dict):
        return layer.scale, layer.offset
    if type(layer) is keras.layers.Normalization:
        if tuple(layer.axis or ()) not in ((-1,), (rank - 1,), ()):
            return None
        mean = numbers(layer.mean).reshape(-1)
        deviation = np.maximum(np.sqrt(numbers(layer.variance)), keras.backend.epsilon()).reshape(-1)
        return (deviation, mean) if layer.invert else (1 / deviation, -mean / deviation)
    if type(layer) is keras.layers.BatchNormalization and layer.axis in (-1, rank - 1):
        scale = (numbers(layer.gamma) if layer.scale else 1.0) / np.sqrt(numbers(layer.moving_variance) + layer.epsilon)
        return scale, (numbers(layer.beta) if layer.center else 0.0) - numbers(layer.moving_mean) * scale
    head = _head(layer)
    if head is None or (kernel := numbers(head.kernel)).shape[0] != kernel.shape[1]:
        return None
    diagonal = np.diag(kernel)
    if (kernel != np.diag(diagonal)).any():
        return None
    return diagonal, numbers(head.bias) if head.use_bias else 0.0


def _of_operation(operation: Any, node: Any) -> tuple[Any, Any] | None:
    """Return scale and offset of a sum, difference, product or quotient of a tensor and a constant."""
    args, x = node.arguments.args, node.input_tensors[0]
    if len(args) != 2 or node.arguments.kwargs:
        return None
    try:
        other = np.asarray(keras.ops.convert_to_numpy(args[1] if args[0] is x else args[0]), np.float64)
    except (TypeError, ValueError):  # no constant
        return None
    if other.ndim == len(x.shape) and other.shape[0] == 1:
        other = other[0]
    first = args[0] is x
    kinds: dict[str, Callable[[], tuple[Any, Any] | None]] = {
        "Add": lambda: (1.0, other),
        "Subtract": lambda: (1.0, -other) if first else (-1.0, other),
        "Multiply": lambda: (other, 0.0),
        "Divide": lambda: (1 / other, 0.0) if first and other.all() else None,
        "TrueDivide": lambda: (1 / other, 0.0) if first and other.all() else None,
    }
    kind = kinds.get(type(operation).__name__)
    return kind() if kind else None


def _head(operation: Any) -> keras.layers.Dense | None:
    """Return the dense layer without activation that a layer is, also within TimeDistributed."""
    layer = operation.layer if isinstance(operation, keras.layers.TimeDistributed) else operation
    if type(layer) is not keras.layers.Dense or layer.activation is not keras.activations.linear:
        return None
    return layer if layer.quantization_mode is None and not layer.lora_enabled else None


def _moving(operation: Any, node: Any) -> _Step | None:
    """Return the step of an operation that only moves numbers."""
    x = node.input_tensors[0]
    shape = _sizes(x)
    linear = type(operation) is keras.layers.Activation and operation.activation is keras.activations.linear
    if type(operation) in _WITHOUT_EFFECT or linear:
        return _Step(operation, shape)
    if type(operation) not in _MOVING and type(operation).__name__ not in _MOVING_OPERATIONS:
        return None
    if len(node.input_tensors) != 1 or (None in x.shape[1:] and type(operation) is not keras.layers.Permute):
        return None

    def move(index: np.ndarray) -> np.ndarray:
        args, rest = node.arguments.fill_in({id(x): index[None].astype("float32")})
        return np.asarray(keras.ops.convert_to_numpy(operation.call(*args, **rest)))[0].astype(int)

    return _Step(operation, shape, move=move)


def _units(steps: list[_Step], request: ExportRequest) -> Units | None:
    """Return scale and offset of the output after these steps; None without an affine one, or if they vary over time."""
    affine = [place for place, step in enumerate(steps) if step.scale is not None]
    if not affine:
        return None
    steps = steps[: affine[-1] + 1]
    scale, offset = np.ones(steps[-1].shape), np.zeros(steps[-1].shape)
    for step in reversed(steps):
        if step.scale is not None:
            scale, offset = scale * step.scale, offset * step.scale + step.offset
        elif step.move is not None:
            index = step.move(np.arange(scale.size).reshape(scale.shape))
            scale, offset = scale.ravel()[index], offset.ravel()[index]
    for axis in range(scale.ndim):
        if all((each == each.take([0], axis)).all() for each in (scale, offset)):
            scale, offset = scale.take([0], axis), offset.take([0], axis)
    if scale.size == 1 and not offset.any():  # one scale more or less is the same to an integer graph
        return None
    timed = request.is_stream or (scale.ndim > 1 and scale.shape[0] == request.inputs.steps)
    if timed and scale.ndim > 1 and scale.shape[0] > 1:  # a stream, or a file of another length, has other time steps
        return None
    return Units(scale, offset)


def _standardized(request: ExportRequest, heads: list[_Head]) -> tuple[ExportRequest, dict[_Head, _Step]]:
    """Return the last dense layers whose columns are unlike, as steps, and the request with its calibration data read."""
    read = samples.spread(samples.samples_of(request.calibration, request.inputs), samples.MOST)
    request = dataclasses.replace(request, calibration=lambda: iter(read))  # a generator can be read once
    values: dict[_Head, list[np.ndarray]] = {head: [] for head in heads}
    largest = dict.fromkeys(heads, 0.0)  # of the inputs

    def recording(head: _Head) -> Callable:
        own = head.layer.call

        def call(x: Any, *args: Any, **rest: Any) -> Any:
            y = own(x, *args, **rest)
            largest[head] = max(largest[head], float(np.abs(numbers(x)).max(initial=0.0)))
            values[head].append(numbers(y).reshape(-1, y.shape[-1]))
            return y

        return call

    with patched([(head.layer, "call", recording(head)) for head in heads]):
        compare.keras_outputs(request.model, request.inputs, samples.spread(read, _MOST))
    steps = {}
    for head in heads:
        columns = np.concatenate(values[head])
        mean, deviation = columns.mean(0), columns.std(0)
        step = 2 * largest[head] / (2**16 if request.precision == "int16x8" else 2**8)
        least = _VISIBLE * step / np.sqrt(12) * np.linalg.norm(numbers(head.layer.kernel), axis=0)
        varies = deviation > np.maximum(least, 1e-6 * np.abs(columns).max(0))
        if varies.any() and np.abs(columns).max() > _UNLIKE * deviation[varies].min():
            scale = np.maximum(deviation, least)
            steps[head] = _standardizing(head, np.where(scale > 0, scale, 1.0), mean)
    return request, steps


def _standardizing(head: _Head, scale: np.ndarray, offset: np.ndarray) -> _Step:
    """Return the step of a dense layer that computes standard deviations instead of its output."""
    bias = numbers(head.layer.bias) if head.layer.use_bias else 0.0
    kernel, shift = ((each / scale).astype("float32") for each in (numbers(head.layer.kernel), bias - offset))
    call = lambda x, *args, **rest: keras.ops.matmul(x, kernel) + shift  # noqa: E731
    return _Step(head.layer, head.shape, scale, offset, call)


def _sizes(x: keras.KerasTensor) -> tuple[int, ...]:
    return tuple(size or 1 for size in x.shape[1:])


def numbers(x: Any) -> np.ndarray:
    """Return a variable or tensor as float64."""
    return np.asarray(keras.ops.convert_to_numpy(x), np.float64)
