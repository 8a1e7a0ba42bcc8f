"""The text of the microcontroller kit: C++17, no heap, for any TFLM from 2022 on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keras_gates.edge.description import Description, Port
from keras_gates.edge.tflite import Tensor, TFLite
from keras_gates.edge.values import real

_C_TYPES = {"float32": "float", "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t"}
_C_TYPES |= {"int64": "int64_t", "bool": "bool"}


@dataclass(frozen=True)
class Plan:
    """What the texts are made of."""

    name: str
    data: bytes
    file: TFLite
    description: Description
    operators: tuple[str, ...]
    arena_bytes: int
    arena_used: int | None

    @property
    def given(self) -> list[Port]:
        """The inputs that the caller gives: events and lengths."""
        return [port for port in self.description.inputs if port.role in ("event", "lengths")]

    @property
    def taken(self) -> list[Port]:
        """The outputs that the caller takes."""
        return [port for _, port in self.description.predictions]

    @property
    def parameters(self) -> str:
        """The parameters of ``run``."""
        given = [f"const {_outer(port)}* {_snake(port.name)}" for port in self.given]
        return ", ".join(given + [f"{_outer(port)}* {_snake(port.name)}" for port in self.taken])


def header(plan: Plan) -> str:
    """``model.h``: sizes, scales and zero points, labels, and the three functions."""
    description = plan.description
    measured = (
        "a guess: export where tflite-micro is installed to have it measured"
        if plan.arena_used is None
        else f"the smallest in which TFLM runs it on x86-64, reporting {plan.arena_used} as used; 32-bit processors need less"
    )
    ports = "".join(_port(port) for port in (*plan.given, *plan.taken))
    labels = ""
    if description.labels:
        texts = ", ".join(_c_text(label) for label in description.labels)
        labels = f"constexpr const char* kLabels[] = {{{texts}}};\n"
    calls = "one event" if description.stride == 1 and _streams(plan) else "the events of one call"
    memory = (
        f"The memory stays between calls of run, which takes {calls}; reset() starts a new sequence."
        if _streams(plan)
        else "One call of run is one whole sequence; it starts from empty memory."
    )
    what = _line(" ".join(filter(None, (description.facts.get(key) for key in ("name", "precision", "form")))))
    return f"""// Written by keras_gates: {what or "a model"}.
// {memory}
#pragma once

#include <cstddef>
#include <cstdint>

namespace {plan.name} {{

constexpr size_t kArenaBytes = {plan.arena_bytes};  // {measured}
constexpr size_t kDataBytes = {len(plan.data)};
extern const unsigned char kData[kDataBytes];
{ports}
{labels}
bool begin();  // once; false where the arena is too small or TFLM lacks an operator
bool reset();  // forgets STM and LTM
bool run({plan.parameters});

}}  // namespace {plan.name}
"""


def code(plan: Plan) -> str:
    """``model.cc``: the bytes, the operators, the arena, the memory, quantization."""
    adds = "".join(f"    resolver.{line}();\n" for line in plan.operators)
    rows = "\n".join(
        "    " + ",".join(str(b) for b in plan.data[i : i + 24]) + "," for i in range(0, len(plan.data), 24)
    )
    fresh = "" if _streams(plan) else "    if (!reset()) return false;\n"
    return f"""// Written by keras_gates.
#include "{plan.name}.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace tflite {{
namespace micro {{}}  // newer TFLM keeps its classes here, older in tflite
}}

namespace {plan.name} {{
namespace {{

using namespace tflite;
using namespace tflite::micro;

alignas(16) uint8_t arena[kArenaBytes];
MicroInterpreter* interpreter = nullptr;
{_memory_arrays(plan)}
template <typename T>
void quantize(const float* real, int size, float scale, int zero_point, void* stored) {{
    const float lowest = static_cast<float>(std::numeric_limits<T>::min());
    const float highest = static_cast<float>(std::numeric_limits<T>::max());
    for (int i = 0; i < size; ++i) {{
        const float whole = std::round(real[i] / scale) + static_cast<float>(zero_point);
        static_cast<T*>(stored)[i] = static_cast<T>(std::min(std::max(whole, lowest), highest));
    }}
}}

template <typename T>
void dequantize(const void* stored, int size, float scale, int zero_point, float* real) {{
    for (int i = 0; i < size; ++i) real[i] = static_cast<float>(static_cast<const T*>(stored)[i] - zero_point) * scale;
}}

}}  // namespace

bool begin() {{
    static MicroMutableOpResolver<{len(plan.operators)}> resolver;
{adds}    static MicroInterpreter instance(GetModel(kData), resolver, arena, kArenaBytes);
    interpreter = &instance;
    return interpreter->AllocateTensors() == kTfLiteOk && reset();
}}

bool reset() {{
    if (interpreter == nullptr || interpreter->Reset() != kTfLiteOk) return false;
{_resets(plan)}    return true;
}}

bool run({plan.parameters}) {{
    if (interpreter == nullptr) return false;
{fresh}{_fills(plan)}    if (interpreter->Invoke() != kTfLiteOk) return false;
{_reads(plan)}    return true;
}}

alignas(16) const unsigned char kData[kDataBytes] = {{
{rows}
}};

}}  // namespace {plan.name}
"""


def selftest(
    plan: Plan,
    sequences: Sequence[Sequence[Mapping[str, np.ndarray]]],
    answers: Sequence[Sequence[Mapping[int, np.ndarray]]],
) -> str:
    """``selftest.cc``: golden sequences, run and compared."""
    blocks, checks = [], []
    for s, (sequence, answer) in enumerate(zip(sequences, answers)):
        for c, (call, outputs) in enumerate(zip(sequence, answer)):
            given = [_golden(f"{_snake(p.name)}_{s}_{c}", _outer(p), call[p.name]) for p in plan.given]
            wanted = [
                _golden(f"{_snake(p.name)}_{s}_{c}", _outer(p), real(p, outputs[p.tensor.index])) for p in plan.taken
            ]
            blocks += given + wanted
            arguments = ", ".join(
                [f"{_snake(p.name)}_{s}_{c}" for p in plan.given] + [_snake(p.name) for p in plan.taken]
            )
            checks.append(f"    if ({'!reset() || ' if c == 0 else ''}!run({arguments})) return -1;\n")
            checks += [
                f"    wrong += differ({_snake(p.name)}, {_snake(p.name)}_{s}_{c}, {_constant(p)}Size, {_float(p.tolerance)});\n"
                for p in plan.taken
            ]
    locals_ = "".join(f"    static {_outer(p)} {_snake(p.name)}[{_constant(p)}Size];\n" for p in plan.taken)
    runtime = "LiteRT" if plan.arena_used is None else "TFLM on x86-64"
    return f"""// Written by keras_gates: {sum(map(len, sequences))} golden calls, answers by {runtime}.
// Define {plan.name.upper()}_SELFTEST_MAIN for a program of its own.
#include <cmath>
#include <cstdio>

#include "{plan.name}.h"

namespace {plan.name} {{
namespace {{

{"".join(blocks)}
template <typename T>
int differ(const T* got, const T* wanted, int size, float tolerance) {{
    int wrong = 0;
    for (int i = 0; i < size; ++i) wrong += !(std::fabs(static_cast<float>(got[i] - wanted[i])) <= tolerance);
    return wrong;
}}

}}  // namespace

// Numbers that differ from the golden answers, 0 where all is well; -1 where a call failed.
int selftest() {{
{locals_}    int wrong = 0;
    if (!begin()) return -1;
{"".join(checks)}    return reset() ? wrong : -1;
}}

}}  // namespace {plan.name}

#ifdef {plan.name.upper()}_SELFTEST_MAIN
int main() {{
    const int wrong = {plan.name}::selftest();
    std::printf("%s: %d\\n", wrong ? "self-test FAILED" : "self-test passed", wrong);
    return wrong != 0;
}}
#endif
"""


def main(plan: Plan) -> str:
    """``main.cc``: the loop, with one function left to the sensor."""
    given = "".join(f"    static {_outer(p)} {_snake(p.name)}[{plan.name}::{_constant(p)}Size];\n" for p in plan.given)
    taken = "".join(f"    static {_outer(p)} {_snake(p.name)}[{plan.name}::{_constant(p)}Size];\n" for p in plan.taken)
    reads = ", ".join(_snake(port.name) for port in plan.given)
    first = plan.taken[0]
    output, size = _snake(first.name), f"{plan.name}::{_constant(first)}Size"
    best = f"std::max_element({output}, {output} + {size}) - {output}"
    label = f"{plan.name}::kLabels[best]" if len(plan.description.labels) == first.tensor.shape[-1] else None
    show = f'std::printf("%s\\n", {label});' if label else 'std::printf("%ld\\n", static_cast<long>(best));'
    sensor = ", ".join(f"{_outer(port)}* {_snake(port.name)}" for port in plan.given)
    return f"""// Written by keras_gates: the main loop. Write read_sensor and link {plan.name}.cc, selftest.cc and TFLM.
#include <algorithm>
#include <cstdio>

#include "{plan.name}.h"

namespace {plan.name} {{
int selftest();
}}

// Waits for the next {"event" if _streams(plan) else "whole sequence"} and fills the arrays; false where a new sequence begins.
bool read_sensor({sensor});

int main() {{
{given}{taken}    if ({plan.name}::selftest() != 0) return 1;
    for (;;) {{
        if (!read_sensor({reads})) {{
            {plan.name}::reset();
            continue;
        }}
        if (!{plan.name}::run({", ".join(_snake(p.name) for p in (*plan.given, *plan.taken))})) return 1;
        const auto best = {best};
        {show}
    }}
}}
"""


def _streams(plan: Plan) -> bool:
    return plan.description.mode == "stream" or bool(plan.description.memory)


def _outer(port: Port) -> str:
    """The type that the caller sees: float for what is quantized."""
    return "float" if port.tensor.scale else _C_TYPES[port.tensor.dtype]


def _port(port: Port) -> str:
    tensor, constant = port.tensor, _constant(port)
    lines = f"\n// {port.role} {_line(port.name)}: {port.text}\nconstexpr int {constant}Size = {_size(tensor)};\n"
    if tensor.scale:
        lines += f"constexpr float {constant}Scale = {_float(tensor.scale)};\n"
        lines += f"constexpr int {constant}ZeroPoint = {tensor.zero_point};\n"
    return lines


def _memory_arrays(plan: Plan) -> str:
    tensors = [plan.description.inputs[pair.source].tensor for pair in plan.description.memory]
    return "".join(f"{_C_TYPES[t.dtype]} memory_{i}[{_size(t)}];\n" for i, t in enumerate(tensors))


def _resets(plan: Plan) -> str:
    """Explicit memory to zero as the file quantizes it; the operators' own is TFLM's to reset."""
    lines = []
    for i, pair in enumerate(plan.description.memory):
        tensor = plan.description.inputs[pair.source].tensor
        lines.append(
            f"    std::fill_n(memory_{i}, {_size(tensor)}, static_cast<{_C_TYPES[tensor.dtype]}>({tensor.zero_point}));\n"
        )
    return "".join(lines)


def _fills(plan: Plan) -> str:
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


def _reads(plan: Plan) -> str:
    lines, memory = [], {pair.result: i for i, pair in enumerate(plan.description.memory)}
    for place, port in enumerate(plan.description.outputs):
        stored = f"interpreter->output({plan.file.subgraphs[0].outputs.index(port.tensor.index)})->data.raw"
        if place in memory:
            lines.append(_remember(plan, memory[place], stored))
        elif port.role == "prediction" and port.tensor.scale:
            to = f"{_constant(port)}Size, {_constant(port)}Scale, {_constant(port)}ZeroPoint, {_snake(port.name)}"
            lines.append(f"    dequantize<{_C_TYPES[port.tensor.dtype]}>({stored}, {to});\n")
        elif port.role == "prediction":
            lines.append(f"    std::memcpy({_snake(port.name)}, {stored}, {port.tensor.bytes});\n")
    return "".join(lines)


def _remember(plan: Plan, number: int, stored: str) -> str:
    """Explicit memory from an output to where the next call takes it; quantized anew where the two scales differ."""
    pair = plan.description.memory[number]
    takes, gave = plan.description.inputs[pair.source].tensor, plan.description.outputs[pair.result].tensor
    if (takes.scale, takes.zero_point) == (gave.scale, gave.zero_point):
        return f"    std::memcpy(memory_{number}, {stored}, sizeof(memory_{number}));\n"
    kind, size, real = _C_TYPES[takes.dtype], _size(takes), f"real_{number}"
    return (
        f"    static float {real}[{size}];\n"
        f"    dequantize<{kind}>({stored}, {size}, {_float(gave.scale)}, {gave.zero_point}, {real});\n"
        f"    quantize<{kind}>({real}, {size}, {_float(takes.scale)}, {takes.zero_point}, memory_{number});\n"
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
