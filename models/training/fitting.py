"""`model.fit`, reproducible and resumable: one random seed, an order of the data that follows from (seed, epoch), and a
saved state after each epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_gates._files import read_json, replace_file, write_json
from keras_gates.models.data.pipeline import SPLITS
from keras_gates.models.registry import UserError, ZooModel
from keras_gates.models.training import finite
from keras_gates.models.training.averaged import AveragedWeights
from keras_gates.models.training.clock import FirstStep
from keras_gates.models.training.distribution import ALONE, Job
from keras_gates.models.training.fresh_rows import FreshRows
from keras_gates.models.training.recipe import DEFAULTS, optimizer

STATE = "state.json"


def set_seed(seed: int) -> None:
    """Seed Python, NumPy, TensorFlow and Keras. With seed + 1, because after a global seed of 0 TensorFlow rejects a tensor
    as the seed of `Dataset.shuffle`, which the order of an epoch needs."""
    keras.utils.set_random_seed(seed + 1)


def compile_model(zoo: ZooModel, model: Any, recipe: Mapping[str, Any], steps: int | None) -> None:
    """Compile a model by its recipe.

    Args:
        zoo: the model's description; its own `compile` is used if it has one.
        model: the `keras.Model`.
        recipe: with every entry of `DEFAULTS`.
        steps: number of all training steps; None if it is not known.
    """
    if zoo.compile is not None:
        zoo.compile(model, recipe, steps)
    else:
        model.compile(optimizer(recipe, steps), loss=recipe["loss"], metrics=list(recipe["metrics"]))


class Keeper(keras.callbacks.Callback):
    """Saves the progress of a run, so that it can be interrupted at any time and resumed: the best model, the state after
    the last epoch, the history.

    Args:
        folder: of the run; `best.keras`, `state.json` and the weights that it names are written there. None in a process
            that takes part in a new run but does not write.
        monitor: the quantity that decides which epoch is best: the highest if its name ends in "accuracy" or "acc", else
            the lowest.
        patience: epochs without improvement before training stops; None never stops.
        job: which process of a distributed training this is; only one writes.
        whole: the model to save, if a part of it with the same weights is trained.
    """

    def __init__(
        self, folder: Path | None, monitor: str, patience: int | None, job: Job = ALONE, whole: Any = None
    ) -> None:
        super().__init__()
        self.whole = whole
        self.folder, self.monitor, self.patience, self.job = folder, monitor, patience, job
        self.history: list[dict[str, float]] = []
        self.epoch = 0
        self.first_step = FirstStep()

    @property
    def best_epoch(self) -> int:
        """Index of the best epoch; -1 before the first. Ties go to the lower validation loss, then to the earlier epoch."""
        values = [logs[self.monitor] for logs in self.history]
        sign = -1 if self.monitor.endswith(("accuracy", "acc")) else 1
        losses = [logs.get("val_loss", 0.0) for logs in self.history]
        return min(range(len(values)), key=lambda epoch: (sign * values[epoch], losses[epoch]), default=-1)

    def finished(self, epochs: int) -> bool:
        """Whether all `epochs` are done, or patience has run out."""
        return len(self.history) >= epochs or self._impatient()

    def _impatient(self) -> bool:
        return self.patience is not None and len(self.history) - 1 - self.best_epoch >= self.patience

    def load_history(self) -> None:
        """Load the history of the run in the folder; it stays empty if no epoch is finished."""
        state = read_state(self.folder)
        self.history = state["history"] if state else []

    def restore(self, model: Any) -> None:
        """Load the weights, optimizer state and random states that the run in the folder stopped with."""
        state = read_state(self.folder)
        if state and self.folder:
            model.optimizer.build(model.trainable_variables)
            model.load_weights(self.folder / state["weights"])
            for variable, value in zip(_random_states(model), state["chance"]):
                variable.assign(value)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remember the epoch, by which the data pipeline draws its order."""
        self.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save the epoch, and stop if patience has run out."""
        self.history.append({name: float(value) for name, value in (logs or {}).items()})
        if self.monitor not in self.history[-1]:
            raise UserError(f"the recipe monitors {self.monitor!r}, but an epoch reports {', '.join(self.history[-1])}")
        model = (
            self.model
        )  # on JAX the access copies the training state into the model, which all processes must do together
        if self.job.writes and self.folder is not None:
            with self.job.alone():
                self._write(self.folder, self.whole or model, epoch)
        if self._impatient():
            model.stop_training = True

    def _write(self, folder: Path, model: Any, epoch: int) -> None:
        if self.best_epoch == epoch:
            with replace_file(folder / "best.keras") as temporary:
                keras_file = temporary.with_suffix(".keras")  # Keras accepts no other suffix
                try:
                    model.save(keras_file)
                    keras_file.rename(temporary)
                finally:
                    keras_file.unlink(missing_ok=True)
        weights = folder / f"epoch-{epoch + 1}.weights.h5"
        model.save_weights(weights)
        # state.json is replaced at once and names the weights: a process killed before this line resumes an epoch earlier.
        states = [keras.ops.convert_to_numpy(state).tolist() for state in _random_states(model)]
        write_json(folder / STATE, {"weights": weights.name, "chance": states, "history": self.history})
        (folder / f"epoch-{epoch}.weights.h5").unlink(missing_ok=True)

    def load_best(self, model: Any) -> None:
        """Load the weights of the best epoch into the model."""
        if self.folder is not None:
            model.set_weights(keras.saving.load_model(self.folder / "best.keras", compile=False).get_weights())

    def clean(self, folder: Path) -> None:
        """Remove what only an unfinished run needs from its folder."""
        for pattern in ("config.json", STATE, "best*.keras", ".best.keras*", "epoch-*.weights.h5"):
            for path in folder.glob(pattern):
                path.unlink()


def read_state(folder: Path | None) -> dict[str, Any] | None:
    """Return what `Keeper` saved after the last epoch; None before the end of the first."""
    path = folder / STATE if folder else None
    return read_json(path) if path and path.exists() else None


def _random_states(model: Any) -> list[Any]:
    """The seed states of dropout and augmentation layers. `save_weights` leaves them out."""
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
    """Train a model, from where the run in the folder stopped.

    Args:
        zoo: the model's description.
        model: the `keras.Model`. It ends with the weights of the best epoch; if several processes train, only the folder
            holds them.
        data: a `keras_gates.models.data.pipeline.Data`.
        recipe: entries that replace those of `DEFAULTS`.
        seed: of the order of the data and of its augmentation.
        folder: of the run.
        verbose: as in `keras.Model.fit`.
        job: which process of a distributed training this is.

    Returns:
        The `Keeper`, with the history of all epochs.

    Raises:
        UserError: the data or the loss contain NaN or infinity.
    """
    recipe = {**DEFAULTS, **recipe}
    trained, data = _trainable(zoo, model, data)
    keeper = Keeper(folder, recipe["monitor"], recipe["patience"], job, whole=None if trained is model else model)
    keeper.load_history()
    batches = data.training(recipe["batch_size"], seed, lambda: keeper.epoch)
    validation = data.held_out("validation", recipe["batch_size"])
    steps_per_epoch = int(batches.cardinality())
    with job.scope():
        compile_model(zoo, trained, recipe, steps_per_epoch * recipe["epochs"] if steps_per_epoch > 0 else None)
        if trained is not model:
            model.optimizer = trained.optimizer  # it is saved with the whole model
        keeper.restore(model)
        corrections = job.prepare(trained)
    if not keeper.finished(recipe["epochs"]):
        try:
            trained.fit(
                job.share(finite.checked(batches)),
                validation_data=job.share(finite.checked(validation)),
                epochs=recipe["epochs"],
                initial_epoch=len(keeper.history),
                callbacks=[
                    *corrections,
                    finite.FiniteLoss(),
                    *([AveragedWeights(resumed=bool(keeper.history))] if recipe["average"] else []),
                    keeper,
                    keeper.first_step,
                    *([FreshRows(recipe["fresh_rows"])] if recipe["fresh_rows"] else []),
                    *_callbacks(zoo, trained, folder, job),
                ],
                verbose=verbose if job.writes else 0,
                shuffle=False,
                class_weight=data.class_weights,
            )
        except Exception as error:
            if finite.MARK not in str(error):
                raise
            train = data.epoch(recipe["batch_size"], seed, keeper.epoch).as_numpy_iterator()
            raise UserError(finite.explain(train, validation.as_numpy_iterator(), keeper.epoch)) from error
    if job.processes == 1:
        keeper.load_best(model)
    return keeper


def _trainable(zoo: ZooModel, model: Any, data: Any) -> tuple[Any, Any]:
    """The part of the model that the backend can train, and its data: of a model that reads strings the rest, because only
    TensorFlow has strings."""
    if zoo.numeric is None or keras.backend.backend() == "tensorflow":
        return model, data
    part, prepare = zoo.numeric(model)

    def prepared(x: Any, *rest: Any) -> tuple:
        return (prepare(x), *rest)

    return part, dataclasses.replace(data, **{split: getattr(data, split).map(prepared) for split in SPLITS})


def _callbacks(zoo: ZooModel, model: Any, folder: Path | None, job: Job) -> list[Any]:
    board = [keras.callbacks.TensorBoard(folder / "tensorboard")] if job.processes == 1 and folder else []
    return [*board, *(zoo.callbacks(model) if zoo.callbacks else [])]
