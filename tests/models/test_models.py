"""The registry of the zoo, the data pipeline that all models share, and the model `digits`."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_gates import models
from keras_gates.models import UserError, digits, registry
from keras_gates.models.data.pipeline import Data, from_arrays
from keras_gates.models.training.recipe import DEFAULTS

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the zoo trains on TensorFlow")


@pytest.mark.parametrize("name", models.names())
def test_a_model_says_of_itself_what_the_registry_asks(name):
    model = models.find(name)
    assert model.name == name
    assert model.line
    assert "\n" not in model.line
    assert model.builtin or model.tfds
    assert set(model.recipe) <= set(DEFAULTS)
    for preset in model.presets.values():
        assert preset["about"]
        assert set(preset) <= {"about", "build", "data", "recipe", "recipe_for"}
        assert set(preset.get("recipe", {})) <= set(DEFAULTS)
        assert set(preset.get("recipe_for", {})) <= {"builtin", "tfds", "files"}
    for figure in model.published:
        assert {"figure", "value", "source", "protocol"} <= set(figure)


def test_listing_the_models_imports_no_data_library():
    code = (
        "import sys, keras_gates; before = set(sys.modules); import keras_gates.models as m;"
        "[m.find(name) for name in m.names()]; heavy = {'tensorflow_datasets', 'sklearn', 'matplotlib', 'pandas'};"
        "heavy &= set(sys.modules) - before; assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_are_told_with_what_there_is():
    with pytest.raises(UserError, match=r"no model 'digit'; the zoo has: show, digits"):
        models.build("digit")
    with pytest.raises(UserError, match=r"digits has no preset 'tall'; it has: rows, small, nano, pixels"):
        models.build("digits", "tall")
    with pytest.raises(UserError, match="format must be"):
        models.load("digits", format="onnx")


def test_weights_that_are_not_shipped_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    (tmp_path / "digits-pixels.keras").touch()
    with pytest.raises(UserError, match=r"digits-rows.keras is not shipped; for digits there is: digits-pixels.keras"):
        models.load("digits")
    assert registry.card("digits") == {}


def test_without_a_preset_the_first_one_that_is_shipped_is_loaded():
    assert registry.card("forecast", "base") == {}
    assert models.load("forecast", format="tflite", precision="int8").name == "forecast-etth1-int8.tflite"
    assert registry.card("forecast") == registry.card("forecast", "etth1")


def test_overrides_reach_the_model():
    model = models.build("digits", units=7, layers=1, formulation="article")
    cell = model.get_layer("memory_1").cell
    assert cell.units == 7
    assert cell.formulation == "article"


@pytest.mark.parametrize(("preset", "events"), [("rows", (28, 28)), ("pixels", (784, 1))])
def test_digits_reads_rows_or_pixels_of_pictures_of_any_size(preset, events):
    model = models.build("digits", preset, units=4)
    assert model.get_layer("memory_1").input.shape[1:] == events
    assert model.get_layer("memory_2").input.shape[1] == 28  # of pixels those at the end of a row
    other = models.build("digits", preset, units=4, height=3, width=5)
    answer = other(np.full((2, 3, 5), 255.0, "float32")).numpy()
    assert answer.shape == (2, 10)
    np.testing.assert_allclose(answer.sum(-1), 1, rtol=1e-5)


def test_digits_splits_are_those_of_scikit_learn_and_share_nothing():
    from sklearn.datasets import load_digits

    data = digits.data()
    splits = [list(getattr(data, name).as_numpy_iterator()) for name in ("train", "validation", "test")]
    assert [len(split) for split in splits] == [1297, 200, 300]
    ours = sorted((x * (16 / 255)).round().astype("uint8").tobytes() + bytes([y]) for split in splits for x, y in split)
    theirs = load_digits()
    assert ours == sorted(x.astype("uint8").tobytes() + bytes([y]) for x, y in zip(theirs.images, theirs.target))


def test_moving_a_picture_keeps_its_ink_and_stays_within_its_bounds():
    x = np.zeros((64, 28, 28), "float32")
    x[:, 10:18, 10:18] = 200
    moved = digits._rotated_scaled_shifted(x, None, np.array([1, 2]))[0].numpy()
    again = digits._rotated_scaled_shifted(x, None, np.array([1, 2]))[0].numpy()
    np.testing.assert_array_equal(moved, again)
    place = np.arange(28)
    ink = moved.sum((1, 2))
    centre_y, centre_x = (moved * place[:, None]).sum((1, 2)) / ink, (moved * place).sum((1, 2)) / ink
    assert np.abs(np.stack([centre_y, centre_x]) - 13.5).max() < 0.07 * 28 * 1.12 + 0.1
    assert np.stack([centre_y, centre_x]).std(1).min() > 0.5
    np.testing.assert_allclose(ink / x.sum((1, 2)), 1, atol=0.25)
    assert moved.max() <= 200.01


def test_mnist_is_read_from_tfds(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=20):
        data = digits.data("tfds", str(tmp_path))
    x, y = data.arrays("test", 5)
    assert x.shape == (5, 28, 28)
    assert x.dtype == np.float32
    assert y.dtype == np.int32
    assert data.build == {"height": 28, "width": 28}


def _numbered(count=10, **rest) -> Data:
    x = np.arange(count, dtype="float32")
    return from_arrays((x, x), (x, x), (x, x), **rest)


def test_every_epoch_has_all_examples_in_an_order_of_its_own_that_can_be_had_again():
    data = _numbered()
    order = {epoch: np.concatenate([x for x, _ in data.epoch(4, 7, epoch)]) for epoch in range(3)}
    for found in order.values():
        assert sorted(found) == list(range(10))
    assert not np.array_equal(order[0], order[1])
    assert not np.array_equal(order[1], order[2])
    np.testing.assert_array_equal(order[1], np.concatenate([x for x, _ in data.epoch(4, 7, 1)]))
    assert not np.array_equal(order[1], np.concatenate([x for x, _ in data.epoch(4, 8, 1)]))


def test_examples_spread_over_a_split_come_from_its_beginning_its_middle_and_its_end():
    x = np.arange(1000, dtype="float32")[:, None]
    data = from_arrays((x, x), (x[:3], x[:3]), (x, x))
    np.testing.assert_array_equal(data.spread("train", 4)[0].ravel(), [0, 250, 500, 750])
    assert data.spread("validation", 4)[0].shape == (3, 1)


def test_the_training_data_set_follows_the_clock_and_knows_its_length():
    data, now = _numbered(), [0]
    keras.utils.set_random_seed(1)
    batches = data.training(4, 7, lambda: now[0])
    assert int(batches.cardinality()) == 3
    for epoch in (0, 2, 1, 2):
        now[0] = epoch
        found = np.concatenate([x for x, _ in batches])
        np.testing.assert_array_equal(found, np.concatenate([x for x, _ in data.epoch(4, 7, epoch)]))


def test_augmentation_is_drawn_anew_for_every_example_and_epoch_and_again_the_same():
    import tensorflow as tf

    data = _numbered(augment=lambda x, y, seed: (tf.random.stateless_uniform((), seed), y))

    def drawn(epoch):
        return {float(y): float(x) for xs, ys in data.epoch(4, 0, epoch) for x, y in zip(xs, ys)}

    assert len(set(drawn(0).values())) == 10
    assert drawn(0) == drawn(0)
    assert not set(drawn(0).values()) & set(drawn(1).values())


def test_sequences_of_different_length_are_bucketed_in_training_and_kept_in_order_after():
    import tensorflow as tf

    lengths = [1, 9, 2, 8, 3, 7]

    def split():
        examples = tf.data.Dataset.from_tensor_slices(lengths)
        return examples.map(lambda n: (tf.fill((n,), n), n))

    data = Data(split(), split(), split(), boundaries=(5,))
    for x, y in data.epoch(2, 0, 0):
        assert (y.numpy() < 5).all() or (y.numpy() >= 5).all()
        assert x.shape[1] == max(y)
    assert np.concatenate([y for _, y in data.held_out("test", 4)]).tolist() == lengths
    x, y = data.arrays("test", 3)
    np.testing.assert_array_equal(x, [[1] + [0] * 8, [9] * 9, [2, 2] + [0] * 7])
    np.testing.assert_array_equal(y, [1, 9, 2])


def test_convolutions_in_front_shorten_the_sequence_or_keep_short_ones():
    speech = models.build("speech", preset="nano", filters=[4, 6])
    assert speech.get_layer("loudest_2").output.shape == (None, 12, 6)  # 61 events: 57 → 28, 24 → 12
    gesture = models.build("gesture", preset="nano", filters=7, steps=3)  # shorter than the kernel
    assert gesture.get_layer("convolution").output.shape == (None, 1, 7)
    assert gesture.predict(np.zeros((1, 3, 3)), verbose=0).shape == (1, 20)
