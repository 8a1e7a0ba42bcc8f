"""To and from Keras and between the two classes: every place a layer can hide, weights bit for bit, clear refusals."""

import keras
import numpy as np
import pytest
from helpers import BATCH, EVENTS, FEATURES, MASKS, TIME, UNITS, assert_close, data, numpy, randomise, tensors

import keras_gates
from keras_gates import GateLSTM, GateLSTMCell, convert, from_keras, to_keras

L = keras.layers


def functional():
    """Shared, masked, with states handed over, nested and bidirectional."""
    inputs = keras.Input((TIME, FEATURES), name="events")
    masked = L.Masking()(inputs)
    shared = L.LSTM(UNITS, return_sequences=True, name="shared")
    twice = L.Add()([shared(masked), shared(L.Lambda(keras.ops.tanh)(inputs))])
    _, stm, ltm = L.LSTM(UNITS, return_state=True, name="encoder")(inputs)
    decoded = L.LSTM(UNITS, return_sequences=True, name="decoder")(twice, initial_state=[stm, ltm])
    both = L.Bidirectional(L.LSTM(2, return_sequences=True), merge_mode="concat", name="both")(decoded)
    inner = keras.Sequential([keras.Input((TIME, 4)), L.LSTM(3), L.Dense(2)], name="inner")
    stack = L.RNN([L.LSTMCell(3), L.LSTMCell(2)], name="stack")(both)
    return keras.Model(inputs, {"inner": inner(both), "stack": stack}, name="functional")


MODELS = {
    "sequential": lambda: keras.Sequential([keras.Input((TIME, FEATURES)), L.LSTM(UNITS), L.Dense(1)]),
    "RNN(LSTMCell)": lambda: keras.Sequential([keras.Input((TIME, FEATURES)), L.RNN(L.LSTMCell(UNITS))]),
    "time distributed": lambda: keras.Sequential([keras.Input((2, TIME, FEATURES)), L.TimeDistributed(L.LSTM(UNITS))]),
    "two directions": lambda: keras.Sequential(
        [
            keras.Input((TIME, FEATURES)),
            L.Bidirectional(L.LSTM(UNITS), backward_layer=L.LSTM(UNITS, activation="relu", go_backwards=True)),
        ]
    ),
    "functional": functional,
}


@pytest.mark.parametrize("which", MODELS)
def test_whole_models_there_and_back(which):
    model = randomise(MODELS[which]())
    x = data(BATCH, *model.input_shape[1:])
    wanted = keras.tree.flatten(keras.tree.map_structure(numpy, model(x)))
    ours = from_keras(model)
    kinds = {type(layer).__name__ for layer in ours._flatten_layers()}
    assert kinds & {"GateLSTM", "GateLSTMCell"}
    assert not kinds & {"LSTM", "LSTMCell"}, "something stayed"
    assert_close(keras.tree.flatten(keras.tree.map_structure(numpy, ours(x))), wanted, "from Keras")
    assert sum(v.shape[0] for v in model.trainable_variables), "the first model is as it was"
    back = to_keras(ours)
    assert [v.path for v in back.trainable_variables] == [v.path for v in model.trainable_variables]
    for variable, old in zip(back.trainable_variables, model.trainable_variables):
        np.testing.assert_array_equal(numpy(variable), numpy(old), variable.path)


def test_a_layer_used_twice_stays_one():
    model = from_keras(functional())
    assert sum(isinstance(layer, GateLSTM) and layer.name == "shared" for layer in model.layers) == 1
    assert len(model.get_layer("shared")._inbound_nodes) == 2


def test_a_compiled_model_comes_back_compiled():
    model = MODELS["sequential"]()
    model.compile(keras.optimizers.SGD(0.05), "mae", metrics=["mse"])
    ours = from_keras(model)
    assert ours.compiled
    assert isinstance(ours.optimizer, keras.optimizers.SGD)
    x, y = data(4, TIME, FEATURES), data(4, 1)
    options = {"epochs": 2, "batch_size": 4, "shuffle": False, "verbose": 0}
    wanted = model.fit(x, y, **options).history
    assert_close(ours.fit(x, y, **options).history["loss"], wanted["loss"], "loss")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"use_bias": False},
        {"go_backwards": True, "return_sequences": True, "return_state": True},
        {"activation": "relu", "recurrent_activation": "hard_sigmoid"},
        {"unroll": True, "implementation": 1, "use_cudnn": False},
        {"zero_output_for_mask": True, "return_sequences": True},
        {"dtype": "mixed_bfloat16", "name": "mine", "trainable": False},
        {"dropout": 0.5, "recurrent_dropout": 0.2, "seed": 3},
        {"activity_regularizer": "l2", "kernel_constraint": "max_norm", "bias_regularizer": "l1"},
    ],
)
def test_layers_keep_every_argument(arguments):
    theirs = L.LSTM(UNITS, **arguments)
    theirs.build((None, TIME, FEATURES))
    for variable in theirs.weights[:2]:
        variable.assign(0.5 * data(*variable.shape))
    ours = from_keras(theirs)
    back = to_keras(ours)
    assert back.get_config() == theirs.get_config()
    assert (back.cell.implementation, back.use_cudnn) == (theirs.cell.implementation, theirs.use_cudnn)
    for new, old in zip(back.weights, theirs.weights):
        np.testing.assert_array_equal(numpy(new), numpy(old))
    mask = tensors(MASKS["holes"])
    for mode in (False, True):
        if not (mode and arguments.get("implementation")):
            wanted, got = theirs(EVENTS, mask=mask, training=mode), ours(EVENTS, mask=mask, training=mode)
            tolerance = 4e-2 if "dtype" in arguments else 1e-5
            assert_close(
                numpy(keras.tree.flatten(got)),
                numpy(keras.tree.flatten(wanted)),
                f"training={mode}",
                absolute=tolerance,
            )


def test_the_state_of_a_stateful_layer_moves_along():
    theirs = L.LSTM(UNITS, stateful=True)
    theirs(EVENTS)
    ours = from_keras(theirs)
    assert_close(numpy(ours(EVENTS)), numpy(theirs(EVENTS)), "second call")


def test_unbuilt_layers_and_cells():
    assert type(from_keras(L.LSTM(UNITS))) is GateLSTM
    assert type(from_keras(L.LSTMCell(UNITS, implementation=1))) is GateLSTMCell
    assert type(to_keras(GateLSTMCell(UNITS))) is L.LSTMCell
    assert type(from_keras(L.Bidirectional(L.LSTM(UNITS))).forward_layer) is GateLSTM


@pytest.mark.parametrize("formulation", ["standard", "article"])
def test_between_the_two_classes(formulation, tmp_path):
    own = {"forget": keras_gates.CoupledForgetGate(UNITS)}
    for gates in ({}, own):
        inputs = keras.Input((TIME, FEATURES))
        hidden = GateLSTM(UNITS, formulation=formulation, return_sequences=True, name="a", **gates)(inputs)
        model = keras.Model(inputs, L.Bidirectional(GateLSTM(2, formulation=formulation), name="b")(hidden))
        randomise(model)
        wanted = numpy(model(EVENTS))
        readable = convert(model, to=L.RNN)
        assert not any(isinstance(layer, GateLSTM) for layer in readable._flatten_layers())
        assert_close(numpy(readable(EVENTS)), wanted, "to RNN")
        readable.save_weights(tmp_path / "w.weights.h5")
        other = convert(model, to=L.RNN)
        randomise(other, seed=5)
        other.load_weights(tmp_path / "w.weights.h5")
        again = convert(other, to=GateLSTM)
        assert_close(numpy(again(EVENTS)), wanted, "a weight file through RNN to GateLSTM")
        assert again.get_layer("a").formulation == formulation


def test_refusals_say_why():
    with pytest.raises(ValueError, match="the article form, for which Keras has no layer"):
        to_keras(GateLSTM(UNITS, formulation="article"))
    with pytest.raises(ValueError, match="a custom gate, for which Keras has no layer"):
        to_keras(GateLSTM(UNITS, forget=keras_gates.CoupledForgetGate(UNITS)))
    with pytest.raises(ValueError, match="a custom gate"):
        to_keras(
            keras.Sequential([keras.Input((TIME, FEATURES)), GateLSTM(UNITS, use=keras_gates.PeepholeUseGate(UNITS))])
        )
    for function in (from_keras, to_keras):
        with pytest.raises(TypeError, match="Expected"):
            function(L.Dense(2))
        with pytest.raises(TypeError, match="holds no"):
            function(keras.Sequential([keras.Input((TIME, FEATURES)), L.Dense(2)]))
    with pytest.raises(TypeError, match="Expected"):
        from_keras("model")
    with pytest.raises(ValueError, match=r"keras_gates.GateLSTM or keras.layers.RNN"):
        convert(GateLSTM(UNITS), to=L.LSTM)

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.lstm = L.LSTM(UNITS)

        def call(self, x):
            return self.lstm(x)

    with pytest.raises(TypeError, match="subclassed model"):
        from_keras(Subclassed())


def test_a_frozen_layer_stays_frozen():
    model = MODELS["sequential"]()
    model.layers[0].trainable = False
    ours = from_keras(model)
    assert not ours.layers[0].trainable
    assert len(ours.trainable_variables) == len(model.trainable_variables)
