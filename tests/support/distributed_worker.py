"""One process of the trainings that test_distribution.py and benchmarks/scale.py start:

    KERAS_BACKEND=jax python tests/support/distributed_worker.py FOLDER KIND [HOSTS PROCESS_ID] [--kill-in EPOCH]

KIND is alone, mirrored or jax. Writes FOLDER/weights-PROCESS_ID.npz, the weights this process ends with. The gradients are
clipped, and the last batch of an epoch is a smaller one.
"""

import argparse
import os
import signal
from pathlib import Path

import keras
import numpy as np

from keras_gates import GateLSTM
from keras_gates.models.data.pipeline import from_arrays
from keras_gates.models.registry import ZooModel
from keras_gates.models.training import distribution, fitting

SHAPE, UNITS, EXAMPLES, EPOCHS = (12, 5), 8, 92, 4


def build():
    events = keras.Input(SHAPE)
    model = keras.Model(events, keras.layers.Dense(3, activation="softmax")(GateLSTM(UNITS)(events)))
    draw = np.random.default_rng(3)
    model.set_weights([0.3 * draw.normal(size=w.shape).astype("float32") for w in model.get_weights()])
    return model


def make_data(seed=0, **arguments):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(EXAMPLES, *SHAPE)).astype("float32")
    y = (x[:, :3, 0] @ [1.0, 2.0, -1.0] > 0).astype("int32") + (x[:, 5, 1] > 0.5)
    return from_arrays((x, y), (x[:32], y[:32]), (x[:32], y[:32]))


class Killer(keras.callbacks.Callback):
    """Ends the process by SIGKILL in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch, self.now = epoch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.now, batch) == (self.epoch, 2):
            os.kill(os.getpid(), signal.SIGKILL)


def kill_at_write(number):
    """Ends the process by SIGKILL where it would rename its `number`-th file."""
    rename, left = os.replace, [number]

    def replace(*names):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(*names)

    os.replace = replace


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("kind", choices=("alone", "mirrored", "jax"))
    parser.add_argument("hosts", nargs="?")
    parser.add_argument("process", nargs="?", type=int)
    parser.add_argument("--kill-in", type=int, help="die by SIGKILL after the third batch of this epoch")
    parser.add_argument("--kill-at-write", type=int, help="die by SIGKILL when this many files are to be renamed")
    parser.add_argument("--devices", type=int, default=2, help="of kind mirrored")
    parser.add_argument("--optimizer", default="adam")
    given = parser.parse_args()
    if given.kill_at_write:
        kill_at_write(given.kill_at_write)
    kind = None if given.kind == "alone" else given.kind
    job = distribution.start(kind, given.devices, given.hosts, given.process)
    recipe = {"epochs": EPOCHS, "batch_size": 16, "learning_rate": 0.01, "loss": "sparse_categorical_crossentropy"}
    recipe |= {"optimizer": given.optimizer, "momentum": 0.9, "clipnorm": 0.02}
    dies = [Killer(given.kill_in)] if given.kill_in is not None else []
    zoo = ZooModel(
        name="tiny",
        line="",
        task="",
        build=build,
        data=make_data,
        presets={},
        recipe=recipe,
        callbacks=lambda model: dies,
    )
    fitting.set_seed(0)
    with job.scope():
        model = build()
    try:
        fitting.fit(zoo, model, make_data(), recipe, 0, given.folder, 0, job)
        np.savez(given.folder / f"weights-{job.process}.npz", *model.get_weights())
        job.leave()
    except Exception as error:
        if job.processes == 1:
            raise
        job.lost(error, given.folder)


if __name__ == "__main__":
    main()
