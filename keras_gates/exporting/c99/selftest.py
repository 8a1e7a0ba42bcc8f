"""``selftest.c``: recorded inputs and answers, and the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template

import numpy as np

from keras_gates.exporting.c99.program import array
from keras_gates.exporting.c99.source import Parameter, Source

_TEMPLATE = Path(__file__).parent / "templates" / "selftest.in"


def selftest(
    source: Source, runtime: str, samples: Sequence[Sequence[np.ndarray]], answers: Sequence[Sequence[np.ndarray]]
) -> str:
    """Return the text.

    Args:
        source: What `source_of` returned.
        runtime: Name of the runtime that computed the answers.
        samples: Per sequence its inputs.
        answers: Per sequence its outputs.
    """
    golden, checks, name = [], [], source.name
    floats = any(p.type == "float" for p in source.outputs)
    for number, (sample, answer) in enumerate(zip(samples, answers, strict=True)):
        for p, values in zip((*source.inputs, *source.outputs), (*sample, *answer), strict=True):
            golden.append(array(f"{p.name}_{number}", values, p.type))
        inputs = ", ".join(f"{p.name}_{number}" for p in source.inputs)
        buffers = ", ".join(p.name for p in source.outputs)
        differ = " || ".join(_differs(p, f"{p.name}_{number}") for p in source.outputs)
        if source.calls > 1:
            checks += _calls(source, number)
            continue
        checks.append(f"    wrong += {name}_run(&state, {inputs}, {buffers}) || {differ};")
        if source.streams:
            checks += _pushes(source, number)
    golden += [f"static {p.type} {p.name}[{p.size}];" for p in source.outputs]
    compare = _COMPARE if floats else ""
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        name=name,
        runtime=runtime,
        golden="\n".join(golden) + "\n" + compare,
        checks="\n".join(checks),
        calls=len(samples) * (source.calls if source.calls > 1 else 2 if source.streams else 1),
    )


_COMPARE = """
/* Sums in another order differ by some units of the last place of the largest value. */
static int differ(const float *x, const float *y, int n)
{
    float room = 1;
    for (int i = 0; i < n; ++i)
        room = y[i] > room ? y[i] : -y[i] > room ? -y[i] : room;
    room *= 4e-6f;
    for (int i = 0; i < n; ++i)
        if (!(x[i] - y[i] < room && y[i] - x[i] < room))
            return 1;
    return 0;
}
"""


def _differs(p: Parameter, expected: str) -> str:
    if p.type == "float":
        return f"differ({p.name}, {expected}, {p.size})"
    return f"memcmp({p.name}, {expected}, sizeof {p.name}) != 0"


def _calls(source: Source, number: int) -> list[str]:
    """A sequence of calls of a file with explicit memory."""
    arguments = [f"{p.name}_{number} + t * {p.size}" for p in source.inputs] + [p.name for p in source.outputs]
    differ = " || ".join(_differs(p, f"{p.name}_{number} + t * {p.size}") for p in source.outputs)
    return [
        f"    {source.name}_reset(&state);",
        f"    for (int t = 0; t < {source.calls}; ++t)",
        f"        wrong += {source.name}_push(&state, {', '.join(arguments)}) || {differ};",
    ]


def _pushes(source: Source, number: int) -> list[str]:
    """The same sequence event by event."""
    name = source.name
    arguments = [f"{p.name}_{number} + t * {p.step}" for p in source.inputs]
    arguments += [f"{p.name} + t * {p.step}" if p.timed else p.name for p in source.outputs]
    differ = " || ".join(_differs(p, f"{p.name}_{number}") for p in source.outputs)
    return [
        f"    {name}_reset(&state);",
        "    for (int t = 0; t < " + f"{name.upper()}_EVENTS; ++t)",
        f"        (void){name}_push(&state, {', '.join(arguments)});",
        f"    wrong += {differ};",
    ]
