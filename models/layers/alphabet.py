"""Characters or words and their vectors, as the first layer of a language model."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np


@keras.saving.register_keras_serializable("keras_gates")
class Alphabet(keras.layers.Embedding):
    """A `keras.layers.Embedding` that knows what each of its numbers stands for; its vocabulary is saved with it.

    Args:
        vocabulary: the character or word behind each number; the first stands for whatever is not in it.
        width: of a vector.

    Example:
        alphabet = Alphabet(["<unk>", "a", "b"], 8)
        alphabet.numbers("abc")          # [1, 2, 0]
    """

    def __init__(self, vocabulary: Sequence[str], width: int, **kwargs):
        super().__init__(len(vocabulary), width, **kwargs)
        self.vocabulary = list(vocabulary)

    def numbers(self, tokens: Sequence[str]) -> np.ndarray:
        """int32 (tokens,)"""
        known = {token: number for number, token in enumerate(self.vocabulary)}
        return np.array([known.get(token, 0) for token in tokens], "int32")

    def get_config(self):
        config = super().get_config()
        config.pop("input_dim")
        config["width"] = config.pop("output_dim")
        return {**config, "vocabulary": self.vocabulary}
