"""Running text: tiny_shakespeare from TFDS, a text file, a folder in the layout of the Penn Treebank, Python's standard
library."""

from __future__ import annotations

import sysconfig
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates.models.data.files import read_text, visible
from keras_gates.models.data.tfds import attribution, open_tfds, read
from keras_gates.models.registry import UserError

UNKNOWN, END = "<unk>", "<eos>"


@dataclass(frozen=True)
class Corpus:
    """Text in three splits.

    Attributes:
        train, validation, test: the text.
        about: name, attribution and licence.
    """

    train: str
    validation: str
    test: str
    about: dict[str, Any] = field(default_factory=dict)

    def notes(self, unit: str, vocabulary: Sequence[str]) -> list[str]:
        """Return what was understood of the text, one sentence each.

        Args:
            unit: "character" or "word".
            vocabulary: of `numbered`.
        """
        sizes = " / ".join(f"{len(text):,}" for text in (self.train, self.validation, self.test))
        words = len(self.train.split())
        return [
            f"{sizes} characters for training, validation and test; {words:,} words of training",
            f"{len(vocabulary):,} different {unit}s",
        ]

    def numbered(self, unit: str, size: int = 10_000) -> tuple[list[str], list[np.ndarray]]:
        """Return the vocabulary of the training split, and each split as indices, int32 (tokens,).

        Args:
            unit: "character" or "word"; the end of a line is then the word `<eos>`.
            size: maximum size of the vocabulary; rarer and unknown tokens become `<unk>`.

        Raises:
            UserError: another unit.
        """
        splits = [tokens(text, unit) for text in (self.train, self.validation, self.test)]
        counts = Counter(splits[0])
        ordered = sorted(counts, key=lambda token: (-counts[token], token))
        vocabulary = [UNKNOWN, *(token for token in ordered if token != UNKNOWN)][:size]
        numbers = {token: number for number, token in enumerate(vocabulary)}
        return vocabulary, [np.array([numbers.get(token, 0) for token in split], "int32") for split in splits]


def tokens(text: str, unit: str) -> Sequence[str]:
    """Return the characters or words of a text.

    Args:
        text: the text.
        unit: "character" or "word".

    Raises:
        UserError: another unit.
    """
    if unit == "character":
        return text
    if unit == "word":
        return [word for line in text.splitlines() for word in (*line.split(), END)]
    raise UserError(f'unit must be "character" or "word", not {unit!r}')


def tiny_shakespeare(data_dir: str | None) -> Corpus:
    """Load TFDS tiny_shakespeare: 1,003,854 / 55,770 / 55,770 characters.

    Args:
        data_dir: folder of the TFDS data sets; None is TFDS' default.
    """
    builder = open_tfds("tiny_shakespeare", data_dir)
    splits = {split: read(builder, split)["text"][0].decode() for split in ("train", "validation", "test")}
    about = {"name": "tiny_shakespeare", "attribution": attribution(builder), "licence": "public domain"}
    return Corpus(**splits, about={**about, "split": "the official splits, 90 / 5 / 5 % of the text"})


def own_corpus(path: str | Path) -> Corpus:
    """Load a text file (the first 90 % for training, 5 % each for validation and test) or a folder in the layout of the Penn
    Treebank.

    Args:
        path: of the file, or of a folder with three .txt files whose names contain `train`, `valid` and `test`: words
            separated by spaces, one sentence per line.

    Raises:
        UserError: a file is missing, empty or too short.
    """
    path = Path(path)
    if path.is_dir():
        splits = []
        for part in ("train", "valid", "test"):
            files = sorted(file for file in visible(path, [".txt"]) if part in file.name)
            if len(files) != 1:
                raise UserError(
                    f"{path} has {len(files)} files named *{part}*.txt; expected one each of train, valid and test"
                )
            splits.append(read_text(files[0]))
            if not splits[-1].strip():
                raise UserError(f"{files[0]} is empty; expected text")
        train, validation, test = splits
        return Corpus(train, validation, test, {"name": path.name})
    text = read_text(path)
    if len(text) < 2000:
        raise UserError(f"{path} has {len(text)} characters; expected at least 2,000")
    return Corpus(*_ninety_five_five(text), {"name": path.name})


def standard_library(characters: int = 600_000) -> Corpus:
    """Load the first characters of the modules of Python's standard library, in alphabetical order. The text depends on the
    Python version.

    Args:
        characters: of the corpus.
    """
    folder = Path(sysconfig.get_paths()["stdlib"])
    text = ""
    for file in sorted(folder.glob("*.py")):
        if not file.name.startswith("_"):
            text += file.read_text(encoding="utf-8", errors="ignore")
        if len(text) >= characters:
            break
    about = {"name": "Python's standard library", "attribution": "Python Software Foundation", "licence": "PSF-2.0"}
    about["split"] = "the first 90 %, the next 5 % and the last 5 % of the text"
    return Corpus(*_ninety_five_five("".join(sign for sign in text[:characters] if sign.isascii())), about)


def _ninety_five_five(text: str) -> tuple[str, str, str]:
    first, second = int(0.9 * len(text)), int(0.95 * len(text))
    return text[:first], text[first:second], text[second:]


def lanes(numbers: np.ndarray, batch: int, steps: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return a text as consecutive batches: row r of a batch continues row r of the batch before.

    Args:
        numbers: the text as indices, (tokens,).
        batch: rows of a batch.
        steps: time steps of a batch.

    Returns:
        [(x, y), …], each int32 (batch, steps), the last ones possibly shorter; y is x one token later.

    Raises:
        UserError: the text is too short for this batch size.
    """
    length = (len(numbers) - 1) // batch
    if length < 1:
        raise UserError(f"{len(numbers)} tokens are too few for a batch of {batch}; give a smaller --batch-size")
    x = numbers[: batch * length].reshape(batch, length)
    y = numbers[1 : batch * length + 1].reshape(batch, length)
    return [(x[:, start : start + steps], y[:, start : start + steps]) for start in range(0, length, steps)]


def lanes_count(tokens: int, batch: int, steps: int) -> int:
    """Return the number of batches that `lanes` returns for a text of this length."""
    return -(-((tokens - 1) // batch) // steps)
