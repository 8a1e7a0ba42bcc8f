"""Looking at a model changes nothing of it: everything is compared before and after, on success, failure and Ctrl-C."""

import random

import keras
import numpy as np
import pytest
from helpers import data, numpy

import keras_gates

BATCH, TIME, FEATURES = 2, 5, 3
X = data(BATCH, TIME, FEATURES)


@keras.saving.register_keras_serializable("test_models_are_left_unchanged")
class Interruptible(keras.layers.Layer):
    """Counts its calls in a variable, and raises what it is told to at the second call."""

    def build(self, _):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.error = None

    def call(self, inputs):
        self.calls.assign_add(1.0)
        if self.error is not None:
            raise self.error
        return inputs


def model_with_everything():
    """Stateful, with dropout in every place, batch statistics, a frozen layer, metrics, and a fitted optimizer."""
    inputs = keras.Input((TIME, FEATURES), batch_size=BATCH)
    y = keras.layers.BatchNormalization(name="norm")(inputs)
    y = keras_gates.GateLSTM(4, stateful=True, dropout=0.2, recurrent_dropout=0.1, return_sequences=True, name="gates")(
        y
    )
    y = keras.layers.LSTM(4, stateful=True, dropout=0.3, name="keras")(y)
    y = keras.layers.Dropout(0.5)(y)
    y = Interruptible(name="interruptible")(y)
    model = keras.Model(inputs, keras.layers.Dense(2, name="dense")(y))
    model.get_layer("dense").trainable = False
    model.compile("adam", "mse", metrics=["mae"], jit_compile=False)
    model.fit(X, data(BATCH, 2), batch_size=BATCH, epochs=2, verbose=0)
    return model


def everything(model):
    """All that a user can see of a model, by name."""
    layers = [model, *model.layers]
    found = {f"variable {k} {v.path}": numpy(v).copy() for k, v in enumerate(model.variables)}
    found |= {f"metric {k}": numpy(v).copy() for k, v in enumerate(model.metrics_variables)}
    found |= {f"optimizer {k}": numpy(v).copy() for k, v in enumerate(model.optimizer.variables)}
    for layer in layers:
        found[f"{layer.name} trainable"] = layer.trainable
        found[f"{layer.name} attributes"] = {name: id(value) for name, value in vars(layer).items()}
        if getattr(layer, "states", None) is not None:
            found |= {f"{layer.name} state {k}": numpy(state).copy() for k, state in enumerate(layer.states)}
    found |= {"jit": model.jit_compile, "optimizer": id(model.optimizer), "random": random.getstate()}
    return found


def assert_same(after, before):
    assert set(after) == set(before)
    for name, value in before.items():
        same = np.array_equal(after[name], value) if isinstance(value, np.ndarray) else after[name] == value
        assert same, f"{name}: {value} became {after[name]}"


def look(model, folder):
    monitor = keras_gates.GateMonitor(X)
    monitor.set_model(model)
    monitor.look(0)


ENTRY_POINTS = {
    "trace": lambda model, folder: keras_gates.trace(model, X),
    "influence": lambda model, folder: keras_gates.influence(model, X),
    "memory_horizon": lambda model, folder: keras_gates.memory_horizon(model, X),
    "ablate": lambda model, folder: keras_gates.ablate(model, x=X, forget="mean"),
    "find_units": lambda model, folder: keras_gates.find_units(model, X, lambda example: np.arange(TIME)),
    "gate_summary": lambda model, folder: keras_gates.gate_summary(model, X),
    "report": lambda model, folder: keras_gates.report(model, X, folder / "report.html"),
    "GateMonitor": look,
    "export": lambda model, folder: keras_gates.export(model, folder, ["tflite"], batch=BATCH),
}


@pytest.fixture(scope="module")
def model():
    return model_with_everything()


@pytest.mark.filterwarnings("ignore::keras_gates.GateWarning")
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_everything_is_as_it_was(model, name, error, tmp_path):
    interruptible = model.get_layer("interruptible")
    interruptible.error = error
    before = everything(model)
    if error is None:
        ENTRY_POINTS[name](model, tmp_path)
    else:
        with pytest.raises(error):
            ENTRY_POINTS[name](model, tmp_path)
    assert_same(everything(model), before)
    interruptible.error = None


@pytest.mark.filterwarnings("ignore::keras_gates.GateWarning")
def test_a_monitored_training_is_the_same_training():
    def weights(callbacks):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input((TIME, FEATURES)), keras_gates.GateLSTM(4, dropout=0.5)])
        model.compile("sgd", "mse")
        model.fit(X, data(BATCH, 4), epochs=3, verbose=0, callbacks=callbacks)
        return model.get_weights()

    monitor = keras_gates.GateMonitor(X, budget=1e9)
    watched, alone = weights([monitor]), weights([])
    assert len(monitor.history) == 3
    assert all(np.array_equal(a, b) for a, b in zip(watched, alone))
