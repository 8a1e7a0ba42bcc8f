"""What `GateMonitor` costs: its share of an epoch, on the models of the zoo with their built-in data.

python benchmarks/monitor.py digits show
"""

from __future__ import annotations

import sys
import tempfile
import time

import keras
from keras_gates.models import registry
from keras_gates.models.training import fitting

import keras_gates

EPOCHS = 6


class Clock(keras.callbacks.Callback):
    """How long each epoch takes, and how much of it the monitor."""

    def __init__(self, monitor: keras_gates.GateMonitor) -> None:
        super().__init__()
        self.monitor, self.looks, self.look = monitor, [], monitor.look
        monitor.look = self.timed

    def timed(self, epoch: int) -> None:
        began = time.perf_counter()
        self.look(epoch)
        self.looks.append(time.perf_counter() - began)


def measure(name: str) -> str:
    """One model's line."""
    zoo = registry.find(name)
    _, preset = zoo.preset(None)
    data = zoo.data("builtin", **preset.get("data", {}))
    model = zoo.build(**{**preset.get("build", {}), **data.build})
    recipe = {
        **fitting.DEFAULTS,
        **zoo.recipe,
        **preset.get("recipe", {}),
        **preset.get("recipe_for", {}).get("builtin", {}),
    }
    fitting.compile_model(zoo, model, recipe, None)
    batches = data.training(recipe["batch_size"], 0, lambda: 0)
    with tempfile.TemporaryDirectory() as folder:
        monitor = keras_gates.GateMonitor(data.arrays("validation", 8)[0], log_dir=folder)
        clock = Clock(monitor)
        began = time.perf_counter()
        model.fit(batches, epochs=EPOCHS, verbose=0, callbacks=[monitor, clock])
        whole = time.perf_counter() - began
    looking = sum(clock.looks)
    share = looking / (whole - looking)
    return f"{name:10} {EPOCHS} epochs {whole:6.1f} s, {len(clock.looks)} looks {looking:5.2f} s: {share:.1%} of the training"


if __name__ == "__main__":
    for name in sys.argv[1:] or ["digits", "show"]:
        print(measure(name), flush=True)
