"""What an export costs and gives: sizes, latency by lowering, arena; and many random models through it.

python benchmarks/export.py figures [--json FILE]      the figures of docs/export.md
python benchmarks/export.py random 200 [--first 0]     random models: how many agree, what refuses, what differs
python benchmarks/export.py random 288 --structures    models of every structure in every mode and precision
python benchmarks/export.py verification 200           good files and broken copies of them: which are withheld
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

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests/support"), str(Path(__file__).resolve().parent)]


def random_models(count: int, first: int, log: Path, structures: bool) -> None:
    """Export `count` random models, compare each file with Keras on inputs it has not seen, and sum up.

    Every answer is a line of JSON in `log`; a seed that stands there is not run again.
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


def verification(count: int, first: int, log: Path) -> None:
    """Export random models, break copies of each file, and count which of them the verification withholds.

    A copy counts as broken if its outputs moved by more than a fifth of their spread, and by more than five times the good
    file's rounding. Every file is a line of JSON in `log`.
    """
    import keras
    import numpy as np
    from broken_files import broken_files
    from export_models import random_case

    import keras_gates
    from keras_gates.exporting.model_inputs import inputs_of
    from keras_gates.exporting.verify import compare, runner, samples

    log.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {row["seed"] for row in rows}
    for seed in set(range(first, first + count)) - done:
        case, new = random_case(seed), []
        try:
            with tempfile.TemporaryDirectory() as folder:
                report = keras_gates.export(case.model, folder, ("tflite",), **case.options)
                data = Path(folder, "model.tflite").read_bytes()
        except keras_gates.ExportError as error:
            new.append({"seed": seed, "defect": "", "precision": case.options["precision"], "why": str(error)[:400]})
            data = b""
        if data and not (report.precision == "int16x8" and "fused" in report.lowering):
            inputs = inputs_of(case.model)
            held_out = samples.samples_of(case.fresh, inputs)
            wanted = compare.keras_outputs(case.model, inputs, held_out)
            rounding = compare.rounding_of(case.model, inputs, held_out, wanted)
            feeds = [{port.name: x for port, x in zip(inputs.ports, sample)} for sample in held_out]
            for defect, each in [("", data), *broken_files(data, seed)]:
                got = runner.run(each, feeds, report.mode == "stream").predictions
                worst = compare.compare(wanted, got, report.precision, (), rounding).worst
                row = {"seed": seed, "defect": defect, "precision": report.precision, "lowering": report.lowering}
                row |= {"mean": worst.mean, "high": worst.high, "max": worst.largest, "spread": worst.spread}
                row |= {
                    "variation": worst.variation,
                    "other": worst.other,
                    "changed": worst.changed,
                    "wrong": worst.wrong,
                    "usual": worst.usual,
                }
                row |= {"size": float(np.abs(np.concatenate([x[0].ravel() for x in wanted])).max())}
                new.append(row | {"withheld": not worst.acceptable, "rounding": rounding[0]})
        rows += new
        with open(log, "a") as file:
            file.writelines(json.dumps(row) + "\n" for row in new)
        keras.backend.clear_session()
    good = {row["seed"]: row for row in rows if not row["defect"] and "mean" in row}
    refused = [row for row in rows if "why" in row]
    broken = [
        row
        for row in rows
        if row["defect"] and row["mean"] > max(0.2 * row["spread"], 5 * good[row["seed"]]["mean"], 0.02 * row["size"])
    ]
    print(
        f"good: {len(good)} written, {len(refused)} refused; on other data {sum(r['withheld'] for r in good.values())} fail"
    )
    print(f"broken: {len(broken)}, of them withheld {sum(row['withheld'] for row in broken)}")
    for row in refused + [r for r in good.values() if r["withheld"]] + [r for r in broken if not r["withheld"]]:
        print(row)


def figures(path: str | None) -> None:
    """LSTM(64) over 100 steps of 16 features: bytes, error, latency, arena; fused against Keras' own unrolled export."""
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
        found[f"C99 beside LiteRT, {key}"] = c99_speed.measured(files[key], 50)
    for key, values in found.items():
        print(f"{key:32} {values}")
    if path:
        Path(path).write_text(json.dumps(found, indent=1) + "\n")


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
    judged = commands.add_parser("verification")
    judged.add_argument("count", type=int)
    judged.add_argument("--first", type=int, default=0)
    judged.add_argument("--log", type=Path, default=Path("runs/verification.jsonl"))
    measured = commands.add_parser("figures")
    measured.add_argument("--json")
    arguments = parser.parse_args()
    if arguments.command == "figures":
        figures(arguments.json)
    elif arguments.command == "verification":
        verification(arguments.count, arguments.first, arguments.log)
    else:
        random_models(arguments.count, arguments.first, arguments.log, arguments.structures)


if __name__ == "__main__":
    main()
