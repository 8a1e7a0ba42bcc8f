"""TensorFlow Lite for Microcontrollers (the x86-64 build of ``pip install --pre tflite-micro``), run in a child process."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Sequence

import numpy as np

from keras_gates.edge.description import Port
from keras_gates.edge.tflite import read
from keras_gates.edge.values import fed_back
from keras_gates.exporting import subprocess_worker

_AMPLE = 1 << 26
_GRAIN = 64


def available() -> bool:
    """Return whether the package tflite-micro is installed."""
    return importlib.util.find_spec("tflite_micro") is not None


class TFLMInterpreter:
    """TFLM behind those methods of LiteRT's `Interpreter` that `keras_gates.edge.runtime.Runtime` calls.

    Args:
        data: The bytes of a ``.tflite`` with one signature.
        arena_bytes: Size of the arena.
    """

    def __init__(self, data: bytes, arena_bytes: int = _AMPLE) -> None:
        from tflite_micro.python.tflite_micro import runtime

        graph = read(data).subgraphs[0]
        self.inputs, self.outputs = list(graph.inputs), list(graph.outputs)
        self._interpreter = runtime.Interpreter.from_bytes(data, arena_size=arena_bytes)

    def allocate_tensors(self) -> None:
        """Do nothing: TFLM allocates when it is created."""

    def reset_all_variables(self) -> None:
        """Set STM and LTM of all operators to zero."""
        self._interpreter.reset()

    def set_tensor(self, index: int, value: np.ndarray) -> None:
        """Set the input with this tensor index."""
        self._interpreter.set_input(value, self.inputs.index(index))

    def invoke(self) -> None:
        """Run the graph."""
        self._interpreter.invoke()

    def get_tensor(self, index: int) -> np.ndarray:
        """Return the output with this tensor index."""
        return np.array(self._interpreter.get_output(self.outputs.index(index)))

    def used(self) -> int:
        """Return the bytes of arena in use, which `print_allocations` writes to the process' standard error."""
        sys.stderr.flush()
        stderr = os.dup(2)
        with tempfile.TemporaryFile() as log:
            os.dup2(log.fileno(), 2)
            self._interpreter.print_allocations()
            os.dup2(stderr, 2)
            os.close(stderr)
            log.seek(0)
            printed = log.read().decode(errors="replace")
        total = re.search(r"Arena allocation total (\d+) bytes", printed)
        if total is None:
            raise RuntimeError(f"TFLM did not print its arena: {printed[:200]!r}")
        return int(total.group(1))


def run_tflm(
    data: bytes,
    sequences: Sequence[Sequence[Sequence[np.ndarray]]],
    memory: Sequence[tuple[int, int, Port, Port]] = (),
    arena_bytes: int | None = None,
) -> tuple[list[list[list[np.ndarray]]], int]:
    """Run sequences of calls.

    Args:
        data: The bytes of a ``.tflite`` with one signature (TFLM's Python crashes on several).
        sequences: Per sequence its calls, per call its inputs in the file's order and types. Memory is reset before each
            sequence.
        memory: Explicit memory as (input place, output place, input, output): after the first call of a sequence that
            input takes that output of the call before.
        arena_bytes: Size of the arena; None is ample.

    Returns:
        The outputs of every call, and the bytes of arena that TFLM reports as used.

    Raises:
        keras_gates.exporting.subprocess_worker.ChildError: TFLM rejected the file, or crashed on it.
    """
    if len(read(data).signatures) > 1:
        raise subprocess_worker.ChildError(
            "TFLM's Python crashes on files with several signatures; export with target='micro'."
        )
    calls = [[list(call) for call in sequence] for sequence in sequences]
    return subprocess_worker.call(_job, data, calls, list(memory), arena_bytes or _AMPLE, timeout=120)


def smallest_arena(data: bytes, call: Sequence[np.ndarray]) -> int:
    """Return the bytes of arena in which a call runs, to within 64.

    More than TFLM reports as used: setting up takes temporary memory that it does not count, and crashes without.

    Args:
        data: The bytes of the file.
        call: One call's inputs, in the file's order and types.
    """
    too_small = run_tflm(data, [[call]])[1] // _GRAIN - 1
    enough = too_small + 1
    while not _runs(data, call, enough * _GRAIN):
        too_small, enough = enough, enough + max(enough // 4, 1)
    while enough - too_small > 1:
        middle = (too_small + enough) // 2
        if _runs(data, call, middle * _GRAIN):
            enough = middle
        else:
            too_small = middle
    return enough * _GRAIN


def _runs(data: bytes, call: Sequence[np.ndarray], arena_bytes: int) -> bool:
    if arena_bytes > _AMPLE:
        raise subprocess_worker.ChildError(f"TFLM does not run the file in {_AMPLE} bytes of arena.")
    try:
        run_tflm(data, [[call]], arena_bytes=arena_bytes)
    except subprocess_worker.ChildError:
        return False
    return True


def _job(data: bytes, sequences: list, memory: list, arena_bytes: int) -> tuple[list, int]:
    interpreter = TFLMInterpreter(data, arena_bytes)
    return [_sequence(interpreter, calls, memory) for calls in sequences], interpreter.used()


def _sequence(interpreter: TFLMInterpreter, calls: list, memory: list) -> list[list[np.ndarray]]:
    interpreter.reset_all_variables()
    results: list[list[np.ndarray]] = []
    for call in calls:
        inputs = list(call)
        for source, result, takes, gave in memory if results else ():
            inputs[source] = fed_back(takes, gave, results[-1][result])
        for index, value in zip(interpreter.inputs, inputs):
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        results.append([interpreter.get_tensor(index) for index in interpreter.outputs])
    return results
