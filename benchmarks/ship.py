"""From finished runs to what the zoo ships: weights, the files for the device, and the card beside them.

    python benchmarks/ship.py runs/gesture-A [runs/gesture-B runs/gesture-C] [--score NAME=RUN,RUN,…]
    python benchmarks/ship.py --again gesture-base [runs/gesture-B runs/gesture-C]    # other seeds, exported again
    python benchmarks/ship.py --score-files gesture-base                              # the shipped files, scored again
    python benchmarks/ship.py --score-others gesture-base                             # precisions that are not shipped

The first run's weights are shipped; the others are the same command with other seeds, for the spread. `--score` adds a mean
over further runs (for example one speaker or participant left out in each). The weights are rounded
to bfloat16 before anything is measured. `--again` keeps the shipped weights: it adds the seeds of other runs to their card
and exports them once more, in every precision. Keras and every file are scored on the same examples of the test split, the
first 2000, each from empty memory: a text in pieces.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib
import json
import os
import re
import shlex
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from ml_dtypes import bfloat16

import keras_gates
from keras_gates._files import read_json, replace_file, write_json
from keras_gates.edge import EdgeModel
from keras_gates.edge.tflite import read
from keras_gates.exporting.verify import tflm
from keras_gates.models import registry
from keras_gates.models.training import deploying, judging, options
from keras_gates.models.training.run_config import RunConfig

EXAMPLES = 2000  # of the test split, at most
CALIBRATION = 200
PRECISIONS = ("float32", "float16", "dynamic", "int8", "int16x8")
SHIPPED = ("dynamic", "int8")
UNROLLED = 128  # steps: of more, 16-bit activations (the steps one by one, on a CPU) are left out
SENTENCES = ("What is the capital of France ?", "A dull film, and not once funny.", "I loved every minute of it!")


def pinned_inputs(model: Any) -> np.ndarray:
    """Return inputs that anybody can reproduce, for pinned outputs."""
    model_input = model.inputs[0]
    if model_input.dtype == "string":
        return np.array(SENTENCES)
    shape = (3, *(20 if size is None else size for size in model_input.shape[1:]))
    if "int" in model_input.dtype:
        return np.arange(np.prod(shape), dtype="int32").reshape(shape) % 50
    return np.random.default_rng(0).normal(0, 1, shape).astype("float32")


def rounded(model: Any) -> Any:
    """Return the model for any batch size, its weights rounded to bfloat16 (and still stored as float32)."""
    if any(getattr(layer, "stateful", False) for layer in model.layers):
        model = importlib.import_module(f"keras_gates.models.{model.name}").with_batch(model, None)
    model.set_weights([weight.astype(bfloat16).astype(weight.dtype) for weight in model.get_weights()])
    return model


# Arguments that Keras added to its own classes after 3.10, with the value that means what 3.10 does.
ADDED_SINCE = {
    "input_axes": None,
    "output_axes": None,
    "quantization_config": None,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
}


def for_older_keras(config: Any) -> Any:
    """Return a model's configuration without the arguments that Keras 3.10 does not know, where they change nothing."""
    if isinstance(config, dict):
        if str(config.get("module", "")).startswith("keras.src.ops"):  # an operation's name stands outside, too
            config = {**config, "config": {k: v for k, v in config["config"].items() if k != "name"}}
        return {
            name: for_older_keras(value)
            for name, value in config.items()
            if not (name in ADDED_SINCE and value == ADDED_SINCE[name])
        }
    return [for_older_keras(value) for value in config] if isinstance(config, list) else config


def save(model: Any, path: Path) -> None:
    """Write a `.keras` file that Keras 3.10 reads, its parts compressed (half of every rounded weight is zeros)."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.keras"
        model.save(whole)
        with (
            replace_file(path) as temporary,
            zipfile.ZipFile(whole) as source,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target,
        ):
            for name in source.namelist():
                content = source.read(name)
                if name == "config.json":
                    content = json.dumps(for_older_keras(json.loads(content))).encode()
                target.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 9)


def exported(
    zoo: Any,
    model: Any,
    data: Any,
    config: RunConfig,
    stem: str,
    calibration: int,
    precisions: Sequence[str] = PRECISIONS,
) -> list[dict[str, Any]]:
    """Export in every precision; return one row per precision with bytes, score and latency, or the reason why it was refused.
    The shipped files go next to the weights."""
    x, y = data.arrays("test", EXAMPLES)
    seen = data.spread("train", calibration)[0]
    recurrent = (keras_gates.GateLSTM, keras.layers.Bidirectional)
    steps = max(layer.input.shape[1] or 0 for layer in model.layers if isinstance(layer, recurrent))
    rows = []
    for precision in precisions:
        device = deploying.device_model(zoo, model, precision)
        if precision == "int16x8" and steps > UNROLLED:
            rows.append({"precision": precision, "refused": f"left out: {steps} steps would be unrolled"})
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                report = keras_gates.export(
                    device.core,
                    folder,
                    formats=["tflite"],
                    precision=precision,
                    target="micro" if "nano" in config.preset and precision == "int8" else "cpu",
                    calibration=device.prepare(seen),
                    metadata={**deploying.file_metadata(zoo, data, config.preset), **device.metadata},
                    name=f"{stem}-{precision}",
                )
            except Exception as error:
                rows.append({"precision": precision, "refused": str(error).splitlines()[0][:300]})
                continue
            file = Path(folder) / f"{stem}-{precision}.tflite"
            row = scored(zoo, data, device, file, x, y)
            row |= {"precision": precision, "latency_us": report.latency_us, "arena_bytes": report.arena_bytes}
            row |= {"lowering": report.lowering, "input": list(device.core.inputs[0].shape[1:])}
            rows.append(row)
            if precision in SHIPPED:
                os.replace(file, registry.WEIGHTS / file.name)
    return rows


def scored(zoo: Any, data: Any, device: Any, file: Path, x: Any, y: Any) -> dict[str, Any]:
    """Return the size of a file, and its scores and those of Keras on the same examples."""
    inputs = device.prepare(x)
    wanted, outputs = device.core.predict(inputs, verbose=0), deploying.run_tflite(file, inputs)
    score = functools.partial(zoo.score, data) if zoo.score else None
    return deploying.compared(file.name, file.stat().st_size, wanted, outputs, y, score)


def ship(runs: list[Path], means: dict[str, list[Path]], again: bool = True) -> Path:
    """Write weights, device files and card of the first run; return the card's path.

    Args:
        runs: folders of finished runs.
        means: score name → runs over which it is averaged.
        again: evaluate the rounded weights; else the run's own scores are taken.
    """
    metrics = [read_json(run / "metrics.json") for run in runs]
    config = RunConfig.from_dict(metrics[0]["config"])
    zoo = registry.find(config.model)
    data = load_data(zoo, config)
    model = rounded(keras.saving.load_model(runs[0] / "model.keras", compile=False))
    model.compile(loss=config.recipe.get("loss"), metrics=config.recipe.get("metrics"))
    stem = f"{zoo.name}-{config.preset}"
    registry.WEIGHTS.mkdir(exist_ok=True)
    save(model, registry.WEIGHTS / f"{stem}.keras")
    scores = metrics[0]["scores"]
    if again:
        with tempfile.TemporaryDirectory() as folder:
            scores = (zoo.judge or judging.judge)(model, data, Path(folder)).scores
    rows = exported(zoo, model, data, config, stem, CALIBRATION)
    first = next(iter(scores))
    sizes = {"keras": (registry.WEIGHTS / f"{stem}.keras").stat().st_size}
    sizes |= {row["precision"]: row["bytes"] for row in rows if "bytes" in row}
    outputs = model.predict_on_batch(pinned_inputs(model))
    card = {
        "model": zoo.name,
        "preset": config.preset,
        "about": zoo.preset(config.preset)[1]["about"],
        "command": command(config),
        "data": {**metrics[0]["data"], "split": data.split},
        "parameters": metrics[0]["parameters"],
        "scores": scores,
        "seeds": {str(run["config"]["seed"]): run["scores"][first] for run in metrics},
        "means": {
            name: [read_json(run / "metrics.json")["scores"][first] for run in group] for name, group in means.items()
        },
        "sizes": sizes,
        "exports": rows,
        "published": list(zoo.published),
        "recipe": dict(config.recipe),
        "build": dict(config.build),
        "versions": metrics[0]["versions"],
        **({"trained_by": metrics[0]["trained_by"]} if "trained_by" in metrics[0] else {}),
        "pinned": np.round(np.asarray(outputs, "float64").reshape(len(outputs), -1)[:, :8], 5).tolist(),
    }
    path = registry.WEIGHTS / f"{stem}.json"
    write_json(path, card)
    return path


def refresh(stem: str, runs: list[Path], calibration: int) -> Path:
    """Export shipped weights again and add the scores of other seeds to their card; return the card's path.

    The data comes from TFDS' default folder; set TFDS_DATA_DIR for another.
    """
    path, card, config, zoo, data = shipped(stem)
    for run in map(read_json, (run / "metrics.json" for run in runs)):
        if (run["config"]["model"], run["config"]["preset"]) != (card["model"], card["preset"]):
            raise SystemExit(f"{run['config']['arguments']} is no run of {stem}")
        card["seeds"][str(run["config"]["seed"])] = next(iter(run["scores"].values()))
    card["data"] = {name: getattr(data, name) for name in ("name", "attribution", "licence", "split")}
    card["published"] = list(zoo.published)
    card["about"] = zoo.preset(card["preset"])[1]["about"]
    card["exports"] = exported(zoo, registry.load(card["model"], card["preset"]), data, config, stem, calibration)
    card["sizes"] = {"keras": card["sizes"]["keras"]}
    card["sizes"] |= {row["precision"]: row["bytes"] for row in card["exports"] if "bytes" in row}
    write_json(path, card)
    return path


def score_files(stem: str) -> Path:
    """Score the shipped files of a preset again, and measure the arenas in its card again; return the card's path."""
    path, card, _, zoo, data = shipped(stem)
    model, (x, y) = registry.load(card["model"], card["preset"]), data.arrays("test", EXAMPLES)
    for row in card["exports"]:
        if row["precision"] not in SHIPPED or "refused" in row:
            continue
        file = registry.WEIGHTS / f"{stem}-{row['precision']}.tflite"
        kept = {name: row[name] for name in ("precision", "latency_us", "arena_bytes", "lowering", "input")}
        device, description = deploying.device_model(zoo, model, kept["precision"]), EdgeModel(file).description
        if device.metadata.get("frontend", {}).get("kind") == "scale" and not description.scales:
            device = registry.DeviceModel(model, lambda measured: measured, {})  # the file standardizes inside
        row.clear()
        row |= scored(zoo, data, device, file, x, y) | kept
        if row["arena_bytes"]:
            graph = read(file.read_bytes()).subgraphs[0]
            zeros = [np.zeros(graph.tensors[i].shape, graph.tensors[i].dtype) for i in graph.inputs]
            row["arena_bytes"] = tflm.smallest_arena(file.read_bytes(), zeros)
        card["sizes"][row["precision"]] = row["bytes"]
    write_json(path, card)
    return path


def score_others(stem: str, source: str | None) -> Path:
    """Export the precisions that are not shipped and score them; return the card's path. Latencies stay as measured before."""
    path, card, config, zoo, data = shipped(stem, source)
    model = registry.load(card["model"], card["preset"])
    others = [row["precision"] for row in card["exports"] if row["precision"] not in SHIPPED and "bytes" in row]
    rows = {row["precision"]: row for row in exported(zoo, model, data, config, stem, CALIBRATION, others)}
    for row in card["exports"]:
        if "bytes" in (new := rows.get(row["precision"], {})):
            latency = row["latency_us"]
            row.clear()
            row |= {**new, "latency_us": latency}
            card["sizes"][row["precision"]] = row["bytes"]
    write_json(path, card)
    return path


def shipped(stem: str, source: str | None = None) -> tuple[Path, dict[str, Any], RunConfig, Any, Any]:
    """Return the card of shipped weights, its path, and the run, the zoo's model and the data that it names.

    Args:
        stem: MODEL-PRESET.
        source: path of the data, for a card that names a file; None takes the card's.
    """
    path = registry.WEIGHTS / f"{stem}.json"
    card = read_json(path)
    config = options.configuration(options.parser().parse_args(shlex.split(card["command"])[2:]))
    config = dataclasses.replace(config, data=source or config.data)
    zoo = registry.find(card["model"])
    return path, card, config, zoo, load_data(zoo, config)


def load_data(zoo: Any, config: RunConfig) -> Any:
    """Return the data of a run."""
    return zoo.data(config.data, config.data_dir, config.seed, **config.data_arguments)


def command(config: RunConfig) -> str:
    """Return the command of a run without the folders of this machine: TFDS' default one, files in the current one."""
    words = ["python", "train.py", *config.arguments]
    for option, length in (("--out", 2), ("--data-dir", 2), ("--no-export", 1)):
        if option in words:
            at = words.index(option)
            del words[at : at + length]
    return re.sub(r"--data \S*/(\S+)", r"--data \1", " ".join(words))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--again", metavar="MODEL-PRESET", help="shipped weights to keep and export again")
    parser.add_argument("--score-files", metavar="MODEL-PRESET", help="shipped files to score again")
    parser.add_argument(
        "--score-others", metavar="MODEL-PRESET", help="precisions that are not shipped, to score again"
    )
    parser.add_argument("--data", help="with --score-others: where the card's own file lies")
    parser.add_argument("--calibration", type=int, default=CALIBRATION, help="with --again: calibration examples")
    parser.add_argument("--score", action="append", default=[], metavar="NAME=RUN,RUN")
    parser.add_argument("--scores-of-run", action="store_true", help="do not evaluate again after rounding")
    arguments = parser.parse_args()
    means = {
        name: [Path(run) for run in runs.split(",")]
        for name, _, runs in (score.partition("=") for score in arguments.score)
    }
    if not (arguments.runs or arguments.again or arguments.score_files or arguments.score_others):
        parser.error("give the folder of a run, or --again, --score-files or --score-others MODEL-PRESET")
    path = refresh(arguments.again, arguments.runs, arguments.calibration) if arguments.again else None
    path = score_files(arguments.score_files) if arguments.score_files else path
    path = score_others(arguments.score_others, arguments.data) if arguments.score_others else path
    path = path or ship(arguments.runs, means, not arguments.scores_of_run)
    card = read_json(path)
    print(path, card["scores"], card["sizes"])
    for row in card["exports"]:
        print(row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
