"""Texts to the numbers of their words, as the first layer of a model; and what pairs of words say of a class."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_gates")
class Words(keras.layers.Layer):
    """Texts (batch,), strings, to the numbers of their last `longest` words (batch, longest), int32; after a shorter text
    come zeros.

    Lower case, without punctuation, split at white space: what `keras.layers.TextVectorization` does by default, and what
    `keras_gates.edge` does on a device, which finds the vocabulary in the file. Strings are TensorFlow's, so this layer
    needs its backend.

    Args:
        vocabulary: the word behind each number; the first is "" (padding), the second "[UNK]" (any other word).
        longest: how many words are kept.

    Example:
        Words(["", "[UNK]", "good"], longest=4)(tf.constant(["Good, good film!"]))     # [[2, 2, 1, 0]]
    """

    def __init__(self, vocabulary: Sequence[str], longest: int = 400, **kwargs):
        super().__init__(**kwargs)
        if list(vocabulary[:2]) != ["", "[UNK]"]:
            raise ValueError(f'a vocabulary starts with "" and "[UNK]"; got {list(vocabulary[:2])}')
        import tensorflow as tf

        self.vocabulary, self.longest = list(vocabulary), longest
        numbers = tf.range(len(self.vocabulary), dtype="int32")
        pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(self.vocabulary), numbers)
        self._numbers = tf.lookup.StaticHashTable(pairs, default_value=1)

    def call(self, texts):
        import tensorflow as tf

        plain = tf.strings.regex_replace(
            tf.strings.lower(texts, encoding="utf-8"), r"[!\"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']", ""
        )
        words = tf.strings.split(plain)[:, -self.longest :]
        numbers = words.with_flat_values(self._numbers.lookup(words.flat_values))
        return numbers.to_tensor(shape=(None, self.longest))

    def compute_output_spec(self, texts):
        return keras.KerasTensor((texts.shape[0], self.longest), "int32")

    def get_config(self):
        return {**super().get_config(), "vocabulary": self.vocabulary, "longest": self.longest}


@keras.saving.register_keras_serializable("keras_gates")
class PairVotes(keras.layers.Layer):
    """What each pair of neighbouring words says for each class: numbers of words (batch, time), int32, to (batch, time, classes).

        votes_t = scale · table[(7919 · word_t + 104729 · word_{t+1}) mod pairs]

    Padding (0) says nothing; after the last word the next is 0. Their sum over time beside a memory's answer is a linear model of
    word pairs, hashed (Weinberger et al., Feature Hashing for Large Scale Multitask Learning, 2009), as in "wide and deep"
    networks (Cheng et al. 2016).

    Args:
        classes: how many there are.
        pairs: rows of the table; more, and fewer pairs share one. Word numbers must be below 19,000 (int32).
        scale: how fast the table learns, beside the rest of the model.

    Example:
        PairVotes(6)(np.array([[4, 7, 0]])).shape     # (1, 3, 6)
    """

    def __init__(self, classes: int, pairs: int = 32768, scale: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.classes, self.pairs, self.scale = classes, pairs, scale
        self.supports_masking = True

    def build(self, input_shape):
        self.table = self.add_weight((self.pairs, self.classes), "zeros", name="table")

    def call(self, words):
        after = ops.pad(words[:, 1:], [[0, 0], [0, 1]])
        row = (words * 7919 + after * 104729) % self.pairs + 1
        silence = ops.zeros((1, self.classes), self.table.dtype)
        return ops.take(ops.concatenate([silence, self.table]), row * ops.minimum(words, 1), axis=0) * self.scale

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.classes)

    def get_config(self):
        return {**super().get_config(), "classes": self.classes, "pairs": self.pairs, "scale": self.scale}
