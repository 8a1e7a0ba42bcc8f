"""What the zoo ships: every card's weights load, answer as on the day they were shipped, and score what the card says."""

import functools
import importlib.util
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_gates.models import find, load, registry

HERE = Path(__file__).parents[1]
TFDS = HERE.parents[1] / "shared" / "tfds"
CSV = HERE.parents[1] / "shared" / "csv"
SAMPLES = np.load(HERE / "data" / "samples.npz")  # whose they are: tests/data/README.md
CARDS = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(registry.WEIGHTS.glob("*.json"))]
IDS = [f"{card['model']}-{card['preset']}" for card in CARDS]
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the zoo runs on TensorFlow")

_spec = importlib.util.spec_from_file_location("ship", HERE.parent / "benchmarks" / "ship.py")
ship = importlib.util.module_from_spec(_spec)
sys.modules["ship"] = ship
_spec.loader.exec_module(ship)


@pytest.fixture(scope="module", params=CARDS, ids=IDS)
def shipped(request):
    card = request.param
    return card, load(card["model"], card["preset"])


def test_outputs_are_those_of_the_day_it_was_shipped(shipped):
    card, model = shipped
    assert model.count_params() == card["parameters"]
    answers = np.asarray(model.predict_on_batch(ship.pinned_inputs(model)))
    np.testing.assert_allclose(answers.reshape(len(answers), -1)[:, :8], card["pinned"], atol=2e-4, rtol=1e-3)


def test_the_score_on_a_small_sample_is_the_cards(shipped):
    """Of MNIST, spoken_digit and tiny_shakespeare, whose licences allow committing one; show's data is made by us."""
    card, model = shipped
    name, score = next(iter(card["scores"].items()))
    if card["model"] == "show":
        x, y = find("show").data().arrays("test", 200)
    elif f"{card['model']}_x" in SAMPLES and "tfds" in card["command"]:
        x, y = (SAMPLES[f"{card['model']}_{part}"] for part in "xy")
    else:
        pytest.skip(
            f"no sample of {card['data']['name']} may be committed; the next test takes it whole where it is there"
        )
    if card["model"] == "speech":
        x = x / np.float32(32768)
    _agrees(name, score, np.asarray(model.predict_on_batch(x.astype(model.inputs[0].dtype))), y)


def _agrees(name, score, answers, y):
    if name == "accuracy":
        found = answers.argmax(-1) if answers.shape[-1] > 1 else answers[:, 0] > 0.5
        assert abs((found == y).mean() - score) < 3 * np.sqrt(score * (1 - score) / len(y)) + 0.01
    else:  # bits a character; these pieces start from empty memory
        bits = -np.log2(np.take_along_axis(answers, y[..., None].astype(int), -1))[:, 20:].mean()
        assert abs(bits - score) < 0.2


@pytest.mark.parametrize("name", ["digits-nano", "speech-nano", "language-base"])
def test_an_int8_file_answers_with_the_probabilities_of_keras(name):
    pytest.importorskip("ai_edge_litert", reason="a .tflite is read with ai-edge-litert")
    from keras_gates.edge import EdgeModel
    from keras_gates.models.training.deploying import device_model

    kind, preset = name.split("-")
    device = device_model(find(kind), load(kind, preset), "int8")
    x, y = (SAMPLES[f"{kind}_{part}"] for part in "xy")
    x = device.prepare(x / np.float32(32768) if kind == "speech" else x.astype(load(kind, preset).inputs[0].dtype))
    wanted, got = device.core.predict(x, verbose=0), EdgeModel(registry.WEIGHTS / f"{name}-int8.tflite").predict(x)
    assert np.abs(got - wanted).mean() < 0.002
    if kind == "language":
        chances = [np.take_along_axis(each, y[..., None].astype(int), -1) for each in (got, wanted)]
        bits = [-np.log2(np.maximum(each, 1e-9)).mean() for each in chances]
        assert bits[0] - bits[1] < 0.01  # 40 pieces; 0.2 with probabilities of 8 bits
        assert (chances[0] > 0).all()


@functools.cache  # presets of one model share their data
def _spread(model, source, arguments):
    """300 test examples from everywhere in the test part, and what the data tell the model's build."""
    data = find(model).data(source, str(TFDS), 0, **json.loads(arguments))
    part = data.test.shard(max(1, int(data.test.cardinality()) // 300), 0).batch(300)
    return *next(iter(part.as_numpy_iterator()))[:2], data.build


def test_the_score_is_the_cards(shipped):
    card, model = shipped
    files = [word for word in card["command"].split() if word.endswith(".csv")]
    if card["model"] == "show":
        pytest.skip("the test before takes it: its data is made by us")
    if not TFDS.is_dir():
        pytest.skip(f"there is no data in {TFDS}")
    arguments = dict(find(card["model"]).presets[card["preset"]].get("data", {}))
    source = "tfds" if "tfds" in card["command"] else str(CSV / files[0])
    x, y, build = _spread(card["model"], source, json.dumps(arguments))
    name, score = next(iter(card["scores"].items()))
    answers = np.asarray(model.predict_on_batch(x))
    if name == "mse":
        error = np.mean(np.square(answers[..., 1] - y) / np.array(build["variance"]))
        assert error < 2 * score
    else:
        _agrees(name, score, answers, y)


@pytest.mark.parametrize("card", CARDS, ids=IDS)
def test_a_card_tells_what_a_card_has_to_tell(card):
    assert {"command", "data", "scores", "seeds", "sizes", "exports", "published", "versions"} <= set(card)
    assert (card["command"] + " show").startswith(f"python train.py {card['model']}")
    assert "/work" not in json.dumps(card)
    for file in registry.WEIGHTS.glob(f"{card['model']}-{card['preset']}*"):
        assert file.stat().st_size < 1_000_000
