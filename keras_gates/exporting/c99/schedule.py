"""What runs at every event and what once at the end of a sequence: so the C needs room for one event, and streams.

An axis of length T is time if it comes from an input's time axis. Operators that treat time steps one by one run with that
axis cut to 1. The last time step and the maximum over time end the part that runs at every event. A graph with anything
else along time (reversal, another time resolution, lengths) runs whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from keras_gates.exporting.c99.graph import Graph, Node, Value
from keras_gates.exporting.c99.loops import flat
from keras_gates.exporting.report import ExportError

_POINTWISE = {"MUL", "ADD", "SUB", "MINIMUM", "MAXIMUM", "FLOOR_MOD", "LESS", "SELECT", "SELECT_V2", "LOGISTIC", "TANH"}
_POINTWISE |= {
    "RELU",
    "NEG",
    "DIV",
    "QUANTIZE",
    "DEQUANTIZE",
    "SQUARE",
    "LOG",
    "HARD_SWISH",
    "LEAKY_RELU",
    "EXP",
    "ELU",
    "ABS",
    "GREATER",
}
_IMAGES = {"CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D"}
_SAME = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS"}  # another shape of the same items


@dataclass(frozen=True)
class Schedule:
    """The order of the operators, with shapes.

    Attributes:
        shapes: Shape of every tensor, time cut to 1 where the graph runs event by event.
        events: Operators that run at every event; all of them if the graph runs whole.
        end: Operators that run once per prediction.
        same: Pairs of tensors that are one place in memory: a reshaped one, the last time step.
        running: Operators that keep a maximum over the time steps so far.
        timed: Tensors with a time axis, if the graph runs event by event.
        whole: Why it does not; empty if it does.
        by_call: The file keeps its memory in inputs and outputs: a call runs everything, and the state continues.
    """

    shapes: dict[int, tuple[int, ...]]
    events: list[Node]
    end: list[Node]
    same: list[tuple[Value, Value]]
    running: set[int] = field(default_factory=set)
    timed: set[int] = field(default_factory=set)
    whole: str = ""
    by_call: bool = False


class _NotByEvent(Exception):
    """Why an operator cannot run event by event."""


def schedule(graph: Graph) -> Schedule:
    """Return the schedule of a graph."""
    every, same = flat(graph.nodes)
    nodes = [node for node in every if node.kind not in _SAME]
    same += [(node.output, node.input(0)) for node in every if node.kind in _SAME]
    shapes = _shapes(graph, every)
    if graph.memory:
        return Schedule(shapes, nodes, [], same, by_call=True)
    try:
        return _by_event(graph)
    except _NotByEvent as reason:
        return Schedule(shapes, nodes, [], same, whole=str(reason))


def _shapes(graph: Graph, nodes: Sequence[Node]) -> dict[int, tuple[int, ...]]:
    shapes = {value.index: value.shape for value in (*graph.inputs, *graph.outputs)}
    for node in nodes:
        shapes |= {value.index: value.shape for value in (*node.inputs, *node.outputs) if value is not None}
    return shapes


def _by_event(graph: Graph) -> Schedule:
    axis = {value.index: 1 for value in graph.inputs if graph.ports[value.index].time}
    if len(axis) != len(graph.inputs):
        raise _NotByEvent("it takes lengths, or an input without time")
    if len({value.shape[1] for value in graph.inputs}) != 1:
        raise _NotByEvent("its inputs have different numbers of time steps")
    if any(node.kind == "WHILE" for node in graph.nodes):
        raise _NotByEvent("it has a loop over whole sequences")
    result = Schedule(_shapes(graph, graph.nodes), [], [], [], set(), set())
    ended: set[int] = set()
    for node in graph.nodes:
        _place(node, axis, ended, result)
    if not any(node.kind == "UNIDIRECTIONAL_SEQUENCE_LSTM" for node in result.events):
        raise _NotByEvent("it has no recurrent layer that runs event by event")
    for index, place in axis.items():
        shape = list(result.shapes[index])
        shape[place] = 1
        result.shapes[index] = tuple(shape)
        result.timed.add(index)
    return result


def _place(node: Node, axis: dict[int, int], ended: set[int], result: Schedule) -> None:
    computed = [value for value in node.inputs if value is not None and value.data is None]
    computed = [value for value in computed if value.index in axis or value.index in ended]
    timed = [value for value in computed if value.index in axis]
    if timed and len(timed) != len(computed):
        raise _NotByEvent(f"{node.kind} joins time steps with what comes after the last one")
    if not timed:
        ended.update(value.index for value in node.outputs)
        if node.kind in _SAME:
            result.same.append((node.output, node.input(0)))
        else:
            result.end.append(node)
    elif _takes_last(node, axis):
        ended.add(node.output.index)
        result.same.append((node.output, node.input(0)))
    elif _takes_maximum(node, axis):
        ended.add(node.output.index)
        result.running.add(node.number)
        result.events.append(node)
    else:
        place = _time_after(node, timed, axis)
        axis.update((value.index, place) for value in node.outputs)
        if node.kind in _SAME:
            result.same.append((node.output, node.input(0)))
        else:
            result.events.append(node)


def _takes_last(node: Node, axis: dict[int, int]) -> bool:
    if node.kind != "STRIDED_SLICE" or any(node.input(i).data is None for i in (1, 2, 3)):
        return False
    x, place = node.input(0), axis[node.input(0).index]
    ranges = slice_ranges(node)
    rest = [r for i, r in enumerate(ranges) if i != place]
    full = [range(n) for i, n in enumerate(x.shape) if i != place]
    return list(ranges[place]) == [x.shape[place] - 1] and rest == full


def _takes_maximum(node: Node, axis: dict[int, int]) -> bool:
    if node.kind != "REDUCE_MAX" or node.input(1).data is None:
        return False
    rank = len(node.input(0).shape)
    return {int(i) % rank for i in np.atleast_1d(node.constant(1))} == {axis[node.input(0).index]}


def _time_after(node: Node, timed: list[Value], axis: dict[int, int]) -> int:
    """Return the output's time axis, or raise."""
    x, y = timed[0], node.output
    place, steps = axis[x.index], x.shape[axis[x.index]]
    if any(axis[value.index] - len(value.shape) != place - len(x.shape) for value in timed[1:]):
        raise _NotByEvent(f"{node.kind} combines different time axes")
    from_end = place - len(x.shape)
    if node.kind in _POINTWISE:
        others = [value for value in node.inputs if value is not None and value.data is not None]
        if any(len(value.shape) >= -from_end and value.shape[from_end] != 1 for value in others):
            raise _NotByEvent(f"{node.kind} has a constant per time step")
        return len(y.shape) + from_end
    if node.kind in _SAME:
        for new, size in enumerate(y.shape):
            if size == steps and math.prod(x.shape[:place]) == math.prod(y.shape[:new]) == 1:
                return new
        raise _NotByEvent("RESHAPE changes the time axis")
    if node.kind == "UNIDIRECTIONAL_SEQUENCE_LSTM" and x is node.input(0) and place == 1:
        return 1
    if (
        node.kind in ("FULLY_CONNECTED", "SOFTMAX")
        and x is node.input(0)
        and from_end != -1
        and y.shape[:-1] == x.shape[:-1]
    ):
        return place
    if node.kind in _IMAGES and place == 0:
        return 0
    if node.kind == "GATHER" and x is node.input(1) and node.options["axis"] == 0 and not node.options.get("batchDims"):
        return place
    if node.kind == "CONCATENATION" and node.options["axis"] % len(y.shape) != place and len(timed) == len(node.inputs):
        return place
    if node.kind == "SLICE" and x is node.input(0) and y.shape[place] == steps:
        return place
    if node.kind == "STRIDED_SLICE" and node.input(1).data is not None:
        ranges = slice_ranges(node)
        if ranges[place] == range(steps) and not node.options["shrinkAxisMask"]:
            return place
    raise _NotByEvent(f"{node.kind} works across time steps")


def slice_ranges(node: Node) -> list[range]:
    """Return the indices that a STRIDED_SLICE takes from each axis."""
    shape, options = node.input(0).shape, node.options
    begins, ends, strides = (node.constant(i).reshape(-1).tolist() for i in (1, 2, 3))
    if options["ellipsisMask"] or options["newAxisMask"] or options.get("offset"):
        raise ExportError(
            "the C has no STRIDED_SLICE with an ellipsis, a new axis or an offset; slice with begin and end."
        )
    ranges = []
    for place, (size, begin, end, stride) in enumerate(zip(shape, begins, ends, strides)):
        if options["shrinkAxisMask"] >> place & 1:
            start = begin % size
            ranges.append(range(start, start + 1))
            continue
        first = None if options["beginMask"] >> place & 1 else begin
        last = None if options["endMask"] >> place & 1 else end
        ranges.append(range(size)[slice(first, last, stride)])
    return ranges
