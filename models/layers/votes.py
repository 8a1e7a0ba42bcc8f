"""A hashed linear model of words and pairs of words, as a layer next to a memory."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

_FACTORS = (7919, 104729, 31337)  # word indices below 14,000 (19,000 without the third) times these stay within int32


@keras.saving.register_keras_serializable("keras_gates")
class WordVotes(keras.layers.Layer):
    """Logits of a linear model of words and neighbouring words: indices (batch, time), int32, to (batch, classes).

        logits = sum over t and n of table[(7919 · word_t + 104729 · word_{t+1} + …) mod rows], n = 1 … longest words

    Padding (0) adds nothing. Features share the rows of the table by hashing (Weinberger et al., Feature Hashing for Large
    Scale Multitask Learning, 2009). Two classes need one column: the logits are −v/2 and v/2. Added to the logits of an LSTM
    this is the "wide" part of a wide and deep network (Cheng et al. 2016).

    `naive_bayes` scales the rows by how differently the classes use them (Wang and Manning, Baselines and Bigrams, 2012): the
    table then starts at zero and learns fast where a word is telling. Files contain the product of table and scale.

    Args:
        classes: number of classes.
        rows: of the table; with more rows fewer features share one.
        longest: words per feature at most: 1, 2 or 3.
        dropout: share of the features that are left out during training.
        seed: random seed of the dropout.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        ValueError: `longest` is not 1, 2 or 3.

    Example:
        WordVotes(6)(np.array([[4, 7, 0]])).shape     # (1, 6)
    """

    def __init__(
        self,
        classes: int,
        rows: int = 32768,
        longest: int = 2,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if longest not in (1, 2, 3):
            raise ValueError(f"longest must be 1, 2 or 3 words per feature, not {longest!r}")
        self.classes, self.rows, self.longest, self.dropout, self.seed = classes, rows, longest, dropout, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        shape = (self.rows, 1 if self.classes == 2 else self.classes)
        self.table = self.add_weight(shape, "zeros", name="table")
        self.scale = self.add_weight(shape, "ones", name="scale", trainable=False)

    def features(self, words):
        """Return 1 + the row of each feature (batch, time · longest), int32; 0 is no feature.

        Args:
            words: indices (batch, time).
        """
        code, rows = ops.zeros_like(words), []
        for place in range(self.longest):
            last = words if place == 0 else ops.pad(words[:, place:], [[0, 0], [0, place]])
            code = code + last * _FACTORS[place]
            rows.append((code % self.rows + 1) * ops.minimum(last, 1))
        return ops.concatenate(rows, axis=1)

    def call(self, words, training=False):
        padding = ops.zeros((1, self.table.shape[1]), self.table.dtype)
        table = ops.concatenate([padding, self.table * self.scale])
        votes = ops.take(table, self.features(words), axis=0)
        if training and self.dropout:
            shape = (*ops.shape(votes)[:2], 1)
            votes = keras.random.dropout(votes, self.dropout, noise_shape=shape, seed=self.seed_generator)
        votes = ops.sum(votes, axis=1)
        # A product, because the integer kernels have no negation.
        return votes * ops.cast([[-0.5, 0.5]], votes.dtype) if self.classes == 2 else votes

    def naive_bayes(self, words: np.ndarray, classes: np.ndarray) -> None:
        """Scale each row by log(share of a class's features / share of the other classes' features), and set the table to zero.

        Args:
            words: indices of the training texts (texts, time).
            classes: of these texts (texts,).
        """
        counts = np.ones((self.classes, self.rows))
        for start in range(0, len(words), 512):  # the features of all texts at once may take gigabytes
            rows = ops.convert_to_numpy(self.features(ops.convert_to_tensor(words[start : start + 512], "int32")))
            for row, label in zip(rows, classes[start : start + 512]):
                counts[label, np.unique(row[row > 0]) - 1] += 1
        rest = counts.sum(0) - counts + (2 - self.classes)  # one smoothing count, as in the class itself
        ratios = np.log(counts / counts.sum(1, keepdims=True)) - np.log(rest / rest.sum(1, keepdims=True))
        self.scale.assign((ratios[1:2] if self.classes == 2 else ratios).T)
        self.table.assign(ops.zeros_like(self.table))

    def save_own_variables(self, store):
        store["0"] = ops.convert_to_numpy(self.table * self.scale)

    def load_own_variables(self, store):
        scale = ops.convert_to_numpy(self.scale)
        self.table.assign(np.divide(store["0"], scale, out=np.zeros_like(scale), where=scale != 0))

    def compute_output_shape(self, input_shape):
        return input_shape[0], self.classes

    def get_config(self):
        names = ("classes", "rows", "longest", "dropout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("keras_gates")
class PairVotes(keras.layers.Layer):
    """Logits of each pair of neighbouring words: word indices (batch, time), int32, to (batch, time, classes).

        votes_t = scale · table[(7919 · word_t + 104729 · word_{t+1}) mod pairs]

    The logits of padding (0) are 0; the word after the last one is 0. Summed over time and added to the logits of an LSTM they
    are a linear model of hashed word pairs (Weinberger et al., Feature Hashing for Large Scale Multitask Learning, 2009), the
    "wide" part of a wide and deep network (Cheng et al. 2016).

    Args:
        classes: number of classes.
        pairs: rows of the table; with more rows fewer pairs share one. Word indices must be below 19,000 (int32).
        scale: factor on the table, which makes it learn faster than the rest of the model.
        **kwargs: of `keras.layers.Layer`.

    Example:
        PairVotes(6)(np.array([[4, 7, 0]])).shape     # (1, 3, 6)
    """

    def __init__(self, classes: int, pairs: int = 32768, scale: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.classes, self.pairs, self.scale = classes, pairs, scale
        self.supports_masking = True

    def build(self, input_shape):
        self.table = self.add_weight((self.pairs, self.classes), "zeros", name="table")

    def call(self, words):
        after = ops.pad(words[:, 1:], [[0, 0], [0, 1]])
        row = (words * 7919 + after * 104729) % self.pairs + 1
        padding = ops.zeros((1, self.classes), self.table.dtype)
        return ops.take(ops.concatenate([padding, self.table]), row * ops.minimum(words, 1), axis=0) * self.scale

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.classes)

    def get_config(self):
        return {**super().get_config(), "classes": self.classes, "pairs": self.pairs, "scale": self.scale}
