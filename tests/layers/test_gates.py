"""The four gates, each alone: its equation, its weights, how it starts, what it says of itself."""

import keras
import numpy as np
import pytest
from helpers import BATCH, FEATURES, UNITS, assert_close, data, numpy, randomise, tensors
from reference import sigmoid, weights_of

import keras_gates
from keras_gates import ForgetGate, GateLSTM, LearnGate, RememberGate, UseGate

EVENT, STM, LTM = data(BATCH, FEATURES), data(BATCH, UNITS, seed=1), data(BATCH, UNITS, seed=2)
WEIGHTED = [LearnGate, ForgetGate, UseGate]
OFFER = {"event": EVENT, "stm": STM, "ltm": LTM, "kept": 0.5 * LTM, "remembered": LTM + 0.1}


def call(gate, **offer):
    """The gate on the part of the offer its `call` names."""
    names = gate.call.__code__.co_varnames[1 : gate.call.__code__.co_argcount]
    return gate(**tensors({name: value for name, value in {**OFFER, **offer}.items() if name in names}))


def built(cls, **arguments):
    gate = cls(UNITS, **arguments)
    call(gate)
    return randomise(gate)


def projection(gate):
    w = {name: numpy(getattr(gate, name)).astype("float64") for name in ("kernel", "recurrent_kernel")}
    return EVENT @ w["kernel"] + STM @ w["recurrent_kernel"] + (0 if gate.bias is None else numpy(gate.bias))


@pytest.mark.parametrize("use_bias", [True, False])
def test_learn(use_bias):
    gate = built(LearnGate, use_bias=use_bias)
    ignore, candidate = np.split(projection(gate), 2, axis=-1)
    assert_close(numpy(call(gate)), np.tanh(candidate) * sigmoid(ignore), "learned")
    factors = gate.factors(*tensors([EVENT, STM]))
    assert set(factors) == {"ignore", "candidate"}
    assert_close(numpy(factors["ignore"]), sigmoid(ignore), "ignore")
    assert_close(numpy(factors["candidate"]), np.tanh(candidate), "candidate")


def test_learn_with_other_events_for_the_candidate():
    gate = built(LearnGate)
    other = data(BATCH, FEATURES, seed=5)
    mixed = numpy(gate(*tensors([EVENT, STM]), candidate_event=tensors(other)))
    ignore, candidate = (gate.factors(*tensors([event, STM])) for event in (EVENT, other))
    assert_close(mixed, numpy(candidate["candidate"]) * numpy(ignore["ignore"]), "learned")


@pytest.mark.parametrize("use_bias", [True, False])
def test_forget(use_bias):
    gate = built(ForgetGate, use_bias=use_bias)
    assert_close(numpy(call(gate)), LTM * sigmoid(projection(gate)), "kept")


def test_remember():
    gate = RememberGate(UNITS)
    assert_close(numpy(gate(*tensors([EVENT[:, :1], LTM]))), EVENT[:, :1] + LTM, "remembered")
    assert gate.weights == []


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("formulation", ["standard", "article"])
def test_use(formulation, use_bias):
    gate = built(UseGate, formulation=formulation, use_bias=use_bias)
    source = OFFER["remembered"]
    if formulation == "article":
        source = OFFER["kept"] @ numpy(gate.kept_kernel) + (numpy(gate.kept_bias) if use_bias else 0)
    assert_close(numpy(call(gate)), np.tanh(source) * sigmoid(projection(gate)), "used")
    factors = gate.factors(*tensors([EVENT, STM, OFFER["kept"], OFFER["remembered"]]))
    assert_close(numpy(factors["U"]), np.tanh(source), "U")


@pytest.mark.parametrize("cls", WEIGHTED)
def test_factors_handed_back_are_used_as_they_are(cls):
    gate = built(cls)
    names = gate.factors.__code__.co_varnames[1 : gate.factors.__code__.co_argcount]
    factors = gate.factors(**tensors({name: value for name, value in OFFER.items() if name in names}))
    zeroed = {name: 0 * value for name, value in factors.items()}
    assert_close(numpy(call(gate, factors=factors)), numpy(call(gate)), "same factors")
    assert np.abs(numpy(call(gate, factors=zeroed))).max() == 0


@pytest.mark.parametrize(
    ("cls", "shapes"),
    [
        (LearnGate, {"kernel": (3, 8), "recurrent_kernel": (4, 8), "bias": (8,)}),
        (ForgetGate, {"kernel": (3, 4), "recurrent_kernel": (4, 4), "bias": (4,)}),
        (UseGate, {"kernel": (3, 4), "recurrent_kernel": (4, 4), "bias": (4,)}),
    ],
)
def test_weights_by_name(cls, shapes):
    gate = built(cls)
    assert {v.name: tuple(v.shape) for v in gate.weights} == shapes


def test_forget_starts_at_one():
    gate = ForgetGate(UNITS)
    call(gate)
    assert (numpy(gate.bias) == 1).all()
    gate = ForgetGate(UNITS, unit_forget_bias=False)
    call(gate)
    assert (numpy(gate.bias) == 0).all()


@pytest.mark.parametrize("cls", [*WEIGHTED, RememberGate])
def test_config_loses_no_argument(cls):
    arguments = {"units": UNITS, "name": "mine"}
    if cls is not RememberGate:
        arguments |= {
            "activation": "relu",
            "recurrent_activation": "hard_sigmoid",
            "use_bias": False,
            "kernel_initializer": keras.initializers.RandomNormal(seed=1),
            "recurrent_initializer": "glorot_normal",
            "bias_initializer": "ones",
            "unit_forget_bias": False,
            "kernel_regularizer": keras.regularizers.L2(0.1),
            "recurrent_regularizer": keras.regularizers.L1(0.2),
            "bias_regularizer": keras.regularizers.L2(0.3),
            "kernel_constraint": keras.constraints.MaxNorm(2),
            "recurrent_constraint": keras.constraints.NonNeg(),
            "bias_constraint": keras.constraints.UnitNorm(),
        }
    if cls is UseGate:
        arguments["formulation"] = "article"
    gate = cls(**arguments)
    config = gate.get_config()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(gate))
    assert type(again) is cls
    assert again.get_config() == config
    assert set(arguments) <= set(config)
    default = cls(UNITS).get_config()
    assert all(config[name] != default[name] for name in arguments if name != "units")


def test_a_gate_has_the_columns_of_the_joint_draw():
    theirs = keras.layers.LSTM(64, kernel_initializer=keras.initializers.GlorotUniform(seed=1))
    theirs.build((None, None, 16))
    gate = ForgetGate(64, kernel_initializer=keras.initializers.GlorotUniform(seed=1))
    gate.build((None, 16))
    np.testing.assert_array_equal(numpy(gate.kernel), numpy(theirs.cell.kernel)[:, 64:128])
    limit = np.sqrt(6 / (16 + 4 * 64))
    assert 0.9 * limit < np.abs(numpy(gate.kernel)).max() <= limit, "scaled by the joint width, not by the gate's own"


def test_recurrent_rows_are_orthonormal_together():
    layer = GateLSTM(16)
    layer.build((None, None, 3))
    joint = weights_of(layer)["recurrent_kernel"]
    assert_close(joint @ joint.T, np.eye(16), "rows")


@pytest.mark.parametrize("formulation", ["standard", "article"])
def test_one_initializer_instance_does_not_make_gates_equal(formulation):
    one = keras.initializers.RandomNormal(seed=3)
    layer = GateLSTM(
        UNITS, kernel_initializer=one, recurrent_initializer=one, bias_initializer="zeros", formulation=formulation
    )
    layer.build((None, None, UNITS))
    cell, blocks = layer.cell, {}
    for name in ("kernel", "recurrent_kernel"):
        learn = numpy(getattr(cell.learn, name))
        blocks |= {f"ignore {name}": learn[:, :UNITS], f"candidate {name}": learn[:, UNITS:]}
        blocks |= {f"{gate} {name}": numpy(getattr(getattr(cell, gate), name)) for gate in ("forget", "use")}
    if formulation == "article":
        blocks["kept_kernel"] = numpy(cell.use.kept_kernel)
    for first, a in blocks.items():
        for second, b in blocks.items():
            same_draw = {first.split()[-1], second.split()[-1]} == {"kernel", "recurrent_kernel"}
            if first < second and not (same_draw and first.split()[0] == second.split()[0]):  # as in Keras
                assert np.abs(a - b).max() > 1e-3, f"{first} equals {second}"


def test_regularizers_and_constraints_reach_each_gates_weights():
    gate = built(
        UseGate,
        formulation="article",
        kernel_regularizer=keras.regularizers.L2(0.1),
        recurrent_regularizer=keras.regularizers.L1(0.2),
        bias_regularizer=keras.regularizers.L2(0.3),
        recurrent_constraint=keras.constraints.NonNeg(),
        bias_constraint=keras.constraints.UnitNorm(axis=0),
    )
    w = {v.name: numpy(v).astype("float64") for v in gate.weights}
    wanted = 0.1 * (w["kernel"] ** 2).sum() + 0.2 * np.abs(w["recurrent_kernel"]).sum() + 0.3 * (w["bias"] ** 2).sum()
    wanted += 0.2 * np.abs(w["kept_kernel"]).sum() + 0.3 * (w["kept_bias"] ** 2).sum()
    assert_close(sum(numpy(loss) for loss in gate.losses), wanted, "penalty")
    constrained = {v.name: type(v.constraint).__name__ for v in gate.weights if v.constraint is not None}
    assert constrained == dict.fromkeys(("recurrent_kernel", "kept_kernel"), "NonNeg") | dict.fromkeys(
        ("bias", "kept_bias"), "UnitNorm"
    )


def test_a_model_of_gates_alone_saves_and_loads(tmp_path):
    event, stm, ltm = keras.Input((FEATURES,)), keras.Input((UNITS,)), keras.Input((UNITS,))
    learned, kept = LearnGate(UNITS)(event, stm), ForgetGate(UNITS)(event, stm, ltm)
    remembered = RememberGate(UNITS)(kept, learned)
    used = UseGate(UNITS, formulation="article")(event, stm, kept, remembered)
    model = randomise(keras.Model([event, stm, ltm], [used, remembered]))
    model.save(tmp_path / "gates.keras")
    loaded = keras.models.load_model(tmp_path / "gates.keras")
    assert_close(numpy(loaded([EVENT, STM, LTM])), numpy(model([EVENT, STM, LTM])), "loaded", absolute=1e-6)


def test_public_names_are_all_there():
    for name in keras_gates.__all__:
        if name not in ("EdgeModel", "export", "ExportError", "ExportReport"):
            assert getattr(keras_gates, name).__doc__, name
