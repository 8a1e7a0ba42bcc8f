"""Scores of shipped models that are trained a little further in integers, in int8 and with weights of 4 bits.

    TFDS_DATA_DIR=FOLDER python benchmarks/trained_in_integers.py gesture-nano     # then: python benchmarks/results.py
    python benchmarks/trained_in_integers.py forecast-etth1-nano --data ETTh1.csv
    python benchmarks/trained_in_integers.py text-questions --kinds int4 --seeds ''    # 4 bits without training

The training is that of `python train.py MODEL --preset PRESET --from-weights shipped --qat` without its ordinary part: a sixth of
the recipe's epochs at a third of its learning rate, once per seed. Every model is scored on the same examples as the files of
the card. A model of `quantize_aware` computes what its file computes (tests/quantization/test_equality.py). The scores go into
the card, and the 4-bit file of the first seed next to it.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import ship

import keras_gates
from keras_gates._files import read_json, write_json
from keras_gates.exporting.c99.measure import measure
from keras_gates.models import registry
from keras_gates.models.training import deploying, fitting, integers
from keras_gates.models.training.recipe import DEFAULTS

KINDS = ("int8", "int4")
CORES = ("m0", "m4")
MICRO = "nano"  # presets whose 4-bit file is shipped


def trained_scores(stem: str, kinds: list[str], seeds: list[int], source: str | None, ships: bool) -> dict[str, Any]:
    """Return, per kind of integers, the scores before any training and after that of each seed; or why there are none."""
    _, _, config, zoo, data = ship.shipped(stem, source)
    examples = data.arrays("test", ship.EXAMPLES)
    result: dict[str, Any] = {}
    for kind in kinds:
        scored = functools.partial(_scores, zoo, data, examples)
        calibration = data.spread("train", integers.CALIBRATION)[0]
        try:
            before = keras_gates.quantize_aware(registry.load(*_names(stem)), kind, calibration=calibration)
        except keras_gates.InvalidArgument as error:
            result[kind] = {"refused": str(error)}
            continue
        rows: dict[str, Any] = {"before": scored(before), "seeds": {}}
        for seed in seeds:
            fitting.set_seed(seed)
            model = _with_batch(registry.load(*_names(stem)), {**DEFAULTS, **config.recipe}["batch_size"])
            changed = dataclasses.replace(config, qat=kind, seed=seed)
            aware = integers.train_in_integers(zoo, model, data, changed, verbose=0)
            rows["seeds"][str(seed)] = scored(aware)
            if ships and kind == "int4" and seed == seeds[0]:
                rows["bytes"] = _ship(zoo, data, config, aware, stem)
                rows["cores"] = taken(stem)
        print(stem, kind, rows, flush=True)
        result[kind] = {**rows, "examples": len(examples[1]), "share": integers.SHARE}
    return result


def _names(stem: str) -> tuple[str, str]:
    model, _, preset = stem.partition("-")
    return model, preset


def _with_batch(model: Any, batch: int) -> Any:
    """Return a stateful model for batches of this size, another one as it is."""
    if any(getattr(layer, "stateful", False) for layer in model.layers) or model.name == "language":
        return importlib.import_module(f"keras_gates.models.{model.name}").with_batch(model, batch)
    return model


def _scores(zoo: Any, data: Any, examples: tuple[Any, Any], aware: Any) -> dict[str, float]:
    device = deploying.device_model(zoo, aware, "int8")
    outputs = device.core.predict(device.prepare(examples[0]), verbose=0)
    score = functools.partial(zoo.score, data) if zoo.score else None
    row = deploying.compared("", 0, outputs, outputs, examples[1], score)
    return row["scores"] if "scores" in row else {"accuracy": row["accuracy"]}


def _ship(zoo: Any, data: Any, config: Any, aware: Any, stem: str) -> int:
    """Write the packed file next to the weights; return its size."""
    device = deploying.device_model(zoo, aware, "int8")
    with tempfile.TemporaryDirectory() as folder:
        metadata = {**deploying.file_metadata(zoo, data, config.preset), **device.metadata}
        name = f"{stem}-int4"
        keras_gates.export(device.core, folder, ["tflite"], "int4", target="micro", metadata=metadata, name=name)
        file = registry.WEIGHTS / f"{name}.tflite"
        file.write_bytes((Path(folder) / file.name).read_bytes())
    return file.stat().st_size


def taken(stem: str) -> dict[str, dict[str, list[int]]]:
    """Return flash and instructions per event of the C of the shipped int8 and int4 files, by core."""
    files = {kind: (registry.WEIGHTS / f"{stem}-{kind}.tflite").read_bytes() for kind in KINDS}
    cores: dict[str, dict[str, list[int]]] = {}
    for core in CORES:
        of_files = {kind: measure(data, core) for kind, data in files.items()}
        cores[core] = {kind: [row.flash, row.instructions] for kind, row in of_files.items()}
    return cores


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stems", nargs="+", metavar="MODEL-PRESET")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seeds", default="0,1,2", help="of the trainings; '' scores the shipped weights alone")
    parser.add_argument("--longer", type=float, default=1.0, help="factor of the epochs")
    parser.add_argument("--data", help="where the card's own file lies")
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",") if seed]
    integers.SHARE /= arguments.longer
    for stem in arguments.stems:
        rows = trained_scores(stem, arguments.kinds.split(","), seeds, arguments.data, MICRO in stem)
        path = registry.WEIGHTS / f"{stem}.json"
        card = read_json(path)
        write_json(path, {**card, "trained": {**card.get("trained", {}), **rows}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
