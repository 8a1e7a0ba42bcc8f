"""gesture: which movement a sensor measured.

Built in are five generated hand gestures; `--data tfds` is smartwatch_gestures (20 gestures of 8 people), and `--data PATH` your
own sensor data: a CSV file with a column `label`, or a folder with one sub-folder of CSV files per label:

    python train.py gesture --data movements.csv    # time,x,y,z,label
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import keras_gates
from keras_gates.edge.recordings import padded
from keras_gates.edge.tables import SUFFIXES
from keras_gates.models.data import large, sensors
from keras_gates.models.data.intervals import long_recordings
from keras_gates.models.data.pipeline import Data, class_weights, from_arrays
from keras_gates.models.front_end_split import without_front_end
from keras_gates.models.lazy import keras, tf
from keras_gates.models.registry import DeviceModel, UserError, ZooModel

PRESETS = {
    "base": {"about": "two layers of 96", "build": {"units": 96, "layers": 2}},
    "small": {"about": "one layer of 64", "build": {"units": 64, "layers": 1, "dropout": 0.2}},
    "nano": {"about": "for a microcontroller", "build": {"units": 48, "layers": 1, "dropout": 0.1}},
}

AUGMENTATIONS = ("speed", "strength", "noise", "rotation")
NOISE = 0.05  # standard deviations

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

TRIED = (
    "Nano with a convolution over 5 steps in front of the memory (24 filters, 40 units, smoothed labels, 60 epochs; 11,700 "
    "weights): 98.9, 98.6 and 99.1 % (three seeds), as without one.",
)


def build(
    steps: int = 51,
    channels: int = 3,
    classes: int = 20,
    mean: Any = None,
    variance: Any = None,
    units: int = 96,
    layers: int = 2,
    dropout: float = 0.4,
    filters: int = 0,
    formulation: str = "standard",
) -> Any:
    """Build the model: sensor values (batch, steps, channels), padded at the start, to probabilities (batch,
    classes).

    Args:
        steps: time steps per recording.
        channels: of the sensor.
        classes: number of movements.
        mean, variance: of each channel, in the sensor's units; None is 0 and 1.
        units: of each GateLSTM.
        layers: number of stacked GateLSTM.
        dropout: rate between the layers and before the output layer.
        filters: of a one-dimensional convolution over 5 time steps in front of the memory; 0 is none.
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
    if filters:
        events = keras.layers.Conv1D(filters, min(5, steps), activation="relu", name="convolution")(events)
        events = keras.layers.BatchNormalization(name="convolution_scale")(events)
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
    vector: str | Sequence[str] = (),
    augment: bool | str | Sequence[str] = True,
    group: str | None = None,
    split: str = "random",
    wide: bool = False,
    stride: int | None = None,
    background: str = "background",
) -> Data:
    """Load generated gestures ("builtin"), smartwatch_gestures ("tfds"), or the user's table or folder of tables.

    Args:
        source: "builtin", "tfds", or a path.
        data_dir: folder of the TFDS data sets.
        seed: of the generated gestures.
        participant: of smartwatch_gestures, 1–8, whose attempts are the test split; None splits all attempts at random.
        steps: rows per recording; None is the longest training recording, at most 500. In a single table without a column
            `recording`, 50.
        vector: three channels that are one vector in space, e.g. "x,y,z" of an accelerometer; they are augmented by rotation.
        augment: which of "speed", "strength", "noise" and "rotation" vary in training; True is all, False none.
        group: column of the user's table of which no value is in two parts, e.g. a person.
        split: of the user's data, "random" or "time".
        wide: whether each row of the user's table is a recording.
        stride: rows between the starts of two windows of a long recording; None is half of a window where intervals are
            labelled, else no overlap.
        background: label of windows of a long recording without a labelled interval; "" leaves them out.

    Raises:
        UserError: a value is out of range, or the data cannot be read.
    """
    if steps is not None and (not isinstance(steps, int) or steps < 2):
        raise UserError(f"steps must be at least 2, not {steps}")
    if stride is not None and (not isinstance(stride, int) or stride < 1):
        raise UserError(f"stride must be a whole number of rows above 0, not {stride!r}")
    kinds = AUGMENTATIONS if augment is True else _names(augment or ())
    if unknown := sorted(set(kinds) - set(AUGMENTATIONS)):
        raise UserError(f"augment must be True, False or some of {', '.join(AUGMENTATIONS)}; got {unknown[0]!r}")
    own = source not in ("builtin", "tfds")
    if source == "builtin":
        movements = sensors.drawn_gestures(seed)
    elif source == "tfds":
        movements = sensors.smartwatch_gestures(data_dir, participant)
    elif long_recordings(source, SUFFIXES):
        movements = sensors.long_recordings_of(source, steps or 50, stride, background or "", group, split)
    else:
        movements = sensors.csv_recordings(source, steps or 50, group, split, wide, stride)
    steps = steps or min(500, max(len(recording) for recording in movements.train[0]))
    mean, variance = _statistics(movements.train[0])
    axes = _names(vector) if own else movements.channels
    if own and axes and (len(axes) != 3 or not set(axes) <= set(movements.channels)):
        raise UserError(
            f"vector must name three of the channels {', '.join(movements.channels)}, as in vector=x,y,z; got {', '.join(axes)}"
        )
    # Padding of the user's data is the mean, 0 after standardization: among 101,325 Pa a zero would be a huge signal. The zoo's
    # own weights were trained with zeros.
    fill = mean.astype("float32") if own else np.zeros(len(mean), "float32")
    noisy = NOISE if own else 0.0
    return from_arrays(
        *((_padded(recordings, steps, fill), classes) for recordings, classes in movements.splits()),
        labels=movements.labels,
        build={
            "steps": steps,
            "channels": len(movements.channels),
            "classes": len(movements.labels),
            "mean": mean.tolist(),
            "variance": variance.tolist(),
        },
        augment_batch=_augmentation(
            mean, variance, fill, [movements.channels.index(axis) for axis in axes], kinds, noisy
        )
        if kinds
        else None,
        show=lambda x, y: f"{np.any(x != fill, -1).sum()} steps of {', '.join(movements.channels)}",
        notes=movements.notes,
        table={
            "kind": "recordings",
            "columns": list(movements.channels),
            "steps": steps,
            "besides": [group] if group else [],
        },
        class_weights=class_weights(movements.train[1]) if own else None,
        **movements.about,
    )


def device(model: Any, precision: str = "float32") -> DeviceModel:
    """Return the part after standardization, because one quantization scale for all channels would round away the small ones
    among pressures in Pa. `keras_gates.edge` standardizes, cuts and pads as the file's metadata describe.

    Args:
        model: a model of `build`.
        precision: of the .tflite file.
    """
    scale = model.get_layer("scale")
    mean, deviation = (np.array(statistic).reshape(-1) for statistic in (scale.mean, np.sqrt(scale.variance)))
    frontend = {
        "kind": "scale", "mean": mean.tolist(), "deviation": deviation.tolist(), "longest": model.input_shape[1]
    }  # fmt: skip
    core = without_front_end(model, "scale", "movement")
    return DeviceModel(core, lambda movement: np.array(scale(movement)), {"frontend": frontend})


def _names(words: Any) -> list[str]:
    return [word.strip() for word in words.split(",")] if isinstance(words, str) else [str(word) for word in words]


def _padded(recordings: Sequence[np.ndarray], steps: int, fill: np.ndarray) -> np.ndarray:
    shape = (len(recordings), steps, recordings[0].shape[1])
    on_disk = large.on_disk(shape, "float32") if isinstance(recordings[0], np.memmap) else None
    return padded(recordings, steps, fill, on_disk)


def _statistics(recordings: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each channel, float64; the variance of a constant channel is 1."""
    if isinstance(recordings[0], np.memmap):
        count = sum(len(recording) for recording in recordings)
        mean = np.sum([np.asarray(recording).sum(0) for recording in recordings], 0) / count
        variance = np.sum([np.square(np.asarray(recording) - mean).sum(0) for recording in recordings], 0) / count
        largest = np.max([np.abs(np.asarray(recording)).max(0) for recording in recordings], 0)
    else:
        values = np.concatenate(recordings).astype("float64")  # float32 sums drift after a million rows
        mean, variance, largest = values.mean(0), values.var(0), np.abs(values).max(0)
    return mean, np.where(np.sqrt(variance) <= 1e-7 * largest, 1.0, variance)


def _augmentation(
    mean: np.ndarray, variance: np.ndarray, fill: np.ndarray, axes: Sequence[int], kinds: Sequence[str], noise: float
) -> Any:
    """Return (x, y, seed) → (x, y) for batches of movements: random speed (± 25 %, varying over time) and strength (± 20 %,
    around the mean), noise; three channels that are a vector vary in strength around 0 and are rotated by about 15°, as if the
    sensor were mounted differently.

    Args:
        mean, variance: of each channel.
        fill: what padding consists of, per channel.
        axes: indices of the channels that are a vector.
        kinds: which of `AUGMENTATIONS` to apply.
        noise: its standard deviation, in standard deviations of each channel.
    """
    centre = np.where(np.isin(np.arange(len(mean)), axes), 0.0, mean).astype("float32")
    others = np.setdiff1d(np.arange(len(mean)), axes)
    back_in_order = np.argsort(np.concatenate([np.asarray(axes, int), others]))
    deviation = np.sqrt(variance).astype("float32")

    def augmented(x: Any, y: Any, seed: Any) -> tuple[Any, Any]:
        count, steps = tf.shape(x)[0], tf.shape(x)[1]
        drawn = tf.random.stateless_uniform((3, count, 1), seed, -1.0, 1.0)
        if "speed" not in kinds:
            drawn *= [[[0.0]], [[0.0]], [[1.0]]]
        present = tf.cast(tf.reduce_any(x != fill, axis=-1), "int32")
        length = tf.cast(tf.reduce_max(present * (steps - tf.range(steps)), axis=1, keepdims=True), "float32")
        new = tf.clip_by_value(tf.round(length * tf.exp(0.25 * drawn[0])), 2.0, tf.cast(steps, "float32"))
        back = tf.range(tf.cast(steps, "float32"))[None, ::-1]
        share = back / (new - 1)
        source = tf.cast(steps - 1, "float32") - (share + 0.12 * drawn[1] * tf.sin(np.pi * share)) * (length - 1)
        before = tf.clip_by_value(tf.cast(tf.floor(source), "int32"), 0, steps - 2)
        part = (source - tf.cast(before, "float32"))[:, :, None]
        moved = tf.gather(x, before, batch_dims=1) * (1 - part) + tf.gather(x, before + 1, batch_dims=1) * part
        if "strength" in kinds:
            moved = (moved - centre) * tf.exp(0.2 * drawn[2])[:, :, None] + centre
        if len(axes) == 3 and "rotation" in kinds:
            turned = tf.gather(moved, axes, axis=2) @ _rotations(tf.random.stateless_normal((count, 3), seed + 1) * 0.2)
            moved = tf.gather(tf.concat([turned, tf.gather(moved, others, axis=2)], 2), back_in_order, axis=2)
        if noise and "noise" in kinds:
            moved += tf.random.stateless_normal(tf.shape(moved), seed + 2) * (noise * deviation)
        return tf.where((back < new)[:, :, None], moved, fill), y

    return augmented


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
    files="a CSV file with a column label, a folder with one sub-folder of CSV files per label, or long recordings with labelled "
    "intervals",
    tried=TRIED,
    device=device,
)
