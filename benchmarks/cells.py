"""The same model with another kind of cell, on the same data by the same short recipe: docs/cells.json, for
`benchmarks/results.py`.

    python benchmarks/cells.py [--data-dir FOLDER] [--tasks digits gesture speech language] [--seeds 0 1 2]

Adds missing rows and keeps existing ones, so that it can be interrupted and started again.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras

from keras_gates import GateLSTM
from keras_gates._files import read_json, write_json
from keras_gates.models import registry
from keras_gates.models.training import fitting, judging
from keras_gates.models.training.recipe import DEFAULTS

RESULTS = Path(__file__).parents[1] / "docs" / "cells.json"
TASKS = {
    "digits": {"source": "builtin", "build": {"units": 32, "layers": 1}, "recipe": {"epochs": 20}},
    "gesture": {"source": "tfds", "build": {"units": 32, "layers": 1, "dropout": 0.2}, "recipe": {"epochs": 15}},
    "speech": {"source": "tfds", "build": {"units": 32, "layers": 1, "augment": False}, "recipe": {"epochs": 15}},
    "language": {
        "source": "tfds",
        "build": {"units": 64, "batch": 128, "dropout": 0.0},
        "recipe": {"epochs": 3, "batch_size": 128},
    },
}
CELLS = {
    "GateLSTM": lambda arguments: GateLSTM(**arguments),
    "GateLSTM, article": lambda arguments: GateLSTM(**arguments, formulation="article"),
    "keras.layers.LSTM": lambda arguments: keras.layers.LSTM(**arguments),
    "GRU": lambda arguments: keras.layers.GRU(**arguments),
    "SimpleRNN": lambda arguments: keras.layers.SimpleRNN(**arguments),
}


def with_cell(model: Any, cell: str) -> Any:
    """Return the model with every GateLSTM replaced by another layer with the same units; all weights are new."""
    output = inputs = keras.Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype)
    for layer in model.layers[1:]:
        if isinstance(layer, GateLSTM):
            names = ("units", "return_sequences", "stateful", "name")
            layer = CELLS[cell]({name: getattr(layer, name) for name in names})
        else:
            layer = layer.__class__.from_config(layer.get_config())
        output = layer(output)
    return keras.Model(inputs, output, name=model.name)


def measure(task: str, cell: str, seed: int, data_dir: str) -> dict[str, Any]:
    """Train once and evaluate the test split after the last epoch; return one row of the results."""
    settings, zoo = TASKS[task], registry.find(task)
    fitting.set_seed(seed)
    data = zoo.data(settings["source"], data_dir, seed)
    recipe = {**DEFAULTS, **zoo.recipe, **settings["recipe"]}
    model = with_cell(zoo.build(**{**settings["build"], **data.build}), cell)
    batches = data.training(recipe["batch_size"], seed, iter(range(recipe["epochs"])).__next__)
    fitting.compile_model(zoo, model, recipe, int(batches.cardinality()) * recipe["epochs"])
    callbacks = zoo.callbacks(model) if zoo.callbacks else []
    model.fit(batches, epochs=recipe["epochs"], verbose=0, callbacks=callbacks)
    if task == "language":
        nats = model.evaluate(data.held_out("test", recipe["batch_size"]), verbose=0, callbacks=callbacks)
        scores = {"bits per character": nats / math.log(2)}
    else:
        scores = dict(zip(["loss", "accuracy"], model.evaluate(data.held_out("test", judging.BATCH), verbose=0)))
    name = next(name for name in scores if name != "loss")
    row = {
        "task": f"{task}, {data.name}, {settings['build']['units']} units, {recipe['epochs']} epochs",
        "cell": cell,
        "seed": seed,
    }
    return {**row, "name": name, "score": float(scores[name]), "parameters": model.count_params()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    arguments = parser.parse_args()
    rows = read_json(RESULTS) if RESULTS.exists() else []
    for seed in arguments.seeds:
        for task in arguments.tasks:
            for cell in CELLS:
                if any(row["cell"] == cell and row["seed"] == seed and row["task"].startswith(task) for row in rows):
                    continue
                rows.append(measure(task, cell, seed, arguments.data_dir))
                print(rows[-1], flush=True)
                RESULTS.parent.mkdir(exist_ok=True)
                write_json(RESULTS, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
