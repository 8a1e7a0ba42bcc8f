"""digits: a handwritten digit, read as a sequence, row by row or pixel by pixel.

The picture is the sequence: each event is one row (or one pixel), and after the last one the LSTM's hidden state is classified.
Built in are the 1,797 digits of 8×8 pixels that scikit-learn ships; `--data tfds` is MNIST, 70,000 of 28×28.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import keras_gates
from keras_gates.models.data.pipeline import Data, from_arrays
from keras_gates.models.data.tfds import attribution, open_tfds, read
from keras_gates.models.gate_variants import gates
from keras_gates.models.lazy import keras, tf
from keras_gates.models.registry import UserError, ZooModel

PRESETS = {
    "rows": {
        "about": "one row per event: 8 or 28 events of as many pixels; two layers of 128",
        "build": {"units": 128, "layers": 2},
        "recipe_for": {"tfds": {"epochs": 12}},
    },
    "small": {
        "about": "the same with one layer of 96",
        "build": {"units": 96, "layers": 1},
        "recipe_for": {"tfds": {"epochs": 12}},
    },
    "nano": {
        "about": "the same for a microcontroller: one layer of 48",
        "build": {"units": 48, "layers": 1, "dropout": 0.1},
        "recipe_for": {"tfds": {"epochs": 12}},
    },
    "pixels": {
        "about": "one pixel per event, 64 or 784 events; the second layer reads the first at the end of each row",
        "build": {"units": 64, "layers": 2, "pixels": True},
        "recipe": {"learning_rate": 3e-3, "batch_size": 100},
        "recipe_for": {"tfds": {"epochs": 20}},
    },
}

RECIPE = {
    "epochs": 60,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "schedule": "cosine",
    "warmup": 0.05,
    "clipnorm": 1.0,
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy"],
    "monitor": "val_accuracy",
}

PUBLISHED = (
    {
        "figure": "MNIST pixel by pixel, test accuracy",
        "value": "98.9 %",
        "source": "Gu et al. 2022 (S4), table of sequential image classification, LSTM",
        "protocol": "784 steps of one pixel",
    },
    {
        "figure": "MNIST pixel by pixel, test accuracy",
        "value": "87.2 %",
        "source": "Bai et al. 2018, LSTM",
        "protocol": "784 steps of one pixel, about 70,000 parameters",
    },
)

TRIED = (
    "pixels: a single layer of 64 over all 784 time steps gave 32 % on the validation split after one epoch "
    "(100 s of processor time; 128 units take 290 s) and was not trained further. With a second layer that reads the "
    "first at the end of each row the gradient passes through 28 time steps instead of 784: 54 % after one epoch, 94.5 % after "
    "three, 98.4 % after eight.",
)


def build(
    height: int = 28,
    width: int = 28,
    classes: int = 10,
    units: int = 128,
    layers: int = 1,
    pixels: bool = False,
    dropout: float = 0.2,
    formulation: str = "standard",
    variant: str = "plain",
) -> Any:
    """Build the model: pictures (batch, height, width), 0…255, to probabilities (batch, classes).

    Args:
        height, width: of a picture.
        classes: number of classes.
        units: of each GateLSTM.
        layers: number of stacked GateLSTM.
        pixels: one pixel per event instead of one row. The first layer reads every pixel, the next ones the hidden state below
            at the end of each row, and the biases are initialised for memories as long as the picture (`start_with_span`).
        dropout: rate before the output layer.
        formulation: "standard" or "article".
        variant: of the gates: one of `keras_gates.models.gate_variants.VARIANTS`.

    Returns:
        A `keras.Model`, not compiled.
    """
    picture = keras.Input((height, width), name="picture")
    events = keras.layers.Rescaling(1 / 255, name="brightness")(picture)
    if pixels:
        events = keras.layers.Reshape((height * width, 1), name="pixels")(events)
    for layer in range(layers):
        last = layer == layers - 1
        chosen = {"formulation": formulation, **gates(variant, units, formulation)}
        memory = keras_gates.GateLSTM(units, return_sequences=not last, **chosen, name=f"memory_{layer + 1}")
        events = memory(events)
        if pixels:
            keras_gates.start_with_span(memory.cell, height * width if layer == 0 else height)
        if pixels and layer == 0 and not last:
            events = events[:, width - 1 :: width]
    stm = keras.layers.Dropout(dropout, name="dropout")(events)
    output = keras.layers.Dense(classes, activation="softmax", dtype="float32", name="digit")(stm)
    return keras.Model(picture, output, name="digits")


def data(source: str = "builtin", data_dir: str | None = None, seed: int = 0, augment: bool = True) -> Data:
    """Load scikit-learn's digits ("builtin": 1,297 / 200 / 300) or MNIST ("tfds": 55,000 / 5,000 / 10,000).

    Args:
        source: "builtin" or "tfds".
        data_dir: folder of the TFDS data sets.
        seed: unused: the data do not depend on it.
        augment: rotate, scale and shift the pictures slightly during training.

    Raises:
        UserError: another source, or the data cannot be loaded.
    """
    if source == "builtin":
        splits, about = _scikit_learn(), SCIKIT_LEARN
    elif source == "tfds":
        splits, about = _mnist(data_dir)
    else:
        raise UserError(f'digits reads "builtin" or "tfds", not {source!r}')
    height, width = splits[0][0].shape[1:]
    return from_arrays(
        *splits,
        labels=[str(digit) for digit in range(10)],
        build={"height": height, "width": width},
        augment_batch=_rotated_scaled_shifted if augment else None,
        show=lambda x, y: np.repeat(255 - np.asarray(x, "uint8")[..., None], 3, -1),
        **about,
    )


SCIKIT_LEARN = {
    "name": "scikit-learn digits",
    "attribution": "Alpaydin and Kaynak: Optical Recognition of Handwritten Digits. UCI repository, 1998",
    "licence": "CC BY 4.0",
    "split": "1,297 / 200 / 300, at random, the same for every seed",
}


def _scikit_learn() -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.datasets import load_digits  # takes a second: only where this data is used

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, y = digits.images[order].astype("float32") * (255 / 16), digits.target[order].astype("int32")
    return [(x[part], y[part]) for part in (slice(0, 1297), slice(1297, 1497), slice(1497, None))]


def _mnist(data_dir: str | None) -> tuple[list[tuple[np.ndarray, np.ndarray]], dict[str, str]]:
    builder = open_tfds("mnist", data_dir)
    splits = []
    for split in ("train[:55000]", "train[55000:]", "test"):
        examples = read(builder, split)
        splits.append((examples["image"][..., 0].astype("float32"), examples["label"].astype("int32")))
    about = {"name": "MNIST", "attribution": attribution(builder), "licence": "commonly quoted as CC BY-SA 3.0"}
    return splits, {
        **about,
        "split": "the first 55,000 and the last 5,000 of the training split; the official test split",
    }


def _rotated_scaled_shifted(x: Any, y: Any, seed: Any) -> tuple[Any, Any]:
    """A batch of pictures, each rotated by up to 10°, scaled by up to 10 % and shifted by up to 7 % of its size."""
    size = tf.cast(tf.shape(x)[1:], "float32")
    drawn = tf.random.stateless_uniform((4, tf.shape(x)[0]), seed, -1.0, 1.0)
    angle, scale = drawn[0] * 0.175, 1 + drawn[1] * 0.1
    shift = drawn[2:] * 0.07 * size[:, None]
    a, b = tf.cos(angle) * scale, tf.sin(angle) * scale
    middle_y, middle_x = (size[0] - 1) / 2, (size[1] - 1) / 2
    to_x = middle_x - a * middle_x + b * middle_y + shift[1]
    to_y = middle_y - b * middle_x - a * middle_y + shift[0]
    zero = tf.zeros_like(a)
    transforms = tf.stack([a, -b, to_x, b, a, to_y, zero, zero], axis=1)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=x[..., None],
        transforms=transforms,
        output_shape=tf.shape(x)[1:],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(moved[..., 0], x.shape), y


MODEL = ZooModel(
    name="digits",
    line="handwritten digits, read row by row or pixel by pixel",
    task="picture as a sequence",
    build=build,
    data=data,
    presets=PRESETS,
    recipe=RECIPE,
    builtin="1,797 digits of 8×8 pixels from scikit-learn",
    tfds=("mnist",),
    published=PUBLISHED,
    tried=TRIED,
)
