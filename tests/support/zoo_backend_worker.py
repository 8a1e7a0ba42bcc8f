"""Trains every model of the zoo for one small epoch on the backend of KERAS_BACKEND, and prints its losses as JSON:

KERAS_BACKEND=torch python tests/support/zoo_backend_worker.py FOLDER
"""

import dataclasses
import json
import sys
import traceback
from pathlib import Path

from keras_gates.models import find
from keras_gates.models.data.pipeline import SPLITS
from keras_gates.models.training import fitting

SMALL = {
    "digits": {"units": 4, "layers": 1},
    "speech": {"units": 4, "layers": 1},
    "gesture": {"units": 4, "layers": 1},
    "text": {"units": 4, "width": 4, "longest": 12, "directions": 1},
    "language": {"units": 4, "width": 4, "batch": 8},
    "forecast": {"units": 4},
}
EXAMPLES = 16


def train(name, folder):
    zoo = find(name)
    fitting.set_seed(0)
    arguments = {"steps": 10} if name == "language" else {}
    data = zoo.data("builtin", **arguments)
    model = zoo.build(**{**data.build, **SMALL[name]})
    if data.batches is None:
        data = dataclasses.replace(data, **{split: getattr(data, split).take(EXAMPLES) for split in SPLITS})
    else:
        whole = data.batches
        data = dataclasses.replace(data, batches=lambda split, size, seed: whole(split, size, seed).take(2))
    recipe = {**zoo.recipe, "epochs": 1, "batch_size": 8}
    folder.mkdir()
    keeper = fitting.fit(zoo, model, data, recipe, 0, folder, verbose=0)
    return keeper.history[0]["loss"]


if __name__ == "__main__":
    results = {}
    for name in sys.argv[2:]:
        try:
            results[name] = train(name, Path(sys.argv[1]) / name)
        except Exception:
            results[name] = traceback.format_exc()[-1500:]
    print(json.dumps(results))
