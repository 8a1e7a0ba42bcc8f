"""Simple models for sequences of numbers: a small 1-D convolutional network and, if aeon is installed, MiniRocket."""

from __future__ import annotations

import importlib
import importlib.util
import time
import warnings
from typing import Any

import keras
import numpy as np

from keras_gates.edge.frontends import LogMel

MOST_STEPS = 1000  # of longer sequences neighbouring steps are averaged
FILTERS = 32
EPOCHS, PATIENCE = 40, 6
MINIROCKET_STEPS = 9  # it needs at least so many


def sequences(x: np.ndarray, data: Any) -> Any:
    """Return (examples, time, channels), float32: of sound its log-mel bands, of sensor values the standardized channels, of
    pictures their rows; None for other shapes.

    Args:
        x: a batch of inputs.
        data: the `Data` that they are from.
    """
    x = np.asarray(x)
    if rate := data.build.get("sample_rate"):
        hop = rate * 2 // 125
        mel = LogMel(rate, 2 * hop, hop, 40)
        return np.stack([mel(sound) for sound in x.astype("float32")])
    if x.ndim != 3 or x.dtype == object:
        return None
    if "mean" in data.build and "channels" in data.build:
        x = (x - data.build["mean"]) / np.sqrt(data.build["variance"])
    x = x.astype("float32")
    if x.shape[1] > MOST_STEPS:
        each = -(-x.shape[1] // MOST_STEPS)
        x = x[:, x.shape[1] % each :].reshape(len(x), -1, each, x.shape[2]).mean(2)
    return x


def convolutional(
    x: np.ndarray, classes: np.ndarray, held_out: tuple[np.ndarray, np.ndarray], new: np.ndarray, seconds: float
) -> np.ndarray:
    """Return the classes that a 1-D convolutional network of two layers predicts. Training stops after `seconds`, or when the
    validation loss does not fall any more.

    Args:
        x: (examples, time, channels), to fit.
        classes: of these examples.
        held_out: the same two of the validation part.
        new: examples to predict.
        seconds: time limit of the training.
    """
    keras.utils.set_random_seed(0)
    layers = keras.layers
    sequence = keras.Input(x.shape[1:])
    events = layers.Normalization(mean=x.mean((0, 1)), variance=x.var((0, 1)) + 1e-6)(sequence)
    for filters in (FILTERS, 2 * FILTERS):
        events = layers.Conv1D(filters, 5, padding="same", activation="relu")(events)
        events = layers.BatchNormalization()(events)
        events = layers.MaxPooling1D(2, padding="same")(events)
    summary = layers.Concatenate()([layers.GlobalAveragePooling1D()(events), layers.GlobalMaxPooling1D()(events)])
    output = layers.Dense(int(classes.max()) + 1, activation="softmax")(layers.Dropout(0.3)(summary))
    model = keras.Model(sequence, output)
    # Compiling with XLA would take longer than the training.
    model.compile(
        keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", steps_per_execution=4, jit_compile=False
    )
    model.fit(
        x, classes, batch_size=32, epochs=EPOCHS, validation_data=held_out, verbose=0,
        callbacks=[keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True), _TimeLimit(seconds)],
    )  # fmt: skip
    return model.predict(new, batch_size=256, verbose=0).argmax(-1)


class _TimeLimit(keras.callbacks.Callback):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.end = time.monotonic() + seconds

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if time.monotonic() > self.end:
            self.model.stop_training = True


def has_minirocket(steps: int) -> bool:
    """Return whether MiniRocket can be used: aeon is installed (`pip install "keras-gates[minirocket]"`), and the sequences are
    long enough.

    Args:
        steps: time steps per example.
    """
    return steps >= MINIROCKET_STEPS and importlib.util.find_spec("aeon") is not None


def minirocket(x: np.ndarray, classes: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the classes that ridge regression on the features of aeon's MiniRocket predicts (Dempster et al. 2021).

    Args:
        x: (examples, time, channels), to fit.
        classes: of these examples.
        new: examples to predict.
    """
    aeon = importlib.import_module("aeon.classification.convolution_based")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = aeon.MiniRocketClassifier(random_state=0)
        return model.fit(x.transpose(0, 2, 1), classes).predict(new.transpose(0, 2, 1))
