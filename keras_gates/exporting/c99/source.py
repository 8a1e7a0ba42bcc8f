"""The texts of ``NAME.c``, ``NAME.h`` and the Makefile."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template

from keras_gates.exporting.c99 import memory
from keras_gates.exporting.c99.frontends import FrontEnd, Trigger, front_end
from keras_gates.exporting.c99.graph import C_TYPES, Graph, Value
from keras_gates.exporting.c99.operators import emit
from keras_gates.exporting.c99.program import Program
from keras_gates.exporting.c99.reference import CALLS
from keras_gates.exporting.c99.schedule import schedule
from keras_gates.exporting.c99.storage import place_all
from keras_gates.exporting.c99.units import units_function

_TRIGGER = Trigger()
_TEMPLATES = Path(__file__).parent / "templates"
_ORDER = ("int32_t", "float", "int16_t", "int8_t")  # the largest first: no padding between the members
_KEYWORDS = """auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while"""
_RESERVED = {*_KEYWORDS.split(), "s", "t", "i", "copy", "gather", "memcpy", "memset"}  # and what the functions use


@dataclass(frozen=True)
class Parameter:
    """One parameter of NAME_run and NAME_push.

    Attributes:
        value: The tensor behind it.
        name: Its name in C.
        size: Items of a whole sequence.
        step: Items of one event; equal to `size` for what exists once per sequence.
        timed: Whether it has values for every event.
    """

    value: Value
    name: str
    size: int
    step: int
    timed: bool

    @property
    def type(self) -> str:
        """Its C type."""
        return C_TYPES[self.value.dtype]


@dataclass(frozen=True)
class Source:
    """What `source_of` returns.

    Attributes:
        name: Prefix of every public name.
        header, code: The two texts.
        inputs, outputs: Parameters in their order.
        streams: Whether there is NAME_push.
        calls: Calls of NAME_push that a recorded sequence takes, if the file has explicit memory; else 1.
        listens: Whether there is NAME_listen.
        labelled: Whether the file names its classes.
    """

    name: str
    header: str
    code: str
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]
    streams: bool
    calls: int = 1
    listens: bool = False
    labelled: bool = False


def identifier(name: str) -> str:
    """Return a name as C takes it."""
    word = re.sub(r"\W|^(?=\d)", "_", name, flags=re.ASCII)
    return f"{word}_" if word in _RESERVED else word


def source_of(graph: Graph, name: str, arithmetic: str, trigger: Trigger = _TRIGGER) -> Source:
    """Write the C of a graph.

    Args:
        graph: What `graph_of` returned.
        name: Prefix of every public name, an identifier.
        arithmetic: "litert" or "tflm".
        trigger: When NAME_listen reports a class.

    Raises:
        ExportError: There is no C for one of its operators.
    """
    program = Program(name, arithmetic, schedule(graph))
    inputs, outputs = _parameters(graph, program, "in"), _parameters(graph, program, "out")
    names = {p.value.index: p.name for p in (*inputs, *outputs)}
    copies = place_all(program, graph, names, _fixed(program) | memory.places_of(program, graph))
    for node in (*program.schedule.events, *program.schedule.end):
        emit(program, node)
    for kind, count in program.room.items():
        program.state.append(f"{kind} room[{count}];")
    types = {p.name: p.type for p in outputs}
    timed = {p.name for p in outputs if p.timed}
    by_event = not (program.schedule.whole or program.schedule.by_call)
    for target, place, count in copies:
        statement = f"memcpy({target}, {place}, {count} * sizeof({types[target]}));"
        (program.events if target in timed or not by_event else program.end).append(statement)
    memory.feed_back(program, graph)
    streams = not program.schedule.whole
    front = front_end(program, graph, trigger)
    units = [units_function(name, p.name, graph.ports[p.value.index], p.value, p.step) for p in outputs]
    front = replace(
        front,
        header=front.header + "".join(declaration for declaration, _ in units),
        code=front.code + "".join(definition for _, definition in units),
    )
    return Source(
        name,
        _header(graph, program, inputs, outputs, front.header),
        _code(graph, program, inputs, outputs, front),
        inputs,
        outputs,
        streams,
        CALLS if graph.memory else 1,
        front.listens,
        bool(graph.description.labels),
    )


def makefile(name: str) -> str:
    """Return the Makefile: the model, and its self-test."""
    return Template(_TEMPLATES.joinpath("Makefile.in").read_text(encoding="utf-8")).substitute(name=name)


def _fixed(program: Program) -> dict[int, str]:
    """Places in the state that an operator keeps from event to event anyway."""
    places = {}
    for node in program.schedule.events:
        value = node.output
        if node.kind == "UNIDIRECTIONAL_SEQUENCE_LSTM" and not (program.schedule.whole or program.schedule.by_call):
            places[value.index] = f"s->h{node.number}"
        elif node.number in program.schedule.running:
            places[value.index] = f"s->top{node.number}"
            program.state.append(f"{C_TYPES[value.dtype]} top{node.number}[{program.size(value)}];")
    return places


def _parameters(graph: Graph, program: Program, side: str) -> tuple[Parameter, ...]:
    values = graph.inputs if side == "in" else graph.outputs
    parameters = []
    for value in values:
        name = side if len(values) == 1 else identifier(graph.ports[value.index].name)
        size = 1
        for length in value.shape:
            size *= length
        timed = value.index in program.schedule.timed
        parameters.append(Parameter(value, name, size, program.size(value), timed))
    names = [parameter.name for parameter in parameters]
    if len(set(names)) != len(names):
        parameters = [Parameter(p.value, f"{p.name}_{n}", p.size, p.step, p.timed) for n, p in enumerate(parameters)]
    return tuple(parameters)


def _signature(inputs: tuple[Parameter, ...], outputs: tuple[Parameter, ...]) -> str:
    return ", ".join([f"const {p.type} *{p.name}" for p in inputs] + [f"{p.type} *{p.name}" for p in outputs])


def _header(
    graph: Graph, program: Program, inputs: tuple[Parameter, ...], outputs: tuple[Parameter, ...], front: str
) -> str:
    big, macros = program.name.upper(), []
    time = next((port.steps for port in graph.description.events if port.time), 1)
    macros.append(f"#define {big}_EVENTS {time} /* of a sequence in {program.name}_run */")
    for p in (*inputs, *outputs):
        prefix = f"{big}_{p.name.upper()}"
        macros.append(f"#define {prefix}_SIZE {p.size} /* of a whole sequence */")
        if p.timed:
            macros.append(f"#define {prefix}_STEP {p.step} /* of one event */")
        if p.value.dtype in ("int8", "int16"):
            macros.append(
                f"#define {prefix}_SCALE {float(p.value.scale)!r}f /* real = scale * (integer - zero point) */"
            )
            macros.append(f"#define {prefix}_ZERO_POINT ({p.value.zero})")
    members = program.state or ["int8_t none[1];"]  # C has no empty struct
    state = sorted(members, key=lambda line: _ORDER.index(line.split()[0]))
    labels = graph.description.labels
    push = ""
    if not program.schedule.whole:
        by_call = program.schedule.by_call
        ends = [] if by_call else [p.name for p in outputs if not p.timed]
        what = f"{big}_EVENTS events" if by_call and time > 1 else "One event"
        skipped = f" {' and '.join(ends)} may be null: no prediction then, which is faster." if ends else ""
        push = (
            f"/* {what}; the state continues. Returns as {program.name}_run.{skipped} */\n"
            f"int {program.name}_push({program.name}_state *s, {_signature(inputs, outputs)});\n"
        )
    else:
        push = f"/* No {program.name}_push: the model does not run event by event ({program.schedule.whole}). */\n"
    return Template(_TEMPLATES.joinpath("header.in").read_text(encoding="utf-8")).substitute(
        name=program.name,
        big=big,
        macros="\n".join(macros),
        labels="".join(f"\n/* Class {n}: {_comment(label)} */" for n, label in enumerate(labels)),
        state="\n".join(f"    {line}" for line in state),
        signature=_signature(inputs, outputs),
        push=push + front,
    )


def _code(
    graph: Graph, program: Program, inputs: tuple[Parameter, ...], outputs: tuple[Parameter, ...], front: FrontEnd
) -> str:
    name, signature = program.name, _signature(inputs, outputs)
    resets, lines = _lines(program.resets), (*program.events, *program.end)
    if program.schedule.whole:
        body = f"int {name}_run({name}_state *s, {signature})\n{{\n    {name}_reset(s);\n"
        body += _lines(program.events) + "    return 0;\n}\n"
    elif program.schedule.by_call:
        names = ", ".join(p.name for p in (*inputs, *outputs))
        body = f"int {name}_push({name}_state *s, {signature})\n{{\n{_lines(program.events)}    return 0;\n}}\n\n"
        body += f"int {name}_run({name}_state *s, {signature})\n{{\n    {name}_reset(s);\n"
        body += f"    return {name}_push(s, {names});\n}}\n"
    else:
        ends = [p.name for p in outputs if not p.timed]
        end = _lines(program.end)
        if ends:
            end = f"    if (!{ends[0]})\n        return 0;\n{end}"
        body = f"int {name}_push({name}_state *s, {signature})\n{{\n{_lines(program.events)}{end}    return 0;\n}}\n\n"
        each = [f"{p.name} + t * {p.step}" for p in inputs]
        for p in outputs:
            last = f"t + 1 < {name.upper()}_EVENTS ? ({p.type} *)0 : {p.name}"
            each.append(f"{p.name} + t * {p.step}" if p.timed else last)
        body += (
            f"int {name}_run({name}_state *s, {signature})\n{{\n    {name}_reset(s);\n"
            f"    for (int32_t t = 0; t < {name.upper()}_EVENTS; ++t)\n"
            f"        if ({name}_push(s, {', '.join(each)}))\n            return -1;\n    return 0;\n}}\n"
        )
    return Template(_TEMPLATES.joinpath("code.in").read_text(encoding="utf-8")).substitute(
        name=name,
        includes="#include <float.h>\n"
        if "FLT_MAX" in "".join((*program.resets, *lines, *program.constants, *program.helpers.values()))
        else "",
        arithmetic={"litert": "LiteRT's reference kernels", "tflm": "TensorFlow Lite Micro"}[program.arithmetic],
        helpers="\n".join(program.helpers.values()),
        constants="\n".join([*program.constants, front.tables]).rstrip(),
        resets=resets or "    (void)s;\n",
        body=body + front.code,
    )


def _lines(statements: list[str]) -> str:
    return "".join(f"    {statement}\n" for statement in statements)


def _comment(text: str) -> str:
    return re.sub(r"[^\w .,:;+()-]", "_", text)
