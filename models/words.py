"""Texts to the numbers of their words, as the first layer of a model."""

from __future__ import annotations

from collections.abc import Sequence

import keras


@keras.saving.register_keras_serializable("keras_gates")
class Words(keras.layers.Layer):
    """Texts (batch,), strings, to the numbers of their last words (batch, time), int32; a shorter text has zeros after
    its end.

    Lower case, without punctuation, split at white space: what `keras.layers.TextVectorization` does by default, and
        what
    `keras_gates.edge` does on a device, which finds the vocabulary in the file. time is that of the longest text,
    `longest` at most. Strings are TensorFlow's, so this layer needs its backend.

    Args:
        vocabulary: the word behind each number; the first is "" (padding), the second "[UNK]" (any other word).
        longest: how many words are kept.
        fixed: time is always `longest`.

    Example:
        Words(["", "[UNK]", "good"])(tf.constant(["Good, good film!"]))     # [[2, 2, 1]]
    """

    def __init__(self, vocabulary: Sequence[str], longest: int = 400, fixed: bool = False, **kwargs):
        super().__init__(**kwargs)
        if list(vocabulary[:2]) != ["", "[UNK]"]:
            raise ValueError(f'a vocabulary starts with "" and "[UNK]"; got {list(vocabulary[:2])}')
        import tensorflow as tf

        self.vocabulary, self.longest, self.fixed = list(vocabulary), longest, fixed
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
        return numbers.to_tensor(shape=(None, self.longest if self.fixed else None))

    def compute_output_spec(self, texts):
        return keras.KerasTensor((texts.shape[0], self.longest if self.fixed else None), "int32")

    def get_config(self):
        return {**super().get_config(), "vocabulary": self.vocabulary, "longest": self.longest, "fixed": self.fixed}
