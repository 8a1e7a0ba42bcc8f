"""GateLSTM stands wherever keras.layers.LSTM stands: same arguments, same start, same numbers, over the whole grid."""

import inspect

import keras
import numpy as np
import pytest
from helpers import (
    BACKEND,
    BATCH,
    EVENTS,
    FEATURES,
    MASKS,
    MEMORIES,
    TIME,
    UNITS,
    assert_close,
    assert_same_gradients,
    covering,
    data,
    gradients,
    grid,
    jointly,
    numpy,
    randomise,
    tensors,
)
from reference import ACTIVATIONS, plain_step, run, weights_of

import keras_gates
from keras_gates import GateLSTM, GateLSTMCell
from keras_gates.layers.lstm import LOOPS

FORMULATIONS = ("standard", "article")
HOW = grid(
    return_sequences=[False, True],
    go_backwards=[False, True],
    unroll=[False, True],
    mask=list(MASKS),
    initial_state=[False, True],
    zero_output_for_mask=[False, True],
)
# A fixed part of the grid: every case takes half a second on TensorFlow and PyTorch, and JAX compiles each.
SHARE = {"tensorflow": 0.3, "torch": 0.35, "jax": 0.12}[BACKEND]
WHAT = grid(
    use_bias=[True, False],
    unit_forget_bias=[True, False],
    activation=["tanh", "relu", "softsign"],
    recurrent_activation=["sigmoid", "hard_sigmoid"],
    return_state=[True, False],
    implementation=[1, 2],
)


def cases(share):
    """The ways to run a sequence, each with one of the layers' other arguments in turn."""
    order = np.random.default_rng(0).permutation(len(WHAT))
    whole = [{**how, **WHAT[order[k % len(WHAT)]]} for k, how in enumerate(HOW)]
    return covering(whole, share)


def split(case):
    """Constructor arguments and call arguments of a case."""
    arguments = dict(case)
    call = {
        "mask": MASKS[arguments.pop("mask")],
        "initial_state": MEMORIES if arguments.pop("initial_state") else None,
    }
    return arguments, call


def keras_lstm(**arguments):
    """Keras' own layer with random weights."""
    layer = keras.layers.LSTM(UNITS, **arguments)
    layer.build((None, None, FEATURES))
    return randomise(layer)


def twin_of(layer, **arguments):
    twin = GateLSTM(UNITS, **arguments)
    twin.build((None, None, FEATURES))
    twin.set_weights(keras_gates.from_keras(layer).get_weights())
    return twin


def positional(cls):
    """Name and default of every argument that may be given by position."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return [(p.name, p.default) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


def seeded(dropout=0.0, recurrent_dropout=0.0):
    initializers = keras.initializers
    return {
        "kernel_initializer": initializers.GlorotUniform(seed=1),
        "recurrent_initializer": initializers.Orthogonal(seed=2),
        "bias_initializer": initializers.RandomNormal(seed=3),
        "dropout": dropout,
        "recurrent_dropout": recurrent_dropout,
        "seed": 4,
    }


def test_positional_arguments_are_those_of_keras():
    assert positional(GateLSTM) == positional(keras.layers.LSTM)
    assert positional(GateLSTMCell) == positional(keras.layers.LSTMCell)
    assert list(inspect.signature(GateLSTM.call).parameters) == list(
        inspect.signature(keras.layers.LSTM.call).parameters
    )


def test_has_every_attribute_of_keras_lstm():
    theirs = {name for name in dir(keras.layers.LSTM(UNITS)) if not name.startswith("_")}
    assert theirs - set(dir(GateLSTM(UNITS))) == set()
    ours = GateLSTM(UNITS, "relu", dropout=0.5, seed=3, implementation=1)
    assert (ours.units, ours.activation, ours.dropout, ours.seed) == (UNITS, keras.activations.relu, 0.5, 3)


@pytest.mark.parametrize("loop", ["auto", "general"])
def test_equals_keras_lstm(loop):
    for case in cases(SHARE if loop == "auto" else SHARE / 3):
        arguments, call = split(case)
        theirs = keras_lstm(**arguments)
        ours = twin_of(theirs, **arguments, loop=loop)
        if BACKEND == "torch" and call["mask"] is not None:
            theirs.unroll = False  # there it fails in Keras: 'tuple' object has no attribute 'shape'
        outputs, by_variable, by_input = gradients(theirs, EVENTS, **call)
        got, got_by_variable, got_by_input = gradients(ours, EVENTS, **call)
        assert_close(got, outputs, f"{case}: forward")
        assert_same_gradients(jointly(ours, got_by_variable), by_variable, f"{case}: gradients of the weights")
        assert_same_gradients(got_by_input, by_input, f"{case}: gradients of events and memories")


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_equals_numpy_and_the_readable_cell(formulation):
    for case in cases(SHARE / 3):
        arguments, call = split({**case, "return_state": True})
        own = ("use_bias", "unit_forget_bias", "activation", "recurrent_activation", "implementation")
        cell = GateLSTMCell(UNITS, **{name: arguments.pop(name) for name in own}, formulation=formulation)
        readable = keras.layers.RNN(cell, **arguments)
        readable.build((BATCH, TIME, FEATURES))
        randomise(readable)
        fast = keras_gates.convert(readable, to=GateLSTM)
        outputs, stm, ltm = run(
            EVENTS,
            weights_of(cell),
            go_backwards=arguments["go_backwards"],
            zero_output_for_mask=arguments["zero_output_for_mask"],
            activation=ACTIVATIONS[case["activation"]],
            recurrent_activation=ACTIVATIONS[case["recurrent_activation"]],
            starts_from_stm=BACKEND == "jax" and not arguments["unroll"],
            **call,
        )
        # Unrolled, Keras zeroes none or only the last of the masked outputs, depending on the backend.
        if arguments["zero_output_for_mask"] and arguments["unroll"] and call["mask"] is not None:
            outputs, stm, ltm = (numpy(v) for v in readable(EVENTS, **tensor_call(call)))
            outputs = outputs if arguments["return_sequences"] else outputs[:, None]
        wanted = [outputs if arguments["return_sequences"] else outputs[:, -1], stm, ltm]
        for layer in (readable, fast):
            assert_close(numpy(layer(EVENTS, **tensor_call(call))), wanted, f"{type(layer).__name__}, {case}")


def tensor_call(call):
    return {name: tensors(value) for name, value in call.items()}


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_gradients_equal_those_of_the_readable_cell(formulation):
    for case in cases(SHARE / 6):
        arguments, call = split(case)
        fast = GateLSTM(UNITS, **arguments, formulation=formulation)
        fast.build((None, None, FEATURES))
        randomise(fast)
        readable = keras_gates.convert(fast, to=keras.layers.RNN)
        outputs, by_variable, by_input = gradients(readable, EVENTS, **call)
        got, got_by_variable, got_by_input = gradients(fast, EVENTS, **call)
        assert_close(got, outputs, f"{case}: forward")
        assert_same_gradients(got_by_variable, by_variable, f"{case}: gradients of the weights")
        assert_same_gradients(got_by_input, by_input, f"{case}: gradients of events and memories")


@pytest.mark.parametrize("unit_forget_bias", [True, False])
def test_same_initializers_give_the_same_start_as_keras(unit_forget_bias):
    theirs = keras.layers.LSTM(UNITS, unit_forget_bias=unit_forget_bias, **seeded())
    ours = GateLSTM(UNITS, unit_forget_bias=unit_forget_bias, **seeded())
    for layer in (theirs, ours):
        layer.build((None, None, FEATURES))
    for name, wanted in weights_of(theirs).items():
        np.testing.assert_array_equal(weights_of(ours)[name], wanted, name)


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_same_global_seed_gives_the_same_model_as_keras(formulation):
    heads = []
    for recurrent in (keras.layers.LSTM, lambda units: GateLSTM(units, formulation=formulation)):
        keras.utils.set_random_seed(5)
        model = keras.Sequential([keras.Input((None, FEATURES)), recurrent(UNITS), keras.layers.Dense(2)])
        heads.append((weights_of(model.layers[0]), numpy(model.layers[1].kernel)))
    (theirs, their_head), (ours, our_head) = heads
    for name, wanted in theirs.items():
        np.testing.assert_array_equal(ours[name], wanted, name)
    np.testing.assert_array_equal(our_head, their_head, "the layer behind it draws something else")


@pytest.mark.parametrize(
    ("dropout", "recurrent_dropout", "implementation"), [(0.5, 0, 2), (0.5, 0, 1), (0, 0.4, 2), (0.5, 0.4, 2)]
)
def test_same_seed_draws_the_same_dropout_masks_as_keras(dropout, recurrent_dropout, implementation):
    # use_cudnn=False: Keras 3.15's own LSTM(implementation=1, dropout=...) fails with "auto".
    options = {**seeded(dropout, recurrent_dropout), "implementation": implementation, "return_sequences": True}
    layers = [keras.layers.LSTM(UNITS, use_cudnn=False, **options), GateLSTM(UNITS, **options)]
    layers.append(keras_gates.convert(GateLSTM(UNITS, **options), to=keras.layers.RNN))
    for layer in layers:
        layer.build((None, None, FEATURES))
    asleep = numpy(layers[0](EVENTS))
    for layer in layers[1:]:
        assert_close(numpy(layer(EVENTS)), asleep, "without training")
    for call in range(3):
        wanted = numpy(layers[0](EVENTS, training=True))
        assert np.abs(wanted - asleep).max() > 1e-3
        for layer in layers[1:]:
            assert_close(numpy(layer(EVENTS, training=True)), wanted, f"{type(layer).__name__}, training call {call}")


def test_dropout_gradients_equal_those_of_keras():
    options = {**seeded(dropout=0.5), "return_sequences": True}
    theirs, ours = keras.layers.LSTM(UNITS, **options), GateLSTM(UNITS, **options)
    for layer in (theirs, ours):
        layer.build((None, None, FEATURES))
    outputs, by_variable, by_input = gradients(theirs, EVENTS, training=True)
    got, got_by_variable, got_by_input = gradients(ours, EVENTS, training=True)
    assert_close(got, outputs, "forward")
    assert_same_gradients(jointly(ours, got_by_variable), by_variable, "weights")
    assert_same_gradients(got_by_input, by_input, "events")


@pytest.mark.parametrize("mask", list(MASKS))
def test_stateful_remembers_like_keras(mask):
    theirs = keras.layers.LSTM(UNITS, stateful=True, return_state=True)
    theirs.build((BATCH, TIME, FEATURES))
    randomise(theirs)
    ours = GateLSTM(UNITS, stateful=True, return_state=True)
    ours.build((BATCH, TIME, FEATURES))
    ours.set_weights(keras_gates.from_keras(theirs).get_weights())
    mask = tensors(MASKS[mask])
    first = numpy(ours(EVENTS, mask=mask))
    assert_close(first, numpy(theirs(EVENTS, mask=mask)), "first call")
    second = numpy(ours(EVENTS, mask=mask))
    assert_close(second, numpy(theirs(EVENTS, mask=mask)), "second call")
    assert np.abs(second[0] - first[0]).max() > 1e-3
    given = tensors(MEMORIES)
    assert_close(
        numpy(ours(EVENTS, initial_state=given)),
        numpy(theirs(EVENTS, initial_state=given)),
        "an initial state goes first",
    )
    ours.reset_state()
    assert_close(numpy(ours(EVENTS, mask=mask)), first, "after reset_state")


def test_regularizers_constraints_and_training_equal_those_of_keras():
    options = {
        "kernel_regularizer": keras.regularizers.L2(0.1),
        "recurrent_regularizer": keras.regularizers.L1(0.05),
        "bias_regularizer": keras.regularizers.L1L2(0.02, 0.03),
        "activity_regularizer": keras.regularizers.L2(0.2),
        "kernel_constraint": keras.constraints.MaxNorm(0.5),
        "recurrent_constraint": keras.constraints.UnitNorm(),
        "bias_constraint": keras.constraints.NonNeg(),
    }
    x, y = data(8, TIME, FEATURES), data(8, UNITS)
    trained = []
    for cls in (keras.layers.LSTM, GateLSTM):
        model = keras.Sequential([keras.Input((None, FEATURES)), cls(UNITS, **seeded(), **options)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        loss = model.fit(x, y, epochs=3, batch_size=4, shuffle=False, verbose=0).history["loss"]
        trained.append((loss, weights_of(model.layers[0])))
    (their_loss, theirs), (our_loss, ours) = trained
    assert_close(our_loss, their_loss, "loss with penalties", absolute=1e-5, relative=1e-5)
    for name, wanted in theirs.items():
        assert_close(ours[name], wanted, f"{name} after three epochs")
    assert (ours["bias"] >= 0).all()


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_set_weights_moves_weights_between_layer_and_readable_cell(formulation):
    fast = GateLSTM(UNITS, formulation=formulation)
    readable = keras.layers.RNN(GateLSTMCell(UNITS, formulation=formulation))
    for layer, seed in ((fast, 1), (readable, 2)):
        layer.build((None, None, FEATURES))
        randomise(layer, seed=seed)
    for giver, taker in ((fast, readable), (readable, fast)):
        randomise(giver, seed=3)
        taker.set_weights(giver.get_weights())
        assert_close(numpy(taker(EVENTS)), numpy(giver(EVENTS)), f"to {type(taker).__name__}")


def test_weight_order_and_paths_that_saved_files_depend_on():
    layer = GateLSTM(UNITS, formulation="article", name="memory")
    layer.build((None, None, FEATURES))
    weights = [
        f"{gate}/{name}" for gate in ("learn", "forget", "use") for name in ("kernel", "recurrent_kernel", "bias")
    ]
    wanted = [*weights, "use/kept_kernel", "use/kept_bias"]
    assert ["/".join(v.path.split("/")[-2:]) for v in layer.weights] == wanted
    assert [v.path for v in layer.weights] == [f"memory/cell/{path}" for path in wanted]
    u, m = UNITS, FEATURES
    assert layer.count_params() == 4 * u * (u + m) + 4 * u + u * u + u


def test_article_form_uses_what_it_learned_one_event_later():
    layer = GateLSTM(UNITS, formulation="article")
    layer.build((None, None, FEATURES))
    randomise(layer)
    w = weights_of(layer)
    after_one = numpy(layer(EVENTS[:, :1]))
    use = plain_step(EVENTS[:, 0], np.zeros((BATCH, UNITS)), np.zeros((BATCH, UNITS)), w)["use"]
    assert_close(after_one, use * np.tanh(w["kept_bias"]), "STM after one event is V * tanh(b_u)")
    _, by_variable, _ = gradients(layer, EVENTS[:, :1])
    named = {v.path.split("/", 2)[-1]: g for v, g in zip(layer.trainable_variables, by_variable)}
    assert all(np.abs(g).max() == 0 for path, g in named.items() if path.startswith("learn"))


def test_explain_names_a_loop_and_a_reason():
    layer = GateLSTM(UNITS, recurrent_dropout=0.2)
    layer.build((None, None, FEATURES))
    assert layer.explain(training=True).name == "general"
    assert "dropout" in layer.explain(training=True).reason
    assert layer.explain(batch=32, time=100).name in LOOPS
