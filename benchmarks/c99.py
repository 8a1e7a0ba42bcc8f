"""C99 without a runtime: bit equality over the zoo, flash and RAM on Cortex-M processors.

python benchmarks/c99.py equal            # every int8 file, both arithmetics: sequences that differ (results/c99_equal.json)
python benchmarks/c99.py equal --floats F # also the float32 files that `c99_speed.py --floats F` exported
python benchmarks/c99.py random           # 200 random models through both arithmetics; benchmarks/results/c99_random.json
python benchmarks/c99.py random --kept F  # the same for the files that `benchmarks/export.py random --kept F` left
python benchmarks/c99.py cores            # the self-test under qemu, flash, state and stack per processor
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from keras_gates.exporting.c99.graph import graph_of
from keras_gates.exporting.c99.reference import answers, random_inputs
from keras_gates.exporting.c99.write import arithmetic_of, write_c99
from keras_gates.exporting.report import ExportError

ROOT = Path(__file__).parents[1]
START = ROOT / "keras_gates" / "exporting" / "c99" / "templates"
FLAGS = ["-std=c99", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math"]  # as in the Makefile
# board, compiler flags, where its flash and RAM begin
CORES = {
    "M0": ("microbit", ["-mcpu=cortex-m0"], "0x00000000", "0x20000000", "0x4000"),
    "M3": ("mps2-an385", ["-mcpu=cortex-m3"], "0x00000000", "0x20000000", "0x20000"),
    "M4": ("mps2-an386", ["-mcpu=cortex-m4"], "0x00000000", "0x20000000", "0x20000"),
    "M7": ("mps2-an500", ["-mcpu=cortex-m7"], "0x00000000", "0x20000000", "0x20000"),
    "M33": ("mps2-an505", ["-mcpu=cortex-m33+nodsp+nofp"], "0x10000000", "0x38000000", "0x20000"),
    "M55": ("mps3-an547", ["-mcpu=cortex-m55+nomve+nofp"], "0x00000000", "0x20000000", "0x20000"),
}


def compiled(folder: Path, name: str, flags: list[str]) -> ctypes.CDLL:
    """Compile a written model to a shared library and load it."""
    library = folder / f"{name}.so"
    subprocess.run(["gcc", *flags, "-fPIC", "-shared", folder / f"{name}.c", "-o", library], check=True)
    return ctypes.CDLL(str(library))


def pointers(arrays: list[np.ndarray]) -> list[ctypes.c_void_p]:
    """Return what ctypes passes for arrays."""
    return [array.ctypes.data_as(ctypes.c_void_p) for array in arrays]


def equal(pattern: str, sequences: int, floats: Path | None) -> dict[str, dict[str, object]]:
    """Print and return, per file and arithmetic, how many sequences differ in any byte, or by how much floats differ.

    Args:
        pattern: Of the zoo's names.
        sequences: Random ones per file.
        floats: Folder with NAME-float32.tflite, as `c99_speed.py --floats` leaves it.
    """
    rows: dict[str, dict[str, object]] = {}
    files = sorted(ROOT.joinpath("models/weights").glob(f"{pattern}-int8.tflite"))
    for path in [*files, *(sorted(floats.glob(f"{pattern}-float32.tflite")) if floats else ())]:
        for arithmetic in ("litert", "tflm") if path in files else ("litert",):
            name = f"{path.stem}, {arithmetic}"
            try:
                rows[name] = _compared_over(path.read_bytes(), arithmetic, sequences)
            except ExportError as error:
                rows[name] = {"refused": str(error)}
            print(name, rows[name], flush=True)
    return rows


def _compared_over(data: bytes, arithmetic: str, sequences: int) -> dict[str, object]:
    graph, state = graph_of(data), ctypes.create_string_buffer(1 << 20)
    with tempfile.TemporaryDirectory() as folder:
        write_c99(data, folder, arithmetic=arithmetic)
        library = compiled(Path(folder), "model", FLAGS)
    samples, wrong, difference, largest = random_inputs(graph, sequences, seed=1), 0, 0.0, 0.0
    for sample, expected in zip(samples, answers(data, graph, arithmetic, samples)):
        outputs = [np.empty(v.shape, v.dtype) for v in graph.outputs]
        library.model_run(state, *pointers([*sample, *outputs]))
        wrong += any((a != b).any() for a, b in zip(outputs, expected))
        difference = max(difference, *(float(np.abs(a.astype(float) - b).max()) for a, b in zip(outputs, expected)))
        largest = max(largest, *(float(np.abs(b.astype(float)).max()) for b in expected))
    if graph.outputs[0].dtype == "float32":
        return {"sequences": sequences, "difference": difference, "largest output": largest}
    return {"sequences": sequences, "different": wrong}


def random_models(first: int, count: int, log: Path, kept: Path | None) -> None:
    """Export random models, write each as C in both arithmetics, and compare three sequences; a JSON line per model.

    Args:
        first, count: Seeds.
        log: Results; models that stand in it are not run again.
        kept: Folder where exported files SEED.tflite stay; those with integers or floats throughout are used instead of
            `first` and `count`. None, or an empty folder, exports.
    """
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    known = [int(path.stem) for path in kept.glob("*.json") if _is_whole(path)] if kept else []
    for seed in sorted(set(known or range(first, first + count)) - {row["seed"] for row in rows}):
        row: dict[str, object] = {"seed": seed}
        data = _exported(seed, row, kept)
        for arithmetic in ("litert", "tflm") if data else ():
            try:
                row["default"] = arithmetic_of(graph_of(data))
                row[arithmetic] = _compared(data, arithmetic)
            except ExportError as error:
                row[arithmetic] = f"refused: {error}"[:200]
        rows.append(row)
        log.write_text("".join(json.dumps(row) + "\n" for row in sorted(rows, key=lambda each: each["seed"])))
    for arithmetic in ("litert", "tflm"):
        answers_ = [str(row.get(arithmetic, "export refused")).split(":")[0] for row in rows]
        print(arithmetic, {answer: answers_.count(answer) for answer in sorted(set(answers_))})
    chosen = [str(row.get(str(row.get("default", "litert")), "export refused")).split(":")[0] for row in rows]
    print(len(rows), "models, default arithmetic", {answer: chosen.count(answer) for answer in sorted(set(chosen))})


def _is_whole(case: Path) -> bool:
    return not re.search(r"\b(dynamic|float16)\b", json.loads(case.read_text())["text"])


def _exported(seed: int, row: dict[str, object], kept: Path | None) -> bytes:
    known = kept and kept / f"{seed}.json"
    if known and known.exists():
        case = json.loads(known.read_text())
        row |= {key: case[key] for key in ("text", "lowering", "refused") if key in case}
        return b"" if "refused" in case else (kept / f"{seed}.tflite").read_bytes()
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    import keras
    from export_models import random_case

    import keras_gates

    keras.backend.clear_session()
    case, data = random_case(seed), b""
    row["text"] = case.text
    try:
        with tempfile.TemporaryDirectory() as folder:
            report = keras_gates.export(case.model, folder, ("tflite",), **case.options)
            row["lowering"] = report.lowering
            data = Path(folder, "model.tflite").read_bytes()
    except ExportError as error:
        row["refused"] = str(error)
    if known:
        (kept / f"{seed}.tflite").write_bytes(data)
        known.write_text(json.dumps(row))
    return data


def _compared(data: bytes, arithmetic: str) -> str:
    graph = graph_of(data)
    with tempfile.TemporaryDirectory() as folder:
        write_c99(data, folder, arithmetic=arithmetic)
        library = compiled(Path(folder), "model", ["-std=c99", "-O1"])
    state, wrong = ctypes.create_string_buffer(1 << 20), 0
    # Of an output that reaches 200, 1e-6 are less than a unit of the last place: its largest value is the measure.
    difference, largest = np.zeros(len(graph.outputs)), np.ones(len(graph.outputs))
    samples = random_inputs(graph, 3, seed=1)
    for sample, expected in zip(samples, answers(data, graph, arithmetic, samples)):
        library.model_reset(state)
        calls = zip(*sample) if graph.memory else [sample]
        wanted = zip(*expected) if graph.memory else [expected]
        for inputs, outputs in zip(calls, wanted):
            got = [np.empty(v.shape, v.dtype) for v in graph.outputs]
            call = library.model_push if graph.memory else library.model_run
            arrays = [*map(np.ascontiguousarray, inputs), *got]
            wrong += call(state, *pointers(arrays)) != 0
            for i, (a, b) in enumerate(zip(got, outputs)):
                wrong += int((a != b).sum()) if a.dtype.kind != "f" else 0
                if a.dtype.kind == "f":
                    difference[i] = max(difference[i], np.abs(a - b).max())
                    largest[i] = max(largest[i], np.abs(b).max())
    worst = float((difference / largest).max())
    return f"WRONG: {wrong}, {worst:.2g}" if wrong or worst >= 1e-6 else "equal"


def cores(files: list[str]) -> None:
    """Print flash, state and deepest stack frame per processor, and whether its self-test passes under qemu."""
    for file in files:
        for core, (board, cpu, flash, ram, size) in CORES.items():
            with tempfile.TemporaryDirectory() as folder:
                write_c99(Path(file).read_bytes(), folder)
                print(
                    f"{Path(file).stem:22s} {core:4s} {_emulated(Path(folder), board, cpu, flash, ram, size)}",
                    flush=True,
                )


def _emulated(folder: Path, board: str, cpu: list[str], flash: str, ram: str, size: str) -> str:
    gcc = ["arm-none-eabi-gcc", *cpu, "-mthumb", "-Os"]
    subprocess.run([*gcc, "-std=c99", "-fstack-usage", "-c", "model.c"], cwd=folder, check=True)
    sections = subprocess.run(["arm-none-eabi-size", "model.o"], cwd=folder, capture_output=True, text=True, check=True)
    text, data, bss = map(int, sections.stdout.splitlines()[1].split()[:3])
    frames = sum(int(line.split("\t")[1]) for line in (folder / "model.su").read_text().splitlines())
    (folder / "size.c").write_text('#include "model.h"\nchar size[sizeof(model_state)];\n')
    subprocess.run([*gcc, "-c", "size.c"], cwd=folder, check=True)
    shown = subprocess.run(["arm-none-eabi-nm", "-S", "size.o"], cwd=folder, capture_output=True, text=True, check=True)
    state = int(shown.stdout.split()[1], 16)
    link = ["-nostartfiles", "--specs=rdimon.specs", "-T", START / "board.ld"]
    link += [f"-Wl,--defsym={name}={value}" for name, value in (("FLASH", flash), ("RAM", ram), ("RAM_SIZE", size))]
    program = [START / "startup.c", "model.o", "selftest.c", "-o", "selftest.elf"]
    subprocess.run([*gcc, *link, *program], cwd=folder, check=True)
    run = ["qemu-system-arm", "-M", board, "-nographic", "-semihosting-config", "enable=on,target=native"]
    try:
        result = subprocess.run(
            [*run, "-kernel", "selftest.elf"], cwd=folder, capture_output=True, text=True, timeout=120
        )
        answer = re.sub(r"\s+", " ", result.stdout + result.stderr)[:80]
    except subprocess.TimeoutExpired:
        answer = "no answer in 120 s"
    return f"flash {text} data {data} bss {bss} state {state} stack (all frames) {frames}: {answer}"


def main() -> None:
    """Run the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=("equal", "random", "cores"))
    options.add_argument("files", nargs="*", help=".tflite files for cores; a pattern of zoo names for equal")
    options.add_argument("--sequences", type=int, default=20)
    options.add_argument("--floats", type=Path, help="folder with float32 files, for equal")
    options.add_argument("--first", type=int, default=2000, help="first seed of the random models")
    options.add_argument("--count", type=int, default=200, help="random models")
    options.add_argument("--kept", type=Path, help="folder where exported random models stay, to use again")
    chosen = options.parse_args()
    if chosen.what == "random":
        log = ROOT / "benchmarks" / "results" / "c99_random.json"
        random_models(chosen.first, chosen.count, log, chosen.kept)
    elif chosen.what == "equal":
        rows = equal(chosen.files[0] if chosen.files else "*", chosen.sequences, chosen.floats)
        text = ",\n".join(f" {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
        if not chosen.files:
            (ROOT / "benchmarks" / "results" / "c99_equal.json").write_text(f"{{\n{text}\n}}\n")
    else:
        weights = ROOT / "models" / "weights"
        files = chosen.files or [str(weights / f"{name}-int8.tflite") for name in ("gesture-nano", "speech-nano")]
        cores(files)


if __name__ == "__main__":
    sys.exit(main())
