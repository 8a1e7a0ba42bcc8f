"""Streams through layers that look over time: convolutions, pooling, reshapes. Keras over the whole sequence is right."""

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="export needs TensorFlow")
pytest.importorskip("ai_edge_litert", reason="verification needs ai-edge-litert")
if keras.backend.backend() != "tensorflow":
    pytest.skip("export traces with TensorFlow", allow_module_level=True)

from keras import layers

from keras_gates import ExportError, GateLSTM, export
from keras_gates.edge import EdgeModel

TIME, FEATURES = 12, 3
X = np.random.default_rng(0).normal(size=(40, TIME, FEATURES)).astype("float32")

FRONTS = {
    "causal": lambda x: layers.Conv1D(5, 3, padding="causal", activation="relu")(x),
    "dilated": lambda x: layers.Conv1D(5, 3, dilation_rate=2, padding="causal")(x),
    "strided": lambda x: layers.AveragePooling1D(2)(layers.Conv1D(5, 3, 2, padding="causal")(x)),
    "depthwise": lambda x: layers.DepthwiseConv1D(3)(layers.ZeroPadding1D((2, 0))(x)),
    "overlapping": lambda x: layers.MaxPooling1D(3, 2)(layers.ZeroPadding1D((2, 0))(layers.ReLU()(x))),
    "valid": lambda x: layers.Conv1D(5, 3)(layers.LSTM(3, return_sequences=True)(x)),
    "valid, strided": lambda x: layers.MaxPooling1D(3, 1)(layers.Conv1D(5, 3, 2)(x)),
    "windows that end within a call": lambda x: layers.MaxPooling1D(2)(
        layers.DepthwiseConv1D(3)(layers.Conv1D(5, 3, 2)(x))
    ),
    "pointwise": lambda x: layers.Conv1D(5, 1)(x),
}


def model_of(front, units=4):
    events = keras.Input((None, FEATURES))
    hidden = GateLSTM(units, return_sequences=True)(FRONTS[front](events))
    return keras.Model(events, layers.Dense(2)(hidden))


@pytest.mark.parametrize("front", FRONTS)
def test_a_stream_gives_what_keras_gives_for_the_whole_sequence(tmp_path, front):
    model = model_of(front)
    export(model, tmp_path, ["tflite"], mode="stream")
    file = EdgeModel(tmp_path / "model.tflite")
    wanted = model.predict(X[:2], verbose=0)
    stream = file.stream()
    for x, want in zip(X[:2], wanted):
        stream.reset()
        stride = file.description.stride
        got = np.concatenate([np.atleast_2d(stream.push(x[t : t + stride])) for t in range(0, TIME, stride)])
        assert np.isnan(got[: len(got) - len(want)]).all()  # until the first window is complete
        np.testing.assert_allclose(got[len(got) - len(want) :], want, atol=1e-5)
    np.testing.assert_allclose(file.predict(X[:1])[0], wanted[0], atol=1e-5)


@pytest.mark.parametrize("pool", [layers.GlobalMaxPooling1D, layers.GlobalAveragePooling1D])
def test_pooling_over_time_is_a_running_value(tmp_path, pool):
    events = keras.Input((None, FEATURES))
    hidden = layers.Dense(4)(layers.LSTM(4, return_sequences=True)(events))
    model = keras.Model(events, layers.Dense(2)(pool()(hidden)))
    export(model, tmp_path, ["tflite"], mode="stream")
    stream = EdgeModel(tmp_path / "model.tflite").stream()
    for _ in range(2):
        stream.reset()
        got = stream.push(X[0])
        wanted = [model.predict(X[:1, : t + 1], verbose=0)[0] for t in range(TIME)]
        np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "int16x8"])
@pytest.mark.parametrize("pool", [layers.GlobalMaxPooling1D, layers.GlobalAveragePooling1D])
def test_a_running_value_in_integers_on_a_microcontroller(tmp_path, pool, precision):
    pytest.importorskip("tflite_micro", reason="the file is for TFLM: pip install --pre tflite-micro")
    events = keras.Input((None, FEATURES))
    hidden = layers.Conv1D(4, 2)(layers.LSTM(4, return_sequences=True)(events))
    model = keras.Model(events, layers.Dense(2)(pool()(hidden)))
    export(model, tmp_path, ["tflite"], precision, "stream", "micro", calibration=X)
    wanted = model.predict(X[:8], verbose=0)
    got = EdgeModel(tmp_path / "model.tflite").predict(X[:8])
    assert np.abs(got - wanted).mean() < 0.15 * np.abs(wanted - wanted.mean(0)).mean()


def test_an_int8_stream_through_a_convolution(tmp_path):
    model = model_of("causal", 8)
    export(model, tmp_path, ["tflite"], "int8", "stream", calibration=X)
    wanted = model.predict(X[:5], verbose=0)
    got = EdgeModel(tmp_path / "model.tflite").predict(X[:5])
    assert np.abs(got - wanted).mean() < 0.1 * np.abs(wanted - wanted.mean((0, 1))).mean()


def test_what_needs_a_fixed_number_of_events_streams_as_a_sliding_window(tmp_path):
    events = keras.Input((TIME, FEATURES))
    distances = events - events[:, -1:]  # the last event comes after the others
    hidden = layers.Concatenate()([GateLSTM(4)(distances), layers.Flatten()(distances)])
    model = keras.Model(events, layers.Dense(2)(hidden))
    report = export(model, tmp_path, ["tflite"], mode="stream")
    assert any("every call" in warning and f"latest {TIME} events" in warning for warning in report.warnings)
    long = np.concatenate([X[0], X[1]])
    got = EdgeModel(tmp_path / "model.tflite").stream().push(long)
    padded = np.concatenate([np.zeros((TIME - 1, FEATURES), "float32"), long])
    windows = np.lib.stride_tricks.sliding_window_view(padded, TIME, axis=0).transpose(0, 2, 1)
    np.testing.assert_allclose(got, model.predict(windows, verbose=0), atol=1e-5)


@pytest.mark.slow
def test_the_forecast_and_show_models_stream(tmp_path):
    from keras_gates.models import forecast, show

    draw = np.random.default_rng(3)
    for model, x in (
        (forecast.build(history=12, horizon=3, units=4), draw.normal(size=(2, 12, 5))),
        (show.build(frames=6, span=4), draw.uniform(0, 255, size=(2, 6, 16, 16, 3))),
    ):
        x = x.astype("float32")
        export(model, tmp_path, ["tflite"], mode="stream", calibration=x)
        stream = EdgeModel(tmp_path / "model.tflite").stream()
        got = [stream.push(event) for event in x[0]][-1]
        np.testing.assert_allclose(got, model.predict(x[:1], verbose=0)[0], atol=1e-5)


def test_frames_of_a_fixed_number_stream_one_by_one(tmp_path):
    frames = keras.Input((TIME, 4, 4, 1))
    flat = layers.Reshape((TIME, 16))(layers.TimeDistributed(layers.Conv2D(1, 3, padding="same"))(frames))
    folded = keras.ops.reshape(layers.Dense(3)(keras.ops.reshape(flat, (-1, 16))), (-1, TIME, 3))
    model = keras.Model(frames, layers.Dense(1)(GateLSTM(4)(folded)))
    export(model, tmp_path, ["tflite"], mode="stream")
    x = np.random.default_rng(1).normal(size=(1, TIME, 4, 4, 1)).astype("float32")
    np.testing.assert_allclose(
        EdgeModel(tmp_path / "model.tflite").stream().push(x[0])[-1], model.predict(x, verbose=0)[0], atol=1e-5
    )


@pytest.mark.parametrize(
    ("front", "reason"),
    [
        (lambda x: layers.Conv1D(5, 3, padding="same")(x), "later events"),
        (lambda x: layers.Conv1D(5, 3)(layers.Conv1D(5, 4, 4, padding="causal")(x)), "ZeroPadding1D"),
        (lambda x: layers.ZeroPadding1D((0, 2))(x), "start alone"),
    ],
    ids=["same", "valid", "end"],
)
def test_what_needs_later_events_is_named(tmp_path, front, reason):
    events = keras.Input((None, FEATURES))
    model = keras.Model(events, layers.Dense(2)(GateLSTM(4, return_sequences=True)(front(events))))
    with pytest.raises(ExportError, match=reason):
        export(model, tmp_path, ["tflite"], mode="stream", steps=8)
    assert not list(tmp_path.iterdir())
