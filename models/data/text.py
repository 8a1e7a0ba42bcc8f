"""Labelled texts: imdb_reviews and trec from TFDS, the user's CSV file or folders of texts, generated reviews."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_gates.edge.tables import SUFFIXES, one_spaced, read_table
from keras_gates.models.data.files import labelled_files, read_text, user_errors
from keras_gates.models.data.splits import AT_RANDOM, Split, divide, take, take_parts, three_parts
from keras_gates.models.data.summary import class_notes, leak_notes, length_note
from keras_gates.models.data.tfds import attribution, open_tfds, read
from keras_gates.models.registry import UserError

OFFICIAL = "90 and 10 % of the training split, at random, the same for every seed; the official test split"
PUNCTUATION = str.maketrans("", "", "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'")


@dataclass(frozen=True)
class Texts:
    """Texts in three splits.

    Attributes:
        train, validation, test: (texts, classes): a list of str, and int32 (texts,).
        labels: names of the classes.
        about: name, attribution and licence.
        notes: what was understood of the user's files, one sentence each.
    """

    train: Split
    validation: Split
    test: Split
    labels: Sequence[str]
    about: dict[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def splits(self) -> tuple[Split, Split, Split]:
        """Return (train, validation, test)."""
        return self.train, self.validation, self.test


def imdb_reviews(data_dir: str | None) -> Texts:
    """Load TFDS imdb_reviews: 25,000 and 25,000 film reviews, negative or positive; 10 % of the training split are for
    validation.

    Args:
        data_dir: folder of the TFDS data sets; None is TFDS' default.
    """
    splits, labels, about = _tfds("imdb_reviews", data_dir, "label")
    about |= {"licence": "none stated; for research", "split": OFFICIAL}
    unmarked = [([text.replace("<br />", " ") for text in texts], classes) for texts, classes in splits]
    return Texts(*_with_validation(unmarked, labels), labels, about)


def trec(data_dir: str | None, level: str = "coarse") -> Texts:
    """Load TFDS trec: 5,452 and 500 questions by what they ask for; 10 % of the former are for validation.

    Args:
        data_dir: folder of the TFDS data sets; None is TFDS' default.
        level: "coarse" (6 classes) or "fine" (47).

    Raises:
        UserError: another level, or the data cannot be loaded.
    """
    if level not in ("coarse", "fine"):
        raise UserError(f'level must be "coarse" (6 classes) or "fine" (47), not {level!r}')
    splits, labels, about = _tfds("trec", data_dir, f"label-{level}")
    about |= {"licence": "none stated", "split": OFFICIAL}
    return Texts(*_with_validation(splits, labels), labels, about)


def _tfds(name: str, data_dir: str | None, label: str) -> tuple[list[Split], list[str], dict[str, str]]:
    builder = open_tfds(name, data_dir)
    splits = []
    for split in ("train", "test"):
        rows = read(builder, split)
        splits.append(([text.decode("utf-8", "replace") for text in rows["text"]], rows[label].astype("int32")))
    about = {"name": name, "attribution": attribution(builder)}
    return splits, builder.info.features[label].names, about


def _with_validation(splits: list[Split], labels: Sequence[str]) -> tuple[Split, Split, Split]:
    (texts, classes), test = splits
    order = np.random.default_rng(0).permutation(len(texts))
    validation, train = np.sort(order[: len(texts) // 10]), np.sort(order[len(texts) // 10 :])
    return take(texts, classes, train), take(texts, classes, validation), test


@user_errors()
def own_texts(path: str | Path, group: str | None = None, split: str = "random") -> Texts:
    """Load the user's texts: a table with the columns `text` and `label`, or a folder with one sub-folder of .txt files per
    label.

    Args:
        path: of the file or folder.
        group: column (in a folder "name": the file's name up to the first "_") of which no value is in two parts.
        split: "random" or "time", see `keras_gates.models.data.splits.three_parts`.

    Raises:
        UserError: a file cannot be read, or a text or label is empty.
    """
    path = Path(path)
    groups, notes = None, []
    if path.is_dir():
        files, labels = labelled_files(path, ".txt")
        parts = {
            part: ([one_spaced(read_text(file)) for file in paths], classes) for part, (paths, classes) in files.items()
        }
        for part, (paths, _) in files.items():
            if "" in parts[part][0]:
                raise UserError(f"{paths[parts[part][0].index('')]} is empty; add text, or remove the file")
        if group and "all" in files:
            groups = [file.stem.partition("_")[0] for file in files["all"][0]]
    elif path.suffix.lower() in SUFFIXES:
        table = read_table(path, required=["text", "label", *([group] if group else [])])
        cells = table.texts("label")
        labels = sorted(set(cells))
        if len(labels) < 2:
            raise UserError(f"{path} has one label, {labels[0]!r}; expected at least 2")
        parts = {"all": (table.texts("text"), np.array([labels.index(cell) for cell in cells], "int32"))}
        groups, notes = table.texts(group) if group else None, list(table.notes)
    else:
        raise UserError(
            f"{path} is neither a folder (one sub-folder of .txt files per label) nor a .csv file with the columns text and label"
        )
    splits, indices = three_parts(parts, labels, groups, split)
    words = [len(text.split()) for texts, _ in splits for text in texts]
    notes += [*class_notes(splits, labels, "texts"), length_note(words, "words")]
    if groups is not None and indices is not None:
        notes += leak_notes([[groups[index] for index in part.tolist()] for part in indices], str(group))
    notes += leak_notes([texts for texts, _ in splits], "text")
    return Texts(*splits, labels, {"name": str(path)}, notes)


def generated_reviews(seed: int = 0, count: int = 1500) -> Texts:
    """Generate reviews of one sentence, negative or positive; "not", "never" or "hardly" reverse a word.

    Args:
        seed: random seed.
        count: number of reviews.
    """
    draw = np.random.default_rng(seed)
    words = {
        0: ("dull", "awful", "boring", "clumsy", "weak", "slow"),
        1: ("great", "moving", "funny", "clever", "lovely", "fresh"),
    }
    things = ("film", "story", "acting", "music", "ending", "camera work", "script", "cast")
    starts = ("the {} was", "i found the {}", "to me the {} seemed", "we thought that the {} was", "her {} is")
    negations = ("not", "never", "hardly", "not at all")
    plain = ("", "", "very", "rather", "really", "so")
    ends = ("", "", "and that is all", "in every scene", "from the first minute", "said my friend")

    def pick(options: Sequence[str]) -> str:
        return options[int(draw.integers(len(options)))]

    texts, classes = [], np.tile(np.arange(2, dtype="int32"), count // 2)
    for index in classes:
        negated = draw.random() < 0.5
        adjectives = words[1 - index if negated else index]
        middle = f"{pick(negations) if negated else pick(plain)} {pick(adjectives)}"
        texts.append(" ".join(f"{pick(starts).format(pick(things))} {middle} {pick(ends)}".split()))
    labels = ["negative", "positive"]
    about = {"name": "generated reviews", "licence": "made by this project", "split": AT_RANDOM}
    return Texts(*take_parts(texts, classes, divide(classes, labels)), labels, about)


def words_of(text: str) -> list[str]:
    """Return the words of a text: lower case, without punctuation, split at white space, as in
    `keras.layers.TextVectorization`."""
    return text.lower().translate(PUNCTUATION).split()


def vocabulary(texts: Iterable[str], size: int) -> list[str]:
    """Return "" (padding), "[UNK]" (any other word) and the most frequent words; equally frequent ones in alphabetical order.

    Args:
        texts: of the training split.
        size: maximum size of the vocabulary.
    """
    counts = Counter(word for text in texts for word in words_of(text))
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return ["", "[UNK]", *ordered[: size - 2]]
