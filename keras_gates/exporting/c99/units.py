"""Outputs in the model's units, where scale and offset stay outside the graph of an integer file."""

from __future__ import annotations

from pathlib import Path
from string import Template

import numpy as np

from keras_gates.edge.description import Port
from keras_gates.exporting.c99.graph import C_TYPES, Value
from keras_gates.exporting.c99.program import array

_TEMPLATE = Path(__file__).parent / "templates" / "units.c"


def units_function(program: str, parameter: str, port: Port, value: Value, size: int) -> tuple[str, str]:
    """Return declaration and definition of NAME_units_OUTPUT; two empty texts if the graph itself returns units.

    Args:
        program: Prefix of every public name.
        parameter: Name of the output in C.
        port: The output.
        value: Its tensor.
        size: Numbers of the output, of one event if it has several.
    """
    if port.units is None:
        return "", ""
    scale, offset, inner = port.units.repeated(value.shape[1:])
    real = f"{parameter}[i]"
    if value.dtype in ("int8", "int16"):
        real = f"(float)({parameter}[i] - ({value.zero})) * {float(value.scale)!r}f"
    words = {"name": program, "output": parameter, "type": C_TYPES[value.dtype], "size": size, "inner": inner}
    text = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(words, real=real, count=len(scale))
    tables = [
        array(f"{name}_{parameter}", np.asarray(numbers, "float32"), "float")
        for name, numbers in (("unit", scale), ("offset", offset))
    ]
    declaration = (
        f"\n/* {size} numbers of an output, of one event if it has several, in the model's units. */\n"
        f"void {program}_units_{parameter}(const {words['type']} *{parameter}, float *values);\n"
    )
    return declaration, "\n" + "\n".join(tables) + "\n" + text
