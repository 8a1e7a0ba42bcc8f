"""GateMonitor: what it writes is read back from TensorBoard's files; each complaint is provoked by a model that deserves it."""

import keras
import numpy as np
import pytest
from helpers import data

import keras_gates
from keras_gates import GateLSTM, GateMonitor
from keras_gates.callbacks import GateWarning
from keras_gates.statistics import complaints, gate_statistics


def small_model(time=6):
    layer = GateLSTM(4, name="memory")
    model = keras.Sequential([keras.Input((time, 3)), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model, layer


def test_statistics_are_in_the_files_of_tensorboard(tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    model, _ = small_model()
    x = data(8, 6, 3)
    monitor = GateMonitor(x[:4], log_dir=tmp_path, budget=10.0)
    model.fit(x, data(8, 1), epochs=2, verbose=0, callbacks=[monitor])
    files = reading.EventAccumulator(str(tmp_path), size_guidance={"tensors": 0}).Reload()
    tags = files.Tags()["tensors"]
    assert {"gates/memory/forget/mean", "gates/memory/reach", "gates/memory/forget", "gates/memory/ltm"} <= set(tags)
    from tensorboard.util.tensor_util import make_ndarray

    written = [float(make_ndarray(event.tensor_proto)) for event in files.Tensors("gates/memory/forget/mean")]
    assert np.allclose(written, [row["memory/forget/mean"] for row in monitor.history])
    traced = keras_gates.trace(model, x[:4])["memory"]
    assert np.isclose(written[-1], traced.forget.mean(), atol=1e-6)
    counts = make_ndarray(files.Tensors("gates/memory/ltm")[-1].tensor_proto)[:, 2]
    assert counts.sum() == traced.ltm.size


def said_of(layer, model, x):
    return " ".join(complaints("memory", gate_statistics(keras_gates.trace(model, x)["memory"])))


def test_complaints():
    x = data(8, 6, 3)
    model, layer = small_model()
    assert said_of(layer, model, x) == "", "a fresh model deserves none"
    layer.cell.use.bias.assign(np.full(4, -30.0, "float32"))
    said = said_of(layer, model, x)
    assert "use factors are stuck, mostly closed" in said
    assert "100% of the units hardly move" in said
    model, layer = small_model(200)
    layer.cell.learn.bias.assign(np.array([20.0] * 8, "float32"))
    layer.cell.forget.bias.assign(np.full(4, 20.0, "float32"))
    assert "the long-term memory reaches 200" in said_of(layer, model, 0.1 * data(4, 200, 3))


def test_a_vanishing_gradient_is_said_once():
    model, layer = small_model(60)
    layer.cell.forget.bias.assign(np.full(4, -3.0, "float32"))
    for gate in (layer.cell.learn, layer.cell.forget, layer.cell.use):
        gate.recurrent_kernel.assign(np.zeros(gate.recurrent_kernel.shape, "float32"))
    model.optimizer.learning_rate = 0.0
    monitor = GateMonitor(data(4, 60, 3), budget=100.0)
    with pytest.warns(GateWarning, match="the gradient vanishes") as caught:
        model.fit(data(4, 60, 3), data(4, 1), epochs=2, verbose=0, callbacks=[monitor])
    assert sum("vanishes" in str(one.message) for one in caught) == 1
    assert sum("vanishes" in message for message in monitor.messages) == 2


def test_looks_are_left_out_until_they_are_paid_for():
    model, _ = small_model()
    monitor = GateMonitor(data(4, 6, 3), budget=0.0)
    model.fit(data(4, 6, 3), data(4, 1), epochs=3, verbose=0, callbacks=[monitor])
    assert [row["epoch"] for row in monitor.history] == [0]


def test_gate_summary():
    model, layer = small_model()
    layer.cell.forget.bias.assign(np.full(4, 30.0, "float32"))
    lines = keras_gates.gate_summary(model, data(4, 6, 3)).splitlines()
    row = dict(zip(("layer", "units", "ignore", "forget"), lines[1].split()))
    assert (row["layer"], row["units"], row["forget"]) == ("memory", "4", "1.00")
