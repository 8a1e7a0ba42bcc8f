"""digits: a handwritten digit, read as a sequence, row by row or pixel by pixel.

The picture is the sequence: the LSTM sees one row (or one pixel) an event and says after the last one which digit it
was. Built in are the 1,797 digits of 8×8 pixels that scikit-learn ships; `--data tfds` is MNIST, 70,000 of 28×28.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras_gates.models.registry import UserError, ZooModel

PRESETS = {
    "rows": {
        "about": "a row an event: 8 or 28 events of as many pixels",
        "build": {"units": 128, "layers": 2},
        "recipe_for": {"tfds": {"epochs": 12}},
    },
    "small": {
        "about": "the same in one layer of 96",
        "build": {"units": 96, "layers": 1},
        "recipe_for": {"tfds": {"epochs": 12}},
    },
    "nano": {
        "about": "the same for a microcontroller: one layer of 48",
        "build": {"units": 48, "layers": 1, "dropout": 0.1},
        "recipe_for": {"tfds": {"epochs": 12}},
    },
    "pixels": {
        "about": "a pixel an event, 64 or 784 events of one number; a second layer hears the first at the end of each row",
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
    "pixels: one layer of 64 that must carry all 784 steps itself gave 32 % on the validation split after one epoch "
    "(100 s of processor time; 128 units take 290 s) and was not trained further. With a second layer that hears the "
    "first at the end of each row the gradient has 28 steps to go instead of 784: 54 % after one epoch, 94.5 % after "
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
    """Pictures (batch, height, width), 0…255, to probabilities (batch, classes).

    Args:
        height, width: of a picture.
        classes: how many digits there are.
        units: of each GateLSTM.
        layers: how many GateLSTM stand on each other.
        pixels: one pixel an event instead of one row. The first layer then hears every pixel, one of several layers
            what the one below says at the end of a row, and each memory starts with a span of the whole picture.
        dropout: of the last STM, before the answer.
        formulation: "standard" or "article".
        variant: of the gates: one of `keras_gates.models.gate_variants.VARIANTS`.
    """
    import keras
    from keras_gates.models.gate_variants import gates

    from keras_gates import GateLSTM, start_with_span

    picture = keras.Input((height, width), name="picture")
    events = keras.layers.Rescaling(1 / 255, name="brightness")(picture)
    if pixels:
        events = keras.layers.Reshape((height * width, 1), name="pixels")(events)
    for layer in range(layers):
        last = layer == layers - 1
        chosen = {"formulation": formulation, **gates(variant, units, formulation)}
        memory = GateLSTM(units, return_sequences=not last, **chosen, name=f"memory_{layer + 1}")
        events = memory(events)
        if pixels:
            start_with_span(memory.cell, height * width if layer == 0 else height)
        if pixels and layer == 0 and not last:
            events = events[:, width - 1 :: width]
    stm = keras.layers.Dropout(dropout, name="dropout")(events)
    answer = keras.layers.Dense(classes, activation="softmax", dtype="float32", name="digit")(stm)
    return keras.Model(picture, answer, name="digits")


def data(source: str = "builtin", data_dir: str | None = None, seed: int = 0, augment: bool = True) -> Any:
    """scikit-learn's digits ("builtin": 1,297 / 200 / 300) or MNIST ("tfds": 55,000 / 5,000 / 10,000).

    Args:
        augment: while training, turn, scale and shift the pictures a little.
    """
    from keras_gates.models.data.pipeline import from_arrays

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
        augment_batch=_moved if augment else None,
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
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, y = digits.images[order].astype("float32") * (255 / 16), digits.target[order].astype("int32")
    return [(x[part], y[part]) for part in (slice(0, 1297), slice(1297, 1497), slice(1497, None))]


def _mnist(data_dir: str | None) -> tuple[list[tuple[np.ndarray, np.ndarray]], dict[str, str]]:
    from keras_gates.models.data.tfds import attribution, open_tfds, read

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


def _moved(x: Any, y: Any, seed: Any) -> tuple[Any, Any]:
    """A batch of pictures, each turned by up to 10°, scaled by up to 10 % and shifted by up to 7 % of its size."""
    import tensorflow as tf

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
