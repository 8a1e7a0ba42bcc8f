"""Explicit memory: what a file of the lowering "step" takes as input and returns as output stays in the state."""

from __future__ import annotations

import numpy as np

from keras_gates.edge.values import fed_back, stored
from keras_gates.exporting.c99.graph import C_TYPES, Graph
from keras_gates.exporting.c99.program import Program
from keras_gates.exporting.report import ExportError


def places_of(program: Program, graph: Graph) -> dict[int, str]:
    """Add the memory to the state, and what resets it; return where each input lies, by tensor number."""
    places = {}
    for n, (source, _, port, _) in enumerate(graph.memory):
        places[source.index] = f"s->memory{n}"
        program.state.append(f"{C_TYPES[source.dtype]} memory{n}[{program.size(source)}];")
        first = stored(port, {}).reshape(-1)[0]
        program.resets.append(
            f"for (int32_t i = 0; i < {program.size(source)}; ++i)\n        s->memory{n}[i] = {first};"
        )
    return places


def feed_back(program: Program, graph: Graph) -> None:
    """Append what makes the memory after this call the memory before the next one."""
    sources = {program.places[source.index] for source, *_ in graph.memory}
    for n, (source, result, port, gave) in enumerate(graph.memory):
        place, size = program.place(result), program.size(source)
        if place == f"s->memory{n}":
            continue
        if place in sources:
            raise ExportError("the C has no memory that moves from one state to another unchanged; export again.")
        one, other = port.tensor, gave.tensor
        if (one.scale, one.zero_point) == (other.scale, other.zero_point) or source.dtype == "float32":
            program.events.append(f"memcpy(s->memory{n}, {place}, sizeof s->memory{n});")
        elif source.dtype == "int8":
            values = fed_back(port, gave, np.arange(-128, 128).astype(np.int8))
            table = program.array(f"again{n}", values, "int8_t")
            program.events.append(f"{program.use('lookup_int8')}({table}, {place}, {size}, s->memory{n});")
        elif one.zero_point or other.zero_point:
            raise ExportError("the C has 16-bit memory with zero point 0 only; export again.")
        else:
            scales = ", ".join(f"{float(np.float32(scale))!r}f" for scale in (other.scale, one.scale))
            call = program.use("again_int16")
            program.events.append(f"{call}({place}, {size}, {scales}, s->memory{n});")
