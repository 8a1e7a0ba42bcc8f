"""Logistic regression of words and neighbouring words, scaled by naive Bayes: the linear model next to the memory of `text`."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_gates.models.lazy import keras

STRENGTHS = (0.01, 0.03, 0.1, 0.3)  # C of scikit-learn: the inverse of the regularization
_ROUNDS = 60  # of the optimizer; more change no answer


def fit_votes(layer: Any, train: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray]) -> float:
    """Set the table of a `keras_gates.models.layers.WordVotes` to a linear model, and return its accuracy on validation texts.

    Each feature is counted and multiplied by log(share of a class's features / share of the other classes' features) (Wang and
    Manning, Baselines and Bigrams, 2012); logistic regression, one class against the others, gives it a weight. Of `STRENGTHS`
    the one that is best on the validation texts is taken. Files contain the product of weight and ratio.

    Args:
        layer: built; its table (rows, columns) is replaced.
        train: word indices (texts, time) and classes (texts,) to fit.
        validation: the same of other texts.

    Returns:
        Accuracy of the linear model alone on the validation texts.
    """
    from sklearn.linear_model import LogisticRegression

    counts, (words, classes) = counted(layer, train[0]), validation
    new = counted(layer, words)
    ratios = naive_bayes(counts, train[1], layer.classes)
    columns = [1] if layer.classes == 2 else range(layer.classes)
    tables = []
    for strength in STRENGTHS:
        table = np.zeros((layer.rows, len(columns)), "float32")
        for place, column in enumerate(columns):
            belongs = train[1] == column
            if belongs.any() and not belongs.all():
                model = LogisticRegression(C=strength, max_iter=_ROUNDS)
                table[:, place] = model.fit(counts.multiply(ratios[column]).tocsr(), belongs).coef_[0] * ratios[column]
        tables.append(table)
    answers = [(new @ table > 0)[:, 0] if layer.classes == 2 else (new @ table).argmax(1) for table in tables]
    right = [float(np.mean(answer == classes)) for answer in answers]
    layer.table.assign(tables[int(np.argmax(right))])
    return max(right)


def counted(layer: Any, words: np.ndarray) -> Any:
    """Return how often each text has each feature, a sparse matrix (texts, rows).

    Args:
        layer: a `keras_gates.models.layers.WordVotes`.
        words: indices (texts, time).
    """
    from scipy.sparse import csr_matrix, vstack

    parts = []
    for start in range(0, len(words), 512):  # the features of all texts at once may take gigabytes
        some = keras.ops.convert_to_tensor(words[start : start + 512], "int32")
        rows = keras.ops.convert_to_numpy(layer.features(some))
        text, place = np.nonzero(rows)
        ones = np.ones(len(text), "float32")
        parts.append(csr_matrix((ones, (text, rows[text, place] - 1)), shape=(len(rows), layer.rows)))
    return vstack(parts).tocsr()


def naive_bayes(counts: Any, classes: np.ndarray, number: int) -> np.ndarray:
    """Return log(share of a class's features / share of the other classes' features), (classes, features): each text has a
    feature once or not, and every feature is seen once more than it is.

    Args:
        counts: of `counted`.
        classes: of the texts (texts,).
        number: of classes.
    """
    present = counts.astype(bool).astype("float64")
    own = np.stack([np.asarray(present[classes == label].sum(0))[0] for label in range(number)])
    rest = own.sum(0) - own
    return np.log((own + 1) / (own + 1).sum(1, keepdims=True)) - np.log((rest + 1) / (rest + 1).sum(1, keepdims=True))
