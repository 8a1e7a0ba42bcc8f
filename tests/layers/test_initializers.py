"""Initial weights: `start_with_span` against its equation and against what a new layer remembers."""

import keras
import numpy as np
import pytest
from helpers import BACKEND, FEATURES, UNITS, assert_close, numpy

import keras_gates
from keras_gates import GateLSTM, GateLSTMCell, start_with_span


def built(layer):
    layer.build((None, FEATURES) if isinstance(layer, GateLSTMCell) else (None, None, FEATURES))
    return layer


@pytest.mark.parametrize("make", [GateLSTM, GateLSTMCell])
def test_the_biases_are_the_logarithm_of_the_spans(make):
    layer = built(make(4, bias_initializer="ones"))
    start_with_span(layer, 31)
    cell = getattr(layer, "cell", layer)
    spans = np.array([1, 11, 21, 31])
    assert_close(numpy(cell.forget.bias), np.log(spans), "forget")
    assert_close(
        numpy(cell.learn.bias), np.concatenate([-np.log(spans), np.ones(4)]), "ignore, and the candidate as it was"
    )
    assert_close(numpy(cell.use.bias), np.ones(4), "use as it was")


def test_a_new_layer_keeps_its_memory_for_the_span():
    layer = built(GateLSTM(1, kernel_initializer="zeros", recurrent_initializer="zeros", return_state=True))
    empty, ltm = np.zeros((1, 99, FEATURES), "float32"), np.ones((1, 1), "float32")

    def kept(span):
        layer.cell.forget.bias.assign([np.log(span)])  # the longest span of the layer
        tensors = [keras.ops.convert_to_tensor(x) for x in (0 * ltm, ltm)]
        return numpy(layer(empty, initial_state=tensors)[2]).item()

    wanted = {span: (span / (1 + span)) ** 99 for span in (2, 100)}
    assert kept(2) == pytest.approx(wanted[2], abs=1e-6)
    assert kept(100) == pytest.approx(wanted[100], rel=1e-4)


@pytest.mark.parametrize(
    "gates",
    [
        {"forget": keras_gates.CoupledForgetGate},
        {"forget": keras_gates.OpenForgetGate},
        {"learn": keras_gates.OpenLearnGate},
    ],
)
def test_gates_without_such_a_bias_stay_as_they_are(gates):
    layer = built(GateLSTM(UNITS, **{name: gate(UNITS) for name, gate in gates.items()}))
    start_with_span(layer, 9)
    logarithm = np.log(np.linspace(1, 9, UNITS))
    if "learn" in gates:
        assert_close(numpy(layer.cell.learn.bias), np.zeros(UNITS), "no ignore factor")
        assert_close(numpy(layer.cell.forget.bias), logarithm, "forget")
    else:
        assert_close(numpy(layer.cell.learn.bias)[:UNITS], -logarithm, "ignore")


def test_refusals():
    with pytest.raises(ValueError, match=r"memory has no weights yet.*memory\.build"):
        start_with_span(GateLSTM(UNITS, name="memory"), 10)
    with pytest.raises(ValueError, match="use_bias=False"):
        start_with_span(built(GateLSTM(UNITS, use_bias=False)), 10)
    for span in (0, -3, "ten", float("nan"), float("inf")):
        with pytest.raises(ValueError, match="at least 1, got"):
            start_with_span(built(GateLSTM(UNITS)), span)


def test_it_is_what_the_zoo_starts_with():
    if BACKEND != "tensorflow":
        pytest.skip("the zoo trains on TensorFlow")
    from keras_gates.models import build

    model = build("show", span=50)
    memory = next(layer for layer in model.layers if isinstance(layer, GateLSTM))
    assert_close(numpy(memory.cell.forget.bias), np.log(np.linspace(1, 50, memory.units)), "forget")
