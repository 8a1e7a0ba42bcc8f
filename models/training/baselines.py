"""Simple models for the same data: a trained model should be better than these.

majority, logistic regression on summary features, a linear support vector machine on TF-IDF, an n-gram model; those of
`keras_gates.models.training.sequence_baselines`. Forecasts have theirs in `keras_gates.models.forecast_linear`.
"""

from __future__ import annotations

import functools
import math
import time
import warnings
from collections import Counter, defaultdict
from typing import Any

import numpy as np

from keras_gates.models.training.sequence_baselines import convolutional, has_minirocket, minirocket, sequences

MOST = 5000  # examples to fit; the score is always that of the whole test part
MOST_TEXTS = 25_000
MOST_TOKENS = 1_000_000
MOST_NUMBERS = 50_000_000  # of all examples together
MOST_PIXELS = 2000
ORDER = {"character": 5, "word": 3}


def baselines(data: Any, seconds: float = 60.0) -> list[dict[str, Any]]:
    """Fit simple models to the training part, or to as much of it as their time allows, and score them on the whole test part.

    Args:
        data: a `keras_gates.models.data.pipeline.Data` with classes or a vocabulary.
        seconds: no further model is started after this time.

    Returns:
        One dict per model: baseline, score ("accuracy" or "bits per token"), value, seconds, and the numbers of examples (of a
        text tokens) that it was fitted to and scored on.

    Example:
        baselines(find("gesture").data())[0]      # {"baseline": "majority", "score": "accuracy", "value": 0.2, …}
    """
    if data.batches is not None and data.vocabulary:
        return ngrams(_tokens(data, "train", MOST_TOKENS), _tokens(data, "test"), len(data.vocabulary), _order(data))
    if not data.labels:
        return []
    most_to_fit, most = _limits(data.train.element_spec[0])
    x, y = data.arrays("train", most_to_fit)
    new, actual = data.arrays("test", most)
    if np.ndim(y) != 1 or not np.issubdtype(np.asarray(y).dtype, np.integer):
        return []

    def accuracy(predicted: np.ndarray) -> float:
        return float(np.mean(predicted == actual))

    sizes = (len(y), len(actual))
    models = [("majority", lambda: accuracy(np.full(len(actual), np.bincount(y).argmax())))]
    if x.dtype == object:
        models.append(("TF-IDF, linear SVM", lambda: accuracy(tfidf_svm(x, y, new))))
        return _timed(models, "accuracy", seconds, sizes)
    if (features := summary_features(x, data)) is not None and (tested := summary_features(new, data)) is not None:
        models.append(("logistic regression on summary features", lambda: accuracy(logistic(features, y, tested))))
    if (series := sequences(x, data)) is not None and (new_series := sequences(new, data)) is not None:
        held_out, held_out_classes = data.arrays("validation", most)
        network = functools.partial(
            convolutional, series, y, (sequences(held_out, data), held_out_classes), new_series, seconds / 4
        )
        models.append(("1-D CNN", lambda: accuracy(network())))
        if has_minirocket(series.shape[1]):
            models.append(("MiniRocket", lambda: accuracy(minirocket(series, y, new_series))))
    return _timed(models, "accuracy", seconds, sizes)


def _limits(spec: Any) -> tuple[int, int]:
    """How many examples are read to fit and to score: all for the score, but films would fill the memory."""
    if spec.dtype.name == "string":
        return MOST_TEXTS, MOST_NUMBERS
    most = max(1, MOST_NUMBERS // max(1, math.prod(size or 1 for size in spec.shape)))
    return min(MOST, most), most


def _timed(models: list[tuple[str, Any]], score: str, seconds: float, sizes: tuple[int, int]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    begin = time.monotonic()
    for name, fit in models:
        start = time.monotonic()
        if start - begin > seconds:
            break
        row = {"baseline": name, "score": score, "value": fit(), "seconds": round(time.monotonic() - start, 2)}
        rows.append({**row, "fitted_to": sizes[0], "scored_on": sizes[1]})
    return rows


def tfidf_svm(texts: Any, classes: np.ndarray, new: Any) -> np.ndarray:
    """Return the classes that scikit-learn's `LinearSVC` on TF-IDF of words and pairs of words predicts.

    Args:
        texts: str or bytes, to fit.
        classes: of these texts.
        new: texts to predict.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    vectors = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, min_df=1 if len(texts) < 5000 else 2, token_pattern=r"\S+"
    )
    model = make_pipeline(vectors, LinearSVC())
    return model.fit([_text(text) for text in texts], classes).predict([_text(text) for text in new])


def logistic(features: np.ndarray, classes: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the classes that scikit-learn's `LogisticRegression` on standardized features predicts.

    Args:
        features: (examples, features) to fit.
        classes: of these examples.
        new: features to predict.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged after 300 steps is good enough
        return model.fit(features, classes).predict(new)


def summary_features(x: np.ndarray, data: Any) -> np.ndarray | None:
    """Return (examples, features): of sound the statistics of its log-mel bands, of sensor values those of each channel, of small
    pictures their pixels; None for other shapes.

    Args:
        x: a batch of inputs.
        data: the `Data` that they are from.
    """
    x = np.asarray(x)
    if data.build.get("sample_rate"):
        return _statistics(sequences(x, data))
    if "channels" in data.build and x.ndim == 3:
        padding = ~np.logical_or.accumulate((x != x[:, :1]).any(-1), axis=1)
        x = np.where(padding[:, :, None], np.nan, (x - data.build["mean"]) / np.sqrt(data.build["variance"]))
        return _statistics(x)
    return x.reshape(len(x), -1) if x.ndim <= 3 and x[0].size <= MOST_PIXELS else None


def _statistics(x: np.ndarray) -> np.ndarray:
    """Mean, deviation, extremes, mean change and the means of four quarters, of (examples, time, channels); NaN is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a quarter that is padding only
        parts = [
            np.nanmean(x, 1),
            np.nanstd(x, 1),
            np.nanmin(x, 1),
            np.nanmax(x, 1),
            np.nanmean(np.abs(np.diff(x, axis=1)), 1),
        ]
        parts += [np.nanmean(quarter, 1) for quarter in np.array_split(x, 4, axis=1)]
    return np.nan_to_num(np.concatenate(parts, 1))


def ngrams(train: list[int], test: list[int], size: int, order: int) -> list[dict[str, Any]]:
    """Return the bits per token of a text by n-gram models, interpolated by Witten and Bell (1991), as one dict per order from
    2 on, each with the number of counts that the model holds.

    Args:
        train: tokens to fit.
        test: tokens to predict, all after the first `order`.
        size: of the vocabulary.
        order: tokens per n-gram, at most.
    """
    start = time.monotonic()
    followers = [_followers(train, length) for length in range(order)]
    bits = np.zeros(order)
    for place in range(order, len(test)):
        chance = 1 / size
        for length in range(order):
            counts = followers[length].get(tuple(test[place - length : place]))
            if counts is not None:
                kinds, total = len(counts), sum(counts.values()) if length else len(train)
                chance = (counts.get(test[place], 0) + kinds * chance) / (total + kinds)
            bits[length] -= np.log2(chance)
    bits /= max(1, len(test) - order)
    sizes = np.cumsum([sum(map(len, table.values())) for table in followers])
    shared = {
        "score": "bits per token",
        "seconds": round(time.monotonic() - start, 2),
        "fitted_to": len(train),
        "scored_on": len(test),
    }
    return [
        {"baseline": f"{n}-gram", "value": float(bits[n - 1]), "counts": int(sizes[n - 1]), **shared}
        for n in range(2, order + 1)
    ]


def _followers(tokens: list[int], length: int) -> dict[tuple[int, ...], Counter]:
    followers: dict[tuple[int, ...], Counter] = defaultdict(Counter)
    for place in range(length, len(tokens)):
        followers[tuple(tokens[place - length : place])][tokens[place]] += 1
    return dict(followers)


def _tokens(data: Any, split: str, most: int | None = None) -> list[int]:
    """The tokens of a part, which is divided into pieces; the first `most`."""
    pieces = [x for x, _ in getattr(data, split).as_numpy_iterator()]
    return np.concatenate(pieces)[:most].tolist()


def _order(data: Any) -> int:
    return ORDER["character" if all(len(token) == 1 for token in data.vocabulary[1:]) else "word"]


def _text(text: Any) -> str:
    return text.decode() if isinstance(text, bytes) else str(text)
