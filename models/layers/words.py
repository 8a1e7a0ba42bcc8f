"""Tokenization of texts into word indices as the first layer of a model, and a hashed linear model of word pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_gates.models.lazy import tf


@keras.saving.register_keras_serializable("keras_gates")
class Words(keras.layers.Layer):
    """Texts (batch,), strings, to the indices of their last `longest` words (batch, longest), int32, padded with zeros at the
    end.

    Lower case, without punctuation, split at white space: as `keras.layers.TextVectorization` by default, and as
    `keras_gates.edge` on a device with the vocabulary in the file. The computation on strings is TensorFlow's.

    Args:
        vocabulary: the word of each index; the first is "" (padding), the second "[UNK]" (any other word).
        longest: maximum number of words.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        ValueError: the vocabulary does not start with "" and "[UNK]".

    Example:
        Words(["", "[UNK]", "good"], longest=4)(tf.constant(["Good, good film!"]))     # [[2, 2, 1, 0]]
    """

    def __init__(self, vocabulary: Sequence[str], longest: int = 400, **kwargs: Any):
        super().__init__(**kwargs)
        if list(vocabulary[:2]) != ["", "[UNK]"]:
            raise ValueError(f'a vocabulary starts with "" and "[UNK]"; got {list(vocabulary[:2])}')
        self.vocabulary, self.longest = list(vocabulary), longest
        numbers = tf.range(len(self.vocabulary), dtype="int32")
        pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(self.vocabulary), numbers)
        self._numbers = tf.lookup.StaticHashTable(pairs, default_value=1)

    def call(self, texts):
        plain = tf.strings.regex_replace(tf.strings.lower(texts), r"[!\"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']", "")
        words = tf.strings.split(plain)[:, -self.longest :]
        numbers = words.with_flat_values(self._numbers.lookup(words.flat_values))
        return numbers.to_tensor(shape=(None, self.longest))

    def compute_output_spec(self, texts):
        return keras.KerasTensor((texts.shape[0], self.longest), "int32")

    def get_config(self):
        return {**super().get_config(), "vocabulary": self.vocabulary, "longest": self.longest}


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
