"""Bad input is an error at the earliest point, and the message says what was expected, what came and what to do."""

import re

import keras
import numpy as np
import pytest
from helpers import BACKEND, BATCH, EVENTS, FEATURES, MEMORIES, UNITS, assert_close, data, numpy, tensors
from keras import ops

import keras_gates
from keras_gates import Gate, GateLSTM, GateLSTMCell

BOTH = [GateLSTM, GateLSTMCell]


def readable(units, **arguments):
    return keras.layers.RNN(GateLSTMCell(units, **arguments))


LAYERS = [GateLSTM, readable]


@pytest.mark.parametrize("units", [0, -1, 2.0, 2.5, "4", None, True, [4]])
@pytest.mark.parametrize("cls", [*BOTH, keras_gates.LearnGate, keras_gates.RememberGate, keras_gates.CoupledForgetGate])
def test_units_must_be_a_positive_integer(cls, units):
    with pytest.raises(ValueError, match=rf"units.*positive integer.*{re.escape(repr(units))}"):
        cls(units)


def test_numpy_integers_are_integers():
    assert GateLSTM(np.int64(4)).units == 4
    assert type(GateLSTM(np.int64(4)).get_config()["units"]) is int


@pytest.mark.parametrize("cls", [*BOTH, keras_gates.UseGate])
def test_unknown_formulation(cls):
    with pytest.raises(ValueError, match=r"'standard' or 'article'.*'articel'"):
        cls(UNITS, formulation="articel")


def test_unknown_loop_and_use_cudnn():
    with pytest.raises(ValueError, match=r"loop.*'fast'"):
        GateLSTM(UNITS, loop="fast")
    with pytest.raises(ValueError, match=r"use_cudnn.*'always'"):
        GateLSTM(UNITS, use_cudnn="always")


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("shape", [(BATCH, FEATURES), (BATCH, 5, FEATURES, 1), (5,)])
def test_events_of_another_rank(make, shape):
    with pytest.raises((ValueError, TypeError)) as error:
        make(UNITS)(np.ones(shape, "float32"))
    assert str(tuple(shape)) in str(error.value) or "(batch, features)" in str(error.value)


def test_unknown_number_of_features():
    with pytest.raises(ValueError, match="known number of features"):
        GateLSTM(UNITS)(keras.Input((5, None)))


@pytest.mark.parametrize("make", LAYERS)
def test_another_number_of_features(make):
    layer = make(UNITS)
    layer(EVENTS)
    with pytest.raises(ValueError, match="incompatible"):
        layer(data(BATCH, 5, FEATURES + 1))


@pytest.mark.parametrize(
    "states",
    [
        [MEMORIES[0]],
        MEMORIES[0],
        [*MEMORIES, MEMORIES[0]],
        [MEMORIES[0], MEMORIES[1][:, :2]],
        [MEMORIES[0][0], MEMORIES[1][0]],
        [MEMORIES[0][:1], MEMORIES[1][:1]],
    ],
    ids=["one", "a tensor", "three", "width", "rank", "batch"],
)
def test_initial_state_of_another_number_or_shape(states):
    layer = GateLSTM(UNITS)
    layer(EVENTS)
    with pytest.raises(ValueError, match=rf"initial_state must be \[STM, LTM\].*\({BATCH}, {UNITS}\).*got"):
        layer(EVENTS, initial_state=tensors(states))


def test_states_of_another_number_or_width_at_the_cell():
    cell = GateLSTMCell(UNITS)
    with pytest.raises(ValueError, match=r"states must be \[STM, LTM\].*got 1"):
        cell(tensors(EVENTS[:, 0]), tensors(MEMORIES[:1]))
    with pytest.raises(ValueError, match=r"states must be \[STM, LTM\]"):
        cell(tensors(EVENTS[:, 0]), tensors([MEMORIES[0], MEMORIES[1][:, :2]]))


@pytest.mark.parametrize("make", [GateLSTM, lambda u, **k: keras.layers.RNN(GateLSTMCell(u), **k)])
def test_stateful_without_a_batch_size(make):
    with pytest.raises(ValueError, match="batch size must be static"):
        make(UNITS, stateful=True)(keras.Input((5, FEATURES)))
    if tuple(map(int, keras.__version__.split(".")[:2])) < (3, 12):
        return  # Keras 3.10 does not compare the batch size of a later call
    layer = make(UNITS, stateful=True)
    layer(EVENTS)
    with pytest.raises(ValueError, match="batch size"):
        layer(EVENTS[:1])


class Answers(Gate):
    """A gate that answers with what it is told."""

    def __init__(self, units, answer, **kwargs):
        super().__init__(units, **kwargs)
        self.answer = answer

    def call(self, ltm):
        return self.answer(ltm)


def wide(ltm):
    return ops.concatenate([ltm, ltm], axis=-1)


WRONG = {
    "width 1": lambda ltm: ltm[:, :1],
    "too wide": wide,
    "rank 1": lambda ltm: ltm[:, 0],
    "rank 3": lambda ltm: ltm[:, None],
    "one row": lambda ltm: ops.ones((1, UNITS)),
    "another dtype": lambda ltm: ops.cast(ltm, "float16"),
    "whole numbers": lambda ltm: ops.cast(ltm, "int32"),
    "two results": lambda ltm: (ltm, ltm),
    "nothing": lambda ltm: None,
}


@pytest.mark.parametrize("gate", ["learn", "forget", "remember", "use"])
@pytest.mark.parametrize("wrong", list(WRONG))
def test_a_gate_that_answers_in_another_shape_or_dtype(gate, wrong):
    expected = ValueError, rf"the {gate} gate's result must have the shape \(batch, {UNITS}\) in float32"
    if wrong == "nothing" and BACKEND == "torch":  # Keras is first to see it there, and names the gate's class
        expected = AttributeError, r"output shape / dtype of '\w+' \(of type Answers\)"
    for make in LAYERS:
        layer = make(UNITS, **{gate: Answers(UNITS, WRONG[wrong])})
        with pytest.raises(expected[0], match=expected[1]):
            layer.build((None, None, FEATURES))


@pytest.mark.parametrize("wrong", ["width 1", "another dtype"])
def test_a_factor_of_another_shape_or_dtype(wrong):
    class Factored(Gate):
        def factors(self, ltm):
            return {"forget": WRONG[wrong](ltm)}

        def call(self, ltm, factors=None):
            return ltm

    with pytest.raises(ValueError, match="the forget gate's factor 'forget' must have the shape"):
        GateLSTM(UNITS, forget=Factored(UNITS)).build((None, None, FEATURES))


def test_a_gate_of_another_dtype_policy():
    with pytest.raises(ValueError, match="the forget gate computes in float64, the cell in float32"):
        GateLSTM(UNITS, forget=keras_gates.ForgetGate(UNITS, dtype="float64"))


def test_a_gate_of_another_size():
    with pytest.raises(ValueError, match=r"the use gate has 5 units, the cell has 4"):
        GateLSTMCell(UNITS, use=keras_gates.UseGate(5))


def test_a_gate_that_is_no_layer():
    with pytest.raises(TypeError, match="the learn gate must be a Keras layer"):
        GateLSTM(UNITS, learn=lambda event: event)


def test_a_gate_class_instead_of_a_gate():
    with pytest.raises(TypeError, match="the learn gate must be a Keras layer"):
        GateLSTM(UNITS, learn=keras_gates.LearnGate)


def test_a_gate_with_an_activity_regularizer():
    with pytest.raises(ValueError, match="the use gate has an activity_regularizer"):
        GateLSTM(UNITS, use=keras_gates.UseGate(UNITS, activity_regularizer="l2"))


def test_a_gate_that_asks_for_what_is_not_there_yet():
    class Early(Gate):
        def call(self, remembered):
            return remembered

    with pytest.raises(TypeError, match=r"Early.call asks for remembered.*offered.*event"):
        GateLSTM(UNITS, learn=Early(UNITS)).build((None, None, FEATURES))


def test_a_gate_built_for_other_events():
    gate = keras_gates.ForgetGate(UNITS)
    GateLSTM(UNITS, forget=gate).build((None, None, FEATURES))
    with pytest.raises(Exception, match=r"(?i)shape|dimension|size"):
        GateLSTM(UNITS, forget=gate).build((None, None, FEATURES + 1))


def test_joint_weights_of_own_gates_and_of_an_unbuilt_cell():
    with pytest.raises(ValueError, match="built cell whose four gates are the plain ones"):
        GateLSTMCell(UNITS).joint_weights()
    layer = GateLSTM(UNITS, forget=keras_gates.CoupledForgetGate(UNITS))
    layer.build((None, None, FEATURES))
    with pytest.raises(ValueError, match="plain"):
        layer.cell.joint_weights()


def test_a_file_of_a_later_format():
    config = GateLSTM(UNITS).get_config()
    with pytest.raises(ValueError, match=r"format 99.*Update keras_gates"):
        GateLSTM.from_config({**config, "format": 99})


@pytest.mark.parametrize(
    ("argument", "value"), [("activation", "tahn"), ("kernel_initializer", "glorot"), ("kernel_regularizer", "l3")]
)
def test_unknown_names_are_keras_errors(argument, value):
    for cls in BOTH:
        with pytest.raises(ValueError, match=value):
            cls(UNITS, **{argument: value})


def test_unknown_arguments():
    with pytest.raises((ValueError, TypeError), match="formulations"):
        GateLSTM(UNITS, formulations="article")


def test_a_weight_file_of_keras_lstm_names_from_keras(tmp_path):
    def model(lstm):
        return keras.Sequential([keras.Input((5, FEATURES)), lstm])

    for wrap in (lambda layer: layer, keras.layers.Bidirectional):
        model(wrap(keras.layers.LSTM(UNITS))).save_weights(tmp_path / "a.weights.h5")
        with pytest.raises(ValueError, match=r"keras_gates\.from_keras\(model\)"):
            model(wrap(GateLSTM(UNITS))).load_weights(tmp_path / "a.weights.h5")


@pytest.mark.parametrize("loop", ["auto", "portable", "general"])
def test_no_time_step_is_one_sentence(loop):
    layer = GateLSTM(UNITS, loop=loop)
    for call in (layer, keras.Sequential([keras.Input((None, FEATURES)), layer])):
        with pytest.raises(ValueError, match=r"at least one time step, got the shape \(2, 0, 3\)"):
            call(np.ones((2, 0, FEATURES), "float32"))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_integer_events_are_as_in_keras(dtype):
    events = np.random.default_rng(0).integers(0, 2, (BATCH, 5, FEATURES)).astype(dtype)
    theirs = keras.layers.LSTM(UNITS)
    wanted = theirs(events.astype("float32"))
    ours = keras_gates.from_keras(theirs)
    assert_close(numpy(ours(events)), numpy(wanted), dtype)


@pytest.mark.parametrize("loop", ["auto", "portable", "general"])
def test_stateful_training_with_a_mask(loop):
    events = np.array(EVENTS)
    events[0, 3:] = 0

    def history(lstm):
        model = keras.Sequential([keras.Input(batch_shape=events.shape), keras.layers.Masking(), lstm])
        model.compile("sgd", "mse")
        return model.fit(events, np.ones((BATCH, UNITS)), batch_size=BATCH, epochs=3, shuffle=False, verbose=0).history

    theirs = keras.layers.LSTM(UNITS, stateful=True, kernel_initializer="ones", recurrent_initializer="identity")
    ours = GateLSTM(UNITS, stateful=True, kernel_initializer="ones", recurrent_initializer="identity", loop=loop)
    assert_close(np.array(history(ours)["loss"]), np.array(history(theirs)["loss"]), loop)


@pytest.mark.parametrize("formulation", ["standard", "article"])
@pytest.mark.parametrize("loop", ["auto", "stepped"])
def test_a_batch_of_no_rows_has_no_output_and_no_gradient(loop, formulation):
    if loop == "stepped" and BACKEND != "torch":
        pytest.skip("the stepped loop is PyTorch's")
    layer = GateLSTM(UNITS, return_sequences=True, loop=loop, formulation=formulation)
    layer.build((None, None, FEATURES))
    nothing = ops.zeros((0, 5, FEATURES))
    if BACKEND == "torch":
        layer(nothing).sum().backward()
        assert all(not numpy(v.value.grad).any() for v in layer.trainable_variables)
    assert layer(nothing).shape == (0, 5, UNITS)
