"""GateMonitor: what it writes is read back from TensorBoard's files; each complaint is provoked by a model that deserves it."""

import re

import keras
import numpy as np
import pytest
from helpers import data

import keras_gates
from keras_gates import GateLSTM, GateMonitor
from keras_gates.inspection import monitor as monitor_module
from keras_gates.inspection.monitor import GateWarning
from keras_gates.inspection.summary import complaints, gate_statistics


def small_model(time=6):
    layer = GateLSTM(4, name="memory")
    model = keras.Sequential([keras.Input((time, 3)), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model, layer


def test_statistics_are_in_the_files_of_tensorboard(tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    model, _ = small_model()
    x = data(8, 6, 3)
    monitor = GateMonitor(x[:4], log_dir=tmp_path, budget=1e9)
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


def complaints_of(model, x):
    return complaints("memory", gate_statistics(keras_gates.trace(model, x)["memory"]))


def test_complaints():
    x = data(8, 6, 3)
    model, layer = small_model()
    assert complaints_of(model, x) == [], "a fresh model deserves none"
    layer.cell.use.bias.assign(np.full(4, -30.0, "float32"))
    stuck, dead = complaints_of(model, x)
    assert (stuck.kind, stuck.layer, dead.kind) == ("stuck use", "memory", "dead units")
    assert "use factors are stuck, mostly closed" in stuck.text
    assert "100% of the units hardly move" in dead.text
    model, layer = small_model(200)
    layer.cell.learn.bias.assign(np.array([20.0] * 8, "float32"))
    layer.cell.forget.bias.assign(np.full(4, 20.0, "float32"))
    by_kind = {complaint.kind: complaint for complaint in complaints_of(model, 0.1 * data(4, 200, 3))}
    assert "reaches 200" in by_kind["large memory"].text


def test_complaints_name_only_what_exists():
    stats = {f"{gate}/{name}": 1.0 for gate in ("ignore", "forget", "use") for name in ("mean", "saturated")}
    stats |= {"forget/mean": 0.0, "ltm/largest": float("inf"), "stm/dead": 1.0}
    every = complaints("memory", stats, reach=0.0)
    kinds = ["stuck ignore", "stuck forget", "stuck use", "large memory", "dead units", "vanishing gradient"]
    assert [complaint.kind for complaint in every] == kinds
    names = set(re.findall(r"keras_gates\.(\w+)", " ".join(complaint.text for complaint in every)))
    assert {"start_with_span", "CoupledForgetGate"} <= names
    for name in names:
        assert callable(getattr(keras_gates, name)), name


def test_a_vanishing_gradient_is_warned_of_once():
    model, layer = small_model(60)
    layer.cell.forget.bias.assign(np.full(4, -3.0, "float32"))
    for gate in (layer.cell.learn, layer.cell.forget, layer.cell.use):
        gate.recurrent_kernel.assign(np.zeros(gate.recurrent_kernel.shape, "float32"))
    model.optimizer.learning_rate = 0.0
    monitor = GateMonitor(data(4, 60, 3), budget=1e9)
    with pytest.warns(GateWarning, match="memory: .* the gradient vanishes") as caught:
        model.fit(data(4, 60, 3), data(4, 1), epochs=2, verbose=0, callbacks=[monitor])
    assert sum("vanishes" in str(one.message) for one in caught) == 1
    assert [complaint.kind for complaint in monitor.complaints] == ["vanishing gradient"] * 2


def test_each_kind_is_warned_of_once_for_each_layer():
    first, second = (GateLSTM(4, return_sequences=True, name=name) for name in ("first", "second"))
    model = keras.Sequential([keras.Input((6, 3)), first, second, keras.layers.Dense(1)])
    for layer in (first, second):
        layer.cell.use.bias.assign(np.full(4, -30.0, "float32"))
    monitor = GateMonitor(data(4, 6, 3))
    monitor.set_model(model)
    with pytest.warns(GateWarning) as caught:
        [monitor.look(epoch) for epoch in range(2)]
    caught = [warning for warning in caught if warning.category is GateWarning]
    kinds = {(complaint.kind, complaint.layer) for complaint in monitor.complaints}
    assert {("stuck use", "first"), ("stuck use", "second"), ("dead units", "second")} <= kinds
    assert len(caught) == len(kinds), "one warning for each kind and layer"
    assert len(monitor.complaints) == 2 * len(kinds), "every look is recorded"


class Clock:
    """Stands for `time` in keras_gates.inspection.monitor: an epoch takes 10 s, a look 2 s."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


def looks(monkeypatch, epochs, **options):
    """After which epochs a monitor looks, and what share of the training that is."""
    clock, monitor = Clock(), GateMonitor(None, **options)
    monitor.set_params({"epochs": epochs})
    monkeypatch.setattr(monitor_module, "time", clock)

    def look(epoch):
        clock.now += 2
        monitor.history.append({"epoch": epoch})

    monitor.look = look
    for epoch in range(epochs):
        monitor.on_epoch_begin(epoch)
        clock.now += 10
        monitor.on_epoch_end(epoch)
    monitor.on_train_end()
    return [row["epoch"] for row in monitor.history], monitor.cost


def test_looks_are_paid_for_in_advance(monkeypatch):
    # After epoch k, 10 (k + 1) s are trained: the first look (expected: 1 s) wants 20 s, the n-th 40 n s.
    assert looks(monkeypatch, 12, least=0) == ([1, 7, 11], 6 / 120)
    assert looks(monkeypatch, 12, least=0, every=5) == ([5, 10], 4 / 120)
    assert looks(monkeypatch, 3, least=0, budget=10.0)[0] == [0, 1, 2]


def test_a_short_run_gives_a_curve(monkeypatch):
    assert len(looks(monkeypatch, 12)[0]) == 10
    assert looks(monkeypatch, 100, budget=0.0)[0] == list(range(9, 100, 10))
    monkeypatch.undo()
    model, _ = small_model()
    monitor = GateMonitor(data(4, 6, 3))
    with pytest.raises(keras_gates.GatesError, match="nothing is recorded yet"):
        monitor.plot()
    model.fit(data(8, 6, 3), data(8, 1), epochs=12, verbose=0, callbacks=[monitor])
    assert len(monitor.history) >= 10
    figure = monitor.plot(["memory/forget/mean"])
    (line,) = figure.axes[0].lines
    np.testing.assert_array_equal(line.get_xdata(), [row["epoch"] + 1 for row in monitor.history])
    np.testing.assert_allclose(line.get_ydata(), [row["memory/forget/mean"] for row in monitor.history])
    assert len(monitor.plot().axes) == 3
    with pytest.raises(keras_gates.GatesError, match="no memory/forgot; recorded are: memory/ignore/mean"):
        monitor.plot(["memory/forgot"])


def test_a_run_too_short_for_a_look_gets_one_at_its_end(monkeypatch):
    assert looks(monkeypatch, 1, least=0)[0] == [0]
    assert looks(monkeypatch, 5, least=0, budget=0.0)[0] == [4]


def test_a_monitor_goes_on_in_a_second_fit(tmp_path):
    pytest.importorskip("tensorboard")
    model, _ = small_model()
    monitor = GateMonitor(data(4, 6, 3), log_dir=tmp_path, budget=1e9)
    for _ in range(2):
        model.fit(data(4, 6, 3), data(4, 1), verbose=0, callbacks=[monitor])
    assert len(monitor.history) == len(list(tmp_path.iterdir())) == 2


def test_gate_summary():
    model, layer = small_model()
    layer.cell.forget.bias.assign(np.full(4, 30.0, "float32"))
    lines = keras_gates.gate_summary(model, data(4, 6, 3)).splitlines()
    row = dict(zip(("layer", "units", "ignore", "forget"), lines[1].split()))
    assert (row["layer"], row["units"], row["forget"]) == ("memory", "4", "1.00")
