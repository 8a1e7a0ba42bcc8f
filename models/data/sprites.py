"""The pictures of the model `show`: a sheet of sprites, and random copies of each.

`sprites.png` is drawn by draw_sprites.py from the font Noto Color Emoji: SIL Open Font License 1.1,
sprites-licence.txt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from keras_gates.models.lazy import tf

SHEET = Path(__file__).with_name("sprites.png")
CELL = 24
ABOUT = {
    "name": "shows made of emoji sprites",
    "attribution": "Noto Color Emoji, Google Inc.; sprites redrawn at 24 × 24 pixels",
    "licence": "SIL Open Font License 1.1",
}
SPRITES = {
    "dog": ("dog",),
    "wolf": ("wolf",),
    "forest": ("bear", "fox", "deer", "squirrel", "evergreen", "tree", "owl", "mushroom"),
    "home": ("cat", "house", "goldfish", "sofa", "bed", "door", "chair", "hamster"),
    "neutral": (
        *("sun", "cloud", "moon", "star", "car", "ball", "clock"),
        *("plane", "balloon", "telephone", "bicycle", "music", "boat", "key"),
    ),
}


def sprites() -> dict[str, np.ndarray]:
    """Return group → sprites, float32 (sprites, CELL, CELL, 4): colour 0…255 times opacity, and opacity 0…1."""
    sheet = tf.io.decode_png(SHEET.read_bytes(), channels=4).numpy().astype("float32")
    cells = sheet.reshape(CELL, -1, CELL, 4).swapaxes(0, 1)
    opacity = cells[..., 3:] / 255
    cells = np.concatenate([cells[..., :3] * opacity, opacity], -1)
    ends = np.cumsum([len(group) for group in SPRITES.values()])[:-1]
    return dict(zip(SPRITES, np.split(cells, ends)))


def copies(sprite: np.ndarray, count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return random pictures of each sprite: uint8 (sprites · count, size, size, 3).

    Each is rotated by up to 20°, scaled by up to 15 %, shifted by up to 3 of 24 pixels, drawn on a pale background, with
    brightness ± 20 % and Gaussian noise with a standard deviation of 10 of 255.

    Args:
        sprite: (sprites, CELL, CELL, 4).
        count: pictures per sprite.
        size: of a picture, in pixels.
        rng: random generator.
    """
    cells = np.repeat(sprite, count, axis=0)
    n = len(cells)
    angle, scale = rng.uniform(-0.35, 0.35, n), rng.uniform(0.87, 1.15, n)
    a, b = np.cos(angle) / scale, np.sin(angle) / scale
    middle = (CELL - 1) / 2
    x, y = (middle + rng.uniform(-3, 3, n) for _ in range(2))
    zero = np.zeros(n)
    transforms = np.stack([a, -b, middle - a * x + b * y, b, a, middle - b * x - a * y, zero, zero], 1)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=cells,
        transforms=transforms.astype("float32"),
        output_shape=(CELL, CELL),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    background = rng.uniform(150, 255, (n, 1, 1, 3))
    pictures = moved[..., :3] + (1 - moved[..., 3:]) * background.astype("float32")
    return finish(tf.image.resize(pictures, (size, size), "area").numpy(), rng)


def finish(pictures: Any, rng: np.random.Generator) -> np.ndarray:
    """Return float pictures 0…255 (n, height, width, 3) with random brightness and noise, as uint8."""
    bright = rng.uniform(0.8, 1.2, (len(pictures), 1, 1, 1))
    noise = rng.normal(0, 10, pictures.shape)
    return np.clip(pictures * bright + noise, 0, 255).astype("uint8")
