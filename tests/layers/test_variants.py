"""The gates from the literature, each against its equations in NumPy, alone in a layer and with gradients."""

import keras
import numpy as np
import pytest
from helpers import (
    BACKEND,
    EVENTS,
    FEATURES,
    MASKS,
    MEMORIES,
    TIME,
    UNITS,
    assert_close,
    data,
    numpy,
    randomise,
    tensors,
)
from reference import coupled_step, layer_norm_step, peephole_step, run, weights_of

import keras_gates
from keras_gates import GateLSTM, GateLSTMCell

FORMULATIONS = ["standard", "article"]


def peephole(formulation):
    return {
        "learn": keras_gates.PeepholeLearnGate(UNITS),
        "forget": keras_gates.PeepholeForgetGate(UNITS),
        "use": keras_gates.PeepholeUseGate(UNITS, formulation=formulation),
    }


def coupled(formulation):
    return {"forget": keras_gates.CoupledForgetGate(UNITS)}


def layer_norm(formulation):
    return {
        "learn": keras_gates.LayerNormLearnGate(UNITS),
        "forget": keras_gates.LayerNormForgetGate(UNITS),
        "use": keras_gates.LayerNormUseGate(UNITS, formulation=formulation),
    }


VARIANTS = {peephole: peephole_step, coupled: coupled_step, layer_norm: layer_norm_step}


def whole(gates, formulation, **options):
    return GateLSTM(UNITS, formulation=formulation, **gates, **options)


def readable(gates, formulation, **options):
    return keras.layers.RNN(GateLSTMCell(UNITS, formulation=formulation, **gates), **options)


def weights(layer):
    """The joint weights and what the variants add."""
    cell, u = layer.cell, UNITS

    def joined(name):
        learn = numpy(getattr(cell.learn, name))
        return np.concatenate([learn[:u], numpy(getattr(cell.forget, name)), learn[u:], numpy(getattr(cell.use, name))])

    w = weights_of(layer)
    if hasattr(cell.learn, "peephole"):
        w |= {f"peephole_{n}": numpy(getattr(cell, g).peephole) for n, g in (("ignore", "learn"), ("forget", "forget"))}
        w["peephole_use"] = numpy(cell.use.peephole)
    if hasattr(cell.learn, "event_gain"):
        w |= {name: joined(name) for name in ("event_gain", "stm_gain")}
        w |= {name: numpy(getattr(cell.use, name)) for name in ("memory_gain", "memory_bias")}
    return w


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.__name__)
def test_equals_its_equations(variant, formulation):
    for make in (whole, readable):
        for mask in MASKS.values():
            layer = make(variant(formulation), formulation, return_sequences=True, return_state=True)
            layer.build((None, TIME, FEATURES))
            randomise(layer)
            options = {"step": VARIANTS[variant], "initial_state": MEMORIES, "starts_from_stm": BACKEND == "jax"}
            wanted = run(EVENTS, weights(layer), mask=mask, **options)
            got = numpy(layer(EVENTS, initial_state=tensors(MEMORIES), mask=tensors(mask)))
            assert_close(got, list(wanted), f"{make.__name__} {variant.__name__} {formulation}")


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.__name__)
def test_trains_saves_and_loads(variant, tmp_path):
    x, y = data(6, TIME, FEATURES), data(6, UNITS)
    model = keras.Sequential([keras.Input((TIME, FEATURES)), whole(variant("article"), "article", dropout=0.2)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = [numpy(v) for v in model.trainable_variables]
    model.fit(x, y, verbose=0)
    for variable, old in zip(model.trainable_variables, before):
        assert np.abs(numpy(variable) - old).max() > 0, f"{variable.path} did not move"
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert_close(loaded.predict(x, verbose=0), model.predict(x, verbose=0), "loaded", absolute=1e-6)


def test_peepholes_of_zero_are_the_plain_layer():
    plain = GateLSTM(UNITS)
    plain.build((None, None, FEATURES))
    own = whole(peephole("standard"), "standard")
    own.build((None, None, FEATURES))
    for gate in ("learn", "forget", "use"):
        for name in ("kernel", "recurrent_kernel", "bias"):
            getattr(getattr(own.cell, gate), name).assign(getattr(getattr(plain.cell, gate), name))
        assert not np.any(numpy(getattr(own.cell, gate).peephole))
    assert_close(numpy(own(EVENTS)), numpy(plain(EVENTS)), "zero peepholes")


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.__name__)
def test_dropout_reaches_the_variants(variant):
    layer = whole(variant("standard"), "standard", dropout=0.5, recurrent_dropout=0.3, seed=1)
    asleep, awake = numpy(layer(EVENTS)), numpy(layer(EVENTS, training=True))
    assert np.abs(asleep - awake).max() > 1e-3


@pytest.mark.parametrize(
    "gate", [keras_gates.LayerNormLearnGate, keras_gates.LayerNormForgetGate, keras_gates.LayerNormUseGate]
)
def test_epsilon_is_kept(gate):
    assert gate.from_config(gate(UNITS, epsilon=0.5).get_config()).epsilon == 0.5


def test_layer_norm_is_blind_to_the_scale_of_events():
    layer = whole({"learn": keras_gates.LayerNormLearnGate(UNITS, epsilon=1e-9)}, "standard")
    layer.build((None, None, FEATURES))
    randomise(layer)
    event, stm = tensors([EVENTS[:, 0], MEMORIES[0]])
    assert_close(
        numpy(layer.cell.learn(100 * event, stm)), numpy(layer.cell.learn(event, stm)), "100 times", absolute=1e-4
    )
