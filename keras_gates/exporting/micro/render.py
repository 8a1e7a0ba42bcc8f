"""The text of the microcontroller kit: values for the C++17 templates in ``templates/``. No heap, for any TFLM from 2022 on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np

from keras_gates.edge.description import Description, Port
from keras_gates.edge.tflite import Tensor, TFLite
from keras_gates.edge.values import real

_C_TYPES = {"float32": "float", "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t"}
_C_TYPES |= {"int64": "int64_t", "bool": "bool"}
_TEMPLATES = Path(__file__).parent / "templates"

_IN_UNITS = """
void in_units(float* real, int size, const float* unit, const float* offset, int count, int inner) {
    for (int i = 0; i < size; ++i) real[i] = real[i] * unit[i / inner % count] + offset[i / inner % count];
}
"""
_SCALED_DIFFER = """
int differ_in_units(const float* got, const float* wanted, int size, const float* unit, const float*, int count, int inner,
                    float tolerance) {
    int wrong = 0;
    for (int i = 0; i < size; ++i) {
        const float allowed = tolerance * std::fabs(unit[i / inner % count]) + 1e-6f * std::fabs(wanted[i]);
        wrong += !(std::fabs(got[i] - wanted[i]) <= allowed);
    }
    return wrong;
}
"""


@dataclass(frozen=True)
class KitPlan:
    """What all four files are written from.

    Attributes:
        name: C++ namespace and name of the two main files.
        data: Bytes of the ``.tflite`` file.
        file: What `keras_gates.edge.tflite.read` returned for them.
        description: What `keras_gates.edge.description.describe` returned.
        operators: Registration calls of the operator resolver.
        arena_bytes: Arena to reserve.
        arena_used: What TFLM reported as used; None if it was not measured.
    """

    name: str
    data: bytes
    file: TFLite
    description: Description
    operators: tuple[str, ...]
    arena_bytes: int
    arena_used: int | None

    @property
    def inputs(self) -> list[Port]:
        """The inputs that the caller passes: events and lengths."""
        return [port for port in self.description.inputs if port.role in ("event", "lengths")]

    @property
    def outputs(self) -> list[Port]:
        """The outputs that the caller reads: predictions."""
        return [port for _, port in self.description.predictions]

    @property
    def parameters(self) -> str:
        """The parameters of ``run``."""
        inputs = [f"const {_outer(port)}* {_snake(port.name)}" for port in self.inputs]
        return ", ".join(inputs + [f"{_outer(port)}* {_snake(port.name)}" for port in self.outputs])

    @property
    def arguments(self) -> str:
        """The arguments of ``run``, named as its parameters."""
        return ", ".join(_snake(port.name) for port in (*self.inputs, *self.outputs))


def header(plan: KitPlan) -> str:
    """Return ``model.h``: sizes, scales and zero points, labels, and the three functions."""
    description = plan.description
    measured = (
        "a guess: export where tflite-micro is installed to have it measured"
        if plan.arena_used is None
        else f"the smallest in which TFLM runs it on x86-64, reporting {plan.arena_used} as used; 32-bit processors need less"
    )
    labels = ""
    if description.labels:
        texts = ", ".join(_c_text(label) for label in description.labels)
        labels = f"constexpr const char* kLabels[] = {{{texts}}};\n"
    calls = "one event" if description.stride == 1 and description.streams else "the events of one call"
    memory = (
        f"The memory stays between calls of run, which takes {calls}; reset() starts a new sequence."
        if description.streams
        else "One call of run is one whole sequence; it starts from empty memory."
    )
    if description.frontend.get("kind") == "scale":
        labels += "\n// An event is (measured value - kMean) / kDeviation, channel by channel.\n"
        for constant, key in (("kMean", "mean"), ("kDeviation", "deviation")):
            labels += f"constexpr float {constant}[] = {{{', '.join(map(_float, description.frontend[key]))}}};\n"
    facts = (description.facts.get(key) for key in ("name", "precision", "lowering"))
    return _fill(
        "model.h",
        name=plan.name,
        what=_line(" ".join(filter(None, facts))) or "a model",
        memory=memory,
        arena_bytes=plan.arena_bytes,
        measured=measured,
        data_bytes=len(plan.data),
        ports="".join(_port(port) for port in (*plan.inputs, *plan.outputs)),
        labels=labels,
        parameters=plan.parameters,
    )


def code(plan: KitPlan) -> str:
    """Return ``model.cc``: the bytes, the operators, the arena, the memory, quantization."""
    rows = (plan.data[start : start + 24] for start in range(0, len(plan.data), 24))
    return _fill(
        "model.cc",
        name=plan.name,
        memory_arrays=_memory_arrays(plan),
        operator_count=len(plan.operators),
        operators="".join(f"    resolver.{line}();\n" for line in plan.operators),
        resets=_resets(plan),
        parameters=plan.parameters,
        fresh="" if plan.description.streams else "    if (!reset()) return false;\n",
        fills=_fills(plan),
        reads=_reads(plan),
        in_units=_IN_UNITS if any(port.units for port in plan.outputs) else "",
        data="\n".join("    " + ",".join(map(str, row)) + "," for row in rows),
    )


def selftest(
    plan: KitPlan,
    sequences: Sequence[Sequence[Mapping[str, np.ndarray]]],
    answers: Sequence[Sequence[Mapping[int, np.ndarray]]],
) -> str:
    """Return ``selftest.cc``: golden sequences, run and compared.

    Args:
        plan: The kit.
        sequences: Per sequence its calls, per call the real numbers of every event and length by input name.
        answers: Per call its outputs, in the file's own types, by tensor index.
    """
    golden, checks = [], []
    for s, (sequence, answer) in enumerate(zip(sequences, answers)):
        for c, (call, outputs) in enumerate(zip(sequence, answer)):
            arrays = {port.name: call[port.name] for port in plan.inputs}
            arrays |= {port.name: real(port, outputs[port.tensor.index]) for port in plan.outputs}
            ports = (*plan.inputs, *plan.outputs)
            golden += [_golden(f"{_snake(p.name)}_{s}_{c}", _outer(p), arrays[p.name]) for p in ports]
            arguments = [f"{_snake(p.name)}_{s}_{c}" for p in plan.inputs] + [_snake(p.name) for p in plan.outputs]
            reset = "!reset() || " if c == 0 else ""
            checks.append(f"    if ({reset}!run({', '.join(arguments)})) return -1;\n")
            for p in plan.outputs:
                numbers = f"{_snake(p.name)}, {_snake(p.name)}_{s}_{c}, {_constant(p)}Size"
                if p.units:
                    numbers += f", {_units(p)}, {_float(p.tolerance / max(map(abs, p.units.scale)))}"
                    checks.append(f"    wrong += differ_in_units({numbers});\n")
                else:
                    checks.append(f"    wrong += differ({numbers}, {_float(p.tolerance)});\n")
    return _fill(
        "selftest.cc",
        name=plan.name,
        macro=plan.name.upper(),
        in_units=_SCALED_DIFFER if any(port.units for port in plan.outputs) else "",
        calls=sum(map(len, sequences)),
        runtime="LiteRT" if plan.arena_used is None else "TFLM on x86-64",
        golden="".join(golden),
        buffers="".join(f"    static {_outer(p)} {_snake(p.name)}[{_constant(p)}Size];\n" for p in plan.outputs),
        checks="".join(checks),
    )


def main(plan: KitPlan) -> str:
    """Return ``main.cc``: the loop, with one function left to the sensor."""
    first = plan.outputs[0]
    output, size = _snake(first.name), f"{plan.name}::{_constant(first)}Size"
    label = f"{plan.name}::kLabels[best]" if len(plan.description.labels) == first.tensor.shape[-1] else None

    def buffers(ports: list[Port]) -> str:
        return "".join(f"    static {_outer(p)} {_snake(p.name)}[{plan.name}::{_constant(p)}Size];\n" for p in ports)

    return _fill(
        "main.cc",
        name=plan.name,
        unit="event" if plan.description.streams else "whole sequence",
        sensor=", ".join(f"{_outer(port)}* {_snake(port.name)}" for port in plan.inputs),
        inputs=buffers(plan.inputs),
        outputs=buffers(plan.outputs),
        inputs_read=", ".join(_snake(port.name) for port in plan.inputs),
        arguments=plan.arguments,
        best=f"std::max_element({output}, {output} + {size}) - {output}",
        show=f'std::printf("%s\\n", {label});' if label else 'std::printf("%ld\\n", static_cast<long>(best));',
    )


def _fill(template: str, **values: object) -> str:
    """Return templates/<template>.in with every ``${name}`` replaced; a name without a value raises KeyError."""
    return Template((_TEMPLATES / f"{template}.in").read_text(encoding="utf-8")).substitute(values)


def _outer(port: Port) -> str:
    """The type that the caller sees: float for quantized tensors."""
    return "float" if port.tensor.scale else _C_TYPES[port.tensor.dtype]


def _port(port: Port) -> str:
    tensor, constant = port.tensor, _constant(port)
    lines = f"\n// {port.role} {_line(port.name)}: {port.text}\nconstexpr int {constant}Size = {_size(tensor)};\n"
    if tensor.scale:
        lines += f"constexpr float {constant}Scale = {_float(tensor.scale)};\n"
        lines += f"constexpr int {constant}ZeroPoint = {tensor.zero_point};\n"
    if port.units:
        scale, offset, inner = port.units.repeated(tensor.shape[1:])
        lines += (
            (
                f"// run() returns real * kUnit[j] + kOffset[j] with j = item / {inner} % {len(scale)}: the model's units.\n"
                f"constexpr float {constant}Unit[] = {{{', '.join(map(_float, scale))}}};\n"
                f"constexpr float {constant}Offset[] = {{{', '.join(map(_float, offset))}}};\n"
            )
            .replace("kUnit", f"{constant}Unit")
            .replace("kOffset", f"{constant}Offset")
        )
    return lines


def _units(port: Port) -> str:
    """The last arguments of ``in_units``."""
    assert port.units is not None
    scale, _, inner = port.units.repeated(port.tensor.shape[1:])
    return f"{_constant(port)}Unit, {_constant(port)}Offset, {len(scale)}, {inner}"


def _memory_arrays(plan: KitPlan) -> str:
    tensors = [plan.description.inputs[pair.source].tensor for pair in plan.description.memory]
    return "".join(f"{_C_TYPES[t.dtype]} memory_{i}[{_size(t)}];\n" for i, t in enumerate(tensors))


def _resets(plan: KitPlan) -> str:
    """Explicit memory to zero as the file quantizes it; TFLM itself resets the operators' own."""
    lines = []
    for i, pair in enumerate(plan.description.memory):
        tensor = plan.description.inputs[pair.source].tensor
        lines.append(
            f"    std::fill_n(memory_{i}, {_size(tensor)}, static_cast<{_C_TYPES[tensor.dtype]}>({tensor.zero_point}));\n"
        )
    return "".join(lines)


def _fills(plan: KitPlan) -> str:
    lines, memory = [], {pair.source: i for i, pair in enumerate(plan.description.memory)}
    for place, port in enumerate(plan.description.inputs):
        stored = f"interpreter->input({plan.file.subgraphs[0].inputs.index(port.tensor.index)})->data.raw"
        if place in memory:
            lines.append(f"    std::memcpy({stored}, memory_{memory[place]}, sizeof(memory_{memory[place]}));\n")
        elif port.tensor.scale:
            of = f"{_snake(port.name)}, {_constant(port)}Size, {_constant(port)}Scale, {_constant(port)}ZeroPoint"
            lines.append(f"    quantize<{_C_TYPES[port.tensor.dtype]}>({of}, {stored});\n")
        else:
            lines.append(f"    std::memcpy({stored}, {_snake(port.name)}, {port.tensor.bytes});\n")
    return "".join(lines)


def _reads(plan: KitPlan) -> str:
    lines, memory = [], {pair.result: i for i, pair in enumerate(plan.description.memory)}
    for place, port in enumerate(plan.description.outputs):
        stored = f"interpreter->output({plan.file.subgraphs[0].outputs.index(port.tensor.index)})->data.raw"
        if place in memory:
            lines.append(_remember(plan, memory[place], stored))
        elif port.role == "prediction" and port.tensor.scale:
            to = f"{_constant(port)}Size, {_constant(port)}Scale, {_constant(port)}ZeroPoint, {_snake(port.name)}"
            lines.append(f"    dequantize<{_C_TYPES[port.tensor.dtype]}>({stored}, {to});\n")
            if port.units:
                lines.append(f"    in_units({_snake(port.name)}, {_constant(port)}Size, {_units(port)});\n")
        elif port.role == "prediction":
            lines.append(f"    std::memcpy({_snake(port.name)}, {stored}, {port.tensor.bytes});\n")
    return "".join(lines)


def _remember(plan: KitPlan, number: int, stored: str) -> str:
    """Explicit memory from an output to the input of the next call; quantized again if the two scales differ."""
    pair = plan.description.memory[number]
    source, result = plan.description.inputs[pair.source].tensor, plan.description.outputs[pair.result].tensor
    if (source.scale, source.zero_point) == (result.scale, result.zero_point):
        return f"    std::memcpy(memory_{number}, {stored}, sizeof(memory_{number}));\n"
    kind, size, real = _C_TYPES[source.dtype], _size(source), f"real_{number}"
    return (
        f"    static float {real}[{size}];\n"
        f"    dequantize<{kind}>({stored}, {size}, {_float(result.scale or 1)}, {result.zero_point}, {real});\n"
        f"    quantize<{kind}>({real}, {size}, {_float(source.scale or 1)}, {source.zero_point}, memory_{number});\n"
    )


def _golden(name: str, kind: str, values: np.ndarray) -> str:
    numbers = [_float(v) if kind == "float" else str(int(v)) for v in np.ravel(values).tolist()]
    rows = [", ".join(numbers[i : i + 10]) for i in range(0, len(numbers), 10)]
    return f"const {kind} {name}[] = {{\n    " + ",\n    ".join(rows) + "};\n"


def _size(tensor: Tensor) -> int:
    return int(np.prod(tensor.shape))


def _float(value: float) -> str:
    text = f"{np.float32(value):.9g}"
    return text + ("f" if re.search(r"[.e]", text) else ".0f")


def _snake(name: str) -> str:
    return re.sub(r"\W|^(?=\d)", "_", name) + "_"


def _constant(port: Port) -> str:
    """``output_0`` → ``kOutput0``."""
    return "k" + "".join(part[:1].upper() + part[1:] for part in re.split(r"\W|_", port.name))


def _line(text: str) -> str:
    """What a comment of one line can hold."""
    return "".join(c if c.isprintable() and c != "\\" else "?" for c in text)


def _c_text(text: str) -> str:
    """A C string of the UTF-8 bytes, nothing special left unescaped."""
    return (
        '"' + "".join(chr(b) if 32 <= b < 127 and b not in (34, 63, 92) else f"\\{b:03o}" for b in text.encode()) + '"'
    )
