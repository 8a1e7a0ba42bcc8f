"""Tokenization of texts into word indices as the first layer of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

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
