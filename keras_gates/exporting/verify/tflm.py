"""Running a file in TensorFlow Lite for Microcontrollers (the x86-64 build of ``pip install --pre tflite-micro``), in a child."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_gates.edge.description import Port
from keras_gates.edge.tflite import read
from keras_gates.edge.values import fed_back
from keras_gates.exporting import subprocess_worker

_AMPLE = 1 << 26
_GRAIN = 64


def available() -> bool:
    """Whether the package tflite-micro is installed."""
    return importlib.util.find_spec("tflite_micro") is not None


def run_tflm(
    data: bytes,
    sequences: Sequence[Sequence[Sequence[np.ndarray]]],
    memory: Sequence[tuple[int, int, Port, Port]] = (),
    arena_bytes: int | None = None,
) -> tuple[list[list[list[np.ndarray]]], int]:
    """Outputs of every call, and the bytes of arena that TFLM says it used.

    Args:
        data: the bytes of a ``.tflite`` with one signature (TFLM's Python crashes on several).
        sequences: for each sequence its calls, for each call its inputs in the file's order and types. Memory is reset
            before each sequence.
        memory: explicit state as (input place, output place, input, output): after the first call of a sequence that
            input is fed from that output of the call before.
        arena_bytes: size of the arena; None gives plenty.

    Raises:
        keras_gates.exporting.subprocess_worker.ChildError: TFLM refused the file, or crashed on it.
    """
    graphs = read(data).subgraphs
    if len(read(data).signatures) > 1:
        raise subprocess_worker.ChildError(
            "TFLM's Python crashes on files with several signatures; export with target='micro'."
        )
    calls = [[list(call) for call in sequence] for sequence in sequences]
    return subprocess_worker.call(
        _job, data, calls, list(memory), len(graphs[0].outputs), arena_bytes or _AMPLE, timeout=120
    )


def smallest_arena(data: bytes, call: Sequence[np.ndarray]) -> int:
    """Bytes of arena in which a call runs, to within 64.

    More than TFLM says it used: setting up takes temporary memory that it does not count, and crashes without.
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


def _job(data: bytes, sequences: list, memory: list, outputs: int, arena_bytes: int) -> tuple[list, int]:
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(data, arena_size=arena_bytes)
    results = [_sequence(interpreter, calls, memory, outputs) for calls in sequences]
    return results, _used(interpreter)


def _sequence(interpreter: Any, calls: list, memory: list, outputs: int) -> list[list[np.ndarray]]:
    interpreter.reset()
    results: list[list[np.ndarray]] = []
    for call in calls:
        inputs = list(call)
        for source, result, takes, gave in memory if results else ():
            inputs[source] = fed_back(takes, gave, results[-1][result])
        for place, value in enumerate(inputs):
            interpreter.set_input(value, place)
        interpreter.invoke()
        results.append([np.array(interpreter.get_output(place)) for place in range(outputs)])
    return results


def _used(interpreter: Any) -> int:
    """What `print_allocations` writes to the child's standard error, as a number."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        interpreter.print_allocations()
        os.dup2(kept, 2)
        os.close(kept)
        log.seek(0)
        printed = log.read().decode(errors="replace")
    total = re.search(r"Arena allocation total (\d+) bytes", printed)
    if total is None:
        raise RuntimeError(f"TFLM did not tell its arena: {printed[:200]!r}")
    return int(total.group(1))
