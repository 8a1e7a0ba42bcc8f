"""Zoneout, projection, refine and open gates: the NumPy oracle, save and load, training."""

import keras
import numpy as np
import pytest
from helpers import EVENTS, FEATURES, MASKS, UNITS, assert_close, data, losses, numpy, randomise
from reference import run, sigmoid

import keras_gates
from keras_gates import GateLSTM

RATE, PROJECTION = 0.25, 2


def array(variable):
    return numpy(variable).astype("float64")


def step_of(cell):
    """The step of a cell with one gate of its own, written out from the weights of its gates."""

    def project(gate, event, stm):
        return event @ array(gate.kernel) + stm @ array(gate.recurrent_kernel) + array(gate.bias)

    kinds = {type(gate).__name__ for gate in (cell.learn, cell.forget, cell.remember, cell.use)}

    def step(event, stm, ltm, w):
        z = project(cell.learn, event, stm)
        learned = np.tanh(z) if "OpenLearnGate" in kinds else sigmoid(z[:, :UNITS]) * np.tanh(z[:, UNITS:])
        kept = ltm if "OpenForgetGate" in kinds else ltm * sigmoid(project(cell.forget, event, stm))
        if "RefineForgetGate" in kinds:
            gate = cell.forget
            z = event @ array(gate.refine_kernel) + stm @ array(gate.refine_recurrent_kernel) + array(gate.refine_bias)
            forget, refine = sigmoid(project(gate, event, stm)), sigmoid(z)
            kept = ltm * (forget + forget * (1 - forget) * (2 * refine - 1))  # equation 5 of Gu et al. 2020
        remembered = kept + learned
        if "ZoneoutRememberGate" in kinds:
            remembered = RATE * ltm + (1 - RATE) * remembered
        source = remembered
        if cell.formulation == "article":
            source = kept @ array(cell.use.kept_kernel) + array(cell.use.kept_bias)
        used = np.tanh(source)
        if "OpenUseGate" not in kinds:
            used = used * sigmoid(project(cell.use, event, stm))
        if "ZoneoutUseGate" in kinds:
            used = RATE * stm + (1 - RATE) * used
        if "ProjectionUseGate" in kinds:
            used = np.pad(used @ array(cell.use.projection_kernel), ((0, 0), (0, UNITS - PROJECTION)))
        return {"used": used, "remembered": remembered}

    return step


VARIANTS = {
    "zoneout of LTM": lambda f: {"remember": keras_gates.ZoneoutRememberGate(UNITS, rate=RATE, seed=1)},
    "zoneout of STM": lambda f: {"use": keras_gates.ZoneoutUseGate(UNITS, rate=RATE, seed=1, formulation=f)},
    "projection": lambda f: {"use": keras_gates.ProjectionUseGate(UNITS, projection=PROJECTION, formulation=f)},
    "refine": lambda f: {"forget": keras_gates.RefineForgetGate(UNITS)},
    "open learn": lambda f: {"learn": keras_gates.OpenLearnGate(UNITS)},
    "open forget": lambda f: {"forget": keras_gates.OpenForgetGate(UNITS)},
    "open use": lambda f: {"use": keras_gates.OpenUseGate(UNITS, formulation=f)},
}


def layer_with(variant, formulation):
    layer = GateLSTM(
        UNITS, formulation=formulation, return_sequences=True, return_state=True, **VARIANTS[variant](formulation)
    )
    layer.build((None, None, FEATURES))
    return randomise(layer)


@pytest.mark.parametrize("variant", list(VARIANTS))
@pytest.mark.parametrize("formulation", ["standard", "article"])
def test_equals_the_oracle_and_comes_back_from_a_file(variant, formulation, tmp_path):
    layer = layer_with(variant, formulation)
    mask = MASKS["holes"]
    wanted = run(EVENTS, {}, step=step_of(layer.cell), mask=mask, units=UNITS)
    assert_close(numpy(list(layer(EVENTS, mask=keras.ops.convert_to_tensor(mask)))), list(wanted), variant)
    model = keras.Sequential(
        [keras.Input((None, FEATURES)), GateLSTM.from_config({**layer.get_config(), "return_state": False})]
    )
    model.layers[0].set_weights(layer.get_weights())
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(numpy(again(EVENTS)), run(EVENTS, {}, step=step_of(layer.cell), units=UNITS)[0], f"{variant}, loaded")


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_trains(variant):
    layer = GateLSTM(UNITS, **VARIANTS[variant]("standard"))
    model = keras.Sequential([keras.Input((6, FEATURES)), layer, keras.layers.Dense(1)])
    x = data(16, 6, FEATURES)
    y = x.mean(axis=(1, 2))[:, None]
    before = np.square(numpy(model(x)) - y).mean()
    losses(model, x, y, epochs=10)
    assert np.square(numpy(model(x)) - y).mean() < before, "without the draws of zoneout"


def test_zoneout_keeps_whole_units_in_training():
    gate = keras_gates.ZoneoutRememberGate(50, rate=RATE, seed=3)
    ltm, kept, learned = data(40, 50), data(40, 50, seed=1), data(40, 50, seed=2)
    got = numpy(gate(ltm=ltm, kept=kept, learned=learned, training=True))
    zoned = got == ltm
    assert np.allclose(got[~zoned], (kept + learned)[~zoned])
    assert abs(zoned.mean() - RATE) < 0.04
    again = numpy(gate(ltm=ltm, kept=kept, learned=learned, training=True))
    assert (got != again).any(), "drawn anew every step"


def test_projected_memory_is_narrow_and_open_gates_have_no_weights():
    stm = numpy(layer_with("projection", "standard")(EVENTS)[0])
    assert (stm[..., PROJECTION:] == 0).all()
    assert (stm[..., :PROJECTION] != 0).all()
    assert not layer_with("open forget", "standard").cell.forget.weights
    assert not layer_with("open use", "standard").cell.use.weights
    assert len(layer_with("open use", "article").cell.use.weights) == 2


def test_the_refined_forget_factors_start_spread_evenly():
    gate = keras_gates.RefineForgetGate(50)
    nothing = np.zeros((1, 50), "float32")
    gate(event=nothing[:, :3], stm=nothing, ltm=nothing)
    factors = gate.factors(nothing[:, :3], nothing)
    forget = (np.arange(50) + 0.5) / 50
    np.testing.assert_allclose(numpy(factors["refine"])[0], 1 - forget, atol=1e-6)
    assert_close(numpy(factors["forget"])[0], forget + forget * (1 - forget) * (1 - 2 * forget), "start")
    assert not np.allclose(numpy(gate.kernel), numpy(gate.refine_kernel))


def test_errors():
    with pytest.raises(ValueError, match="from 0 to below 1"):
        keras_gates.ZoneoutRememberGate(4, rate=1.0)
    with pytest.raises(ValueError, match="at most units=4"):
        keras_gates.ProjectionUseGate(4, projection=5)
