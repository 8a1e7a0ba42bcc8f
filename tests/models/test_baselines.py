"""Simple models next to the trained one: their scores on data whose answer is known, and when the report names them as better."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_gates.models import find
from keras_gates.models.data.pipeline import class_weights, from_arrays
from keras_gates.models.registry import Judgement
from keras_gates.models.training import baselines, deploying, recipe, report, sequence_baselines

pytest.importorskip("sklearn", reason="the baselines are scikit-learn's")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the zoo trains on TensorFlow")


def scores(data):
    return {row["baseline"]: row["value"] for row in baselines.baselines(data)}


def test_majority_is_the_share_of_the_most_frequent_class():
    classes = np.array([0] * 6 + [1] * 4, "int32")
    x = np.zeros((10, 3), "float32")
    data = from_arrays((x, classes), (x, classes), (x[4:], classes[4:]), labels=["a", "b"])
    assert scores(data)["majority"] == pytest.approx(2 / 6)


def test_words_are_told_apart_by_a_linear_model_of_tf_idf():
    found = scores(find("text").data())
    assert found["majority"] == pytest.approx(0.5, abs=0.01)
    assert found["TF-IDF, linear SVM"] > 0.95  # pairs of words see "not dull"


@pytest.mark.parametrize(("name", "least"), [("gesture", 0.9), ("speech", 0.9)])
def test_summaries_of_series_and_of_sound(name, least):
    data = find(name).data()
    (x, y), (new, actual) = data.arrays("train", 500), data.arrays("test", 500)
    predicted = baselines.logistic(baselines.summary_features(x, data), y, baselines.summary_features(new, data))
    assert np.mean(predicted == actual) > least


@pytest.fixture(scope="module")
def order():
    """Sequences of the same values in two orders: their means tell nothing."""
    draw = np.random.default_rng(0)
    x = draw.normal(0, 0.3, (120, 24, 2)).astype("float32")
    y = np.arange(120, dtype="int32") % 2
    for number, label in enumerate(y):
        x[number, 4 * (number % 5) :][:3, 0] += [0, 3, 6] if label else [6, 3, 0]
    parts = [(x[part], y[part]) for part in (slice(80), slice(80, 100), slice(100, 120))]
    return from_arrays(*parts, labels=["up", "down"], build={"channels": 2, "mean": [0.3, 0], "variance": [1, 1]})


def test_a_convolutional_network_sees_the_order_of_values(order):
    rows = {row["baseline"]: row["value"] for row in baselines.baselines(order, seconds=1200)}
    assert rows["1-D CNN"] > 0.9
    assert rows["majority"] == 0.5


def test_a_convolutional_network_keeps_to_its_time(order):
    x, y = order.arrays("train", 80)
    predicted = sequence_baselines.convolutional(x, y, order.arrays("validation", 20), x, seconds=0)
    assert predicted.shape == (80,)


def test_minirocket_is_there_if_aeon_is(order):
    pytest.importorskip("aeon")
    x, y = order.arrays("train", 80)
    new, actual = order.arrays("test", 20)
    assert sequence_baselines.has_minirocket(24)
    assert not sequence_baselines.has_minirocket(8)
    assert np.mean(sequence_baselines.minirocket(x, y, new) == actual) > 0.9


def test_sequences_of_sound_pictures_and_long_recordings():
    sound = SimpleNamespace(build={"sample_rate": 8000})
    assert sequence_baselines.sequences(np.zeros((2, 8000), "float32"), sound).shape == (2, 61, 40)
    others = SimpleNamespace(build={})
    assert sequence_baselines.sequences(np.zeros((2, 28, 28), "uint8"), others).shape == (2, 28, 28)
    assert sequence_baselines.sequences(np.zeros((2, 5, 8, 8, 3), "uint8"), others) is None
    long = np.repeat(np.arange(1200.0), 2)[None, :, None]
    np.testing.assert_allclose(
        sequence_baselines.sequences(long, others)[0, :, 0],
        [(long[0, at : at + 3, 0]).mean() for at in range(0, 2400, 3)],
    )


def test_the_whole_test_text_is_scored_as_by_the_trained_model():
    """A test part whose second half is another text: a score of its first pieces alone would be near 0."""
    train = np.tile([1, 2], 2000).reshape(-1, 50).astype("int32")
    test = np.concatenate([train[:10], np.full((10, 50), 1, "int32")])
    batches = object()  # what only the training of a memory needs
    data = from_arrays((train, train), (train, train), (test, test), vocabulary=["<unk>", "a", "b"], batches=batches)
    rows = baselines.baselines(data)
    assert all(row["value"] > 2 for row in rows)
    assert {(row["fitted_to"], row["scored_on"]) for row in rows} == {(4000, 1000)}


def test_an_ngram_model_has_the_entropy_of_its_text():
    draw = np.random.default_rng(0)
    tokens = [1]
    for _ in range(20_000):  # a or b after a with 1/2; always a after b
        tokens.append(int(draw.integers(1, 3)) if tokens[-1] == 1 else 1)
    # State a has 2/3 of the time and 1 bit, state b none: 2/3 of a bit per token.
    rows = {row["baseline"]: row for row in baselines.ngrams(tokens, tokens, 3, 3)}
    assert [rows[name]["value"] for name in ("2-gram", "3-gram")] == pytest.approx([2 / 3, 2 / 3], abs=0.02)
    # a, b; aa, ab, ba; aaa, aab, aba, baa, bab
    assert [rows[name]["counts"] for name in ("2-gram", "3-gram")] == [2 + 3, 2 + 3 + 5]


def test_no_model_starts_after_the_budget():
    assert baselines.baselines(find("text").data(), seconds=-1) == []


def test_the_report_says_when_a_simple_model_is_better():
    rows = [{"baseline": "majority", "score": "accuracy", "value": 0.7, "seconds": 0.0}]
    assert "majority is better than this model: 0.7, not 0.6" in report.better_baseline(
        Judgement({"accuracy": 0.6}), rows
    )
    assert report.better_baseline(Judgement({"accuracy": 0.8}), rows) == ""
    assert "majority is better" in report.better_baseline(Judgement({"mse": 0.8}), rows)
    assert any(
        "| majority | all | accuracy | 0.7 |" in line
        for line in report.baseline_lines(Judgement({"accuracy": 0.8}), rows)
    )


def test_rare_classes_weigh_more_and_the_mean_weight_is_one():
    weights = class_weights(np.array([0] * 90 + [1] * 10))
    assert weights[1] / weights[0] == pytest.approx(3)
    assert 0.9 * weights[0] + 0.1 * weights[1] == pytest.approx(1)
    assert class_weights(np.array([0, 1, 1])) is None or class_weights(np.array([0] * 5 + [1] * 6)) is None


@pytest.mark.parametrize("examples", [5, 84, 1000, 100_000])
def test_the_recipe_gives_every_size_enough_steps(examples):
    usual = {"epochs": 40, "batch_size": 64, "learning_rate": 4e-3}
    new = recipe.adapted(usual, examples)
    steps = new["epochs"] * -(-examples // new["batch_size"])
    assert steps >= 1200 or new["epochs"] == 300
    assert 8 <= new["batch_size"] <= 64
    assert new["learning_rate"] == pytest.approx(4e-3 * np.sqrt(new["batch_size"] / 64))
    assert new["patience"] >= 10
    if examples == 100_000:
        assert (new["epochs"], new["batch_size"]) == (40, 64)
    assert recipe.adapted(usual, examples, free=()) == {**recipe.DEFAULTS, **usual}


def test_scores_of_files_without_classes():
    forecast, language = find("forecast"), find("language")
    actual = np.zeros((2, 3, 1))
    output = np.stack([actual - 1, actual + 2, actual + 3], -1)
    data = SimpleNamespace(build={"variance": [4.0]})
    assert forecast.score(data, output, actual) == {"mse": 1.0, "inside": 1.0}
    assert language.score(None, np.full((1, 4, 8), 1 / 8), np.zeros((1, 4), int)) == {"bits": 3.0}


def test_films_are_read_in_part_and_have_a_majority():
    (row,) = baselines.baselines(find("show").data())
    assert row["baseline"] == "majority"
    assert row["value"] == pytest.approx(0.5, abs=0.1)


def test_a_file_far_behind_keras_is_named():
    forecast = {"keras_scores": {"mse": 0.02572}, "scores": {"mse": 9.248}}
    assert deploying.much_worse(forecast) == "mse 9.25, Keras 0.0257"
    assert deploying.much_worse({"accuracy": 0.9, "keras_accuracy": 0.96}) == "accuracy 0.9, Keras 0.96"
    for close in (
        {"accuracy": 0.95, "keras_accuracy": 0.96},
        {"keras_scores": {"mse": 0.03}, "scores": {"mse": 0.04}},
        {},
    ):
        assert not deploying.much_worse(close)
