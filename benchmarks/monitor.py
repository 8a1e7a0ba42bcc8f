"""Cost of `GateMonitor`: processor time of a whole training with and without it, alternating, medians.

python benchmarks/monitor.py digits show --epochs 20
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import keras_gates
from keras_gates.models import registry
from keras_gates.models.training import fitting


def trained(name: str, epochs: int, watched: bool) -> tuple[float, keras_gates.GateMonitor]:
    """Return the processor seconds of one training on built-in data, and its monitor."""
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
        began = time.process_time()
        model.fit(batches, epochs=epochs, verbose=0, callbacks=[monitor] if watched else [])
        return time.process_time() - began, monitor


def measure(name: str, epochs: int, repeats: int) -> str:
    """Return the line of one model."""
    without, watched = [], []
    trained(name, 1, False)  # TensorFlow's work once per process counts for neither
    for _ in range(repeats):
        without.append(trained(name, epochs, False)[0])
        seconds, monitor = trained(name, epochs, True)
        watched.append(seconds)
    plain, more = statistics.median(without), statistics.median(watched)
    after = ", ".join(str(row["epoch"]) for row in monitor.history)
    return (
        f"{name:10} {epochs} epochs: {plain:6.1f} s without, {more:6.1f} s with ({more / plain - 1:+.1%}); "
        f"by its own clock {monitor.cost:.1%}, looked after epoch {after}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["digits", "show"])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    for name in arguments.models:
        print(measure(name, arguments.epochs, arguments.repeats), flush=True)


if __name__ == "__main__":
    main()
