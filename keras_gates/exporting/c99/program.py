"""The C under construction: constants, calls, the helper functions in use, and where each tensor lies in memory."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from keras_gates.exporting.c99.graph import C_TYPES, Node, Value
from keras_gates.exporting.c99.packed import PACKED
from keras_gates.exporting.c99.schedule import Schedule
from keras_gates.exporting.report import ExportError
from keras_gates.quantization.tables import tflm_sigmoids

_TEMPLATES = Path(__file__).parent / "templates"
# What each helper calls; a file of the same name has its text, `binary` makes several from one.
_NEEDS: dict[str, tuple[str, ...]] = {
    "arithmetic": (),
    "scale": ("arithmetic",),
    "saturate16": ("arithmetic",),
    "dots": ("rows",),
    "dots4": ("rows",),
    "dots64": ("rows",),
    "gates_litert": ("saturate16",),
    "gates_tflm": ("saturate16", "scale", "table16"),
    "logistic_int16": ("table16",),
    "tanh_int16": ("table16",),
    "softmax_int16": ("scale",),
    "rescale64_tflm": ("scale64",),
    "lstm_steps_int8": ("lstm_int8",),
    "lstm_steps_int16": ("lstm_int16",),
    "lstm_int16": ("scale", "saturate16", "dots64", "scale64", "order", "gates_tflm"),
    "add_int8": ("pair", "scale"),
    "add_int16": ("pair", "scale"),
    "multiply_int8": ("pair", "scale"),
    "multiply_int16": ("pair", "scale"),
    "rescale_litert": ("arithmetic",),
    "rescale_tflm": ("scale",),
    "conv_int8": ("scale", "dots", "widened"),
    "times4": ("arithmetic",),
    "softmax_int8_int8": ("times4",),
    "softmax_int8_int16": ("times4",),
    "requantize_int8_int8": ("scale",),
    "requantize_int8_int16": ("scale",),
    "requantize_int16_int8": ("scale",),
    "requantize_int16_int16": ("scale",),
    "gates_float": ("exponential",),
    "lstm_float": ("gates_float", "products"),
    "lstm_step_float": ("lstm_float",),
    "lstm_steps_float": ("lstm_float", "products_two"),
    "dense_float": ("clamp_float", "products", "products_two"),
    "conv_float": ("clamp_float", "products", "products_two"),
    "sum_int8": ("scale",),
    "sum_int16": ("scale",),
    "softmax_float": ("exponential",),
    "logistic_float": ("gates_float",),
    "tanh_float": ("gates_float",),
    "log_float": ("logarithm",),
    "hard_swish_float": ("clamp_float",),
    "exp_float": ("exponential",),
    "elu_float": ("exponential",),
    "leaky_int8": ("scale",),
    "leaky_int16": ("scale",),
    "window": ("arithmetic",),
    "conv_int16": ("scale64", "dots64", "window"),
    "depthwise_int8": ("scale", "window"),
    "depthwise_int16": ("scale64", "window"),
    "depthwise_float": ("clamp_float", "window"),
    "pool_int8": ("window",),
    "pool_int16": ("window",),
    "pool_float": ("clamp_float", "window"),
    "relu_int8": ("scale",),
    "relu_int16": ("scale",),
    "quantize_int8": ("arithmetic", "clamp_float"),
    "quantize_int16": ("arithmetic", "clamp_float"),
}

# What the texts for several types differ in.
_WORDS: dict[str, dict[str, str]] = {
    "int8": {
        "type": "int8_t",
        "suffix": "int8",
        "sum": "int32_t",
        "bias": "int32_t",
        "scale": "scale",
        "event": "widened(x, m->inputs, 0, gates + 4 * n)",
        "hidden": "widened(h, n, 0, gates + 4 * n)",
        "gate_sums": "dots(w[g] + first * inputs, x, inputs, rows, bias[g] + first, sum)",
        "dense_sums": "dots(m->weights + first * m->inputs, wide, m->inputs, n, m->bias + first, sum)",
        "conv_sums": "dots(m->weights + first * n, room, n, rows, m->bias + first, sum)",
        "limit": "int32_t",
        "clamp": "clamp",
        "lowest": "INT8_MIN",
        "average": "(sum > 0 ? sum + n / 2 : sum - n / 2) / n",
        "bits": "8",
        "low": "-128",
        "high": "127",
    },
    "int16": {
        "type": "int16_t",
        "suffix": "int16",
        "sum": "int64_t",
        "bias": "int64_t",
        "scale": "scale64",
        "event": "x",
        "hidden": "h",
        "gate_sums": "dots64(w[g] + first * inputs, x, inputs, rows, bias[g] + first, sum)",
        "limit": "int32_t",
        "clamp": "clamp",
        "lowest": "INT16_MIN",
        "average": "(sum > 0 ? sum + n / 2 : sum - n / 2) / n",
        "bits": "16",
        "low": "-32768",
        "high": "32767",
    },
    "int32": {"type": "int32_t", "suffix": "int32"},
    "float": {
        "type": "float",
        "suffix": "float",
        "limit": "float",
        "clamp": "clamp_float",
        "lowest": "-FLT_MAX",
        "average": "sum / (float)n",
    },
}
# int8 with weights of 4 bits: two rows in one of bytes, biases in 16 bits if they fit, none for the hidden state.
for _kind, _bias in PACKED.items():
    _biased = f"biased_{_kind}"
    _WORDS[_kind] = _WORDS["int8"] | {
        "suffix": _kind,
        "bias": _bias,
        "hidden": "widened(h, n, m->hidden[2], gates + 4 * n)",
        "gate_sums": f"dots4(w[g] + first / 2 * inputs, x, inputs, rows, sum), {_biased}(bias[g], first, rows, sum)",
        "dense_sums": f"dots4(m->weights + first / 2 * m->inputs, wide, m->inputs, n, sum), {_biased}(m->bias, first, n, sum)",
        "conv_sums": f"dots4(m->weights + first / 2 * n, room, n, rows, sum), {_biased}(m->bias, first, rows, sum)",
    }
    _NEEDS |= {
        f"lstm_steps_{_kind}": (f"lstm_{_kind}",),
        f"conv_{_kind}": ("scale", "dots4", _biased, "widened"),
    }


@dataclass
class Program:
    """Everything that the source is assembled from.

    Attributes:
        name: Prefix of every public name.
        arithmetic: "litert" or "tflm".
        schedule: Order and shapes.
        places: C expression of each tensor's first item, by tensor number.
        constants: Definitions of constants, in order.
        events, end: Statements that run at every event, and once per prediction.
        resets: Statements of NAME_reset.
        state: Members of NAME_state that persist from event to event.
        room: Items of scratch memory for one operator, by C type: the gates of a layer, an input in 16 bits.
        helpers: Texts of the helper functions in use, by name, each after what it calls.
        arrays: Names of the constant arrays so far, by their definition without the name.
        depth: Number of loops around the next statement.
    """

    name: str
    arithmetic: str
    schedule: Schedule
    places: dict[int, str] = field(default_factory=dict)
    constants: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    end: list[str] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)
    state: list[str] = field(default_factory=list)
    room: dict[str, int] = field(default_factory=dict)
    helpers: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, str] = field(default_factory=dict)
    depth: int = 0

    @property
    def micro(self) -> bool:
        """Whether the arithmetic is TFLM's."""
        return self.arithmetic == "tflm"

    def shape(self, value: Value) -> tuple[int, ...]:
        """Return a tensor's shape as the C computes it."""
        return self.schedule.shapes.get(value.index, value.shape)

    def size(self, value: Value) -> int:
        """Return the number of its items."""
        return math.prod(self.shape(value))

    def place(self, value: Value) -> str:
        """Return the C expression of its first item; a constant is written now."""
        if value.data is not None and value.index not in self.places:
            self.places[value.index] = self.array(f"constant{value.index}", value.data, C_TYPES[value.dtype])
        if value.index not in self.places:
            raise ExportError(
                f"tensor {value.index} is read before anything computes it: the file is damaged; export again."
            )
        return self.places[value.index]

    def call(self, node: Node, text: str) -> None:
        """Append a statement for an operator."""
        text = ("    " * self.depth + text).replace("\n", "\n" + "    " * self.depth)
        (self.end if node in self.schedule.end else self.events).append(text)

    def scratch(self, kind: str, count: int) -> str:
        """Reserve room for one operator; return the C expression of its first item."""
        self.room[kind] = max(self.room.get(kind, 0), count)
        return "s->room"

    def array(self, name: str, values: Any, kind: str) -> str:
        """Define a constant array, unless one has the same items (unrolled steps share weights); return its name."""
        text = array("", values, kind)
        if text not in self.arrays:
            self.arrays[text] = name
            self.constants.append(array(name, values, kind))
        return self.arrays[text]

    def table(self, name: str, values: list[int], kind: str) -> str:
        """Define a constant array that several operators may share, under a name of its own, and return that."""
        return self.array(f"{name}_table{len(self.arrays)}", values, kind)

    def struct(self, name: str, kind: str, fields: str) -> str:
        """Define a constant struct and return its address."""
        self.constants.append(f"static const {kind} {name} = {{{fields}}};")
        return f"&{name}"

    def use(self, helper: str) -> str:
        """Add a helper function and what it calls; return its name."""
        if helper not in self.helpers:
            for needed in self._needs(helper):
                self.use(needed)
            path, words = _TEMPLATES / f"{helper}.c", {}
            if not path.exists():  # one text for several types
                name, _, kind = helper.rpartition("_")
                path, words = _TEMPLATES / f"{name}.c", _WORDS[kind]
            elif helper == "table16":
                words = {"gate_table": rows(list(map(str, tflm_sigmoids()))).strip()}
            text = path.read_text(encoding="utf-8")
            self.helpers[helper] = Template(text).substitute(words) if words else text
        return helper

    def use_binary(self, name: str, dtype: str, expression: str, result: str | None = None) -> str:
        """Add an elementwise function of two operands `l` and `r`; return its name."""
        self.use("pair")
        text = _TEMPLATES.joinpath("binary.c").read_text(encoding="utf-8")
        kinds = {"type": C_TYPES[dtype], "result": C_TYPES[result or dtype]}
        self.helpers[name] = Template(text).substitute(name=name, expression=expression, **kinds)
        return name

    def _needs(self, helper: str) -> tuple[str, ...]:
        layer, _, kind = helper.rpartition("_")
        sums = ("dots4", f"biased_{kind}") if kind in PACKED else ("dots",)
        if helper == "dense_int16":
            return "arithmetic", "dots64", f"rescale64_{self.arithmetic}"
        if layer == "lstm" and kind not in ("int16", "float"):
            return "scale", "saturate16", *sums, "widened", "order", f"gates_{self.arithmetic}"
        if layer == "dense" and kind != "float":
            return *sums, "widened", f"rescale_{self.arithmetic}"
        return _NEEDS.get(helper, ())


def array(name: str, values: Any, kind: str) -> str:
    """Return the definition of a constant array.

    Args:
        name: Its name.
        values: Its items, an array of any shape.
        kind: Its C type.
    """
    items = [_number(item, kind) for item in np.asarray(values).reshape(-1).tolist()]
    return f"static const {kind} {name}[{len(items)}] = {{\n{rows(items)}}};"


def rows(items: list[str]) -> str:
    """Return items of an initializer as indented lines."""
    return (
        textwrap.fill(", ".join(items), 116, initial_indent="    ", subsequent_indent="    ", break_long_words=False)
        + "\n"
    )


def numbers(values: Any) -> str:
    """Return an initializer of integers: ``{1, 2, 3}``."""
    return "{" + ", ".join(str(int(value)) for value in values) + "}"


def _number(item: Any, kind: str) -> str:
    if kind == "float":
        return f"{float(np.float32(item))!r}f"
    if kind == "int32_t" and int(item) == -(2**31):
        return "INT32_MIN"  # -2147483648 is an expression of a wider type
    return str(int(item))
