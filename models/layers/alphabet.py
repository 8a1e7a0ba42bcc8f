"""An embedding with its vocabulary, as the first layer of a language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


@keras.saving.register_keras_serializable("keras_gates")
class Alphabet(keras.layers.Embedding):
    """A `keras.layers.Embedding` that is saved with its vocabulary.

    Args:
        vocabulary: the character or word of each index; the first stands for all others.
        width: embedding size.
        **kwargs: of `keras.layers.Embedding`.

    Example:
        alphabet = Alphabet(["<unk>", "a", "b"], 8)
        alphabet.numbers("abc")          # [1, 2, 0]
    """

    def __init__(self, vocabulary: Sequence[str], width: int, **kwargs: Any):
        super().__init__(len(vocabulary), width, **kwargs)
        self.vocabulary = list(vocabulary)

    def numbers(self, tokens: Sequence[str]) -> np.ndarray:
        """Return the indices of tokens, int32 (tokens,)."""
        numbers = {token: number for number, token in enumerate(self.vocabulary)}
        return np.array([numbers.get(token, 0) for token in tokens], "int32")

    def get_config(self):
        config = super().get_config()
        config.pop("input_dim")
        config["width"] = config.pop("output_dim")
        return {**config, "vocabulary": self.vocabulary}
