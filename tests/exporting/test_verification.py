"""What the verification withholds, what it writes with a warning, and what it reports."""

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="export needs TensorFlow")
pytest.importorskip("ai_edge_litert", reason="verification needs ai-edge-litert")
if keras.backend.backend() != "tensorflow":
    pytest.skip("export traces with TensorFlow", allow_module_level=True)
from broken_files import broken_files

from keras_gates import GateLSTM, export
from keras_gates.exporting.model_inputs import inputs_of
from keras_gates.exporting.verify import compare, runner, samples
from keras_gates.exporting.verify.noise import noise_of

TIME, FEATURES = 6, 3
X = np.random.default_rng(0).normal(size=(60, TIME, FEATURES)).astype("float32")


def difference(wanted, got, precision):
    return compare.compare([[x[None]] for x in wanted], [[x[None]] for x in got], precision).worst


def test_a_forecast_is_judged_by_its_spread_not_by_its_size():
    wanted = 1000 + np.random.default_rng(0).uniform(0, 30, size=(200, 1)).astype("float32")
    spread = np.abs(wanted - wanted.mean()).mean()
    judged = difference(wanted, wanted + 2.2, "float16")
    assert judged.spread == pytest.approx(spread, rel=1e-4)
    assert judged.mean == pytest.approx(2.2, rel=1e-3)
    assert not judged.acceptable
    assert not difference(wanted - 1000, wanted - 1000 + 2.2, "int8").is_usual
    assert not difference(wanted - 1000, np.flip(wanted - 1000), "int8").acceptable


def test_an_output_that_hardly_varies_is_withheld_if_it_varies_otherwise():
    """The scale of a weight tensor doubled, where the bias makes most of the output."""
    draw = np.random.default_rng(0)
    noise = draw.normal(size=(400, 3)).astype("float32")
    wanted = 1 + 0.003 * noise
    rounded = wanted + draw.uniform(-2e-4, 2e-4, size=wanted.shape).astype("float32")
    assert difference(wanted, rounded + 0.002, "int16x8").acceptable
    doubled = difference(wanted, 1 + 0.006 * noise, "int16x8")
    assert doubled.mean < doubled.wrong
    assert not doubled.acceptable


def test_one_clipped_value_among_thousands_is_reported_not_withheld():
    draw = np.random.default_rng(0)
    wanted = draw.dirichlet(np.ones(20), size=600).astype("float32")
    got = wanted + draw.normal(scale=0.0015, size=wanted.shape).astype("float32")
    got[5, 3] += 0.515
    judged = difference(wanted, got, "int8")
    assert judged.largest > 0.5
    assert judged.mean < 0.002
    assert judged.is_usual


def test_float32_rounding_is_no_fault_and_a_nan_is():
    draw = np.random.default_rng(0)
    wanted = draw.normal(size=(500, 4)).astype("float32")
    got = wanted + draw.normal(scale=1.6e-7, size=wanted.shape).astype("float32")
    got[0, 0] = wanted[0, 0] + 1.05e-5
    assert difference(wanted, got, "float32").is_usual
    got[1, 1] = np.nan
    assert not difference(wanted, got, "float32").acceptable


def test_clear_answers_that_change_withhold_a_file():
    wanted = np.tile(np.eye(4, dtype="float32"), (50, 1))
    got = np.where(np.arange(200)[:, None] % 3 == 0, np.roll(wanted, 1, -1), wanted)
    judged = difference(wanted, got, "int8")
    assert judged.agreement == pytest.approx(1 - 67 / 200)
    assert judged.changed == pytest.approx(67 / 200)
    assert not judged.acceptable


@pytest.fixture(scope="module")
def two_outputs(tmp_path_factory):
    keras.utils.set_random_seed(1)
    events = keras.Input((TIME, FEATURES), name="event")
    hidden = GateLSTM(6)(events)
    small = keras.layers.Dense(1, name="small")(hidden)
    large = keras.layers.Rescaling(1000.0, name="large")(keras.layers.Dense(1)(hidden))
    return keras.Model(events, [small, large]), tmp_path_factory.mktemp("two")


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_every_output_is_reported_and_broken_copies_are_withheld(two_outputs, precision):
    model, folder = two_outputs
    report = export(model, folder, ["tflite"], precision, calibration=X)
    held_out = samples.samples_of(X[::5], inputs_of(model))
    wanted = compare.keras_outputs(model, inputs_of(model), held_out)
    assert list(report.outputs) == ["small", "large"]
    for place, name in enumerate(report.outputs):
        values = np.stack([outputs[place] for outputs in wanted])
        figures = report.outputs[name]
        assert figures["spread"] == pytest.approx(np.abs(values - values.mean(0)).mean(), rel=1e-4)
        assert 0 < figures["mean"] <= figures["max"] < figures["spread"]
    feeds = [{"event": sample[0]} for sample in held_out]
    rounding = noise_of(model, inputs_of(model), samples.samples_of(X, inputs_of(model)), precision)
    defects = []
    data = (folder / "model.tflite").read_bytes()
    for defect, broken in (each for seed in range(4) for each in broken_files(data, seed)):
        got = runner.run(broken, feeds, by_event=False).predictions
        moved = [
            np.mean([np.abs(w[place] - g[place]).mean() for w, g in zip(wanted, got)]) / figures["spread"]
            for place, figures in enumerate(report.outputs.values())
        ]
        if max(moved) > 0.3:
            defects.append(defect)
            judged = compare.compare(wanted, got, precision)
            explained = rounding.explains(judged.worst.usual, judged.worst.spread)
            assert not judged.acceptable or judged.worst.mean > explained, defect
            assert max(moved) <= 0.6 or not judged.acceptable, defect
    assert len(defects) >= 2
    for figures in report.outputs.values():  # what rounding each tensor costs explains the good file
        assert figures["mean"] < rounding.explains(0.0, figures["spread"])
