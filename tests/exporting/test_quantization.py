"""quantization_report: rounding one tensor at a time finds what rounding by hand finds, and leaves the model alone."""

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the report runs on the TensorFlow backend")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the report runs on the TensorFlow backend", allow_module_level=True)
from keras import layers

import keras_gates
from keras_gates import ExportError, GateLSTM, quantization_report
from keras_gates.exporting.verify.rounding import Rounding, rounded

X = np.random.default_rng(0).normal(size=(50, 7, 3)).astype("float32")


def build():
    keras.utils.set_random_seed(1)
    events = keras.Input((7, 3), name="event")
    hidden = layers.Bidirectional(GateLSTM(4, return_sequences=True))(layers.Masking()(events))
    hidden = layers.Dropout(0.5)(layers.LSTM(5, name="last", go_backwards=True)(hidden))
    return keras.Model(events, [layers.Dense(3, "softmax", name="kind")(hidden), layers.Dense(2, name="size")(hidden)])


@pytest.fixture(scope="module")
def model():
    return build()


def test_the_loop_that_is_looked_into_is_that_of_keras(model):
    x = X.copy()
    x[:9, 4:] = 0  # padding
    wanted = [np.asarray(each) for each in model(x)]
    with rounded(model, Rounding(8)):
        got = [np.asarray(each) for each in model(x)]
    for one, other in zip(got, wanted):
        np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(model(x)[0]), wanted[0])  # and afterwards Keras' own again


def test_the_cost_of_weights_is_that_of_rounding_them_by_hand(model):
    before = [w.copy() for w in model.get_weights()]
    report = quantization_report(model, X)
    assert all((a == b).all() for a, b in zip(before, model.get_weights()))
    (noise,) = (each for each in report.tensors if (each.layer, each.tensor) == ("size", "weights"))
    held_out = X[::5]
    wanted = [np.asarray(each) for each in model(held_out)]
    kernel = model.get_layer("size").kernel
    exact, step = np.array(kernel), np.abs(np.array(kernel)).max(0) / 127  # a scale per column
    try:
        kernel.assign(np.round(exact / step) * step)
        got = np.asarray(model(held_out)[1])
    finally:
        kernel.assign(exact)
    spread = np.abs(wanted[1] - wanted[1].mean(0)).mean()
    assert noise.cost == pytest.approx(np.abs(got - wanted[1]).mean() / spread, rel=1e-3)
    error = np.square(exact - np.round(exact / step) * step).sum()
    assert noise.decibels == pytest.approx(10 * np.log10(np.square(exact - exact.mean()).sum() / error), abs=0.1)
    assert report.samples == len(held_out)
    assert [each.cost for each in report.tensors] == sorted((each.cost for each in report.tensors), reverse=True)
    assert {"forget, sum", "remember, cell state", "hidden state"} <= {each.tensor for each in report.tensors}


def test_a_gate_beyond_its_range_is_named_with_its_layer():
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((7, 3)), layers.LSTM(6, name="memory"), layers.Dense(2, name="size")])
    kernel = model.get_layer("memory").cell.kernel
    wide = np.array(kernel)
    wide[:, 18:] = np.random.default_rng(3).normal(size=(3, 6)) * 12  # the use gate (Keras' output gate)
    kernel.assign(wide)
    model.get_layer("memory").cell.recurrent_kernel.assign(np.random.default_rng(4).normal(size=(6, 24)) * 4)
    report = quantization_report(model, X)
    first = next(each for each in report.tensors if each.kind == "sum")
    assert (first.layer, first.tensor) == ("memory", "use, input's part")
    sums = np.abs(X[::5] @ wide[:, 18:] + np.array(model.get_layer("memory").cell.bias)[18:])
    assert first.clipped == pytest.approx((sums > 8).mean(), abs=0.001)
    assert any("use, input's part" in sentence and "beyond ±8" in sentence for sentence in report.advice)
    assert "beyond ±8" in str(report)
    finer = quantization_report(model, X, "int16x8")
    hidden = [next(each for each in made.tensors if each.tensor == "hidden state").decibels for made in (report, finer)]
    assert hidden[1] > hidden[0] + 30  # 8 bits more are 48 dB


def test_what_it_cannot_take_is_one_sentence(model):
    with pytest.raises(ExportError, match="int16x8"):
        quantization_report(model, X, "int4")
    for wrong in (3, "model.keras", None, keras.layers.Dense(2)):
        with pytest.raises(ExportError, match=f"takes a keras.Model, got {type(wrong).__name__}"):
            quantization_report(wrong, X)
    with pytest.raises(ExportError, match="at least two"):
        quantization_report(model, X[:1])
    flexible = keras.Sequential([keras.Input((None, 3)), keras_gates.GateLSTM(2)])
    with pytest.raises(ExportError, match="one length"):
        quantization_report(flexible, [X[0], X[0, :4], X[1]])
