"""A hashed linear model of words and pairs of words, as a layer next to a memory."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

_FACTORS = (7919, 104729, 31337)  # word indices below 14,000 (19,000 without the third) times these stay within int32


@keras.saving.register_keras_serializable("keras_gates")
class WordVotes(keras.layers.Layer):
    """Logits of a linear model of words and neighbouring words: indices (batch, time), int32, to (batch, classes).

        logits = sum over t and n of table[(7919 · word_t + 104729 · word_{t+1} + …) mod rows], n = 1 … longest words

    Padding (0) adds nothing. Features share the rows of the table by hashing (Weinberger et al., Feature Hashing for Large
    Scale Multitask Learning, 2009). Two classes need one column: the logits are −v/2 and v/2. Added to the logits of an LSTM
    this is the "wide" part of a wide and deep network (Cheng et al. 2016). The table is not trained by gradients:
    `keras_gates.models.text_linear.fit_votes` computes it.

    Args:
        classes: number of classes.
        rows: of the table; with more rows fewer features share one.
        longest: words per feature at most: 1, 2 or 3.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        ValueError: `longest` is not 1, 2 or 3.

    Example:
        WordVotes(6)(np.array([[4, 7, 0]])).shape     # (1, 6)
    """

    def __init__(self, classes: int, rows: int = 32768, longest: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        if longest not in (1, 2, 3):
            raise ValueError(f"longest must be 1, 2 or 3 words per feature, not {longest!r}")
        self.classes, self.rows, self.longest = classes, rows, longest

    def build(self, input_shape):
        shape = (self.rows, 1 if self.classes == 2 else self.classes)
        self.table = self.add_weight(shape, "zeros", name="table", trainable=False)

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

    def call(self, words):
        padding = ops.zeros((1, self.table.shape[1]), self.table.dtype)
        votes = ops.sum(ops.take(ops.concatenate([padding, self.table]), self.features(words), axis=0), axis=1)
        # A product, because the integer kernels have no negation.
        return votes * ops.cast([[-0.5, 0.5]], votes.dtype) if self.classes == 2 else votes

    def compute_output_shape(self, input_shape):
        return input_shape[0], self.classes

    def get_config(self):
        return {**super().get_config(), "classes": self.classes, "rows": self.rows, "longest": self.longest}


@keras.saving.register_keras_serializable("keras_gates")
class AfterTraining(keras.layers.Layer):
    """Adds the logits of a model that training does not see: [memory, linear], both (batch, classes), to (batch, classes).

        logits = memory                     during training
        logits = share · memory + linear    afterwards

    The memory learns to classify alone. A linear model that was fitted before knows the training texts by heart, so next to it
    the memory would learn nothing.

    Args:
        share: factor of the memory's logits.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, share: float = 0.5, **kwargs: Any):
        super().__init__(**kwargs)
        self.share = share

    def call(self, logits, training=False):
        memory, linear = logits
        return memory if training else self.share * memory + linear

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "share": self.share}


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
