"""Trains the character models on a GPU with PyTorch, where TensorFlow need not be installed: the recipe of `train.py`, with
batches made by NumPy instead of `tf.data`.

    KERAS_BACKEND=torch python benchmarks/language_gpu.py TEXT --preset base --seed 1 --out runs

TEXT is a folder with train.txt, valid.txt and test.txt (of tiny_shakespeare: the official splits). Writes a run folder for
`benchmarks/ship.py`: the model of the best epoch and metrics.json with the score of the test split.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_gates._files import write_json
from keras_gates.models import language
from keras_gates.models.data import corpus
from keras_gates.models.training import fitting, options
from keras_gates.models.training.averaged import AveragedWeights
from keras_gates.models.training.fresh_rows import FreshRows


class Best(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the lowest validation loss, and stops when the time is up.

    Args:
        seconds: of the whole training, at most.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.until, self.lowest, self.weights = time.monotonic() + seconds, np.inf, None
        self.history: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.history.append({name: float(value) for name, value in logs.items()})
        if logs["val_loss"] < self.lowest:
            self.lowest, self.weights = logs["val_loss"], self.model.get_weights()
        print(epoch + 1, {name: round(float(value), 4) for name, value in logs.items()}, flush=True)
        if time.monotonic() > self.until:
            self.model.stop_training = True


def endless(numbers: np.ndarray, batch: int, steps: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches of all epochs, each from a random offset, as `language.data` cuts them."""
    epoch = 0
    while True:
        offset = int(np.random.default_rng((seed, epoch)).integers(steps + 1))
        yield from corpus.lanes(numbers[offset : offset + len(numbers) - steps], batch, steps)
        epoch += 1


def repeated(numbers: np.ndarray, batch: int, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same batches again and again."""
    while True:
        yield from corpus.lanes(numbers, batch, steps)


def evaluate(model: keras.Model, numbers: np.ndarray, steps: int) -> float:
    """Nats per character, the text divided into 8 sequences."""
    reader = language.with_batch(model, 8)
    reader.compile(loss="sparse_categorical_crossentropy")
    count = corpus.lanes_count(len(numbers), 8, steps)
    return reader.evaluate(repeated(numbers, 8, steps), steps=count, callbacks=language.callbacks(reader), verbose=0)


def main() -> None:
    """Train one preset with one seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="folder with train.txt, valid.txt and test.txt")
    parser.add_argument("--preset", default="base")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after the epoch in which this time is up")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    line = ["language", "--preset", arguments.preset, "--data", "tfds", "--seed", str(arguments.seed)]
    config = options.configuration(options.parser().parse_args(line))
    recipe = {**fitting.DEFAULTS, **config.recipe}
    recipe["epochs"] = arguments.epochs or recipe["epochs"]
    steps = config.data_arguments.get("steps", 50)
    text = corpus.own_corpus(arguments.text)
    vocabulary, (train, validation, test) = text.numbered("character", 10_000)
    fitting.set_seed(arguments.seed)
    model = language.build(**{"vocabulary": vocabulary, **config.build})
    batch = config.build.get("batch", recipe["batch_size"])
    per_epoch = corpus.lanes_count(len(train) - steps, batch, steps)
    fitting.compile_model(language.MODEL, model, recipe, per_epoch * recipe["epochs"])
    best, start = Best(arguments.seconds), time.perf_counter()
    model.fit(
        endless(train, batch, steps, arguments.seed),
        steps_per_epoch=per_epoch,
        epochs=recipe["epochs"],
        validation_data=repeated(validation, batch, steps),
        validation_steps=corpus.lanes_count(len(validation), batch, steps),
        callbacks=[
            *([AveragedWeights()] if recipe["average"] else []),
            *([FreshRows(recipe["fresh_rows"])] if recipe["fresh_rows"] else []),
            *language.callbacks(model),
            best,
        ],
        verbose=0,
    )
    seconds = time.perf_counter() - start
    model.set_weights(best.weights)
    nats = evaluate(model, test, steps)
    folder = arguments.out / f"language-{arguments.preset}-{arguments.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "model.keras")
    scores = {"bits per character": nats / np.log(2), "loss": nats}
    write_json(
        folder / "metrics.json",
        {
            "config": {**config.to_dict(), "recipe": recipe, "backend": keras.backend.backend()},
            "scores": scores,
            "data": {"name": "tiny_shakespeare", "licence": "public domain"},
            "parameters": model.count_params(),
            "history": best.history,
            "seconds": {"training": seconds},
            "versions": {name: version(name) for name in ("keras", "numpy")} | {"python": platform.python_version()},
        },
    )
    print(folder, scores, f"{seconds:.0f} s")


if __name__ == "__main__":
    main()
