"""The model `show`: what its data may and may not tell, what its parts compute, and that it learns."""

import keras
import numpy as np
import pytest

from keras_gates.models import UserError, find, gate_variants, show, show_study
from keras_gates.models.data import shows, sprites

SIZE = 8
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the zoo trains on TensorFlow")


@pytest.fixture(scope="module")
def data():
    return show.data(size=SIZE, steps=3)


def test_every_sprite_is_drawn_and_none_is_like_another():
    groups = sprites.sprites()
    assert {name: len(group) for name, group in groups.items()} == {n: len(g) for n, g in sprites.SPRITES.items()}
    pictures = np.concatenate(list(groups.values()))
    assert (pictures[..., 3].mean((1, 2)) > 0.15).all()
    difference = np.abs(pictures[:, None, ..., :3] - pictures[None, ..., :3]).mean((2, 3, 4))
    assert (difference[~np.eye(len(pictures), dtype=bool)] > 5).all()


def _places(data, split, lag, count):
    """Which group each frame of some shows belongs to, found by looking the pictures up."""
    x, y = data.at(split, lag, count)
    group_of = {}
    for group, pictures in data.banks[split].items():
        group_of.update(dict.fromkeys((picture.tobytes() for picture in pictures), group))
    return np.array([[group_of[frame.astype("uint8").tobytes()] for frame in one] for one in x]), y


@pytest.mark.parametrize("lag", [1, 17, 60])
def test_the_clue_lies_where_it_should_and_tells_the_label(data, lag):
    groups, y = _places(data, "test", lag, 40)
    assert groups.shape[1] == 62
    assert (groups[:, -1] == "last").all()
    assert (groups[:, -1 - lag] == np.where(y == 1, "forest", "home")).all()
    neutral = np.delete(groups, [61, 61 - lag], axis=1)
    assert (neutral == "neutral").all()
    assert 0 < y.mean() < 1


def test_what_is_looked_into_begins_with_a_bear_forty_frames_back(data):
    x, y = data.illustrative(4)
    assert y.tolist() == [1, 0, 1, 0]
    test = data.banks["test"]
    bears, cats = ([picture.tobytes() for picture in test[group][:100]] for group in ("forest", "home"))
    for frames, known in zip(x, [bears, cats] * 2):
        assert frames[-41].astype("uint8").tobytes() in known


def test_the_last_frame_does_not_depend_on_the_label(data):
    """Among shows drawn together, last frames of dogs and of wolves are draws from one and the same set of blends."""
    x, y = data.at("test", 5, 3000)
    known = {picture.tobytes(): number for number, picture in enumerate(data.banks["test"]["last"])}
    last = np.array([known[frame.astype("uint8").tobytes()] for frame in x[:, -1]])
    counts = np.array([np.bincount(last[y == label], minlength=len(known)) for label in (0, 1)])
    expected = counts.sum(0) * counts.sum(1, keepdims=True) / counts.sum()
    statistic = ((counts - expected) ** 2 / np.maximum(expected, 1e-9)).sum()
    freedom = (counts.sum(0) > 0).sum() - 1
    assert abs(statistic - freedom) < 4 * np.sqrt(2 * freedom)


def test_nothing_but_the_clue_depends_on_the_label(data):
    """With the two kinds of clue made equal, the shows of the two labels are drawn alike: only labels tell them apart."""
    bank = {group: pictures.copy() for group, pictures in data.banks["test"].items()}
    bank["home"] = bank["forest"]
    flat = shows._flat(bank)
    x, y = (part.numpy() for part in shows.draw(flat, 2000, 12, (5, 6), np.array([0, 0])))
    means = x.mean((2, 3, 4))
    for frame in range(12):
        apart = means[y == 1, frame].mean() - means[y == 0, frame].mean()
        spread = means[:, frame].std() * np.sqrt(1 / (y == 1).sum() + 1 / (y == 0).sum())
        assert abs(apart) < 4 * spread


def test_lags_are_drawn_evenly_over_doublings(data):
    clues = {picture.tobytes() for group in ("home", "forest") for picture in data.banks["train"][group]}
    x, _ = (part.numpy() for part in shows.draw(shows._flat(data.banks["train"]), 1500, 65, (1, 65), np.array([3, 1])))
    is_clue = np.array([[frame.astype("uint8").tobytes() in clues for frame in one] for one in x])
    assert (is_clue.sum(1) == 1).all()
    counts = np.histogram(64 - is_clue.argmax(1), [1, 2, 4, 8, 16, 32, 65])[0] / 1500
    np.testing.assert_allclose(counts, np.log([2, 2, 2, 2, 2, 65 / 32]) / np.log(65), atol=0.045)


def test_an_epoch_is_drawn_again_the_same_and_another_is_not(data):
    def first(epoch, seed=0):
        return next(iter(data.epoch(4, seed, epoch)))[0].numpy()

    assert np.array_equal(first(0), first(0))
    assert not np.array_equal(first(0), first(1))
    assert not np.array_equal(first(0), first(0, seed=1))
    assert len(list(data.epoch(4, 0, 0))) == 3


def test_the_splits_have_no_picture_in_common(data):
    sets = [{p.tobytes() for group in data.banks[split].values() for p in group} for split in data.banks]
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]
    assert not sets[1] & sets[2]


def test_each_frame_goes_through_the_same_eye_as_time_distributed_would_send_it(data):
    model = show.build(frames=6, size=SIZE)
    x = data.at("test", 4, 3)[0][:, -6:]
    seen = keras.Model(model.input, model.get_layer("events").output)(x)
    again = keras.layers.TimeDistributed(model.get_layer("eye"))(x)
    np.testing.assert_allclose(seen, again, atol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"memory": "none"},
        {"memory": "rnn", "squash": "sigmoid"},
        {"memory": "lstm", "formulation": "article"},
        {"memory": "lstm", "variant": "peephole"},
    ],
)
def test_every_memory_builds_trains_a_step_and_is_saved(arguments, data, tmp_path):
    model = show.build(frames=6, size=SIZE, units=4, **arguments)
    model.compile("adam", "binary_crossentropy")
    x, y = data.at("test", 4, 4)
    x = x[:, -6:]
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "show.keras")
    loaded = keras.saving.load_model(tmp_path / "show.keras")
    np.testing.assert_array_equal(loaded(x), model(x))


@pytest.mark.parametrize("variant", gate_variants.VARIANTS)
def test_every_variant_is_a_layer_with_its_gates(variant):
    layer = show.build(frames=4, size=SIZE, units=3, variant=variant).get_layer("memory")
    everywhere = ("learn", "forget", "use")
    changed = {
        "plain": {},
        "peephole": dict.fromkeys(everywhere, "Peephole"),
        "layer_norm": dict.fromkeys(everywhere, "LayerNorm"),
        "coupled": {"forget": "Coupled"},
        "refine": {"forget": "Refine"},
        "zoneout": {"remember": "Zoneout", "use": "Zoneout"},
        "projection": {"use": "Projection"},
        "open_learn": {"learn": "Open"},
        "open_forget": {"forget": "Open"},
        "open_use": {"use": "Open"},
    }[variant]
    for name in (*everywhere, "remember"):
        found = type(getattr(layer.cell, name)).__name__
        assert found == f"{changed.get(name, '')}{name.capitalize()}Gate"


def test_the_rnn_is_linear_then_squashed(data):
    model = show.build(frames=4, size=SIZE, memory="rnn", squash="sigmoid", units=3)
    events = np.random.default_rng(0).normal(size=(2, 4, 24)).astype("float32")
    layer = model.get_layer("memory")
    kernel, recurrent, bias = layer.get_weights()
    stm = np.zeros((2, 3))
    for event in events.swapaxes(0, 1):
        stm = 1 / (1 + np.exp(-(event @ kernel + stm @ recurrent + bias)))
    np.testing.assert_allclose(layer(events), stm, atol=1e-6)


def test_without_memory_only_the_last_frame_is_seen(data):
    model = show.build(frames=6, size=SIZE, memory="none")
    x = data.at("test", 4, 3)[0][:, -6:]
    changed = x.copy()
    changed[:, :-1] = 0
    np.testing.assert_array_equal(model(x), model(changed))


def test_a_span_sets_the_biases_of_forget_and_ignore():
    cell = show.build(frames=4, size=SIZE, units=5, span=60).get_layer("memory").cell
    factor = 1 / (1 + np.exp(-np.array(cell.forget.bias)))
    np.testing.assert_allclose(factor / (1 - factor), np.linspace(1, 60, 5), rtol=1e-4)
    np.testing.assert_allclose(np.array(cell.learn.bias)[:5], -np.array(cell.forget.bias))
    np.testing.assert_array_equal(np.array(cell.learn.bias)[5:], 0)


def test_gradient_by_lag_is_the_derivative_by_what_was_seen_of_the_clue(data):
    """Against central differences of the log-odds by the clue's event."""
    model = show.build(frames=62, size=SIZE, units=4)
    (found,) = show_study.gradient(model, data, lags=(3,), count=1)
    x, _ = data.at("test", 3, 1)
    events = keras.Model(model.input, model.get_layer("events").output)(x).numpy()
    after = model.get_layer("wolf")
    slope = []
    for feature in range(events.shape[-1]):
        odds = []
        for step in (1e-2, -1e-2):
            moved = events.copy()
            moved[0, -4, feature] += step
            p = float(after(model.get_layer("memory")(moved))[0, 0])
            odds.append(np.log(p / (1 - p)))
        slope.append((odds[0] - odds[1]) / 2e-2)
    assert found == pytest.approx(np.linalg.norm(slope), rel=0.05)


def test_the_lag_at_which_it_is_lost_is_the_first_under_three_quarters():
    assert show_study.first_forgotten_lag([0.99, 0.8, 0.7, 0.9], (1, 2, 3, 4)) == 3
    assert show_study.first_forgotten_lag([0.99, 0.75], (1, 2)) is None


def test_a_short_show_is_learned_with_memory_and_not_without():
    """The same 360 steps: the LSTM finds the clue two frames back, the network that sees the last frame alone guesses."""
    banks = shows.sprite_banks(16)
    data = shows.shows(banks, (2, 3), 60)
    right = {}
    for kind in ("lstm", "none"):
        keras.utils.set_random_seed(1)
        model = show.build(frames=4, size=16, memory=kind, units=16, span=0)
        model.compile(keras.optimizers.Adam(5e-3), "binary_crossentropy", metrics=["accuracy"])
        epochs = iter(range(100))
        model.fit(data.training(32, 0, lambda epochs=epochs: next(epochs)), epochs=6, verbose=0, shuffle=False)
        right[kind] = model.evaluate(data.held_out("test", 100), verbose=0)[1]
    assert right["lstm"] > 0.9
    assert 0.4 < right["none"] < 0.6


def test_cifar_photographs_make_shows_by_the_same_code(tmp_path, monkeypatch):
    """TFDS learns the names of these labels only from the download, so here they are given."""
    tfds = pytest.importorskip("tensorflow_datasets")
    from keras_gates.models.data import tfds as opened

    kinds = [kind for group in shows.CIFAR_100.values() for kind in group]
    names = {
        "cifar100": kinds + [f"other {number}" for number in range(100 - len(kinds))],
        "cifar10": ["dog"] + [f"other {number}" for number in range(9)],
    }
    open_tfds = opened.open_tfds

    def with_names(name, data_dir):
        builder = open_tfds(name, data_dir)
        builder.info.features["label"].names = names[name]
        return builder

    monkeypatch.setattr(shows, "open_tfds", with_names)
    with tfds.testing.mock_data(num_examples=1000):
        data = find("show").data("tfds", str(tmp_path), size=SIZE, steps=2)
    x, y = data.at("test", 60, 8)
    assert x.shape == (8, 62, SIZE, SIZE, 3)
    assert set(np.unique(y)) <= {0, 1}
    assert {group: len(pictures) > 0 for group, pictures in data.banks["test"].items()} == dict.fromkeys(
        shows.GROUPS, True
    )
    groups, y = _places(data, "test", 7, 20)
    assert (groups[:, -8] == np.where(y == 1, "forest", "home")).all()


def test_wrong_words_are_told_in_one_line():
    for call in (lambda: show.build(memory="ltm"), lambda: show.build(variant="x"), lambda: show.data("cifar")):
        with pytest.raises(UserError) as error:
            call()
        assert "\n" not in str(error.value)
