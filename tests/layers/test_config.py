"""`get_config` returns what the constructor accepts: every layer and gate, in wrappers, in subclasses, with a format number."""

import json

import keras
import numpy as np
import pytest
from helpers import FEATURES, TIME, UNITS, data, numpy

import keras_gates
from keras_gates import GateLSTM, GateLSTMCell

WEIGHTED = {"units": UNITS, "activation": "relu", "kernel_regularizer": "l2", "name": "mine"}
GATES = {
    "LearnGate": WEIGHTED,
    "ForgetGate": WEIGHTED,
    "RememberGate": {"units": UNITS},
    "UseGate": {**WEIGHTED, "formulation": "article"},
    "CoupledForgetGate": {"units": UNITS},
    "OpenLearnGate": WEIGHTED,
    "OpenForgetGate": {"units": UNITS},
    "OpenUseGate": {**WEIGHTED, "formulation": "article"},
    "PeepholeLearnGate": WEIGHTED,
    "PeepholeForgetGate": WEIGHTED,
    "PeepholeUseGate": WEIGHTED,
    "LayerNormLearnGate": {**WEIGHTED, "epsilon": 0.1},
    "LayerNormForgetGate": {**WEIGHTED, "epsilon": 0.1},
    "LayerNormUseGate": {**WEIGHTED, "epsilon": 0.1},
    "ProjectionUseGate": {**WEIGHTED, "projection": 2},
    "RefineForgetGate": WEIGHTED,
    "ZoneoutRememberGate": {"units": UNITS, "rate": 0.25, "seed": 3},
    "ZoneoutUseGate": {**WEIGHTED, "rate": 0.25, "seed": 3},
}
LAYERS = {
    "GateLSTM": {
        "formulation": "article",
        "loop": "portable",
        "use_cudnn": False,
        "return_sequences": True,
        "dropout": 0.5,
        "activity_regularizer": "l1",
    },
    "GateLSTMCell": {"formulation": "article", "implementation": 1, "dropout": 0.5},
}


def test_every_gate_is_here():
    gates = {name for name in keras_gates.__all__ if name.endswith("Gate") and name != "Gate"}
    assert set(GATES) == gates


@pytest.mark.parametrize("name", [*GATES, *LAYERS])
def test_the_constructor_accepts_the_config(name):
    cls = getattr(keras_gates, name)
    arguments = GATES.get(name) or {"units": UNITS, **LAYERS[name]}
    config = cls(**arguments).get_config()
    assert cls(**config).get_config() == config
    assert cls(**json.loads(json.dumps(config))).get_config() == config, "as a file stores it"
    default = cls(UNITS, **({"projection": UNITS} if name == "ProjectionUseGate" else {})).get_config()
    assert [key for key in arguments if key not in ("units", "name") and config[key] == default[key]] == []


@pytest.mark.parametrize("cls", [GateLSTM, GateLSTMCell])
def test_the_constructor_accepts_a_config_with_custom_gates(cls):
    gates = {
        "learn": keras_gates.LayerNormLearnGate(UNITS, epsilon=0.1),
        "forget": keras_gates.CoupledForgetGate(UNITS),
    }
    layer = cls(UNITS, **gates)
    again = cls(**layer.get_config())
    cell = getattr(again, "cell", again)
    assert type(cell.learn) is keras_gates.LayerNormLearnGate
    assert cell.learn.epsilon == 0.1
    assert type(cell.forget) is keras_gates.CoupledForgetGate
    assert type(cell.use) is keras_gates.UseGate
    assert again.get_config() == layer.get_config()


@keras.saving.register_keras_serializable("tests")
class Scaled(GateLSTM):
    """A subclass with another argument, as users write it."""

    def __init__(self, units, scale=2.0, **kwargs):
        super().__init__(units, **kwargs)
        self.scale = scale

    def call(self, sequences, initial_state=None, mask=None, training=False):
        return self.scale * super().call(sequences, initial_state, mask, training)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@pytest.mark.parametrize("wrap", [lambda x: x, keras.layers.Bidirectional, keras.layers.TimeDistributed])
@pytest.mark.parametrize("cls", [GateLSTM, Scaled])
def test_wrappers_and_subclasses_save_and_load(cls, wrap, tmp_path):
    extra = {"scale": 3.0} if cls is Scaled else {}
    layer = wrap(cls(UNITS, formulation="article", forget=keras_gates.PeepholeForgetGate(UNITS), **extra))
    shape = (2, TIME, FEATURES) if wrap is keras.layers.TimeDistributed else (TIME, FEATURES)
    model = keras.Sequential([keras.Input(shape), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = data(2, *shape)
    np.testing.assert_allclose(numpy(loaded(x)), numpy(model(x)), atol=1e-6)
    inner = getattr(loaded.layers[0], "forward_layer", getattr(loaded.layers[0], "layer", loaded.layers[0]))
    assert type(inner) is cls
    assert getattr(inner, "scale", None) == extra.get("scale")
    assert type(inner.cell.forget) is keras_gates.PeepholeForgetGate


@pytest.mark.parametrize("cls", [GateLSTM, GateLSTMCell, Scaled])
def test_the_format_number_is_checked_by_the_constructor(cls):
    config = cls(UNITS).get_config()
    assert config["format"] == 1
    assert cls(**config).units == UNITS
    assert cls(UNITS).get_config()["format"] == 1, "a layer without a number is of this format"
    for make in (cls.from_config, lambda config: cls(**config)):
        with pytest.raises(
            ValueError, match=r"format 2; this version of keras_gates reads up to 1\. Update keras_gates"
        ):
            make({**config, "format": 2})
