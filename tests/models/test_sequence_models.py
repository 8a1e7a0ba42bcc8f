"""speech, gesture, text, language, forecast: what goes in and comes out, what augmentation may change, what is carried over."""

import keras
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from keras_gates.models import (
    UserError,
    build,
    find,
    forecast,
    forecast_linear,
    forecast_study,
    gesture,
    language,
    speech,
    text,
)
from keras_gates.models.data import sensors
from keras_gates.models.data.pipeline import from_arrays
from keras_gates.models.training.fresh_rows import FreshRows

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the zoo trains on TensorFlow")
NAMES = ("speech", "gesture", "text", "language", "forecast")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("formulation", ["standard", "article"])
def test_every_model_answers_its_built_in_data_in_both_formulations(name, formulation):
    zoo = find(name)
    data = zoo.data("builtin")
    x, y = data.arrays("validation", 3)
    model = zoo.build(**data.build, units=4, formulation=formulation)
    answers = np.asarray(model.predict_on_batch(x))
    expected = {"language": (*y.shape, len(data.vocabulary)), "forecast": (*y.shape, 3)}
    assert answers.shape == expected.get(name, (3, len(data.labels)))
    if name != "forecast":
        np.testing.assert_allclose(answers.sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_device_share_is_the_model(name):
    zoo = find(name)
    data = zoo.data("builtin")
    x, _ = data.arrays("validation", 3)
    model = zoo.build(**data.build, units=4)
    for precision in ("float32", "int8"):
        core, prepare, told = zoo.device(model, precision) if zoo.device else (model, lambda x: x, {})
        np.testing.assert_allclose(core.predict_on_batch(prepare(x)), model.predict_on_batch(x), atol=1e-5)
        assert set(told) <= {"frontend", "labels"}


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_has_the_units_it_says_and_tfds_is_refused_where_there_is_none(name):
    for preset, chosen in find(name).presets.items():
        model = build(name, preset)
        memories = [layer for layer in model.layers if layer.name.startswith("memory")]
        units = [getattr(layer, "units", None) or layer.forward_layer.units for layer in memories]
        assert set(units) == {chosen["build"]["units"]}
    if not find(name).tfds:
        with pytest.raises(UserError, match="not TFDS"):
            find(name).data("tfds")


def test_speech_commands_is_read_from_tfds(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=6):
        data = speech.data("tfds", str(tmp_path), dataset="speech_commands")
    x, y = data.arrays("test", 3)
    assert x.shape == (3, 16000)
    assert np.abs(x).max() <= 1
    assert y.shape == (3,)
    assert data.build == {"samples": 16000, "sample_rate": 16000, "classes": 12}
    assert {"yes", "no", "_silence_", "_unknown_"} < set(data.labels)


def test_a_word_said_otherwise_is_the_word_at_another_speed_place_and_loudness():
    time = np.arange(8000) / 8000
    tone = np.where(abs(time - 0.5) < 0.2, np.sin(2 * np.pi * 500 * time), 0).astype("float32")
    said, _ = speech._augmented(np.stack([tone] * 64), np.zeros(64), np.array([1, 2], "int64"))
    said = np.asarray(said)
    spectrum = np.abs(np.fft.rfft(said))
    pitch = spectrum.argmax(1)
    assert 500 * np.exp(-0.18) - 2 <= pitch.min() < 450
    assert 550 < pitch.max() <= 500 * np.exp(0.18) + 2
    loudest = 20 * np.log10(np.abs(said).max(1))
    assert -31 < loudest.min() < -20
    assert -10 < loudest.max() < 1
    again, _ = speech._augmented(np.stack([tone] * 64), np.zeros(64), np.array([1, 2], "int64"))
    np.testing.assert_array_equal(said, again)


def test_a_movement_made_otherwise_ends_at_the_end_and_keeps_its_strength():
    x = np.zeros((64, 50, 3), "float32")
    x[:, 20:] = [3.0, 4.0, 0.0]
    one, none = np.ones(3), np.zeros(3, "float32")
    augmented = gesture._augmentation(none, one, none, [0, 1, 2], gesture.AUGMENTATIONS, 0.0)
    moved, _ = augmented(x, np.zeros(64), np.array([1, 2], "int64"))
    moved = np.asarray(moved)
    present = np.abs(moved).sum(-1) > 0
    assert present[:, -1].all()
    lengths = present.sum(1)
    assert 30 * np.exp(-0.25) - 1 <= lengths.min() < 27
    assert 33 < lengths.max() <= 30 * np.exp(0.25) + 1
    for row, length in zip(present, lengths):
        assert row[-length:].all()
    strength = np.linalg.norm(moved[:, -1], axis=-1)
    assert 5 * np.exp(-0.2) - 0.01 <= strength.min() < 4.6
    assert 5.4 < strength.max() <= 5 * np.exp(0.2) + 0.01


def test_pressure_is_augmented_around_its_mean_and_padded_with_it():
    mean, deviation = np.array([101325.0, 0.0, 0.0, 9.81]), np.array([10.0, 2.0, 2.0, 2.0])
    fill = mean.astype("float32")
    x = np.tile(fill, (64, 30, 1))
    x[:, 10:, 0] += 15
    x[:, 10:, 1:] = [3.0, 0.0, 4.0]
    augmented = gesture._augmentation(mean, deviation**2, fill, [1, 2, 3], ["strength", "rotation"], 0.0)
    moved = np.asarray(augmented(x, np.zeros(64), np.array([1, 2], "int64"))[0])
    np.testing.assert_array_equal(moved[:, :10], x[:, :10])
    rise = moved[:, 10:, 0] - 101325
    assert 15 * np.exp(-0.2) - 0.1 <= rise.min() < 13 < 17 < rise.max() <= 15 * np.exp(0.2) + 0.1
    lengths = np.linalg.norm(moved[:, 10:, 1:], axis=-1)
    np.testing.assert_allclose(lengths / 5, rise / 15, rtol=0.01)  # a rotation keeps the length
    assert np.abs(moved[:, 10:, 2]).max() > 0.1, "the vector was not rotated"


def test_each_augmentation_can_be_switched_off(tmp_path):
    rows = [f"{row},{row * 0.5},{row * 0.1},{'ab'[row // 10 % 2]}" for row in range(400)]
    (tmp_path / "sensor.csv").write_text("x,y,z,label\n" + "\n".join(rows))
    source = str(tmp_path / "sensor.csv")
    assert gesture.data(source, augment=False).augment_batch is None
    data = gesture.data(source, steps=12, augment="strength")
    x, y = data.arrays("train", 20)
    fill = x[0, 0]
    moved = np.asarray(data.augment_batch(x, y, np.array([1, 2], "int64"))[0])
    np.testing.assert_array_equal((moved == fill).all(-1), (x == fill).all(-1))
    assert not np.allclose(moved, x)
    np.testing.assert_allclose(fill, data.build["mean"], rtol=1e-6)
    for wrong in ({"augment": "colour"}, {"vector": "x,y"}, {"vector": "x,y,w"}, {"steps": 2.5}):
        with pytest.raises(UserError):
            gesture.data(source, **wrong)


def test_rotations_turn_and_do_not_stretch():
    turns = np.array([[0, 0, np.pi / 2], [0.3, -0.2, 0.5]], "float32")
    matrices = np.asarray(gesture._rotations(turns))
    np.testing.assert_allclose(matrices @ matrices.transpose(0, 2, 1), np.stack([np.eye(3)] * 2), atol=1e-5)
    np.testing.assert_allclose(matrices[0] @ [1, 0, 0], [0, 1, 0], atol=1e-5)


def test_a_stateful_language_model_goes_on_where_it_stopped():
    data = language.data("builtin", steps=20)
    model = language.build(**data.build, units=8, batch=4)
    whole, one = language.with_batch(model, None), language.with_batch(model, 1)
    numbers = np.arange(40)[None] % len(data.vocabulary)
    parts = [one.predict(numbers[:, start : start + 10], verbose=0) for start in (0, 10, 20, 30)]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole.predict(numbers, verbose=0), atol=1e-5)


def test_some_rows_start_afresh_and_a_resumed_run_draws_the_same():
    model = language.build(vocabulary=["<unk>", "a", "b"], units=3, batch=64)
    states = keras.tree.flatten(model.get_layer("memory_1").states)
    fresh, drawn = FreshRows(0.25), []
    fresh.set_model(model)
    for epoch, batch in ((0, 0), (0, 1), (3, 7), (3, 7)):
        for state in states:
            state.assign(np.ones((64, 3), "float32"))
        fresh.on_epoch_begin(epoch)
        fresh.on_train_batch_begin(batch)
        stm, ltm = (np.asarray(keras.ops.convert_to_numpy(state)) for state in states)
        np.testing.assert_array_equal(stm, ltm)  # a row's states start anew together
        assert set(np.unique(stm)) == {0, 1}
        assert 2 <= (stm.sum(1) == 0).sum() <= 32
        assert (np.ptp(stm, axis=1) == 0).all()
        drawn.append(stm)
    np.testing.assert_array_equal(drawn[2], drawn[3])
    assert not np.array_equal(drawn[0], drawn[1])
    with pytest.raises(UserError, match="from 0 to 1"):
        FreshRows(2)


def test_a_writer_writes_what_a_sure_model_says():
    model = language.build(vocabulary=["<unk>", "a", "b"], units=4)
    weights = [np.zeros_like(weight) for weight in model.get_layer("next").get_weights()]
    weights[1][2] = 50.0
    model.get_layer("next").set_weights(weights)
    assert language.write(model, "ab", 5) == "abbbbbb"
    with pytest.raises(ValueError, match="temperature must be above 0"):
        language.write(model, "a", temperature=0)
    with pytest.raises(ValueError, match="start is empty"):
        language.write(model, "")


def test_zarembas_learning_rate_is_halved_every_epoch_after_the_fourth():
    data = language.data("builtin", steps=20)
    model = language.build(**data.build, units=4, batch=20)
    language.compile(model, {**language.RECIPE, **language.PRESETS["zaremba-small"]["recipe"]}, 1300)
    rate = model.optimizer._learning_rate
    assert [round(float(rate(step)), 4) for step in (0, 399, 401, 501, 1299)] == [20, 20, 10, 5, round(20 / 2**9, 4)]


def test_a_window_of_a_series_ends_where_its_answer_begins():
    values = np.arange(100, dtype="float32")[:, None]
    behind, ahead = forecast.windows(values, np.zeros((100, 4), "float32"), 10, 5)
    assert behind.shape == (86, 10, 5)
    assert ahead.shape == (86, 5, 1)
    np.testing.assert_array_equal(behind[:, -1, 0] + 1, ahead[:, 0, 0])


def test_an_untrained_forecast_starts_from_the_last_value_in_the_series_units():
    model = forecast.build(history=12, horizon=3, series=2, mean=[100.0, 0.0], variance=[25.0, 1.0], units=4)
    model.get_layer("steps").set_weights([np.zeros_like(weight) for weight in model.get_layer("steps").get_weights()])
    x = np.zeros((1, 12, 6), "float32")
    x[:, :, 0], x[:, -1, 0], x[:, -1, 1] = 90, 107, -2
    answer = model.predict(x, verbose=0)
    np.testing.assert_allclose(answer[0, :, 0], 107, rtol=1e-5)
    np.testing.assert_allclose(answer[0, :, 1], -2, rtol=1e-5)


def test_a_forecast_starts_from_ridge_regression():
    draw = np.random.default_rng(0)
    values = np.cumsum(draw.normal([0.1, -3.0], [1.0, 30.0], (120, 2)), axis=0).astype("float32")
    (x, y), (new, _) = (
        forecast.windows(part, np.zeros((len(part), 4), "float32"), 12, 3) for part in (values, values[:40])
    )
    build = {"history": 12, "horizon": 3, "series": 2, "mean": values.mean(0), "variance": values.var(0)}
    data = from_arrays((x, y), (new, y[: len(new)]), (new, y[: len(new)]), build=build)
    model = forecast.build(**build, units=4)
    forecast_linear.start(model, data)
    medians, forecasts = model.predict(new, verbose=0)[..., 1], []
    for strength in forecast_linear.STRENGTHS:
        each = []
        for index in (0, 1):
            changes = np.pad(x[:, :, index] - x[:, -1:, index], [(0, 0), (0, 1)], constant_values=1).astype("float64")
            ridge = Ridge(strength, fit_intercept=False).fit(changes, y[:, :, index] - x[:, -1:, index])
            error = y[:, :, index] - x[:, -1:, index] - ridge.predict(changes)
            shift = np.median(error, axis=0)
            each.append(new[:, -1:, index] + ridge.predict(changes[: len(new)]) + shift)
        forecasts.append(np.stack(each, -1))
    assert min(np.abs((medians - one) / values.std(0)).max() for one in forecasts) < 1e-3


def test_an_int8_forecast_of_series_in_unlike_units_is_fed_in_their_own_units(tmp_path):
    from keras_gates import export
    from keras_gates.edge import EdgeModel

    data = forecast.data()
    keras.utils.set_random_seed(1)
    model = forecast.build(**data.build, units=8)
    x, _ = data.spread("train", 60)
    core, prepare, told = forecast.device(model, "int8")
    export(core, tmp_path, ["tflite"], "int8", calibration=prepare(x), metadata=told)
    device = EdgeModel(tmp_path / "model.tflite")
    seen, deviation = x[::6], np.sqrt(np.array(data.build["variance"], "float32"))[:, None]
    np.testing.assert_array_equal(device.events(seen), prepare(seen))
    off = (device.predict(device.events(seen)) - model.predict_on_batch(seen)) / deviation
    assert np.sqrt(np.mean(off**2)) < 0.06


def test_errors_of_a_forecast_are_in_standard_deviations_of_the_data_not_in_those_that_weights_were_rounded_to(
    tmp_path,
):
    data = forecast.data()
    model = forecast.build(**data.build, units=4)
    scores = forecast_study.judge(model, data, tmp_path).scores
    kernel, bias = model.get_layer("in_units").get_weights()
    model.get_layer("in_units").set_weights([kernel * 1.01, bias])
    again = forecast_study.judge(model, data, tmp_path).scores
    assert again["last value mse"] == scores["last value mse"]
    x, y = data.arrays("test", 100_000)
    error = (x[:, -1:, :2] - y) / np.sqrt(data.build["variance"])
    assert scores["last value mse"] == pytest.approx(np.mean(error**2), rel=1e-5)


def test_mean_and_variance_of_many_rows_are_summed_in_float64(monkeypatch):
    values = np.random.default_rng(0).normal(1000, 3, (2_000_000, 1)).astype("float32")
    long = sensors.Movements(
        ([values], np.array([0])), ([values[:9]], np.array([0])), ([values[:9]], np.array([0])), ["a"], ["x"]
    )
    monkeypatch.setattr(sensors, "drawn_gestures", lambda seed: long)
    build_arguments = gesture.data(steps=5).build
    assert build_arguments["mean"][0] == pytest.approx(values.mean(dtype="float64"), rel=1e-9)
    assert build_arguments["variance"][0] == pytest.approx(values.var(dtype="float64"), rel=1e-9)


@pytest.mark.parametrize(("name", "least"), [("show", 1), ("language", 1), ("gesture", 2)])
def test_too_few_steps_are_told(name, least):
    with pytest.raises(UserError, match=f"steps must be at least {least}, not 0"):
        find(name).data(steps=0)


def test_the_linear_forecast_finds_a_line():
    time = np.arange(300, dtype="float32")[:, None]
    behind, ahead = forecast.windows(5 + 0.1 * time, np.zeros((300, 4), "float32"), 10, 5)
    found = forecast_linear.linear(behind[:200], ahead[:200], behind[200:], ridge=1e-6)
    np.testing.assert_allclose(found, ahead[200:], atol=1e-2)


def test_generated_reviews_turn_a_word_with_not():
    from keras_gates.models.data.text import generated_reviews

    reviews = generated_reviews()
    for content, index in zip(*reviews.train):
        turned = any(f" {word} " in f" {content} " for word in ("not", "never", "hardly"))
        praised = any(word in content for word in ("great", "moving", "funny", "clever", "lovely", "fresh"))
        assert index == (praised != turned)


def test_text_learns_its_built_in_reviews():
    data = text.data("builtin")
    model = text.build(**data.build, units=12, width=12, longest=14, dropout=0.1)
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(data.epoch(32, 0, 0), epochs=6, verbose=0)
    assert model.evaluate(data.held_out("test", 128), verbose=0)[1] > 0.9
