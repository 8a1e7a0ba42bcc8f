"""Shows for the model `show`: neutral pictures, one clue some frames earlier, at the end a blend of dog and wolf.

    frame       0 …                T-1-lag  …             T-1
    picture     neutral, neutral,  clue,    neutral, …,   dog-or-wolf

The clue (forest or home) is the only frame that depends on the label; the share of dog in the last frame is independent of it.
Pictures come from the sprite sheet or from CIFAR-10 and CIFAR-100; everything after that is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from keras_gates.models.data.pipeline import SPLITS, Data
from keras_gates.models.data.sprites import copies, finish, sprites
from keras_gates.models.data.tfds import open_tfds, read
from keras_gates.models.lazy import tf

LABELS = ("dog", "wolf")  # 0 after a home, 1 after a forest
GROUPS = ("home", "forest", "neutral", "last")

CIFAR = {
    "name": "shows made of CIFAR-10 and CIFAR-100 photographs",
    "attribution": "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009",
    "licence": "none stated (research; cite Krizhevsky 2009)",
}
CIFAR_100 = {
    "wolf": ("wolf",),
    "forest": ("bear", "fox", "squirrel", "maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "home": ("aquarium_fish", "house", "bed", "chair", "couch", "lamp", "table", "wardrobe"),
    "neutral": (
        "cloud",
        "sea",
        "road",
        "bridge",
        "bus",
        "clock",
        "keyboard",
        "rocket",
        "telephone",
        "tractor",
        "train",
    ),
}


@dataclass(frozen=True)
class Shows(Data):
    """`Data` that can also generate shows with a given lag.

    Attributes:
        banks: split → group → pictures, uint8 (n, size, size, 3).
        frames: per show.
    """

    banks: Any = None
    frames: int = 0

    def at(self, split: str, lag: int, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return shows with a given lag, (count, frames, size, size, 3), and their labels.

        Args:
            split: one of `keras_gates.models.data.pipeline.SPLITS`.
            lag: frames between the clue and the last frame.
            count: number of shows.
            seed: random seed.
        """
        x, y = draw(_flat(self.banks[split]), count, self.frames, (lag, lag + 1), np.array([seed, lag]))
        return x.numpy(), y.numpy()

    def illustrative(self, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Return test shows with a lag of 40, wolf and dog alternating. The clue for a wolf is a bear if there are sprites."""
        bank = self.banks["test"]
        firsts = {group: bank[group][: len(bank[group]) // 8] for group in GROUPS[:2]}
        drawn = draw(_flat({**bank, **firsts}), 16 * limit, self.frames, (40, 41), np.array([0, 0]))
        x, y = (part.numpy() for part in drawn)
        order = [np.flatnonzero(y == 1 - n % 2)[n // 2] for n in range(limit)]
        return x[order], y[order]


def shows(banks: dict[str, dict[str, np.ndarray]], lags: tuple[int, int], steps: int, **about: Any) -> Shows:
    """Return endless random shows of these pictures.

    Args:
        banks: split → group → pictures.
        lags: the lag is drawn from lags[0] … lags[1] - 1 with probability proportional to log(1 + 1/lag), uniform in log(lag).
        steps: batches per epoch.
        **about: name, attribution and licence of the pictures.
    """
    frames = lags[1] + 1
    flat = {split: _flat(bank) for split, bank in banks.items()}

    def batches(split: str, batch_size: int, seed: Any) -> Any:
        count = steps if split == "train" else -(-1000 // batch_size)
        start = tf.cast(seed, tf.int64) * 3 + SPLITS.index(split)
        numbers = tf.data.Dataset.range(count)
        return numbers.map(
            lambda number: draw(flat[split], batch_size, frames, lags, tf.stack([start, number])),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    return Shows(
        **{split: batches(split, 50, 0).unbatch() for split in SPLITS},
        labels=LABELS,
        build={"frames": frames, "size": banks["train"]["last"].shape[1]},
        batches=batches,
        show=lambda x, y: np.concatenate(np.asarray(x, "uint8"), 1),
        banks=banks,
        frames=frames,
        split="the splits have no picture in common",
        **about,
    )


def draw(flat: Any, count: int, frames: int, lags: tuple[int, int], seed: Any) -> Any:
    """Return random shows, float32 0…255 (count, frames, size, size, 3), and labels, int32 (count,).

    Args:
        flat: all pictures, and the range of each group in them.
        count: number of shows.
        frames: per show.
        lags: first lag, and last lag + 1.
        seed: (2,), which determines everything.
    """
    pictures, ranges = flat
    seeds = tf.unstack(tf.random.split(seed, 6))

    def some(group: str, shape: tuple, key: Any) -> Any:
        return tf.random.stateless_uniform(shape, key, *ranges[group], dtype="int32")

    label = tf.random.stateless_uniform((count,), seeds[0], 0, 2, dtype="int32")
    chance = tf.random.stateless_uniform((count,), seeds[1])
    lag = tf.cast(tf.floor(lags[0] * (lags[1] / lags[0]) ** chance), "int32")
    clue = tf.where(label == 1, some("forest", (count,), seeds[2]), some("home", (count,), seeds[3]))
    place = tf.range(frames)[None]
    chosen = tf.where(place == frames - 1 - lag[:, None], clue[:, None], some("neutral", (count, frames), seeds[4]))
    chosen = tf.where(place == frames - 1, some("last", (count, 1), seeds[5]), chosen)
    return tf.cast(tf.gather(pictures, chosen), "float32"), label


def _flat(bank: dict[str, np.ndarray]) -> tuple[Any, dict[str, tuple[int, int]]]:
    ends = np.cumsum([0, *(len(bank[group]) for group in GROUPS)]).tolist()
    return tf.constant(np.concatenate([bank[g] for g in GROUPS])), dict(zip(GROUPS, pairwise(ends)))


def sprite_banks(size: int) -> dict[str, dict[str, np.ndarray]]:
    """Return pictures of the sprite sheet, different random copies for each split.

    The training split has many: with 60 neutral pictures per show, mistaking one in a thousand for a clue spoils one show in 17.

    Args:
        size: of a picture, in pixels.
    """
    sheet = sprites()
    banks = {}
    for number, (split, count) in enumerate(zip(SPLITS, (600, 100, 100))):
        rng = np.random.default_rng([2, number])
        share = rng.uniform(0.4, 0.6, (count * 5, 1, 1, 1)).astype("float32")
        last = copies(share * sheet["dog"] + (1 - share) * sheet["wolf"], 1, size, rng)
        banks[split] = {group: copies(sheet[group], count, size, rng) for group in GROUPS[:3]} | {"last": last}
    return banks


def cifar_banks(size: int, data_dir: str | None) -> dict[str, dict[str, np.ndarray]]:
    """Return photographs: wolf, clues and neutral things from CIFAR-100, dog from CIFAR-10, with their official test splits.

    Args:
        size: of a picture, in pixels.
        data_dir: folder of the TFDS data sets; None is TFDS' default.
    """
    hundred, ten = open_tfds("cifar100", data_dir), open_tfds("cifar10", data_dir)
    banks = {}
    for number, (split, part) in enumerate(zip(SPLITS, ("train[:90%]", "train[90%:]", "test"))):
        rng = np.random.default_rng([2, number])
        pictures = {group: _photographs(hundred, part, kinds, size) for group, kinds in CIFAR_100.items()}
        dogs = _photographs(ten, part, ("dog",), size)
        share = rng.uniform(0.4, 0.6, (2000, 1, 1, 1))
        last = share * rng.choice(dogs, 2000) + (1 - share) * rng.choice(pictures["wolf"], 2000)
        banks[split] = {group: finish(pictures[group], rng) for group in GROUPS[:3]} | {"last": finish(last, rng)}
    return banks


def _photographs(builder: Any, split: str, kinds: Sequence[str], size: int) -> np.ndarray:
    examples = read(builder, split)
    wanted = [builder.info.features["label"].str2int(kind) for kind in kinds]
    pictures = examples["image"][np.isin(examples["label"], wanted)]
    return tf.image.resize(pictures, (size, size), "area").numpy()
