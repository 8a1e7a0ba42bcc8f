"""A recurrent layer's loop in C: the nodes that `loops.flat` puts around its operators."""

from __future__ import annotations

from keras_gates.exporting.c99.graph import C_TYPES, Node, Value
from keras_gates.exporting.c99.program import Program


def begin(program: Program, node: Node) -> None:
    """LOOP: the states at the start, and the head of the loop."""
    for place, state in enumerate(node.outputs):
        start = node.input(place)
        if start.data is not None and not start.data.any():
            items = f"for (int32_t i = 0; i < {program.size(state)}; ++i)"
            program.call(node, f"{items}\n        ({program.place(state)})[i] = 0;")
        else:
            program.call(node, f"memcpy({program.place(state)}, {program.place(start)}, {_bytes(program, state)});")
    program.call(node, f"for (int32_t t = 0; t < {node.options['steps']}; ++t) {{")
    program.depth += 1


def end(program: Program, node: Node) -> None:
    """LOOP_END: the states after a step are those before the next one."""
    for place, state in enumerate(node.outputs):
        new = node.input(place)
        if program.place(new) != program.place(state):
            program.call(node, f"memcpy({program.place(state)}, {program.place(new)}, {_bytes(program, state)});")
    program.depth -= 1
    program.call(node, "}")


def put(program: Program, node: Node) -> None:
    """PUT: an item into a list of outputs; a step behind its end makes the call fail."""
    item, step, length = node.input(1), program.place(node.input(2)), program.shape(node.output)[0]
    program.call(node, f"if (*({step}) < 0 || *({step}) >= {length})\n        return -1;")
    place = f"{program.place(node.output)} + *({step}) * {program.size(item)}"
    program.call(node, f"memcpy({place}, {program.place(item)}, {_bytes(program, item)});")


def _bytes(program: Program, value: Value) -> str:
    return f"{program.size(value)} * sizeof({C_TYPES[value.dtype]})"
