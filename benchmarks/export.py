"""What an export costs and gives: sizes, latency by lowering, arena; and many random models through it.

python benchmarks/export.py figures [--floats FOLDER]  the figures of docs/export.md; benchmarks/results/export_figures.json
python benchmarks/export.py random 200 [--first 0]     random models: how many agree, what refuses, what differs
python benchmarks/export.py random 600 --structures    models of every structure in every mode and precision
python benchmarks/export.py verification FOLDER        files of `random --kept FOLDER`, and broken copies: which are withheld
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests/support"), str(Path(__file__).resolve().parent)]


def random_models(count: int, first: int, log: Path, structures: bool, kept: Path | None, answers: Path | None) -> None:
    """Export `count` random models, compare each file with Keras on inputs it has not seen, and sum up.

    Args:
        count, first: Seeds.
        log: A line of JSON per answer; a seed that stands there is not run again.
        structures: Models of every structure instead of stacks of layers.
        kept: Folder where the files SEED.tflite stay, for `benchmarks/c99.py random`.
        answers: File to write all answers to.
    """
    import keras
    from export_models import judged, random_case
    from export_structures import structured_case

    from keras_gates import ExportError

    log.parent.mkdir(parents=True, exist_ok=True)
    done = {row["seed"]: row for row in map(json.loads, log.read_text().splitlines())} if log.exists() else {}
    for seed in range(first, first + count):
        if seed in done:
            continue
        start = time.time()
        case = (structured_case if structures else random_case)(seed)
        row = {"seed": seed, "model": case.text, **{key: case.options[key] for key in ("precision", "mode", "target")}}
        with tempfile.TemporaryDirectory() as folder:
            try:
                report, difference, allowed = judged(case, folder)
                row["verdict"] = "agrees" if difference <= allowed else "differs"
                row |= {"lowering": report.lowering, "difference": difference, "allowed": allowed}
                if kept:
                    kept.mkdir(parents=True, exist_ok=True)
                    (kept / f"{seed}.tflite").write_bytes(Path(folder, "model.tflite").read_bytes())
                    known = {"seed": seed, "text": case.text, "lowering": report.lowering}
                    (kept / f"{seed}.json").write_text(json.dumps(known))
            except Exception as error:
                row |= {"verdict": "refused" if isinstance(error, ExportError) else "error", "why": str(error)}
                if row["verdict"] == "error":
                    traceback.print_exc()
        row["seconds"] = round(time.time() - start, 1)
        done[seed] = row
        with open(log, "a") as file:
            file.write(json.dumps(row) + "\n")
        print({key: value if key != "why" else value[:600] for key, value in row.items()}, flush=True)
        keras.backend.clear_session()
    rows = [done[seed] for seed in range(first, first + count)]
    print(f"{count} random models in {sum(row['seconds'] for row in rows):.0f} s")
    for what in ("verdict", "lowering", "precision", "mode", "target", "layers"):
        each = [re.findall(r"(\w+)\(\d+\)", row["model"]) if what == "layers" else [row.get(what)] for row in rows]
        counted = collections.Counter(name for names in each for name in names if name)
        print(f"{what:10} " + ", ".join(f"{name} {times}" for name, times in counted.most_common()))
    if answers:
        answers.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def verification(kept: Path, draws: int, log: Path, structures: bool) -> None:
    """Break copies of exported files, and count which of them the verification withholds, and which good files.

    Nothing is converted: the files are those that `random --kept` left; the models are drawn again. A good file is compared
    over several other draws of inputs. A copy counts as broken if its outputs moved by more than a fifth of their spread, and by
    more than five times the good file's rounding.

    Args:
        kept: Folder with SEED.tflite.
        draws: Sets of inputs per good file.
        log: A line of JSON per comparison; a seed that stands there is not run again.
        structures: As for `random`.
    """
    import keras
    from export_models import random_case
    from export_structures import structured_case

    log.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {row["seed"] for row in rows}
    texts = {path: json.loads(path.with_suffix(".json").read_text())["text"] for path in kept.glob("*.tflite")}
    # int8 first: it is there that a defect can hide behind the rounding
    for path in sorted(texts, key=lambda each: (" int8," not in texts[each], int(each.stem))):
        seed = int(path.stem)
        if seed in done or not path.stat().st_size:
            continue
        case = (structured_case if structures else random_case)(seed)
        new = _compared(seed, case, path.read_bytes(), draws)
        rows += new
        with open(log, "a") as file:
            file.writelines(json.dumps(row) + "\n" for row in new)
        print(case.text, len(new), flush=True)
        keras.backend.clear_session()
    rows = [row for row in rows if "mean" in row]  # the others do not run
    good = [row for row in rows if not row["defect"]]
    rounding: dict[int, float] = {}
    for row in good:
        rounding[row["seed"]] = max(row["mean"], rounding.get(row["seed"], 0.0))
    broken = [
        row
        for row in rows
        if row["defect"] and row["mean"] > max(0.2 * row["spread"], 5 * rounding[row["seed"]], 0.02 * row["size"])
    ]
    files = len({row["seed"] for row in good})
    print(f"good: {files} files, {len(good)} comparisons, {sum(row['withheld'] for row in good)} withheld")
    print(f"broken: {len(broken)}, of them withheld {sum(row['withheld'] for row in broken)}")
    for key in ("defect", "precision"):
        counted = collections.Counter(row[key] for row in broken)
        missed = collections.Counter(row[key] for row in broken if not row["withheld"])
        print(key, {name: f"{count - missed[name]} of {count}" for name, count in counted.items()})
    for row in [r for r in good if r["withheld"]] + [r for r in broken if not r["withheld"]]:
        print(row)


def _compared(seed: int, case: Any, data: bytes, draws: int) -> list[dict[str, Any]]:
    """Compare a file over several draws of inputs, and its broken copies over the first."""
    import numpy as np
    from broken_files import broken_files

    from keras_gates.edge import EdgeModel
    from keras_gates.exporting.model_inputs import inputs_of
    from keras_gates.exporting.verify import compare, runner, samples
    from keras_gates.exporting.verify.noise import QuantizationReport, noise_of

    file = EdgeModel(data, probe=False)
    x, inputs = case.calibration, inputs_of(case.model)
    # LiteRT has no 16-bit kernel for the fused operator
    int16_fused = case.options["precision"] == "int16x8" and "UNIDIRECTIONAL" in str(file.file)
    if file.description.frontend or not isinstance(x, np.ndarray) or int16_fused:
        return []
    random, count = np.random.default_rng(seed), 12
    sets = [x[random.permutation(len(x))[:count]]]
    for _ in range(draws - 1):  # sequences that the export has not seen: other events of the same data
        places = random.integers(len(x), size=(count, x.shape[1]))
        other = (
            np.where(x[:count] == 0, 0, x[places, np.arange(x.shape[1])]) if x.dtype.kind == "f" else x[places[:, 0]]
        )
        sets.append(other.astype(x.dtype))
    held_out = samples.samples_of(np.concatenate(sets), inputs)
    wanted = compare.keras_outputs(case.model, inputs, held_out)
    feeds = [{port.name: x for port, x in zip(inputs.ports, sample)} for sample in held_out]
    precision, by_event, rows = case.options["precision"], case.options["mode"] == "stream", []
    rounding: tuple[float, ...] | list[float] = ()
    noise: QuantizationReport | None = None
    for defect, each in [("", data), *broken_files(data, seed)]:
        used = count if defect else len(feeds)
        try:
            got = runner.run(each, feeds[:used], by_event).predictions
        except Exception as error:  # a file that does not run is not written
            rows.append(
                {"seed": seed, "defect": defect, "precision": precision, "why": str(error)[:200], "withheld": True}
            )
            continue
        for start in range(0, used, count):
            here = slice(start, start + count)
            difference = compare.compare(wanted[here], got[here], precision, (), rounding)
            if not difference.acceptable and not rounding:
                rounding = compare.rounding_of(case.model, inputs, held_out[:count], wanted[:count])
                difference = compare.compare(wanted[here], got[here], precision, (), rounding)
            worst, withheld = difference.worst, not difference.acceptable
            has_batch = getattr(case.model, "inputs", None) and case.model.inputs[0].shape[0] is None
            if precision.startswith("int") and not worst.is_usual and has_batch:
                if noise is None:
                    noise = noise_of(case.model, inputs, samples.samples_of(x, inputs), precision)
                withheld = withheld or worst.mean > noise.explains(worst.usual, worst.spread)
            names = ("mean", "high", "largest", "spread", "variation", "other", "changed", "wrong", "usual")
            row = {"seed": seed, "defect": defect, "precision": precision, "withheld": withheld}
            row["size"] = max(float(np.abs(y).max()) for outputs in wanted[here] for y in outputs)
            rows.append(row | {name: getattr(worst, name) for name in names})
    return rows


def figures(path: Path, floats: Path | None) -> None:
    """LSTM(64) over 100 steps of 16 features: bytes, error, latency, arena; fused against Keras' own unrolled export, and C.

    Args:
        path: Where the figures are written as JSON.
        floats: Folder for the zoo's files in float32, exported if missing: then every model of the zoo runs in LiteRT and in C.
    """
    import c99_speed
    import export as importable
    import keras
    import numpy as np

    import keras_gates
    from keras_gates.exporting import subprocess_worker

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((100, 16)), keras_gates.GateLSTM(64)])
    draw = np.random.default_rng(0)
    x = draw.normal(size=(80, 100, 16)).astype("float32")
    files, found = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for precision, mode, target in (
            ("float32", "sequence", "cpu"),
            ("float16", "sequence", "cpu"),
            ("dynamic", "sequence", "cpu"),
            ("int8", "sequence", "micro"),
            ("int16x8", "sequence", "micro"),
            ("int8", "stream", "micro"),
        ):
            report = keras_gates.export(model, folder, ("tflite",), precision, mode, target, calibration=x)
            key = f"{precision} {mode} {target}"
            files[key] = Path(folder, "model.tflite").read_bytes()
            found[key] = {
                "bytes": report.bytes,
                "metadata": report.metadata_bytes,
                "largest": report.max_difference,
                "mean": report.mean_difference,
                "arena": report.arena_bytes,
                "arena, used": report.arena_used_bytes,
            }
        for precision, lowering in (
            ("float32", "while"),
            ("dynamic", "while"),
            ("float32", "unrolled"),
            ("dynamic", "unrolled"),
        ):
            report = keras_gates.export(model, folder, ("tflite",), precision, lowering=lowering, calibration=x)
            files[f"{precision} {lowering}"] = Path(folder, "model.tflite").read_bytes()
            found[f"{precision} {lowering}"] = {"bytes": report.bytes, "metadata": report.metadata_bytes}
    files["dynamic Keras unrolled"] = subprocess_worker.call(importable.keras_unrolled)
    found["dynamic Keras unrolled"] = {"bytes": len(files["dynamic Keras unrolled"])}
    timed = {key: data for key, data in files.items() if "int16x8" not in key and "stream" not in key}
    seconds = subprocess_worker.call(importable.interleaved, timed, x[:1], 300)
    for key, times in seconds.items():
        found[key]["microseconds"] = [round(1e6 * float(each)) for each in (min(times), np.median(times))]
    ratios = np.array(seconds["dynamic Keras unrolled"]) / np.array(seconds["dynamic sequence cpu"])
    found["Keras unrolled / fused, dynamic"] = {"times as fast (median of ratios)": round(float(np.median(ratios)), 2)}
    for key in ("float32 sequence cpu", "int8 sequence micro"):
        found[f"C, {key}"] = c99_speed.measured(files[key], 50)
    for file in c99_speed.all_files(floats) if floats else ():
        if not file.stem.startswith("lstm64"):
            found[f"C, {file.stem}"] = c99_speed.measured(file.read_bytes(), 15)
    for key, values in found.items():
        print(f"{key:32} {values}")
    path.write_text("{\n" + ",\n".join(f" {json.dumps(key)}: {json.dumps(found[key])}" for key in found) + "\n}\n")


def interleaved(files: dict[str, bytes], event: object, rounds: int) -> dict[str, list[float]]:
    """Seconds of every call, the files taking turns, one thread each."""
    from ai_edge_litert.interpreter import Interpreter

    interpreters = {key: Interpreter(model_content=data, num_threads=1) for key, data in files.items()}
    for interpreter in interpreters.values():
        interpreter.allocate_tensors()
        detail = interpreter.get_input_details()[0]
        interpreter.set_tensor(detail["index"], event.astype(detail["dtype"]))
    seconds = {key: [] for key in files}
    for _ in range(rounds):
        for key, interpreter in interpreters.items():
            interpreter.reset_all_variables()
            start = time.perf_counter()
            interpreter.invoke()
            seconds[key].append(time.perf_counter() - start)
    return seconds


def keras_unrolled() -> bytes:
    """The best that plain Keras gives: `unroll=True`, builtin operators, dynamic-range weights, batch 1."""
    import keras
    import tensorflow as tf

    model = keras.Sequential([keras.Input((100, 16)), keras.layers.LSTM(64, unroll=True)])
    serve = tf.function(lambda event: {"prediction": model(event)})
    with tempfile.TemporaryDirectory() as folder:
        module = tf.Module()
        module.values = [variable.value for variable in model.variables]
        module.serve_it = serve
        concrete = serve.get_concrete_function(tf.TensorSpec((1, 100, 16), name="event"))
        tf.saved_model.save(module, folder, signatures={"serve": concrete})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return converter.convert()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    many = commands.add_parser("random")
    many.add_argument("count", type=int)
    many.add_argument("--first", type=int, default=0)
    many.add_argument(
        "--structures", action="store_true", help="models of every structure, in every mode and precision"
    )
    many.add_argument(
        "--log", type=Path, default=Path("runs/random_models.jsonl"), help="answers so far; to go on from"
    )
    many.add_argument("--kept", type=Path, help="folder where the exported files stay")
    many.add_argument("--json", type=Path, help="write all answers here")
    judged = commands.add_parser("verification")
    judged.add_argument("kept", type=Path)
    judged.add_argument("--draws", type=int, default=8, help="sets of inputs per good file")
    judged.add_argument("--structures", action="store_true")
    judged.add_argument("--log", type=Path, default=Path("runs/verification.jsonl"))
    measured = commands.add_parser("figures")
    measured.add_argument("--json", type=Path, default=RESULTS / "export_figures.json")
    measured.add_argument(
        "--floats", type=Path, help="folder of the zoo in float32: every model in LiteRT and in C as well"
    )
    arguments = parser.parse_args()
    if arguments.command == "figures":
        figures(arguments.json, arguments.floats)
    elif arguments.command == "verification":
        verification(arguments.kept, arguments.draws, arguments.log, arguments.structures)
    else:
        random_models(
            arguments.count, arguments.first, arguments.log, arguments.structures, arguments.kept, arguments.json
        )


if __name__ == "__main__":
    main()
