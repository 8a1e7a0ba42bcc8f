"""Pre-trained word vectors from a text file, as GloVe and fastText write them: one word and its numbers per line."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates.models.data.text import words_of
from keras_gates.models.registry import UserError


def vectors_of(path: str | Path, vocabulary: Sequence[str], size: int) -> tuple[list[str], np.ndarray]:
    """Return the vocabulary, filled up to `size` with the first words of the file, and the vector of each word, zeros if it has
    none.

    Args:
        path: of a text file, also compressed (.gz); a first line with two numbers, as fastText writes it, is skipped.
        vocabulary: "" and "[UNK]" and the words of the training texts.
        size: maximum size of the vocabulary.

    Raises:
        UserError: the file cannot be read, a line has another number of numbers than the first, or no word is known.
    """
    path = Path(path)
    try:
        return _read(path, list(vocabulary), size)
    except (OSError, EOFError, UnicodeDecodeError) as error:  # no such file, not gzip, cut off, not UTF-8
        raise UserError(
            f"the word vectors {path} cannot be read ({error}); expected a text file in UTF-8, or its .gz"
        ) from None


def _read(path: Path, words: list[str], size: int) -> tuple[list[str], np.ndarray]:
    own, trained = set(words), words[2:]
    vectors: dict[str, np.ndarray] = {}
    numbers = 0
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            word, *cells = line.rstrip().split(" ")
            if number == 1 and len(cells) == 1:
                continue
            numbers = numbers or len(cells)
            if word not in own and not (len(words) < size and words_of(word) == [word]):
                continue
            try:
                vector = np.array(cells, "float32")
            except ValueError:
                raise UserError(f"{path}, line {number}: expected {word!r} and numbers, got {line[:60]!r}") from None
            if len(cells) != numbers or not np.isfinite(vector).all():
                raise UserError(
                    f"{path}, line {number}: expected {numbers} finite numbers after {word!r}, got {len(cells)}"
                )
            vectors[word] = vector
            if word not in own:
                own.add(word)
                words.append(word)
    if not any(word in vectors for word in trained):
        raise UserError(
            f"{path} has a vector for none of the {len(trained)} words of the training texts; expected lines such as "
            '"word 0.1 -0.2 0.3"'
        )
    return words, np.stack([vectors.get(word, np.zeros(numbers, "float32")) for word in words])


def fitting(vectors: Any, width: int) -> np.ndarray:
    """Return word vectors of `width` numbers: the principal components of wider ones, with a deviation of 0.1; words without
    a vector get small random ones, padding zeros.

    Args:
        vectors: (words, numbers); a row of zeros is no vector.
        width: numbers per word in the result.

    Raises:
        UserError: the vectors are narrower than `width`.
    """
    vectors = np.asarray(vectors, "float32")
    if vectors.shape[1] < width:
        raise UserError(f"width must be at most {vectors.shape[1]}, as the word vectors have, not {width}")
    known = vectors.any(1)
    if vectors.shape[1] > width:
        vectors = vectors @ np.linalg.svd(vectors[known].T @ vectors[known])[0][:, :width]
    fitted = 0.1 / vectors[known].std() * vectors
    fitted[~known] = np.random.default_rng(0).normal(0, 0.05, (np.count_nonzero(~known), width))
    fitted[0] = 0
    return fitted.astype("float32")
