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
from keras_gates.models.training import finite
from keras_gates.models.training.distribution import ALONE, Job
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
        folder: of the run; gets `best.keras`, `state.json` and the weights that it names. None for a process that only
            takes part in a new run.
        monitor: the quantity that says which epoch is best; what ends in "accuracy" or "acc" is to be high, everything else low.
        patience: epochs without a better one before training stops; None never stops.
        job: where this process stands; only one writes.
    """

    def __init__(self, folder: Path | None, monitor: str, patience: int | None, job: Job = ALONE) -> None:
        super().__init__()
        self.folder, self.monitor, self.patience, self.job = folder, monitor, patience, job
        self.history: list[dict[str, float]] = []
        self.epoch = 0

    @property
    def best_epoch(self) -> int:
        """Counted from 0; -1 before the first. Of equally good ones that with the least validation loss, then the first."""
        values = [logs[self.monitor] for logs in self.history]
        sign = -1 if self.monitor.endswith(("accuracy", "acc")) else 1
        losses = [logs.get("val_loss", 0.0) for logs in self.history]
        return min(range(len(values)), key=lambda epoch: (sign * values[epoch], losses[epoch]), default=-1)

    def finished(self, epochs: int) -> bool:
        """Whether all `epochs` are done, or patience has run out."""
        return len(self.history) >= epochs or self._impatient()

    def _impatient(self) -> bool:
        return self.patience is not None and len(self.history) - 1 - self.best_epoch >= self.patience

    def recall(self) -> None:
        """The history of the folder's run; empty where it stopped in its first epoch."""
        state = self._state()
        self.history = state["history"] if state else []

    def restore(self, model: Any) -> None:
        """Brings the model and its optimizer to where the folder's run stopped."""
        state = self._state()
        if state:
            model.optimizer.build(model.trainable_variables)
            model.load_weights(self.folder / state["weights"])
            for variable, value in zip(_chance(model), state["chance"]):
                variable.assign(value)

    def _state(self) -> dict[str, Any] | None:
        path = self.folder and self.folder / "state.json"
        return read_json(path) if path and path.exists() else None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.history.append({name: float(value) for name, value in (logs or {}).items()})
        if self.monitor not in self.history[-1]:
            raise UserError(f"the recipe monitors {self.monitor!r}, but an epoch reports {', '.join(self.history[-1])}")
        model = self.model  # asking for it brings JAX's state into it, which all processes must do together
        if self.job.writes:
            with self.job.alone():
                self._write(model, epoch)
        if self._impatient():
            model.stop_training = True

    def _write(self, model: Any, epoch: int) -> None:
        if self.best_epoch == epoch:
            waiting = self.folder / "best.tmp.keras"
            model.save(waiting)
            os.replace(waiting, self.folder / "best.keras")
        weights = self.folder / f"epoch-{epoch + 1}.weights.h5"
        model.save_weights(weights)
        chance = [keras.ops.convert_to_numpy(state).tolist() for state in _chance(model)]
        write_json(self.folder / "state.json", {"weights": weights.name, "chance": chance, "history": self.history})
        (self.folder / f"epoch-{epoch}.weights.h5").unlink(missing_ok=True)

    def keep_best(self, model: Any) -> None:
        """Gives the model the weights of the best epoch."""
        model.set_weights(keras.saving.load_model(self.folder / "best.keras", compile=False).get_weights())

    def clean(self, folder: Path | None = None) -> None:
        """Removes what only an unfinished run needs; `folder` is where the run's folder is now."""
        for name in ("config.json", "state.json", "best*.keras", "epoch-*.weights.h5"):
            for path in (folder or self.folder).glob(name):
                path.unlink()


def _chance(model: Any) -> list[Any]:
    """The states that dropout draws from, which Keras does not save with the weights."""
    return [variable for variable in model.variables if variable.path.endswith("seed_generator_state")]


def fit(
    zoo: ZooModel,
    model: Any,
    data: Any,
    recipe: Mapping[str, Any],
    seed: int,
    folder: Path | None,
    verbose: Any = "auto",
    job: Job = ALONE,
) -> Keeper:
    """Trains, continuing what the folder holds, and leaves the best weights in the model (where several processes train,
    in the folder alone).

    Raises:
        UserError: NaN or infinity in the data or the loss, with its place.
    """
    recipe = {**DEFAULTS, **recipe}
    keeper = Keeper(folder, recipe["monitor"], recipe["patience"], job)
    keeper.recall()
    batches = data.training(recipe["batch_size"], seed, lambda: keeper.epoch)
    validation = data.held_out("validation", recipe["batch_size"])
    a_pass = int(batches.cardinality())
    with job.scope():
        compile_model(zoo, model, recipe, a_pass * recipe["epochs"] if a_pass > 0 else None)
        keeper.restore(model)
        counting = job.prepare(model)
    if not keeper.finished(recipe["epochs"]):
        try:
            model.fit(
                job.share(finite.checked(batches)),
                validation_data=job.share(finite.checked(validation)),
                epochs=recipe["epochs"],
                initial_epoch=len(keeper.history),
                callbacks=[*counting, finite.FiniteLoss(), keeper, *_watchers(zoo, model, folder, job)],
                verbose=verbose if job.writes else 0,
                shuffle=False,
            )
        except Exception as error:
            if finite.MARK not in str(error):
                raise
            train = data.epoch(recipe["batch_size"], seed, keeper.epoch).as_numpy_iterator()
            raise UserError(finite.sentence(train, validation.as_numpy_iterator(), keeper.epoch)) from error
    if job.processes == 1:
        keeper.keep_best(model)
    return keeper


def _watchers(zoo: ZooModel, model: Any, folder: Path | None, job: Job) -> list[Any]:
    board = [keras.callbacks.TensorBoard(folder / "tensorboard")] if job.processes == 1 else []
    return [*board, *(zoo.callbacks(model) if zoo.callbacks else [])]
