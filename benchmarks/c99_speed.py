"""Time of a sequence in C next to LiteRT: one thread, the two taking turns, processor time, so that it can run on a busy machine.

python benchmarks/c99_speed.py [FILE.tflite ...] [--floats FOLDER] [--json FILE] [--rounds 15]

Without files: LSTM(64) over 100 steps of 16 features and every model of the zoo, int8 as shipped and in float32. Those files
that the zoo does not ship are exported into the folder, and taken from there the next time.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from c99 import FLAGS, compiled, pointers

from keras_gates.exporting.c99.graph import graph_of
from keras_gates.exporting.c99.reference import random_inputs
from keras_gates.exporting.c99.write import write_c99
from keras_gates.exporting.report import ExportError
from keras_gates.models import registry

WEIGHTS = Path(__file__).parents[1] / "models" / "weights"
TURN = 0.004  # seconds of processor time that one measurement lasts at least


def all_files(floats: Path) -> list[Path]:
    """Return the files to measure; export those that are missing."""
    floats.mkdir(parents=True, exist_ok=True)
    missing = [path.stem for path in WEIGHTS.glob("*.keras") if not (floats / f"{path.stem}-float32.tflite").exists()]
    alone = [floats / f"lstm64-{precision}.tflite" for precision in ("float32", "int8")]
    if missing or not all(path.exists() for path in alone):
        _export(floats, missing)
    return [*alone, *sorted(WEIGHTS.glob("*-int8.tflite")), *sorted(floats.glob("*-*-float32.tflite"))]


def _export(floats: Path, presets: list[str]) -> None:
    import keras

    import keras_gates

    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(80, 100, 16)).astype("float32")
    lstm = keras.Sequential([keras.Input((100, 16)), keras_gates.GateLSTM(64)])
    jobs = [("lstm64", lstm, "float32", {}), ("lstm64", lstm, "int8", {"calibration": x})]
    jobs += [(stem, _on_device(stem), "float32", {}) for stem in presets]
    for name, model, precision, options in jobs:
        if (floats / f"{name}-{precision}.tflite").exists():
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                keras_gates.export(model, folder, ("tflite",), precision, target="micro", **options)
            except ExportError:  # TFLM lacks an operator that the C has
                keras_gates.export(model, folder, ("tflite",), precision, **options)
            (floats / f"{name}-{precision}.tflite").write_bytes(Path(folder, "model.tflite").read_bytes())


def _on_device(stem: str) -> Any:
    """Return the part of a shipped model that its files contain: without a tokenizer, for example."""
    name, _, preset = stem.partition("-")
    zoo, model = registry.find(name), registry.load(name, preset)
    return zoo.device(model, "float32").core if zoo.device else model


def calls(data: bytes) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return what runs one sequence in LiteRT, and what runs it in C."""
    from ai_edge_litert.interpreter import Interpreter

    graph = graph_of(data)
    sample = random_inputs(graph, 1)[0]
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    for value, x in zip(graph.inputs, sample, strict=True):
        interpreter.set_tensor(value.index, x)
    with tempfile.TemporaryDirectory() as folder:
        write_c99(data, folder)
        library = compiled(Path(folder), "model", FLAGS)
    state, arrays = (
        ctypes.create_string_buffer(1 << 20),
        [*sample, *(np.empty(v.shape, v.dtype) for v in graph.outputs)],
    )
    arguments = pointers(arrays)

    def run(kept: object = arrays) -> object:  # the pointers do not keep the arrays
        return library.model_run(state, *arguments)

    return interpreter.invoke, run


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the processor time of a call."""
    begin = time.thread_time()
    for _ in range(repeats):
        call()
    return (time.thread_time() - begin) / repeats


def measured(data: bytes, rounds: int) -> dict[str, float]:
    """Return microseconds of LiteRT and C, and the median of their ratio over rounds in which they take turns."""
    both = calls(data)
    repeats = [max(1, round(TURN / max(seconds(call, 3), 1e-7))) for call in both]
    times = np.array([[seconds(call, n) for call, n in zip(both, repeats)] for _ in range(rounds)])
    litert, c = np.median(times, 0) * 1e6
    ratio = float(np.median(times[:, 0] / times[:, 1]))
    return {"litert_us": round(float(litert), 1), "c_us": round(float(c), 1), "ratio": round(ratio, 2)}


def main() -> None:
    """Run the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("files", nargs="*", type=Path)
    options.add_argument("--floats", type=Path, default=Path("runs/c99_float"), help="folder for float32 files")
    options.add_argument("--json", type=Path)
    options.add_argument("--rounds", type=int, default=15)
    chosen = options.parse_args()
    rows = {}
    for path in chosen.files or all_files(chosen.floats):
        try:
            rows[path.stem] = row = measured(path.read_bytes(), chosen.rounds)
        except ExportError as error:  # an operator without C
            print(f"{path.stem:30s} {error}", flush=True)
            continue
        print(
            f"{path.stem:30s} LiteRT {row['litert_us']:9.1f} us   C {row['c_us']:9.1f} us   {row['ratio']:5.2f} x",
            flush=True,
        )
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
