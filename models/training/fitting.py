"""`model.fit` with what makes a run repeatable: one seed, an order of data that follows from (seed, epoch), and a state
to go on from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from keras_gates.models.registry import UserError, ZooModel
from keras_gates.models.training.folder import read_json, write_json

DEFAULTS = {
    "epochs": 10,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "schedule": "constant",
    "warmup": 0.0,
    "optimizer": "adam",
    "weight_decay": 0.0,
    "momentum": 0.0,
    "clipnorm": None,
    "loss": None,
    "metrics": [],
    "monitor": "val_loss",
    "patience": None,
}


def set_seed(seed: int) -> None:
    """Seeds Python, NumPy, TensorFlow and Keras. Never with 0: with that, TensorFlow refuses a tensor as the seed of a
    shuffle, which the order of an epoch needs."""
    keras.utils.set_random_seed(seed + 1)


def compile_model(zoo: ZooModel, model: Any, recipe: Mapping[str, Any], steps: int | None) -> None:
    """Compiles as the recipe says; `steps` is the number of all training steps, None where it is not known."""
    if zoo.compile is not None:
        zoo.compile(model, recipe, steps)
        return
    rate = learning_rate(recipe, steps)
    shared = {"clipnorm": recipe["clipnorm"], "weight_decay": recipe["weight_decay"] or None}
    if recipe["optimizer"] == "adam":
        optimizer = keras.optimizers.Adam(rate, **shared)
    elif recipe["optimizer"] == "sgd":
        optimizer = keras.optimizers.SGD(rate, recipe["momentum"], **shared)
    else:
        raise UserError(f'optimizer must be "adam" or "sgd", not {recipe["optimizer"]!r}')
    model.compile(optimizer, loss=recipe["loss"], metrics=list(recipe["metrics"]))


def learning_rate(recipe: Mapping[str, Any], steps: int | None) -> Any:
    """The recipe's number, or a schedule: a warm-up from zero over a share of all steps, then constant or a cosine down
    to zero.
    """
    rate, schedule = recipe["learning_rate"], recipe["schedule"]
    if schedule not in ("constant", "cosine"):
        raise UserError(f'schedule must be "constant" or "cosine", not {schedule!r}')
    if steps is None or (schedule == "constant" and not recipe["warmup"]):
        return rate
    rising = round(recipe["warmup"] * steps)
    falls_to = 0.0 if schedule == "cosine" else 1.0
    return keras.optimizers.schedules.CosineDecay(
        0.0 if rising else rate,
        max(1, steps - rising),
        alpha=falls_to,
        warmup_target=rate if rising else None,
        warmup_steps=rising,
    )


class Keeper(keras.callbacks.Callback):
    """Keeps what a run has reached, so that it can be stopped at any time and continued: the best model, the state
    after the last epoch, the history.

    Args:
        folder: of the run; gets `best.keras`, `state.json` and the weights that it names.
        monitor: the quantity that says which epoch is best; what ends in "accuracy" or "acc" is to be high, everything else low.
        patience: epochs without a better one before training stops; None never stops.
    """

    def __init__(self, folder: Path, monitor: str, patience: int | None) -> None:
        super().__init__()
        self.folder, self.monitor, self.patience = folder, monitor, patience
        self.best = folder / "best.keras"
        self.state = folder / "state.json"
        self.history: list[dict[str, float]] = []
        self.epoch = 0

    @property
    def best_epoch(self) -> int:
        """Counted from 0; -1 before the first."""
        values = [logs[self.monitor] for logs in self.history]
        sign = -1 if self.monitor.endswith(("accuracy", "acc")) else 1
        return min(range(len(values)), key=lambda epoch: sign * values[epoch], default=-1)

    def restore(self, model: Any) -> None:
        """Brings the model, its optimizer and the history to where the folder's run stopped; a run that stopped in its
        first epoch starts again.
        """
        if not self.state.exists():
            return
        state = read_json(self.state)
        model.optimizer.build(model.trainable_variables)
        model.load_weights(self.folder / state["weights"])
        self.history = state["history"]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.history.append({name: float(value) for name, value in (logs or {}).items()})
        if self.monitor not in self.history[-1]:
            raise UserError(f"the recipe monitors {self.monitor!r}, but an epoch reports {', '.join(self.history[-1])}")
        if self.best_epoch == epoch:
            waiting = self.folder / "best.tmp.keras"
            self.model.save(waiting)
            os.replace(waiting, self.best)
        weights = self.folder / f"epoch-{epoch + 1}.weights.h5"
        self.model.save_weights(weights)
        write_json(self.state, {"weights": weights.name, "history": self.history})
        (self.folder / f"epoch-{epoch}.weights.h5").unlink(missing_ok=True)
        if self.patience is not None and epoch - self.best_epoch >= self.patience:
            self.model.stop_training = True

    def clean(self) -> None:
        """Removes what only an unfinished run needs."""
        for path in (self.state, self.best, *self.folder.glob("epoch-*.weights.h5")):
            path.unlink(missing_ok=True)


def fit(
    zoo: ZooModel, model: Any, data: Any, recipe: Mapping[str, Any], seed: int, folder: Path, verbose: Any = "auto"
) -> Keeper:
    """Trains, continuing what the folder holds, and leaves the best weights in the model."""
    recipe = {**DEFAULTS, **recipe}
    keeper = Keeper(folder, recipe["monitor"], recipe["patience"])
    batches = data.training(recipe["batch_size"], seed, lambda: keeper.epoch)
    a_pass = int(batches.cardinality())
    compile_model(zoo, model, recipe, a_pass * recipe["epochs"] if a_pass > 0 else None)
    keeper.restore(model)
    model.fit(
        batches,
        validation_data=data.held_out("validation", recipe["batch_size"]),
        epochs=recipe["epochs"],
        initial_epoch=len(keeper.history),
        callbacks=[
            keeper,
            keras.callbacks.TensorBoard(folder / "tensorboard"),
            *(zoo.callbacks(model) if zoo.callbacks else []),
        ],
        verbose=verbose,
        shuffle=False,
    )
    model.set_weights(keras.saving.load_model(keeper.best, compile=False).get_weights())
    return keeper
