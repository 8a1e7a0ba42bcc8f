"""Where tensors lie: parameters, members of the state, and one buffer per type whose room is used again."""

from __future__ import annotations

from collections.abc import Iterable

from keras_gates.exporting.c99.graph import C_TYPES, Graph, Node, Value
from keras_gates.exporting.c99.program import Program

BUFFERS = {"int8_t": "bytes", "int16_t": "shorts", "int32_t": "words", "float": "reals"}


def place_all(
    program: Program, graph: Graph, names: dict[int, str], fixed: dict[int, str]
) -> list[tuple[str, str, int]]:
    """Give every tensor its place.

    Args:
        program: Its `places` are filled.
        graph: The graph.
        names: Name of the parameter of each input and output.
        fixed: Places in the state: tensors that persist anyway.

    Returns:
        Pairs of outputs and their other place that must be copied at the end, as (output name, place, items), because the
        place is not the caller's.
    """
    root = _Sets(program.schedule.same)
    inputs = {root.of(value.index): names[value.index] for value in graph.inputs}
    places = {root.of(index): place for index, place in fixed.items()} | inputs
    copies = []
    for value in graph.outputs:
        at = root.of(value.index)
        if at in places or value.data is not None:
            copies.append((names[value.index], places.get(at, ""), program.size(value)))
        else:
            places[at] = names[value.index]
    places |= _planned(program, root, places, {root.of(result.index) for _, result, _, _ in graph.memory})
    for index in program.schedule.shapes:
        if root.of(index) in places:
            program.places[index] = places[root.of(index)]
    return copies


class _Sets:
    """Tensors that share one place, by a representative."""

    def __init__(self, pairs: Iterable[tuple[Value, Value]]):
        self._parent: dict[int, int] = {}
        for one, other in pairs:
            self._parent[self.of(one.index)] = self.of(other.index)

    def of(self, index: int) -> int:
        while index in self._parent:
            index = self._parent[index]
        return index


def _planned(program: Program, root: _Sets, taken: dict[int, str], kept: set[int]) -> dict[int, str]:
    """Return places in the buffers; room is used again when nothing later reads it. `kept` are read after all operators."""
    order = [*program.schedule.events, *program.schedule.end]
    first, last, sizes, kinds = _lives(program, root, order)
    last |= dict.fromkeys(kept, len(order))
    offsets: dict[int, int] = {}
    for index in sorted((i for i in sizes if i not in taken), key=lambda i: -sizes[i]):
        others = sorted(
            (offsets[o], sizes[o])
            for o in offsets
            if kinds[o] == kinds[index] and first[o] <= last[index] and first[index] <= last[o]
        )
        offset = 0
        for start, size in others:
            if offset + sizes[index] <= start:
                break
            offset = max(offset, start + size)
        offsets[index] = offset
    for kind, member in BUFFERS.items():
        needed = max((offsets[i] + sizes[i] for i in offsets if kinds[i] == kind), default=0)
        if needed:
            program.state.append(f"{kind} {member}[{needed}];")
    return {i: f"s->{BUFFERS[kinds[i]]} + {offset}" for i, offset in offsets.items()}


def _lives(
    program: Program, root: _Sets, order: list[Node]
) -> tuple[dict[int, int], dict[int, int], dict[int, int], dict[int, str]]:
    """Per place its first and last use in the order, its items and its type."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    sizes: dict[int, int] = {}
    kinds: dict[int, str] = {}
    for step, node in enumerate(order):
        values = [value for value in (*node.inputs, *node.outputs) if value is not None and value.data is None]
        for value in values:
            at = root.of(value.index)
            first.setdefault(at, step)
            last[at] = step
            if value.dtype in C_TYPES:
                sizes[at] = max(sizes.get(at, 0), program.size(value))
                kinds[at] = C_TYPES[value.dtype]
    return first, last, sizes, kinds
