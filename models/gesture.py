"""gesture: which movement a sensor measured.

Built in are five generated hand gestures; `--data tfds` is smartwatch_gestures (20 gestures of 8 people), and `--data PATH` your
own sensor data: a CSV file with a column `label`, or a folder with one sub-folder of CSV files per label:

    python train.py gesture --data movements.csv    # time,x,y,z,label
"""

from __future__ import annotations

from typing import Any

import numpy as np

import keras_gates
from keras_gates.models.data import sensors
from keras_gates.models.data.pipeline import Data, from_arrays
from keras_gates.models.lazy import keras, tf
from keras_gates.models.registry import UserError, ZooModel

PRESETS = {
    "base": {"about": "two layers of 96", "build": {"units": 96, "layers": 2}},
    "small": {"about": "one layer of 64", "build": {"units": 64, "layers": 1, "dropout": 0.2}},
    "nano": {"about": "for a microcontroller", "build": {"units": 48, "layers": 1, "dropout": 0.1}},
}

RECIPE = {
    "epochs": 40,
    "batch_size": 64,
    "learning_rate": 4e-3,
    "schedule": "cosine",
    "warmup": 0.03,
    "clipnorm": 1.0,
    "weight_decay": 1e-3,
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy"],
    "monitor": "val_accuracy",
}


def build(
    steps: int = 51,
    channels: int = 3,
    classes: int = 20,
    mean: Any = None,
    variance: Any = None,
    units: int = 96,
    layers: int = 2,
    dropout: float = 0.4,
    formulation: str = "standard",
) -> Any:
    """Build the model: sensor values (batch, steps, channels), padded with zeros at the start, to probabilities (batch,
    classes).

    Args:
        steps: time steps per recording.
        channels: of the sensor.
        classes: number of movements.
        mean, variance: of each channel, in the sensor's units; None is 0 and 1.
        units: of each GateLSTM.
        layers: number of stacked GateLSTM.
        dropout: rate between the layers and before the output layer.
        formulation: "standard" or "article".

    Returns:
        A `keras.Model`, not compiled.
    """
    movement = keras.Input((steps, channels), name="movement")
    events = keras.layers.Normalization(
        mean=mean if mean is not None else [0.0] * channels,
        variance=variance if variance is not None else [1.0] * channels,
        name="scale",
    )(movement)
    for layer in range(layers):
        last = layer == layers - 1
        memory = keras_gates.GateLSTM(
            units, return_sequences=not last, formulation=formulation, name=f"memory_{layer + 1}"
        )
        events = memory(events)
        events = keras.layers.Dropout(dropout, name=f"dropout_{layer + 1}")(events)
    output = keras.layers.Dense(classes, activation="softmax", dtype="float32", name="which")(events)
    return keras.Model(movement, output, name="gesture")


def data(
    source: str = "builtin",
    data_dir: str | None = None,
    seed: int = 0,
    participant: int | None = None,
    steps: int | None = None,
) -> Data:
    """Load generated gestures ("builtin"), smartwatch_gestures ("tfds"), or the user's CSV file or folder of CSV files.

    Args:
        source: "builtin", "tfds", or a path.
        data_dir: folder of the TFDS data sets.
        seed: of the generated gestures.
        participant: of smartwatch_gestures, 1–8, whose attempts are the test split; None splits all attempts at random.
        steps: rows per recording; None is the longest training recording, at most 500. In a single CSV file without a column
            `recording`, 50.

    Raises:
        UserError: a value is out of range, or the data cannot be read.
    """
    if steps is not None and steps < 2:
        raise UserError(f"steps must be at least 2, not {steps}")
    if source == "builtin":
        movements = sensors.drawn_gestures(seed)
    elif source == "tfds":
        movements = sensors.smartwatch_gestures(data_dir, participant)
    else:
        movements = sensors.csv_recordings(source, steps or 50)
    steps = steps or min(500, max(len(recording) for recording in movements.train[0]))
    values = np.concatenate(movements.train[0]).astype("float64")  # float32 sums drift after a million rows
    return from_arrays(
        *((sensors.padded(recordings, steps), classes) for recordings, classes in movements.splits()),
        labels=movements.labels,
        build={
            "steps": steps,
            "channels": len(movements.channels),
            "classes": len(movements.labels),
            "mean": values.mean(0).tolist(),
            "variance": np.maximum(values.var(0), 1e-6).tolist(),
        },
        augment_batch=_augmented,
        show=lambda x, y: f"{np.any(x != 0, -1).sum()} steps of {', '.join(movements.channels)}",
        **movements.about,
    )


def _augmented(x: Any, y: Any, seed: Any) -> tuple[Any, Any]:
    """A batch of movements with random speed (± 25 %, varying over time) and strength (± 20 %); three channels are also
    rotated by about 15°, as if the sensor were mounted differently."""
    count, steps, channels = tf.shape(x)[0], tf.shape(x)[1], x.shape[2]
    drawn = tf.random.stateless_uniform((3, count, 1), seed, -1.0, 1.0)
    present = tf.cast(tf.reduce_any(x != 0, axis=-1), "int32")
    length = tf.cast(tf.reduce_max(present * (steps - tf.range(steps)), axis=1, keepdims=True), "float32")
    new = tf.clip_by_value(tf.round(length * tf.exp(0.25 * drawn[0])), 2.0, tf.cast(steps, "float32"))
    back = tf.range(tf.cast(steps, "float32"))[None, ::-1]
    share = back / (new - 1)
    source = tf.cast(steps - 1, "float32") - (share + 0.12 * drawn[1] * tf.sin(np.pi * share)) * (length - 1)
    before = tf.clip_by_value(tf.cast(tf.floor(source), "int32"), 0, steps - 2)
    part = (source - tf.cast(before, "float32"))[:, :, None]
    moved = tf.gather(x, before, batch_dims=1) * (1 - part) + tf.gather(x, before + 1, batch_dims=1) * part
    moved *= tf.exp(0.2 * drawn[2])[:, :, None]
    if channels == 3:
        moved = moved @ _rotations(tf.random.stateless_normal((count, 3), seed + 1) * 0.2)
    return tf.where((back < new)[:, :, None], moved, 0.0), y


def _rotations(turns: Any) -> Any:
    """Rotation matrices (batch, 3, 3) of rotation vectors (batch, 3), in radians: the matrix exponential of the cross
    product."""
    x, y, z = tf.unstack(turns, axis=1)
    zero = tf.zeros_like(x)
    cross = tf.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1)
    return tf.linalg.expm(tf.reshape(cross, (-1, 3, 3)))


MODEL = ZooModel(
    name="gesture",
    line="which movement a sensor measured",
    task="motion sensors",
    build=build,
    data=data,
    presets=PRESETS,
    recipe=RECIPE,
    builtin="500 generated gestures, five classes",
    tfds=("smartwatch_gestures",),
    files="a CSV file with a column label, or a folder with one sub-folder of CSV files per label",
)
