"""`CompiledRuntime`: a file's C, compiled by the system's compiler, as the engine of an `EdgeModel`."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates.edge.runtime import Runtime
from keras_gates.edge.tflite import EdgeError
from keras_gates.exporting.c99.graph import Graph, graph_of
from keras_gates.exporting.c99.source import Parameter, Source, source_of
from keras_gates.exporting.c99.write import arithmetic_of
from keras_gates.exporting.report import ExportError

_FLAGS = ("-std=c99", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
_LOCK = threading.Lock()


class CompiledRuntime(Runtime):
    """Runs a file's C99 instead of LiteRT: ``EdgeModel(path, engine=CompiledRuntime)``.

    The C is compiled once per file and process, with $CC or else cc, gcc or clang, in a temporary folder. Integers are bit-equal
    to LiteRT's reference kernels (16-bit LSTMs to TFLM); float differs by rounding. Every runtime has its own state.

    Raises:
        EdgeError: There is no compiler, or no C for the file.

    Example:

    >>> model = keras_gates.EdgeModel("model.tflite", engine=keras_gates.CompiledRuntime)  # doctest: +SKIP
    >>> model.predict(x)  # doctest: +SKIP
    """

    def open(self) -> Any:
        return _Instance(_library(self._data))

    def call(self, columns: Any) -> list[np.ndarray]:
        results = super().call(columns)
        self._states = [
            self._interpreter.get_tensor(source.index) for source, *_ in self._interpreter.library.graph.memory
        ]
        return results


class _Library:
    """The compiled C, and where its state has what LiteRT keeps between calls."""

    def __init__(self, data: bytes):
        self.graph = graph_of(data)
        self.source = source_of(self.graph, "model", arithmetic_of(self.graph))
        if self.graph.description.stepwise and not self.source.streams:
            raise ExportError("the C of this file takes whole sequences only, and the file streams; use LiteRT.")
        self.by_event = self.source.streams and not self.graph.memory
        self.kept = _kept(self.graph)
        with tempfile.TemporaryDirectory() as folder:
            self.functions = _compiled(Path(folder), self.source, [member for member, _ in self.kept.values()])
        self.size = ctypes.c_size_t.in_dll(self.functions, "engine_size").value
        self.offsets = list((ctypes.c_size_t * (1 + len(self.kept))).in_dll(self.functions, "engine_offsets"))


class _Instance:
    """One state, with the methods of LiteRT's interpreter that `Runtime` calls."""

    def __init__(self, library: _Library):
        self.library = library
        self._fed_back = {result.index: source.index for source, result, *_ in library.graph.memory}
        self._state = ctypes.create_string_buffer(library.size + 16)
        source = library.source
        self._arrays = {
            p.value.index: np.zeros(p.value.shape, p.value.dtype) for p in (*source.inputs, *source.outputs)
        }
        members = zip(library.kept.items(), library.offsets)
        self._kept = {
            index: np.frombuffer(memoryview(self._state), dtype, int(np.prod(shape)), offset).reshape(shape)
            for (index, (_, (dtype, shape))), offset in members
        }
        self.reset_all_variables()

    def allocate_tensors(self) -> None:
        """Everything is allocated."""

    def reset_all_variables(self) -> None:
        self.library.functions.model_reset(self._state)

    def resize_tensor_input(self, index: int, shape: Sequence[int]) -> None:
        parameter = next(p for p in self.library.source.inputs if p.value.index == index)
        shape, own = tuple(map(int, shape)), tuple(parameter.value.shape)
        if shape != own and not (
            parameter.timed and self.library.by_event and (shape[0], *shape[2:]) == (own[0], *own[2:])
        ):
            raise ValueError(f"the C takes {own} for this input, got {shape}")
        self._arrays[index] = np.zeros(shape, parameter.value.dtype)

    def set_tensor(self, index: int, values: np.ndarray) -> None:
        (self._kept if index in self._kept else self._arrays)[index][...] = values

    def get_tensor(self, index: int) -> np.ndarray:
        index = self._fed_back.get(index, index)
        return (self._kept if index in self._kept else self._arrays)[index].copy()

    def invoke(self) -> None:
        source, functions = self.library.source, self.library.functions
        if self.library.by_event:  # from call to call LiteRT keeps hidden and cell states only, no maximum over time
            kept = {index: values.copy() for index, values in self._kept.items()}
            functions.model_reset(self._state)
            for index, values in kept.items():
                self._kept[index][...] = values
        steps = next((self._arrays[p.value.index].size // p.step for p in source.inputs if p.timed), 1)
        for p in source.outputs:
            if p.timed and self._arrays[p.value.index].size != steps * p.step:
                self._arrays[p.value.index] = np.zeros((1, steps, *p.value.shape[2:]), p.value.dtype)
        arrays = [
            self._arrays[p.value.index].ctypes.data_as(ctypes.c_void_p) for p in (*source.inputs, *source.outputs)
        ]
        if functions.engine_run(self._state, ctypes.c_int32(steps), *arrays):
            raise RuntimeError("a token or length is out of range")


def _kept(graph: Graph) -> dict[int, tuple[str, tuple[str, tuple[int, ...]]]]:
    """Return the members of the state that outlive a call, by tensor number: name, type and shape."""
    kept = {}
    for node in graph.nodes:
        if node.kind == "UNIDIRECTIONAL_SEQUENCE_LSTM":
            for place, letter in ((18, "h"), (19, "c")):
                value = node.input(place)
                kept[value.index] = f"{letter}{node.number}", (value.dtype, value.shape)
    for number, (value, *_) in enumerate(graph.memory):
        kept[value.index] = f"memory{number}", (value.dtype, value.shape)
    return kept


def _text(source: Source, members: Sequence[str]) -> str:
    """Return C that runs any number of events, and says where the members lie."""
    offsets = ", ".join(f"offsetof(model_state, {member})" for member in (*members,))
    lines = [
        source.code,
        "#include <stddef.h>",
        "const size_t engine_size = sizeof(model_state);",
        f"const size_t engine_offsets[{len(members) + 1}] = {{{', '.join(filter(None, (offsets, '0')))}}};",
    ]
    parameters = (*source.inputs, *source.outputs)
    signature = ", ".join(f"{'const ' if p in source.inputs else ''}{p.type} *{p.name}" for p in parameters)
    names = ", ".join(p.name for p in parameters)
    lines.append(f"int engine_run(model_state *s, int32_t steps, {signature})\n{{")
    if not source.streams:
        lines.append(f"    (void)steps;\n    return model_run(s, {names});\n}}")
    elif source.calls > 1:
        lines.append(f"    (void)steps;\n    return model_push(s, {names});\n}}")
    else:
        each = ", ".join(_argument(p, p in source.outputs) for p in parameters)
        lines.append(
            f"    for (int32_t t = 0; t < steps; ++t)\n        if (model_push(s, {each}))\n            return -1;"
        )
        lines.append("    return 0;\n}")
    return "\n".join(lines) + "\n"


def _argument(p: Parameter, out: bool) -> str:
    if p.timed or not out:
        return f"{p.name} + t * {p.step if p.timed else 0}"
    return f"t + 1 < steps ? ({p.type} *)0 : {p.name}"


def _compiled(folder: Path, source: Source, members: Sequence[str]) -> ctypes.CDLL:
    (folder / "model.h").write_text(source.header, encoding="utf-8")
    (folder / "engine.c").write_text(_text(source, members), encoding="utf-8")
    command = [_compiler(), *_FLAGS, "engine.c", "-o", "engine.so"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if result.returncode:
        raise ExportError(f"{command[0]} does not compile the C: {' '.join(result.stderr.split())[:300]}")
    return ctypes.CDLL(str(folder / "engine.so"))


def _compiler() -> str:
    for name in filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")):
        if path := shutil.which(name):
            return path
    raise ExportError("expected a C compiler ($CC, cc, gcc or clang), found none: apt-get install gcc, or use LiteRT.")


@functools.lru_cache(maxsize=16)
def _cached(data: bytes) -> _Library:
    return _Library(data)


def _library(data: bytes) -> _Library:
    with _LOCK:  # one thread compiles, others wait
        try:
            return _cached(data)
        except ExportError as error:
            raise EdgeError(str(error)) from error
