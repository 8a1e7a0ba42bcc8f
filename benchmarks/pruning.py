"""Magnitude pruning next to weights of 4 bits: accuracy and bytes of the kernels, with the same training (docs/quantization.md).

    TFDS_DATA_DIR=FOLDER python benchmarks/pruning.py gesture-nano

The smallest weights of each kernel become zero and stay zero, while the shipped model is trained further as
`benchmarks/trained_in_integers.py` does, in float. A pruned kernel in int8 takes a bit per weight, which says where the others
are, and a byte for each of these. The 4-bit row comes from the card.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import ship

from keras_gates._files import write_json
from keras_gates.models import registry
from keras_gates.models.training import deploying, fitting, integers
from keras_gates.models.training.recipe import DEFAULTS

SHARES = (0.5, 0.625, 0.75, 0.875)  # of zeros; 0.625 takes as many bytes as 4 bits


class Zeros(keras.callbacks.Callback):
    """Sets the smallest weights of the kernels to zero after every batch.

    Args:
        kernels: Variables.
        share: How many of each.
    """

    def __init__(self, kernels: list[Any], share: float) -> None:
        super().__init__()
        self.kernels, self.epoch = kernels, 0
        values = [np.abs(kernel.numpy()) for kernel in kernels]
        self.kept = [(value >= np.quantile(value, share)).astype("float32") for value in values]
        self.apply()

    def apply(self) -> None:
        """Set them to zero."""
        for kernel, kept in zip(self.kernels, self.kept, strict=True):
            kernel.assign(kernel * kept)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remember the epoch, by which the data draws its order."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Set them to zero again."""
        self.apply()


def pruned(stem: str, share: float, seed: int, task: tuple[Any, Any, Any]) -> float:
    """Return the accuracy of a pruned model after its training."""
    config, zoo, data = task
    fitting.set_seed(seed)
    model = registry.load(*stem.split("-", 1))
    recipe = {**DEFAULTS, **config.recipe, "warmup": 0.0, "patience": None}
    recipe |= {"epochs": max(1, round(recipe["epochs"] / integers.SHARE))}
    recipe["learning_rate"] /= integers.SLOWER
    fitting.compile_model(zoo, model, recipe, None)
    zeros = Zeros([w for w in model.trainable_variables if "kernel" in w.path], share)
    batches = data.training(recipe["batch_size"], seed, lambda: zeros.epoch)
    steps = int(batches.cardinality()) * recipe["epochs"]
    fitting.compile_model(zoo, model, recipe, steps)
    model.fit(batches, epochs=recipe["epochs"], callbacks=[zeros], shuffle=False, verbose=0)
    x, y = data.arrays("test", ship.EXAMPLES)
    device = deploying.device_model(zoo, model, "int8")
    return float((device.core.predict(device.prepare(x), verbose=0).argmax(-1) == y).mean())


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the plot of accuracy over bytes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.2), layout="constrained")
    pruned_rows = [row for row in rows if "zeros" in row["kind"]]
    points = [(row["bytes"], np.mean(row["accuracy"]) * 100, row["kind"]) for row in rows]
    axes.plot(
        [r["bytes"] for r in pruned_rows],
        [np.mean(r["accuracy"]) * 100 for r in pruned_rows],
        "o-",
        label="pruned, scored in float",
    )
    others = [point for point in points if "zeros" not in point[2]]
    axes.plot([point[0] for point in others], [point[1] for point in others], "s", label="all weights")
    for size, accuracy, kind in points:
        axes.annotate(
            kind, (size, accuracy), xytext=(6, -10 if "zeros" in kind else 5), textcoords="offset points", fontsize=8
        )
    axes.set(xlabel="bytes of the kernels", ylabel="test accuracy (%)", xlim=(2000, 12500), ylim=(15, 108))
    axes.legend()
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stem", metavar="MODEL-PRESET")
    parser.add_argument("--seeds", default="0,1,2")
    arguments = parser.parse_args()
    stem = arguments.stem
    _, card, config, zoo, data = ship.shipped(stem)
    model = registry.load(*stem.split("-", 1))
    count = sum(int(np.prod(w.shape)) for w in model.trainable_variables if "kernel" in w.path)
    rows = [{"kind": "int8", "bytes": count, "accuracy": [card["exports"][3]["accuracy"]]}]
    of_four = card["trained"]["int4"]["seeds"].values()
    rows.append({"kind": "4 bits", "bytes": count // 2, "accuracy": [row["accuracy"] for row in of_four]})
    for share in SHARES:
        accuracy = [pruned(stem, share, int(seed), (config, zoo, data)) for seed in arguments.seeds.split(",")]
        size = round(count / 8 + count * (1 - share))
        rows.append({"kind": f"{share:.1%} zeros", "bytes": size, "accuracy": accuracy})
        print(rows[-1], flush=True)
    draw(rows, Path(__file__).parents[1] / "docs/images/pruning.png")
    write_json(Path(__file__).parent / "results/pruning.json", {"model": stem, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
