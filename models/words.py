"""Texts to the numbers of their words, as the first layer of a model."""

from __future__ import annotations

from collections.abc import Sequence

import keras


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
