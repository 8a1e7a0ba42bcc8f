"""The report as a browser runs it: every view, every key, user text that stays text, no script errors, one small file."""

import html
import json
import re
import shutil
import subprocess

import keras
import numpy as np
import pytest
from helpers import data, randomise

import keras_gates
from keras_gates.inspection.html_report.build import packed
from keras_gates.inspection.html_report.predictions import predictions_by_event

WORDS = ["", "<b>bear</b>", "</script><script>document.documentElement.dataset.evil=1</script>", "tree", "dog"]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def word_model():
    layers = [
        keras.Input((None,), dtype="int32"),
        keras.layers.Embedding(len(WORDS), 3, mask_zero=True),
        keras.layers.Bidirectional(keras_gates.GateLSTM(5, name="reader")),
        keras.layers.Dense(3, "softmax"),
    ]
    return randomise(keras.Sequential(layers, name="words"), scale=1.0)


def picture_model():
    layers = [
        keras.Input((6, 8, 8, 3)),
        keras.layers.Reshape((6, 192)),
        keras.layers.Rescaling(1 / 255),
        keras_gates.GateLSTM(4, formulation="article", name="memory"),
        keras.layers.Dense(1, "sigmoid"),
    ]
    return keras.Sequential(layers, name="show")


NUMBERS = np.array([[1, 2, 3, 4], [3, 1, 0, 0]], "int32")
PICTURES = np.random.default_rng(0).integers(0, 255, (2, 6, 8, 8, 3)).astype("float32")
DRIVE = """<script>
const said = [], root = document.documentElement, look = (id) => document.getElementById(id).textContent;
const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
window.onunhandledrejection = () => { root.dataset.errors = "rejected"; };
press("Home"); said.push(look("now"));
press("ArrowRight"); said.push(look("now"));
const before = document.getElementById("answers").textContent; press("End");
said.push(document.getElementById("answers").textContent !== before);
press("ArrowDown"); said.push(look("unit-title"));
press("}"); press("]");
said.push(document.getElementById("example").selectedIndex, document.getElementById("layer").selectedIndex);
for (const gate of ["learn", "forget", "remember", "use"]) {
  const element = document.querySelector(`[data-gate=${gate}]`);
  if (element) { element.focus(); said.push(look("explanation").slice(0, 6)); }
}
press(" "); press(" ");
window.dispatchEvent(new Event("resize"));
root.dataset.said = JSON.stringify(said);
</script></body>"""


def driven(path, tmp_path):
    """The page's text after `DRIVE` ran in a headless browser: what it said, and the whole DOM."""
    page = path.read_text(encoding="utf-8").replace("</body>", DRIVE)
    page = page.replace(
        "<head>", '<head><script>onerror=()=>{document.documentElement.dataset.errors="early"}</script>', 1
    )
    copy = tmp_path / "driven.html"
    copy.write_text(page, encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
    command = [
        CHROMIUM,
        *flags.split(),
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=3000",
        "--dump-dom",
    ]
    dom = subprocess.run([*command, copy.as_uri()], capture_output=True, text=True, timeout=120, check=True).stdout
    root = re.search("<html[^>]*>", dom)[0]
    assert 'data-ready="yes"' in root, "the page's script did not come to its end"
    assert "data-errors" not in root, root
    assert "data-evil" not in root, "text of the user was run"
    return json.loads(html.unescape(re.search('data-said="([^"]*)"', root)[1])), dom


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt-get install chromium)")
def test_words_in_a_browser(tmp_path):
    path = keras_gates.report(
        word_model(),
        NUMBERS,
        tmp_path / "report.html",
        labels=["dog", "<i>", "wolf"],
        vocabulary=WORDS,
        truth=[0, 2],
        title="</title><b>",
    )
    said, dom = driven(path, tmp_path)
    assert said[:2] == ["event 0 of 0–3 “<b>bear</b>”", f"event 1 of 0–3 “{WORDS[2]}”"]
    assert said[2] is True, "the answer changes event by event"
    assert said[3].startswith("Unit 0 ")
    assert said[4:6] == [1, 1]
    assert said[6:] == ["Learn ", "Forget", "Rememb", "Use ga"]
    assert "True answer at the end: wolf" in dom


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt-get install chromium)")
def test_pictures_and_a_model_without_memory_in_a_browser(tmp_path):
    said, dom = driven(
        keras_gates.report(picture_model(), PICTURES, tmp_path / "a.html", labels=["dog", "wolf"]), tmp_path
    )
    assert said[0] == "event 0 of 0–5"
    assert dom.count('title="event ') == 6
    bare = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "softmax")], name="bare")
    _, dom = driven(keras_gates.report(bare, data(2, 4), tmp_path / "b.html"), tmp_path)
    assert "no recurrent layer" in dom


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="one answer per example, 2, got 1"):
        keras_gates.report(word_model(), NUMBERS, tmp_path / "r.html", truth=[1])
    with pytest.raises(FileNotFoundError, match="create it first"):
        keras_gates.report(word_model(), NUMBERS, tmp_path / "nope" / "r.html")
    assert not list(tmp_path.iterdir())


def test_what_is_in_the_file(tmp_path):
    model = word_model()
    path = keras_gates.report(model, NUMBERS, tmp_path / "report.html", labels=["a", "b", "c"], vocabulary=WORDS)
    page = path.read_text(encoding="utf-8")
    assert not re.search(r"""<[^>]*(src|href)=|https?://""", page), "it needs no network"
    assert page.count("</script>") == 2, "text of the user stays inside the data"
    content = json.loads(re.search('<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])
    story = content["examples"][0]
    assert story["events"]["items"] == [WORDS[n] for n in NUMBERS[0]]
    traced = keras_gates.trace(model, NUMBERS)
    for layer in story["layers"]:
        wanted = traced[layer["name"]]
        for name, array in layer["arrays"].items():
            largest = np.nanmax(np.abs(wanted[name][0]))
            assert np.allclose(unpacked(array), wanted[name][0], atol=max(1, largest) / 200), name
        gradient = keras_gates.influence(model, NUMBERS[:1]).ltm[layer["name"]][0]
        assert np.allclose(unpacked(layer["weights"]), gradient / np.abs(gradient).max(-1, keepdims=True), atol=1 / 100)
    assert list(tmp_path.iterdir()) == [path], "nothing else is left behind"


def test_of_two_answers_in_one_number_the_one_that_is_given_counts(tmp_path):
    model = picture_model()
    model.layers[-1].bias.assign([-9.0])
    page = keras_gates.report(model, PICTURES[:1], tmp_path / "a.html", labels=["dog", "wolf"]).read_text(
        encoding="utf-8"
    )
    layer = json.loads(re.search('id="data">(.*?)</script>', page, re.S)[1])["examples"][0]["layers"][0]
    wolf = keras_gates.influence(model, PICTURES[:1]).ltm["memory"][0]
    assert (np.sign(unpacked(layer["weights"])) * np.sign(wolf) <= 0).all(), "what speaks for wolf speaks against dog"


def unpacked(array):
    import base64

    raw = base64.b64decode(array["base64"])
    kinds = {"share": ("uint8", 1 / 255), "signed": ("int8", array["scale"] / 127), "half": ("<f2", 1)}
    dtype, scale = kinds[array["kind"]]
    return np.frombuffer(raw, dtype).reshape(array["shape"]) * scale


def test_packed_arrays_come_back():
    for low, high in ((0, 1), (-0.3, 0.2), (-30, 4), (0, 0)):
        array = np.random.default_rng(1).uniform(low, high, (5, 3))
        assert np.allclose(unpacked(packed(array)), array, atol=max(abs(low), high) / 200, rtol=1e-3)


def test_a_small_limit_leaves_out_units_then_examples(tmp_path):
    layers = [
        keras.Input((60, 3)),
        keras_gates.GateLSTM(64, return_sequences=True, name="memory"),
        keras.layers.Dense(2),
    ]
    path = keras_gates.report(keras.Sequential(layers), data(6, 60, 3), tmp_path / "r.html", largest=120_000)
    assert path.stat().st_size <= 120_000
    content = json.loads(re.search('id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.S)[1])
    assert len(content["examples"][0]["layers"][0]["units"]) < 64
    with pytest.raises(ValueError, match="no examples"):
        keras_gates.report(keras.Sequential(layers), data(0, 60, 3), tmp_path / "r.html")


def test_answers_are_those_of_the_sequence_cut_there():
    model = word_model()
    cut = [model.predict(np.pad(NUMBERS[:1, : t + 1], ((0, 0), (0, 3 - t))), verbose=0)[0] for t in range(4)]
    assert np.allclose(predictions_by_event(model, NUMBERS, 0, 4), cut, atol=1e-5)


def test_a_stateful_model_with_a_fixed_batch(tmp_path):
    """A language model that carries its memory over: the report starts from empty memories and leaves them as they were."""
    inputs = keras.Input((None,), batch_size=3, dtype="int32")
    layer = keras_gates.GateLSTM(4, stateful=True, return_sequences=True, name="memory")
    events = layer(keras.layers.Embedding(len(WORDS), 3)(inputs))
    model = randomise(keras.Model(inputs, keras.layers.Dense(len(WORDS), "softmax")(events)))
    model(np.resize(NUMBERS, (3, 4)))
    before = [keras.ops.convert_to_numpy(state) for state in layer.states]
    path = keras_gates.report(model, NUMBERS[:1], tmp_path / "r.html", vocabulary=WORDS)
    assert all(np.array_equal(a, keras.ops.convert_to_numpy(b)) for a, b in zip(before, layer.states))
    assert "inner_loop" not in vars(layer)
    content = json.loads(re.search('id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.S)[1])
    layer.reset_state()
    wanted = keras.ops.convert_to_numpy(model(np.resize(NUMBERS[:1], (3, 4))))[0]
    assert np.allclose(unpacked(content["examples"][0]["answers"]["values"]), wanted, atol=0.01)
