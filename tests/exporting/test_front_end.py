"""Normalization and log-mel at the start of a model stay outside the integer graph."""

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="export needs TensorFlow")
pytest.importorskip("ai_edge_litert", reason="verification needs ai-edge-litert")
if keras.backend.backend() != "tensorflow":
    pytest.skip("export traces with TensorFlow", allow_module_level=True)

from keras import layers

from keras_gates import GateLSTM, export
from keras_gates.edge import EdgeError, EdgeModel
from keras_gates.exporting.front_end import front_end_of, kept_outside
from keras_gates.exporting.model_inputs import inputs_of
from keras_gates.exporting.options import ExportRequest
from keras_gates.models.layers.logmel import LogMel

MEAN, DEVIATION = np.array([101325.0, 20.0, 0.0]), np.array([5.0, 2.0, 1.0])
X = (MEAN + DEVIATION * np.random.default_rng(0).normal(size=(60, 8, 3))).astype("float32")


def normalized():
    layer = layers.Normalization()
    layer.adapt(X)
    return layer


def batch_normalized():
    layer = layers.BatchNormalization()
    layer.build((None, 8, 3))
    layer.set_weights([np.array(each) for each in ([2, 1, 0.5], [0.5, 0, -1], MEAN, DEVIATION**2)])
    return layer


@pytest.mark.slow
def test_a_model_whose_normalization_another_shares_is_exported(tmp_path):
    keras.utils.set_random_seed(0)
    layer = normalized()
    first, _ = model_of(layer), model_of(layer)
    export(first, tmp_path, ["tflite"], "int8", calibration=X)
    assert share(first, EdgeModel(tmp_path / "model.tflite").predict(X)) < 0.15


def test_a_normalization_that_models_share_stays_outside_in_each():
    """`layer.input` and `layer.output` are those of the model that called it last."""
    layer = normalized()
    first = model_of(layer)
    last = model_of(layer)
    keras.Model((wide := keras.Input((5, 4, 3))), layer(wide))
    for model in (first, last):
        front = front_end_of(model)
        np.testing.assert_allclose(front.metadata["mean"], X.mean((0, 1)), rtol=1e-5)
    events = keras.Input((8, 3))
    twice = keras.Model(events, layers.LSTM(2)(layer(layer(events))))  # outside, both calls would be left out
    assert front_end_of(twice) is None


def model_of(layer):
    events = keras.Input((8, 3), name="weather")
    return keras.Model(events, layers.Dense(2)(GateLSTM(6)(layer(events))))


def share(model, got):
    wanted = model.predict(X, verbose=0)
    return np.abs(got - wanted).mean() / np.abs(wanted - wanted.mean(0)).mean()


@pytest.fixture(scope="module")
def pressure(tmp_path_factory):
    keras.utils.set_random_seed(0)
    model, folder = model_of(normalized()), tmp_path_factory.mktemp("pressure")
    return model, export(model, folder, ["c"], "int8", calibration=X, test=(X, model.predict(X, verbose=0))), folder


def test_an_int8_file_of_large_offsets_takes_raw_values(pressure):
    model, report, folder = pressure
    file = EdgeModel(folder / "model.tflite")
    assert share(model, file.predict(X)) < 0.15
    stream = file.stream()
    for event in X[0]:
        last = stream.push(event)
    np.testing.assert_allclose(last, file.predict(X[:1])[0], atol=1e-6)
    assert report.quality["file mean absolute error"] < 0.1
    assert any("normalization" in note and "outside" in note for note in report.notes)
    with pytest.raises(EdgeError, match="no external front end"):
        file.events(X[0])  # it would be standardized twice


def test_the_metadata_and_the_c_kit_have_the_statistics(pressure):
    model, _, folder = pressure
    frontend = EdgeModel(folder / "model.tflite").info()["frontend"]
    np.testing.assert_allclose(frontend["mean"], X.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(frontend["deviation"], X.std((0, 1)), rtol=1e-3)
    header = (folder / "c" / "model.h").read_text()
    numbers = header.split("kMean[] = {")[1].split("}")[0].split(",")
    np.testing.assert_allclose([float(x.strip().rstrip("f")) for x in numbers], X.mean((0, 1)), rtol=1e-5)
    assert "kDeviation" in header
    assert model.get_layer(index=1).output.shape == (None, 8, 3)


@pytest.mark.parametrize("make", [normalized, batch_normalized])
def test_the_front_end_computes_what_the_layer_does(make):
    layer = make()
    front = front_end_of(model_of(layer))
    x = X.astype("float64")  # in float32 the pressure has steps of 0.008
    wanted = keras.ops.convert_to_numpy(layer(x))[0]
    np.testing.assert_allclose(front.compute(x[0]), wanted, atol=2e-2)


@pytest.mark.parametrize("offset", [0.0, 101325.0])
def test_in_float16_statistics_stay_outside_that_it_cannot_hold(offset):
    """Its largest number is 65504, and it has steps of 32 there."""
    model = model_of(layers.Normalization(mean=[offset, 1.0, 2.0], variance=[25.0, 1.0, 1.0]))
    request = ExportRequest(model=model, inputs=inputs_of(model), precision="float16")
    with kept_outside(request) as (inner, notes):
        assert bool(notes) == ("frontend" in (inner.metadata or {})) == bool(offset)


def test_what_is_no_front_end_is_left_in_the_model():
    events = keras.Input((8, 3))
    scaled = normalized()(events)
    twice = keras.Model(events, layers.Dense(1)(GateLSTM(2)(layers.Concatenate()([scaled, events]))))
    negative = batch_normalized()
    negative.gamma.assign([1, -1, 1])
    assert front_end_of(twice) is None
    assert front_end_of(model_of(negative)) is None
    assert front_end_of(keras.Sequential([events, layers.LSTM(2)])) is None


@pytest.mark.slow
def test_a_log_mel_is_split_off(tmp_path):
    sound = keras.Input((1280,), name="sound")
    model = keras.Model(sound, layers.Dense(2)(GateLSTM(6)(LogMel(8000, name="log_mel")(sound))))
    x = 0.1 * np.random.default_rng(1).normal(size=(60, 1280)).astype("float32")
    x *= np.linspace(0.1, 3, 60, dtype="float32")[:, None]
    report = export(model, tmp_path, ["tflite"], "int8", calibration=x)
    assert any("log_mel stays outside" in note for note in report.notes)
    assert model.get_layer("log_mel").output.shape == (None, 9, 40)
    file = EdgeModel(tmp_path / "model.tflite")
    got = np.stack([file.predict(file.events(each)[None])[0] for each in x])
    wanted = model.predict(x, verbose=0)
    assert np.abs(got - wanted).mean() < 0.15 * np.abs(wanted - wanted.mean(0)).mean()
