"""The loop of a recurrent layer (WHILE) as a for loop: its operators between two nodes of our own, LOOP and LOOP_END.

The converter counts such a loop with integers that only its condition and a constant step touch, so its length is known. What
it carries unchanged is one place in memory with what it came from, a constant stays one, and its list of outputs, which the
converter cuts and joins again at every step, is written in place (PUT).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from keras_gates.exporting.c99.graph import Node, Options, Part, Value
from keras_gates.exporting.report import ExportError

Pairs = list[tuple[Value, Value]]
_UNCOUNTED = "the C takes a loop that counts up to a constant only; export with lowering='unrolled'."


def flat(nodes: Sequence[Node]) -> tuple[list[Node], Pairs]:
    """Return operators with those of the loops in their place, and pairs of tensors that are one place in memory.

    LOOP takes what the loop starts with and gives what its body takes, as far as the body changes it; LOOP_END gives the same
    from what the body made, and takes behind it what the body only reads, which must last as long as the loop.

    Raises:
        ExportError: A loop does not count up to a constant, or moves one state to another.
    """
    result: list[Node] = []
    same: Pairs = []
    for node in nodes:
        if node.kind == "WHILE":
            inner, pairs = _loop(node)
            result += inner
            same += pairs
        else:
            result.append(node)
    return result, same


def _loop(node: Node) -> tuple[list[Node], Pairs]:
    condition, inside = node.parts
    sides = (node.inputs, node.outputs, condition.inputs, inside.inputs, inside.outputs)
    if len({len(side) for side in sides}) > 1 or None in node.inputs:
        raise ExportError("a WHILE and its body take different numbers of tensors: the file is damaged; export again.")
    body = _with_constants(inside, node.inputs)
    if any(inner.kind == "WHILE" for inner in body.nodes):
        raise ExportError("the C has no loop within a loop; export with target='micro' or lowering='unrolled'.")
    nodes, same = _lists_in_place(body)
    starts: list[Value] = []
    inputs: list[Value] = []
    results: list[Value] = []
    kept: list[Value] = []
    for start, old, new, end in zip(node.inputs, body.inputs, body.outputs, node.outputs, strict=True):
        if start is not None and new is not old:
            if new in body.inputs:
                raise ExportError("the C has no loop that moves one state to another; export with lowering='unrolled'.")
            starts, inputs, results = [*starts, start], [*inputs, old], [*results, new]
            same.append((end, old))
        elif start is not None and old.data is None:
            same += [(old, start), (end, old)]
            kept.append(old)
    steps = Options({"steps": _steps(node, body)})
    begin = Node(node.number, "LOOP", tuple(starts), tuple(inputs), (), steps)
    close = Node(node.number, "LOOP_END", (*results, *kept), tuple(inputs), (), Options())
    return [begin, *nodes, close], same


def _with_constants(body: Part, starts: Sequence[Value | None]) -> Part:
    """Return a loop's body in which what it carries unchanged from a constant is that constant."""
    known = {
        old.index: replace(old, data=start.data)
        for start, old, new in zip(starts, body.inputs, body.outputs, strict=True)
        if new is old and start is not None and start.data is not None
    }

    def own(values: Sequence[Value | None]) -> tuple[Value | None, ...]:
        return tuple(None if value is None else known.get(value.index, value) for value in values)

    nodes = tuple(replace(node, inputs=own(node.inputs)) for node in body.nodes)
    return Part(nodes, own(body.inputs), own(body.outputs))  # type: ignore[arg-type]


def _steps(node: Node, body: Part) -> int:
    """Return how often a loop runs."""
    condition, makers = node.parts[0], {value.index: inner for inner in body.nodes for value in inner.outputs}
    places, steps = {value.index: place for place, value in enumerate(condition.inputs)}, []
    for test in condition.nodes:
        if test.kind == "LOGICAL_AND":
            continue
        counter = places.get(test.input(0).index) if test.kind == "LESS" else None
        start = None if counter is None else node.inputs[counter]
        more = None if counter is None else makers.get(body.outputs[counter].index)
        if start is None or start.data is None or more is None or more.kind != "ADD" or counter is None:
            raise ExportError(_UNCOUNTED)
        one = next(iter(value for value in more.inputs if value is not body.inputs[counter]), None)
        if more.input(0) is not body.inputs[counter] or one is None or one.data is None or one.data.min() < 1:
            raise ExportError(
                "the C takes a loop that adds a constant to its counter only; export with lowering='unrolled'."
            )
        first, last, step = (int(data.reshape(-1)[0]) for data in (start.data, test.constant(1), one.data))
        steps.append(max(0, -((first - last) // step)))
    if not steps:
        raise ExportError(_UNCOUNTED)
    return min(steps)


def _lists_in_place(body: Part) -> tuple[list[Node], Pairs]:
    """Replace the joining of what is before and behind a step in a list by a PUT, and drop what nothing reads then."""
    makers = {value.index: node for node in body.nodes for value in node.outputs}
    nodes, same = list(body.nodes), []
    for place, node in enumerate(nodes):
        parts = [None if value is None else makers.get(value.index) for value in node.inputs]
        if node.kind != "CONCATENATION" or len(parts) != 3 or node.options["axis"]:
            continue
        before, behind = parts[0], parts[2]
        if before is None or behind is None or {before.kind, behind.kind} != {"SLICE"}:
            continue
        whole, step = before.input(0), _step(before, makers)
        readers = [each for each in body.nodes if whole in each.inputs]
        if step is None or behind.input(0) is not whole or readers != [before, behind] or whole not in body.inputs:
            continue
        if node.input(1).shape != (1, *whole.shape[1:]):
            continue
        nodes[place] = replace(node, kind="PUT", inputs=(whole, node.inputs[1], step))
        same.append((node.output, whole))
    read = {value.index for value in body.outputs}
    alive: list[Node] = []
    for node in reversed(nodes):
        if read & {value.index for value in node.outputs}:
            alive.insert(0, node)
            read |= {value.index for value in node.inputs if value is not None}
    return alive, same


def _step(before: Node, makers: dict[int, Node]) -> Value | None:
    """Return the step up to which a SLICE cuts a list: the first item of its sizes."""
    sizes = makers.get(before.input(2).index)
    first = sizes.input(0) if sizes is not None and sizes.kind in ("CONCATENATION", "PACK") else None
    while first is not None and first.index in makers and makers[first.index].kind == "RESHAPE":
        first = makers[first.index].input(0)
    return first
