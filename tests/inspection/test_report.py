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
from keras_gates.inspection.html_report import search
from keras_gates.inspection.html_report.answers import change_of_answer
from keras_gates.inspection.html_report.packing import packed
from keras_gates.inspection.html_report.patching import patched_predictions
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
# Text whose contrast with what is behind it is below 4.5 to 1 (WCAG 2.1), and everything that the page can do.
DRIVE = """<script>
const said = [], root = document.documentElement, look = (id) => document.getElementById(id).textContent;
const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
const numbers = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const light = (rgb) => rgb.slice(0, 3).map((p) => (p /= 255) <= 0.03928 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4)
  .reduce((sum, p, k) => sum + p * [0.2126, 0.7152, 0.0722][k], 0);
function pale() {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), bad = [];
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, style = getComputedStyle(element);
    if (!walker.currentNode.data.trim() || !element.getClientRects().length || element.closest("[aria-hidden]")) continue;
    let behind = element, inside = element.namespaceURI.endsWith("svg");
    while (behind && (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)")) behind = behind.parentElement;
    const a = light(numbers(inside ? style.fill : style.color)), b = light(numbers(getComputedStyle(behind).backgroundColor));
    if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5) bad.push(walker.currentNode.data);
  }
  return bad;
}
said.push(look("now"));
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
const more = { pale: pale(), link: document.getElementById("link").getAttribute("href") };
more.alike = document.querySelectorAll("#alike li").length;
const slider = document.getElementById("at").getBoundingClientRect(), held = document.getElementById("held"), T = steps();
more.thumb = slider.left + 8 + (slider.width - 16) * (T > 1 ? chosen.at / (T - 1) : 0);
more.bar = held.getBoundingClientRect().left + axisX(chosen.at, T, held.clientWidth);
const jump = document.querySelector("#alike button");
if (jump) { jump.click(); more.jumped = [chosen.example, chosen.at]; }
root.dataset.said = JSON.stringify(said);
pagePicture().then((url) => { more.png = url; root.dataset.more = JSON.stringify(more); });
</script></body>"""


def browsed(page, tmp_path, *flags):
    """The DOM of a page after its scripts ran, and what a headless browser wrote to the console meanwhile."""
    always = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
    command = [CHROMIUM, *always.split(), "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", *flags]
    command += ["--virtual-time-budget=4000", "--dump-dom", page]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def driven(path, tmp_path, view="", dark=False):
    """The page's text after `DRIVE` ran in a headless browser: what it said, what it measured, and the whole DOM."""
    copy = tmp_path / "driven.html"
    copy.write_text(path.read_text(encoding="utf-8").replace("</body>", DRIVE), encoding="utf-8")
    dom, console = browsed(
        copy.as_uri() + view, tmp_path, *(["--blink-settings=preferredColorScheme=0"] if dark else [])
    )
    root = re.search("<html[^>]*>", dom)[0]
    assert not console
    assert 'data-ready="yes"' in root, "the page's script did not come to its end"
    assert "data-errors" not in root, root
    assert "data-evil" not in root, "text of the user was run"
    said, more = (json.loads(html.unescape(re.search(f'data-{name}="([^"]*)"', root)[1])) for name in ("said", "more"))
    assert more["pale"] == [], "text without contrast"
    assert more["png"].startswith("data:image/png;base64,")
    assert len(more["png"]) > 20_000, "a picture of the whole page"
    return said, more, dom


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
        search=NUMBERS,
    )
    said, more, dom = driven(path, tmp_path, "#example=0&t=2")
    assert "Of 2 sequences that were searched, those in which unit 0 does most nearly" in dom
    assert said[:3] == ["event 2 of 0–3 “tree”", "event 0 of 0–3 “<b>bear</b>”", f"event 1 of 0–3 “{WORDS[2]}”"]
    assert said[3] is True, "the answer changes event by event"
    assert said[4].startswith("Unit 0 ")
    assert said[5:7] == [1, 1]
    assert said[7:] == ["Learn ", "Forget", "Rememb", "Use ga"]
    assert "True answer at the end: dog" in dom, "that of the text it jumped to"
    assert more["link"].startswith("#example=1&t=0&layer=backward_reader"), "playing starts again at the end"
    assert more["alike"] == 1, "the other text is shorter than the distance between two that are listed"
    assert more["jumped"][0] == 0, "an event of the other text is like this one"
    assert abs(more["thumb"] - more["bar"]) < 1, "the slider stands under the bar of its event"
    assert "With the long-term memory of example 0 put in after event" in dom


@pytest.mark.parametrize("batch", [7, 64])
def test_the_data_set_is_searched_for_events_at_which_a_unit_does_the_same(tmp_path, monkeypatch, batch):
    """In batches, against all distances by NumPy from the trace of the whole data set."""
    monkeypatch.setattr(search, "rows_per_pass", lambda numbers: batch)
    random = np.random.default_rng(3)
    x = random.integers(1, len(WORDS), (20, 9)).astype("int32")
    x[:, 6:] *= random.integers(0, 2, (20, 1)).astype("int32")
    model = word_model()
    path = keras_gates.report(model, x[:2], tmp_path / "a.html", vocabulary=WORDS, search=x)
    content = json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(), re.S)[1])["search"]
    assert content["sequences"] == 20
    for name, layer in keras_gates.trace(model, x).items():
        for example in range(2):
            for unit in range(5):
                memory, read = layer.ltm[..., unit], layer.mask
                first = np.zeros((20, 1))
                backward = layer.direction == "backward"
                change = np.abs(np.diff(memory, axis=1, **({"append": first} if backward else {"prepend": first})))
                asked = int(np.where(read[example], change[example], -1).argmax())
                padded = np.pad(memory, ((0, 0), (2, 2)), mode="edge")
                windows = np.lib.stride_tricks.sliding_window_view(padded, 5, axis=1)
                distance = np.linalg.norm(windows - windows[example, asked], axis=-1)
                distance = np.where(read, distance, np.inf)
                answer = content["layers"][name][example][str(unit)]
                assert answer["event"] == asked
                nearest = np.sort(distance.min(axis=1))[:4]
                got = [distance[sequence, event] for sequence, event, _, _ in answer["same"]]
                np.testing.assert_allclose(got, nearest, atol=1e-5)
                for sequence, event, value, text in answer["same"]:
                    assert value == pytest.approx(memory[sequence, event], abs=6e-4)
                    assert WORDS[x[sequence, event]] in text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt-get install chromium)")
def test_pictures_and_a_model_without_memory_in_a_dark_browser(tmp_path):
    page = keras_gates.report(picture_model(), PICTURES, tmp_path / "a.html", labels=["dog", "wolf"])
    said, more, _ = driven(page, tmp_path, "#example=1&t=3", dark=True)
    assert said[:2] == ["event 3 of 0–5", "event 0 of 0–5"]
    assert abs(more["thumb"] - more["bar"]) < 1
    bare = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "softmax")], name="bare")
    _, _, dom = driven(keras_gates.report(bare, data(2, 4), tmp_path / "b.html"), tmp_path)
    assert "no recurrent layer" in dom


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt-get install chromium)")
def test_an_error_in_the_console_would_be_seen(tmp_path):
    page = tmp_path / "broken.html"
    page.write_text("<script>console.error('broken on purpose')</script>", encoding="utf-8")
    assert "broken on purpose" in browsed(page.as_uri(), tmp_path)[1][0]


def content_of(path):
    page = path.read_text(encoding="utf-8")
    return json.loads(re.search('<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_padding_is_no_event_and_the_last_layer_comes_first(tmp_path):
    layers = [
        keras.Input((None,), dtype="int32"),
        keras.layers.Embedding(len(WORDS), 3, mask_zero=True),
        keras_gates.GateLSTM(5, return_sequences=True, name="lower"),
        keras.layers.Bidirectional(keras_gates.GateLSTM(4, name="upper")),
        keras.layers.Dense(3, "softmax"),
    ]
    model = randomise(keras.Sequential(layers), scale=1.0)
    stories = content_of(keras_gates.report(model, NUMBERS, tmp_path / "r.html", vocabulary=WORDS))["examples"]
    assert [story["time"] for story in stories] == [4, 2]
    assert [layer["name"] for layer in stories[1]["layers"]] == ["forward_upper", "backward_upper", "lower"]
    assert stories[1]["events"]["items"] == [WORDS[3], WORDS[1]]
    assert all(layer["time"] == 2 for layer in stories[1]["layers"])
    assert unpacked(stories[1]["answers"]["values"]).shape == (2, 3)


def test_it_opens_with_the_example_whose_answer_changes_at_what_counts(tmp_path):
    """A running sum: only in the second example does one event turn the answer."""
    model = keras.Sequential(
        [keras.Input((6, 1)), keras.layers.SimpleRNN(1, activation="linear"), keras.layers.Dense(1, "sigmoid")]
    )
    model.set_weights([np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), np.ones((1, 1)), np.zeros(1)])
    x = np.full((3, 6, 1), 0.2, "float32")
    x[1], x[2] = -0.2, -0.2
    x[1, 3] = 5.0
    path = keras_gates.report(model, x, tmp_path / "r.html", labels=["down", "up"], truth=[1, 1, 0])
    assert content_of(path)["start"] == 1
    assert change_of_answer(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])) == (3, 0.3)
    assert change_of_answer(np.array([[0.9, 0.1], [0.8, 0.2]])) == (0, 0.0)


def test_a_patched_memory_is_that_of_the_other_example():
    """Compared with Keras' own layer, continued from the hidden state of one example and the cell state of the other."""
    lstm = keras.layers.LSTM(4, return_sequences=True, return_state=True)
    x = data(3, 7, 3)
    lstm(x)
    inputs = keras.Input((7, 3))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalMaxPooling1D()(lstm(inputs)[0])))
    patches = [(0, 2, 3), (1, 0, 0), (2, 1, 6)]
    predictions = patched_predictions(model, x, keras_gates.trace(model, x), patches)
    for (receiver, donor, event), prediction in zip(patches, predictions):
        outputs, stm, _ = lstm(x[receiver : receiver + 1, : event + 1])
        ltm = lstm(x[donor : donor + 1, : event + 1])[2]
        if event < 6:
            rest = lstm(x[receiver : receiver + 1, event + 1 :], initial_state=[stm, ltm])[0]
            outputs = keras.ops.concatenate([outputs, rest], axis=1)
        wanted = model.layers[-1](keras.ops.max(outputs, axis=1))
        assert np.allclose(prediction, keras.ops.convert_to_numpy(wanted)[0], atol=1e-5)
    unchanged = patched_predictions(model, x, keras_gates.trace(model, x), [(1, 1, 2)])
    assert np.allclose(unchanged, model.predict(x[1:2], verbose=0), atol=1e-5)


def test_forecasts_with_their_band_and_the_next_characters(tmp_path):
    inputs = keras.Input((8, 2))
    steps = keras.layers.Dense(3 * 2 * 3)(keras_gates.GateLSTM(4)(inputs))
    model = randomise(keras.Model(inputs, keras.layers.Reshape((3, 2, 3))(steps)), scale=1.0)
    x, actual = data(2, 8, 2), data(2, 3, 2)
    path = keras_gates.report(model, x, tmp_path / "f.html", labels=["shop", "web"], truth=actual)
    answers = content_of(path)["examples"][0]["answers"]
    assert (answers["kind"], answers["names"]) == ("forecast", ["shop", "web"])
    assert np.allclose(unpacked(answers["values"])[-1], model.predict(x[:1], verbose=0)[0], atol=0.02)
    assert np.allclose(unpacked(answers["actual"]), actual[0], atol=0.02)
    if CHROMIUM:
        assert "band between its lowest and highest quantile" in driven(path, tmp_path)[2]

    letters = [chr(97 + k) for k in range(20)]
    inputs = keras.Input((None,), dtype="int32")
    events = keras_gates.GateLSTM(6, return_sequences=True)(keras.layers.Embedding(20, 3)(inputs))
    model = randomise(keras.Model(inputs, keras.layers.Dense(20, "softmax")(events)), scale=1.0)
    numbers = np.random.default_rng(0).integers(0, 20, (2, 9))
    path = keras_gates.report(model, numbers, tmp_path / "l.html", vocabulary=letters)
    answers, wanted = content_of(path)["examples"][1]["answers"], model.predict(numbers, verbose=0)[1]
    for t in range(9):
        best = [letters[k] for k in np.argsort(-wanted[t])[:8]]
        assert [answers["names"][k] for k in answers["top"][t]] == best, "the step's own next characters"
    assert np.allclose(unpacked(answers["came"]), wanted[np.arange(8), numbers[1, 1:]], atol=0.01)
    if CHROMIUM:
        assert f"What came: “{letters[numbers[1, 8]]}”" in driven(path, tmp_path, "#example=0&t=7")[2]


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
        gradient = keras_gates.influence(model, NUMBERS[:1], method="gradient").ltm[layer["name"]][0]
        assert np.allclose(unpacked(layer["weights"]), gradient / np.abs(gradient).max(), atol=1 / 100)
    by_event = keras_gates.influence(model, NUMBERS, method="integrated", steps=8).strength[0]
    assert np.allclose(unpacked(story["influence"]), by_event / np.abs(by_event).max(), atol=1 / 100)
    assert list(tmp_path.iterdir()) == [path], "nothing else is left behind"


def test_of_two_answers_in_one_number_the_one_that_is_given_counts(tmp_path):
    model = picture_model()
    model.layers[-1].bias.assign([-9.0])
    page = keras_gates.report(model, PICTURES[:1], tmp_path / "a.html", labels=["dog", "wolf"]).read_text(
        encoding="utf-8"
    )
    layer = json.loads(re.search('id="data">(.*?)</script>', page, re.S)[1])["examples"][0]["layers"][0]
    wolf = keras_gates.influence(model, PICTURES[:1], method="gradient").ltm["memory"][0]
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
