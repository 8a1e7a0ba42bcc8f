"""Pictures: one unit and 512, five events and a thousand, every kind of event; what they draw is what the trace holds."""

import pickle
import warnings

import keras
import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import keras_gates
from keras_gates import Horizon, Influence, LayerTrace, Trace

WORDS = ["we", "saw", "a", "bear", ",", "$5", "␣", "and", "then", "a", "wolf"]


def layer_trace(time, units, formulation="standard", skipped=0):
    rng = np.random.default_rng(0)
    ignore, forget, use = rng.uniform(size=(3, 2, time, units))
    candidate = rng.uniform(-1, 1, size=(2, time, units))
    mask = np.ones((2, time), bool)
    mask[:, time - skipped :] = False
    ltm, kept = np.zeros((2, time, units)), np.zeros((2, time, units))
    before = np.zeros((2, units))
    for t in range(time):
        kept[:, t] = before * forget[:, t]
        before = np.where(mask[:, t, None], kept[:, t] + candidate[:, t] * ignore[:, t], before)
        ltm[:, t] = before
    arrays = {"ignore": ignore, "candidate": candidate, "learned": candidate * ignore, "forget": forget, "kept": kept}
    arrays |= {"U": np.tanh(ltm), "use": use}
    arrays = {name: np.where(mask[..., None], array, np.nan) for name, array in arrays.items()}
    arrays |= {
        "ltm": ltm,
        "stm": np.tanh(ltm) * 0.5,
        "first_stm": np.zeros((2, units)),
        "first_ltm": np.zeros((2, units)),
    }
    return LayerTrace("memory", "forward", formulation, {**arrays, "mask": mask, "event": np.zeros((2, time, 3))})


def drawn(figure):
    """Render it: what cannot be drawn raises here. Returns every text in the picture."""
    assert isinstance(figure, matplotlib.figure.Figure)
    FigureCanvasAgg(figure).draw()
    titles = [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)]
    for text in [*titles, *figure.texts]:
        if text.get_text():
            size = text.get_window_extent()
            assert size.x0 >= -2, f"cut off on the left: {text.get_text()!r}"
            assert size.x1 <= figure.bbox.x1 + 2, f"cut off on the right: {text.get_text()!r}"
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


@pytest.fixture(autouse=True)
def _nothing_opens_by_itself(monkeypatch):
    import matplotlib.pyplot as plt

    yield
    assert not plt.get_fignums(), "a picture was opened behind the user's back"


@pytest.mark.parametrize(("time", "units"), [(5, 1), (1000, 512), (1, 1), (11, 3)])
def test_sizes(time, units):
    one = layer_trace(time, units, skipped=min(2, time - 1))
    for figure in (
        keras_gates.plot_gates(one),
        keras_gates.plot_units(one),
        keras_gates.plot_memory(one),
        keras_gates.plot_flow(one),
    ):
        assert any("memory" in text for text in drawn(figure))
        width, height = figure.get_size_inches()
        assert 5 <= width <= 16
        assert 2 <= height <= 14


def test_heat_maps_hold_the_numbers():
    one = layer_trace(11, 3)
    figure = keras_gates.plot_gates(Trace({"memory": one}), WORDS, names=["forget", "ltm"], example=1)
    texts = drawn(figure)
    assert r"\$5" in texts
    pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    assert np.array_equal(pictures[0], one.forget[1].T)
    assert np.array_equal(pictures[1], one.ltm[1].T)


@pytest.mark.parametrize(
    "labels",
    [WORDS, list("hello world"), np.zeros((11, 8, 8, 3)), np.ones((11, 8, 8)), np.zeros((11, 3)), np.zeros(4000)],
)
def test_events_of_every_kind(labels):
    one = layer_trace(11, 3)
    influence = Influence("memory", np.ones((2, 11, 3)), {}, np.zeros(2), "gradient")
    drawn(keras_gates.plot_gates(one, labels))
    drawn(keras_gates.plot_units(one, [0, 2], labels))
    figure = keras_gates.plot_memory(one, influence, labels, at=6)
    drawn(figure)
    bars = next(axes for axes in figure.axes if "held after" in axes.get_ylabel())
    assert np.allclose([bar.get_height() for bar in bars.patches], np.abs(one.still_held(6)).sum(-1))


@pytest.mark.parametrize("formulation", ["standard", "article"])
def test_flow_shows_the_step(formulation):
    one = layer_trace(5, 2, formulation)
    texts = " ".join(drawn(keras_gates.plot_flow(one, 3, unit=1, event="bear")))
    for name in ("forget", "candidate", "ignore", "U", "use", "kept", "learned", "ltm", "stm"):
        assert f"{one[name][0, 3, 1]:.2f}" in texts, name
    assert "bear" in texts


def test_curves_and_horizon():
    texts = drawn(keras_gates.plot_curves({"loss": [1, 2], "val_loss": [1, 3], "learning_rate": [1, 1]}))
    assert {"training", "validation", "loss"} <= set(texts)
    assert "2.0/3" not in texts
    assert any(
        "last 3 events" in text for text in drawn(keras_gates.plot_horizon(Horizon(np.array([0.5, 0.3, 0.2]), 0.9, 3)))
    )


def test_confusion_has_a_row_for_each_true_class():
    figure = keras_gates.plot_confusion(predicted=[0, 1, 1, 1], actual=[0, 1, 0, 0], labels=["dog", "wolf"])
    texts = drawn(figure)
    assert any("rows normalised by true class" in text and "50.0%" in text for text in texts)
    shares = np.asarray(figure.axes[0].images[0].get_array())
    assert np.allclose(shares, [[1 / 3, 2 / 3], [0, 1]]), "two of three dogs are called wolf"
    drawn(keras_gates.plot_confusion([0] * 60, range(60), [f"class number {k}" for k in range(60)]))
    with pytest.raises(ValueError, match="go from 0 to 2, but there are 2 labels"):
        keras_gates.plot_confusion([0, 2], [0, 1], ["dog", "wolf"])
    with pytest.raises(ValueError, match="2 predicted classes for 1 actual"):
        keras_gates.plot_confusion([0, 1], [0], ["dog", "wolf"])


def test_units_and_events_are_numbered_from_0():
    one = layer_trace(5, 2)
    texts = [*drawn(keras_gates.plot_gates(one, example=1)), *drawn(keras_gates.plot_units(one, [0]))]
    texts += [*drawn(keras_gates.plot_memory(one)), *drawn(keras_gates.plot_flow(one, unit=1))]
    assert {"0", "4", "unit 0\nmemory", "held after\nevent 4", "memory, example 1, 2 units from top to bottom"} <= set(
        texts
    )
    assert any("event 4 of 0–4, unit 1" in text for text in texts)
    assert not {"5", "unit 2\nmemory", "event 5"} & set(texts)


def test_errors():
    one = layer_trace(5, 2)
    with pytest.raises(ValueError, match="5 strings"):
        keras_gates.plot_gates(one, np.zeros((7, 3)))
    with pytest.raises(ValueError, match="one string per event, 5, got 3"):
        keras_gates.plot_gates(one, ["a", "b", "c"])
    with pytest.raises(IndexError, match="there are 2"):
        keras_gates.plot_units(one, 2)
    keras_gates.plot_units(one, np.int64(1))
    for plot in (keras_gates.plot_gates, keras_gates.plot_units, keras_gates.plot_memory, keras_gates.plot_flow):
        with pytest.raises(TypeError, match=r"got a Sequential\. Trace the model first"):
            plot(keras.Sequential())
    plain = LayerTrace("plain", "forward", "", {"stm": one.stm, "mask": one.mask, "first_stm": one.first_stm})
    with pytest.raises(ValueError, match="no long-term memory"):
        keras_gates.plot_flow(plain)
    with pytest.raises(ValueError, match="cannot be split"):
        keras_gates.plot_memory(plain)
    drawn(keras_gates.plot_gates(plain))


def test_a_notebook_shows_a_figure_without_a_magic_line():
    formatters = pytest.importorskip("IPython.core.formatters")
    figure = keras_gates.plot_curves({"loss": [1.0, 0.5]})
    assert formatters.PNGFormatter()(figure).startswith(b"\x89PNG")
    assert pickle.loads(pickle.dumps(figure))._repr_png_() == figure._repr_png_()


def test_padding_is_no_event():
    """What a sequence of 4 events shows and holds does not depend on the 3 skipped ones after it."""
    inputs = keras.Input((None, 2))
    hidden = keras_gates.GateLSTM(3, return_sequences=True, name="memory")(keras.layers.Masking()(inputs))
    model = keras.Model(inputs, hidden)
    events = np.random.default_rng(0).normal(size=(2, 7, 2)).astype("float32")
    events[0, 4:] = 0
    padded, alone = keras_gates.trace(model, events), keras_gates.trace(model, events[:1, :4])
    np.testing.assert_allclose(padded["memory"].still_held()[:4], alone["memory"].still_held(), atol=1e-6)
    assert not padded["memory"].still_held()[4:].any()
    assert padded["memory"].end_of(0) == 4
    assert padded["memory"].end_of(1) == 7
    for labels in (list("abcd"), list("abcd___")):
        for plot in (keras_gates.plot_gates, keras_gates.plot_memory):
            axes = plot(padded, labels=labels).axes
            assert max(one.get_xlim()[1] for one in axes if one.get_images()) == 3.5
    assert "event 3 of 0–3" in keras_gates.plot_flow(padded).get_suptitle()


def test_each_event_has_its_own_picture_beyond_32():
    trace = keras_gates.trace(keras.Sequential([keras.Input((40, 2)), keras_gates.GateLSTM(2)]), np.ones((1, 40, 2)))
    pictures = np.linspace(0, 1, 40)[:, None, None] * np.ones((1, 4, 4))
    strip = keras_gates.plot_gates(trace, labels=pictures).axes[0].get_images()[0].get_array()
    np.testing.assert_array_equal(np.asarray(strip)[0, ::4], pictures[:, 0, 0])


@pytest.mark.parametrize("time", [5, 62, 400])
def test_ticks_are_evenly_spaced_integers(time):
    figure = keras_gates.plot_gates(layer_trace(time, 3))
    (axes,) = [axes for axes in figure.axes if axes.get_xlabel() == "event"]
    ticks = axes.get_xticks()
    assert 0 in ticks
    assert len({*np.diff(ticks)}) == 1
    assert all(tick == round(tick) for tick in ticks)


ODD = ["$5", "a$b$c", "狼", "🐻", "naïve", "\n", " ", "مرحبا", "\u200d", "🐺\ufe0f", "_x^2"]


def every_figure(one, labels, name):
    trace = Trace({"memory": one})
    influence = Influence("memory", np.ones((2, one.time, 3)), {}, np.zeros(2), "gradient")
    yield keras_gates.plot_gates(trace, labels)
    yield keras_gates.plot_units(trace, [0, 2], labels)
    yield keras_gates.plot_units(trace, [0, 2])
    yield keras_gates.plot_memory(trace, influence, labels)
    yield keras_gates.plot_flow(trace, 3, event=name)
    yield keras_gates.plot_horizon({name: Horizon(np.array([0.5, 0.3, 0.2]), 0.9, 3)})
    yield keras_gates.plot_curves({name: [1, 2], f"val_{name}": [1, 3]})
    yield keras_gates.plot_confusion([0, 1, 1], [0, 1, 0], [name, "wolf"])


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_every_script_in_every_style(style):
    """No warning of a missing glyph, no formula where a dollar sign stands, and texts that differ from what is behind them."""
    from matplotlib import pyplot as plt

    one = layer_trace(11, 3)
    one.name = "memory_狼_$x$"
    with plt.style.context(style), warnings.catch_warnings():
        warnings.simplefilter("error")
        behind = matplotlib.colors.to_rgb(matplotlib.rcParams["figure.facecolor"])
        for figure in every_figure(one, ODD, "🐻 $a_b$ 狼"):
            texts = drawn(figure)
            assert not any("🐻" in text for text in texts) or matplotlib_has("🐻")
            for text in figure.texts:
                assert np.abs(np.subtract(matplotlib.colors.to_rgb(text.get_color()), behind)).max() > 0.4


def matplotlib_has(character):
    from keras_gates.inspection.plots.text import plain

    return plain(character) == character


def test_characters_without_a_font_get_a_name_or_a_square():
    from keras_gates.inspection.plots.text import plain

    assert plain("5 $ and ← é") == r"5 \$ and ← é"
    assert plain("a\u200db") == "ab"
    assert plain("\U0001f43b") in ("\U0001f43b", "bear face")
    assert plain("\U000e0041x") == "x"


def test_memories_and_factors_have_axes_of_their_own():
    one = layer_trace(11, 3)
    figure = keras_gates.plot_units(one, [0, 2])
    labels = [{line.get_label() for line in axes.lines} for axes in figure.axes]
    assert labels == 2 * [
        {"long-term memory", "short-term memory"},
        {"forget factor", "ignore factor", "use factor"},
    ]


def test_units_are_chosen_and_sorted():
    one = layer_trace(40, 64)
    moving = np.argsort(-one.ltm[0].std(axis=0))[:5]
    figure = keras_gates.plot_gates(one, names=["ltm"], top=5)
    picture = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_array_equal(picture, one.ltm[0].T[np.sort(moving)])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [str(k) for k in np.sort(moving)]
    picture = np.asarray(keras_gates.plot_gates(one, names=["ltm"], units=[7, 3]).axes[0].images[0].get_array())
    np.testing.assert_array_equal(picture, one.ltm[0].T[[7, 3]])
    units = keras_gates.plot_units(one, top=2).axes
    assert [axes.get_ylabel().split("\n")[0] for axes in units[::2]] == [f"unit {k}" for k in moving[:2]]
    rising, falling = np.linspace(0, 1, 40)[:, None], np.linspace(1, 0, 40)[:, None]
    mixed = np.where(np.arange(64) % 2, rising, falling) * (1 + np.arange(64) / 64)
    one.arrays["ltm"] = np.stack([mixed, mixed])
    figure = keras_gates.plot_gates(one, names=["ltm"])
    assert "similar ones together" in figure.get_suptitle()
    change = np.diff(np.asarray(figure.axes[0].images[0].get_array())[:, [0, -1]])[:, 0] > 0
    assert (np.diff(change.astype(int)) != 0).sum() == 1, "those that rise stand together, and those that fall"
    for wrong in ({"units": []}, {"top": 0}):
        with pytest.raises(keras_gates.GatesError, match="there must be a unit to draw"):
            keras_gates.plot_gates(one, **wrong)


def test_a_series_is_drawn_as_curves_above_the_maps():
    series = np.random.default_rng(0).normal(size=(11, 3))
    above = keras_gates.plot_gates(layer_trace(11, 3), labels=series).axes[0]
    for k, line in enumerate(above.lines):
        np.testing.assert_array_equal(line.get_ydata(), series[:, k])
    assert len(above.lines) == 3


def test_widths_of_arrows_have_one_scale():
    """Twice as thick is twice as much, whatever the arrow carries."""
    one = layer_trace(11, 3)
    figure = keras_gates.plot_flow(one, 5, unit=1)
    widths = {round(line.get_linewidth(), 4) for line in figure.axes[0].lines if line.get_linestyle() == "-"}
    largest = max(np.nanmax(np.abs(one[name][0, :, 1])) for name in ("ltm", "stm", "kept", "learned"))
    values = [one["kept"][0, 5, 1], one["ltm"][0, 5, 1], one["learned"][0, 5, 1], one["stm"][0, 5, 1]]
    values += [one["ltm"][0, 4, 1], one["stm"][0, 4, 1]]
    assert widths == {round(max(0.5, 9 * abs(value) / largest), 4) for value in values}


def test_other_errors():
    one = layer_trace(5, 2)
    with pytest.raises(
        keras_gates.GatesError, match="labels must be strings, pictures or samples, one per event, got 5"
    ):
        keras_gates.plot_gates(one, 5)
    with pytest.raises(TypeError, match=r"The unit must be an integer from 0, got 1\.5"):
        keras_gates.plot_units(one, 1.5)
    with pytest.raises(TypeError, match=r"plot_horizon: expected what keras_gates\.memory_horizon returns"):
        keras_gates.plot_horizon(3)
    with pytest.raises(
        TypeError, match=r"plot_curves: expected what model\.fit returns, or a dict of lists, got a int"
    ):
        keras_gates.plot_curves(3)
    with pytest.raises(keras_gates.GatesError, match="no los; recorded are: loss"):
        keras_gates.plot_curves({"loss": [1]}, ["los"])
    with pytest.raises(TypeError, match=r"influence must be what keras_gates\.influence returns, got a int"):
        keras_gates.plot_memory(one, 3)
    with pytest.raises(keras_gates.GatesError, match=r"influence is of \(1, 4\) .* the trace of \(2, 5\)"):
        keras_gates.plot_memory(one, Influence("memory", np.ones((1, 4, 3)), {}, np.zeros(1), "gradient"))
