"""What a user does wrong is answered in one sentence: what was expected, what was given, what to do."""

import keras
import numpy as np
import pytest

import keras_gates
from keras_gates import GateLSTM, GateLSTMCell, GatesError, LearnGate

X = np.ones((2, 5, 3), "float32")


@pytest.fixture(scope="module")
def model():
    layers = [keras.Input((None, 3)), GateLSTM(4, name="memory"), keras.layers.Dense(2, activation="softmax")]
    return keras.Sequential(layers, name="small")


@pytest.mark.parametrize("function", ["trace", "influence", "memory_horizon", "influence_matrix", "gate_summary"])
@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (X.tolist(), r"x must be an array \(batch, any, 3\), got a list of numbers or texts; pass numpy.asarray\(x\)"),
        (X[0], r"small takes an array \(batch, any, 3\), got one example without the batch axis, .* pass x\[None\]"),
        (np.ones((2, 5, 7)), r"small takes an array \(batch, any, 3\), got the shape \(2, 5, 7\)"),
        ([X, X], r"small takes an array \(batch, any, 3\), got 2 arrays"),
        (X[:0], "x holds no example"),
    ],
)
def test_input(model, function, x, sentence):
    with pytest.raises(GatesError, match=sentence) as caught:
        getattr(keras_gates, function)(model, x)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


def test_other_functions_check_their_input_too(model):
    with pytest.raises(GatesError, match="without the batch axis"):
        keras_gates.ablate(model, x=X[0], forget="mean")
    with pytest.raises(GatesError, match="without the batch axis"):
        keras_gates.find_units(model, X[0], lambda example: np.arange(5))
    with pytest.raises(TypeError, match=r"trace: model must be a Keras model, got 'model.keras' \(str\)"):
        keras_gates.trace("model.keras", X)


def test_inputs_that_keras_takes_are_taken():
    """A last axis of size 1 may be missing or in excess, a single input may stand in a list, inputs may have names."""
    one = keras.Sequential([keras.Input((5, 1)), GateLSTM(2)])
    numbers = np.ones((2, 5), "float32")
    for x in (numbers, numbers[..., None], [numbers[..., None]], keras.ops.convert_to_tensor(numbers[..., None])):
        assert keras_gates.trace(one, x).stm.shape == (2, 5, 2)
    inputs = {"a": keras.Input((5, 3), name="a"), "b": keras.Input((5, 3), name="b")}
    both = keras.Model(inputs, GateLSTM(2)(inputs["a"] + inputs["b"]))
    assert keras_gates.trace(both, {"a": X, "b": X}).stm.shape == (2, 5, 2)


def test_a_gate_in_the_place_of_another():
    for make in (GateLSTM, GateLSTMCell):
        with pytest.raises(
            ValueError, match=r"forget=LearnGate\(…\) is a learn gate, .* pass it as learn=.*ForgetGate"
        ):
            make(4, forget=LearnGate(4))
    with pytest.raises(AttributeError, match=r"GateLSTM has its gates in its cell: layer\.cell\.forget"):
        _ = GateLSTM(4).forget
    with pytest.raises(AttributeError, match="no attribute 'forgets'"):
        _ = GateLSTM(4).forgets


def test_shortcuts(model):
    traced = keras_gates.trace(model, X)
    assert traced.forget is traced["memory"].forget, "a trace of one layer has its arrays"
    assert keras_gates.ablate(model, layers="memory", forget="open").name == "small_ablated"
    with pytest.raises(GatesError, match="called other; there are: memory"):
        keras_gates.ablate(model, layers="other", forget="open")
    for call in (lambda: traced["other"], lambda: keras_gates.plot_gates(traced, layer="other")):
        with pytest.raises(KeyError, match="there is no layer 'other' in this trace; it has: memory"):
            call()


def test_the_zoo():
    models = pytest.importorskip("keras_gates.models")
    if not models.card("digits"):
        pytest.skip("no weights are installed")
    assert models.load("digits", format="tflite").name == "digits-rows-dynamic.tflite"
    with pytest.raises(models.UserError, match='for precision="int8" add format="tflite"'):
        models.load("digits", precision="int8")
    with pytest.raises(GatesError, match="precision must be 'dynamic' or 'int8'"):
        models.load("digits", format="tflite", precision="float16")


def test_one_base_class():
    from keras_gates.edge import EdgeError
    from keras_gates.models import UserError

    for error, kind in (
        (EdgeError, ValueError),
        (UserError, ValueError),
        (keras_gates.ExportError, RuntimeError),
        (keras_gates.InvalidArgument, ValueError),
    ):
        assert issubclass(error, GatesError)
        assert issubclass(error, kind)
