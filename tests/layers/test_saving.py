"""What is saved comes back: every argument, every weight, on every backend, and from files written long ago.

`tests/data/format1_BACKEND.keras` were written by `python tests/layers/test_saving.py` in format 1 under each backend, with what
the model answered beside them. They must go on loading, everywhere, with the same answers: never write them again.
"""

import json
import pathlib

import keras
import numpy as np
import pytest
from helpers import BACKEND, FEATURES, TIME, UNITS, assert_close, data, numpy, randomise
from keras import ops

import keras_gates
from keras_gates import Gate, GateLSTM, GateLSTMCell

DATA = pathlib.Path(__file__).parents[1] / "data"
EVENTS = data(2, TIME, FEATURES)

ARGUMENTS = {
    "units": UNITS,
    "activation": "relu",
    "recurrent_activation": "hard_sigmoid",
    "use_bias": False,
    "kernel_initializer": keras.initializers.RandomNormal(seed=1),
    "recurrent_initializer": keras.initializers.GlorotNormal(seed=2),
    "bias_initializer": "ones",
    "unit_forget_bias": False,
    "kernel_regularizer": keras.regularizers.L2(0.1),
    "recurrent_regularizer": keras.regularizers.L1(0.2),
    "bias_regularizer": keras.regularizers.L2(0.3),
    "kernel_constraint": keras.constraints.MaxNorm(2),
    "recurrent_constraint": keras.constraints.NonNeg(),
    "bias_constraint": keras.constraints.UnitNorm(),
    "dropout": 0.25,
    "recurrent_dropout": 0.125,
    "seed": 11,
    "formulation": "article",
    "implementation": 1,
    "name": "mine",
    "dtype": "mixed_bfloat16",
    "trainable": False,
}
OF_THE_LAYER = {
    "activity_regularizer": keras.regularizers.L1(0.4),
    "return_sequences": True,
    "return_state": True,
    "go_backwards": True,
    "stateful": True,
    "unroll": True,
    "use_cudnn": False,
    "zero_output_for_mask": True,
    "loop": "general",
}


@keras.saving.register_keras_serializable("tests")
class HalvingForgetGate(Gate):
    """A gate of one's own: keeps what a Dense lets through, at most half."""

    def __init__(self, units, share=0.5, **kwargs):
        super().__init__(units, **kwargs)
        self.share = share
        self.dense = keras.layers.Dense(units, activation="sigmoid")

    def factors(self, event):
        return {"forget": self.share * self.dense(event)}

    def call(self, event, ltm, factors=None):
        factors = self.factors(event) if factors is None else factors
        return ltm * factors["forget"]

    def get_config(self):
        return {**super().get_config(), "share": self.share}


def old_model():
    """Both classes, both formulations, a gate of one's own, a shipped variant, a wrapper."""
    readable = GateLSTMCell(UNITS, formulation="article", forget=HalvingForgetGate(UNITS, share=0.75))
    layers = [
        GateLSTM(UNITS, return_sequences=True, name="standard"),
        GateLSTM(UNITS, return_sequences=True, formulation="article", dropout=0.2, seed=3, name="article"),
        keras.layers.RNN(readable, return_sequences=True, name="readable"),
        keras.layers.Bidirectional(GateLSTM(2, return_sequences=True), name="both_ways"),
        GateLSTM(UNITS, learn=keras_gates.PeepholeLearnGate(UNITS), name="peephole"),
        keras.layers.Dense(1, name="head"),
    ]
    return keras.Sequential([keras.Input((None, FEATURES)), *layers], name="old")


@pytest.mark.skipif(
    tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15),
    reason="the files were written with Keras 3.15, and an older Keras does not know all arguments of its initializers",
)
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_old_files_go_on_loading(backend):
    model = keras.models.load_model(DATA / f"format1_{backend}.keras")
    wanted = np.array(json.loads((DATA / f"format1_{backend}.json").read_text()))
    assert_close(model.predict(EVENTS, verbose=0), wanted, f"written under {backend}, read under {BACKEND}")
    assert model.get_layer("article").formulation == "article"
    assert model.get_layer("readable").cell.forget.share == 0.75
    assert type(model.get_layer("peephole").cell.learn) is keras_gates.PeepholeLearnGate
    assert model.get_config()["layers"][1]["config"]["format"] == 1
    again = old_model()
    again.set_weights(model.get_weights())
    assert_close(again.predict(EVENTS, verbose=0), wanted, "weights in the order they had")


@pytest.mark.parametrize("cls", [GateLSTM, GateLSTMCell])
def test_config_loses_no_argument(cls):
    arguments = ARGUMENTS | (OF_THE_LAYER if cls is GateLSTM else {})
    layer = cls(**arguments)
    config = layer.get_config()
    assert set(arguments) <= set(config)
    default = cls(UNITS).get_config()
    same = [name for name in arguments if name != "units" and config[name] == default[name]]
    assert same == [], "these did not reach the config"
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(layer))))
    assert type(again) is cls
    assert again.get_config() == config
    for name in arguments:
        if not name.endswith(("initializer", "regularizer", "constraint", "dtype")):
            assert getattr(again, name) == getattr(layer, name), name
    assert again.dtype_policy == layer.dtype_policy


def test_config_accepts_every_argument_of_keras_lstm():
    config = keras.layers.LSTM(UNITS, dropout=0.1, go_backwards=True, dtype="float64").get_config()
    ours = GateLSTM.from_config(config).get_config()
    assert {name: ours[name] for name in config if name != "dtype"} == {n: v for n, v in config.items() if n != "dtype"}
    assert GateLSTM.from_config(config).compute_dtype == "float64"


def models():
    own = {"forget": HalvingForgetGate(UNITS), "learn": keras_gates.LayerNormLearnGate(UNITS)}
    return {
        "whole": GateLSTM(UNITS, dropout=0.2, recurrent_dropout=0.1),
        "article": GateLSTM(UNITS, formulation="article", use_bias=False),
        "readable": keras.layers.RNN(GateLSTMCell(UNITS, formulation="article")),
        "own gates": GateLSTM(UNITS, **own),
        "readable own gates": keras.layers.RNN(GateLSTMCell(UNITS, forget=HalvingForgetGate(UNITS, name="forgets"))),
        "stacked": keras.layers.RNN([GateLSTMCell(UNITS), GateLSTMCell(2, formulation="article")]),
        "bidirectional": keras.layers.Bidirectional(GateLSTM(UNITS), merge_mode="sum"),
        "stateful": GateLSTM(UNITS, stateful=True),
    }


@pytest.mark.parametrize("which", list(models()))
def test_round_trips(which, tmp_path):
    layer = models()[which]
    model = keras.Sequential([keras.Input((TIME, FEATURES), batch_size=2), layer, keras.layers.Dense(1)])
    randomise(model)
    wanted = numpy(model(EVENTS))
    states = keras.tree.flatten(getattr(layer, "states", None) or [])

    model.save(tmp_path / "whole.keras")
    loaded = keras.models.load_model(tmp_path / "whole.keras")
    if states:
        loaded.layers[0].reset_state()
    assert_close(numpy(loaded(EVENTS)), wanted, ".keras", absolute=1e-6)
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())
    names = [[(v.name, tuple(v.shape)) for v in m.weights] for m in (loaded, model)]
    assert names[0] == names[1]
    for variable, old in zip(loaded.trainable_variables, model.trainable_variables):
        np.testing.assert_array_equal(numpy(variable), numpy(old), variable.path)

    model.save_weights(tmp_path / "only.weights.h5")
    fresh = keras.models.clone_model(model)
    fresh.load_weights(tmp_path / "only.weights.h5")
    if states:
        fresh.layers[0].reset_state()
    assert_close(numpy(fresh(EVENTS)), wanted, ".weights.h5", absolute=1e-6)


@keras.saving.register_keras_serializable("test_saving")
class DenseForgetGate(Gate):
    """All its weights are those of a sublayer."""

    def build(self, event_shape):
        self.dense = keras.layers.Dense(self.units, activation="sigmoid")
        self.dense.build(event_shape)

    def call(self, event, ltm):
        return ltm * self.dense(event)


def test_a_gate_whose_weights_are_a_sublayers_comes_back(tmp_path):
    layer = GateLSTM(UNITS, forget=DenseForgetGate(UNITS))
    model = keras.Sequential([keras.Input((TIME, FEATURES)), layer])
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    wanted = numpy(model(EVENTS))
    assert_close(numpy(keras.saving.load_model(tmp_path / "model.keras")(EVENTS)), wanted, ".keras")
    layer.cell.forget.dense.kernel.assign(0 * layer.cell.forget.dense.kernel)
    model.load_weights(tmp_path / "model.weights.h5")
    assert_close(numpy(model(EVENTS)), wanted, ".weights.h5")


def test_saved_paths_name_the_gates(tmp_path):
    import h5py

    model = keras.Sequential([keras.Input((TIME, FEATURES)), GateLSTM(UNITS, formulation="article", name="memory")])
    model.save_weights(tmp_path / "only.weights.h5")
    with h5py.File(tmp_path / "only.weights.h5") as file:
        found = []
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    gates = {name.split("/cell/")[-1].split("/")[0] for name in found if "/cell/" in name and "seed" not in name}
    assert gates == {"learn", "forget", "use"}, found
    assert sum("seed_generator" not in name for name in found) == len(model.trainable_variables), "each weight once"


def test_a_compiled_model_goes_on_training_where_it_stopped(tmp_path):
    x, y = data(8, TIME, FEATURES), data(8, 1)
    model = keras.Sequential([keras.Input((None, FEATURES)), GateLSTM(UNITS), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    options = {"batch_size": 8, "shuffle": False, "verbose": 0}
    model.fit(x, y, epochs=2, **options)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    wanted = model.fit(x, y, epochs=2, **options).history["loss"]
    assert_close(loaded.fit(x, y, epochs=2, **options).history["loss"], wanted, "loss", absolute=1e-6)


def test_safe_mode_stays_on(tmp_path):
    layer = GateLSTM(UNITS, activation=lambda z: ops.tanh(z))
    model = keras.Sequential([keras.Input((TIME, FEATURES)), layer])
    model.save(tmp_path / "code.keras")
    with pytest.raises(ValueError, match=r"(?i)lambda|unsafe|activation"):
        keras.models.load_model(tmp_path / "code.keras")


if __name__ == "__main__":
    model = randomise(old_model(), seed=1)
    model.save(DATA / f"format1_{BACKEND}.keras")
    (DATA / f"format1_{BACKEND}.json").write_text(json.dumps(model.predict(EVENTS, verbose=0).tolist()) + "\n")
