"""Series in unlike units and around large offsets in integer files: their units stay outside the graph."""

import ctypes
import shutil
import subprocess

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="export needs TensorFlow")
pytest.importorskip("ai_edge_litert", reason="verification needs ai-edge-litert")
if keras.backend.backend() != "tensorflow":
    pytest.skip("export traces with TensorFlow", allow_module_level=True)

from keras import layers

from keras_gates import ExportError, GateLSTM, export
from keras_gates.edge import EdgeError, EdgeModel
from keras_gates.edge.description import describe
from keras_gates.edge.tflite import read
from keras_gates.edge.values import quantized
from keras_gates.exporting.model_inputs import inputs_of
from keras_gates.exporting.options import ExportRequest
from keras_gates.exporting.output_units import units_outside
from keras_gates.exporting.verify import compare
from keras_gates.models import forecast

DEVIATION, MEAN = np.array([1.0, 1000.0, 5.0], "float32"), np.array([0.0, -20.0, 101325.0], "float32")
STEPS = 8
Z = np.cumsum(np.random.default_rng(0).normal(size=(80, STEPS, 3)), axis=1).astype("float32") / 2


def diagonal():
    layer = layers.Dense(3)
    layer.build((None, 3))
    layer.set_weights([np.diag(DEVIATION), MEAN])
    return layer


def column(last):
    """A model whose last layers are those of `last`."""
    events = keras.Input((STEPS, 3), name="event")
    return keras.Model(events, last(layers.Dense(3)(GateLSTM(8)(events))))


def steps_and_series():
    events = keras.Input((STEPS, 3), name="event")
    ahead = layers.Reshape((2, 2, 3))(layers.Dense(12)(GateLSTM(8)(events)))
    return keras.Model(events, layers.Permute((1, 3, 2))(diagonal()(ahead)))


def at_every_event():
    events = keras.Input((STEPS, 3), name="event")
    hidden = layers.Dense(3)(GateLSTM(8, return_sequences=True)(events))
    return keras.Model(events, layers.TimeDistributed(layers.Rescaling(DEVIATION, MEAN))(hidden))


def learned():
    """A dense layer that learned the units."""
    model = column(lambda x: x)
    kernel, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * DEVIATION, MEAN])
    return keras.Sequential([keras.Input((STEPS, 3), name="event"), *model.layers[1:]])


ENDS = {
    "Dense, Permute": steps_and_series,
    "Rescaling": lambda: column(layers.Rescaling(DEVIATION, MEAN)),
    "Normalization": lambda: column(layers.Normalization(mean=MEAN, variance=DEVIATION**2, invert=True)),
    "operations": lambda: column(lambda x: 2.0 * (x * DEVIATION / 2.0) - -MEAN),
    "TimeDistributed": at_every_event,
    "learned": learned,
    "nested": lambda: column(
        keras.Sequential([keras.Input((3,)), layers.Rescaling(DEVIATION), layers.Rescaling(1.0, MEAN)])
    ),
}


def test_a_column_that_the_file_loses_is_found_in_the_units_of_the_model():
    """One that varies by 0.001 among others that vary by 1: what rounding may change of these is more than all of it."""
    want = Z[:, None, -1] * np.float32([0.001, 1, 1])
    have = want.copy()
    have[..., 0] = 0
    assert compare.compare(list(want[:, None]), list(have[:, None]), "int8").outputs[0].hidden is None
    lost = compare.lost_column(want * DEVIATION, have * DEVIATION)
    assert lost.place == (0,)
    np.testing.assert_allclose(lost.spread, np.abs(want[..., 0] - want[..., 0].mean()).mean(), rtol=1e-4)
    assert compare.lost_column(want, want) is None


@pytest.mark.slow
def test_a_column_a_thousandth_as_wide_as_the_others_is_kept_and_nothing_is_warned_of(tmp_path):
    keras.utils.set_random_seed(1)
    model = column(layers.Rescaling(DEVIATION, MEAN))
    head = model.layers[-2]
    head.set_weights([head.kernel.numpy() * [1e-3, 1, 1], np.zeros(3)])
    report = export(model, tmp_path, ["tflite"], "int8", calibration=Z)
    assert not any("in the model's units" in warning for warning in report.warnings)
    want = model.predict(Z, verbose=0)
    difference = np.abs(np.reshape(EdgeModel(report.files["tflite"]).predict(Z), want.shape) - want).mean(0)
    assert (difference < 0.1 * np.abs(want - want.mean(0)).mean(0)).all()


def request_of(model, **options):
    return ExportRequest(model=model, inputs=inputs_of(model), precision="int8", calibration=Z, **options)


def port_of(file):
    return file.description.predictions[0][1]


def share(wanted, got, series=-1):
    """Mean error of every series in its own spread."""
    wanted, got = (np.moveaxis(np.float64(each), series, -1).reshape(-1, 3) for each in (wanted, got))
    return np.abs(got - wanted).mean(0) / np.abs(wanted - wanted.mean(0)).mean(0)


@pytest.mark.parametrize("end", ENDS)
def test_scale_and_offset_are_what_the_last_layers_compute(end):
    keras.utils.set_random_seed(1)
    model = ENDS[end]()
    wanted = model.predict(Z, verbose=0)
    series = 2 if end == "Dense, Permute" else -1
    with units_outside(request_of(model)) as (request, notes):
        inside = np.asarray(request.model(Z))
        assert len(notes) == 1
    spreads = np.moveaxis(inside, series, -1).reshape(-1, 3).std(0)
    assert np.ptp(spreads) < 2  # standard deviations
    assert np.abs(inside).max() < 10
    got = request.units[0].of(inside)
    np.testing.assert_allclose(share(wanted, got, series), 0, atol=5e-3)  # in float32 101325 has steps of 0.008
    np.testing.assert_array_equal(model.predict(Z, verbose=0), wanted)


def test_what_is_no_affine_end_stays_in_the_graph():
    events = keras.Input((STEPS, 3))
    hidden = layers.Dense(3)(GateLSTM(4)(events))
    scaled = layers.Rescaling(DEVIATION)(hidden)
    models = [
        keras.Model(events, layers.ReLU()(scaled)),
        keras.Model(events, layers.Rescaling(1000.0)(layers.Dense(3)(GateLSTM(4)(events)))),  # the same for all columns
        keras.Model(events, [scaled, layers.Dense(1, activation="tanh")(scaled)]),  # read twice
        keras.Model(events, layers.Dense(3, activation="softmax")(hidden)),
        keras.Sequential([events, GateLSTM(4), layers.Dense(3)]),  # columns alike
    ]
    for model in models:
        with units_outside(request_of(model)) as (request, notes):
            assert not any(request.units)
            assert not notes
    with units_outside(request_of(learned(), metadata={"labels": ["a", "b", "c"]})) as (request, _):
        assert not any(request.units)  # of classes the largest output counts
    with units_outside(ExportRequest(model=models[0], inputs=inputs_of(models[0]))) as (request, _):
        assert not request.units  # float32


def test_a_small_series_beside_one_of_great_values_is_standardized():
    """A spread of 1e-5 next to air pressure around 1e5: less than a float32 of the greatest value resolves."""
    model = column(lambda x: x)
    kernel, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights(
        [kernel * np.array([1.0, 1e-5, 5.0], "float32"), np.array([0.0, 0.002, 101325.0], "float32")]
    )
    with units_outside(request_of(model)) as (request, _):
        scale = request.units[0].scale.ravel()
    assert scale[1] < 1e-4


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """The zoo's forecast of three series with a random hidden part, in int8 for C99 too."""
    keras.utils.set_random_seed(0)
    model = forecast.build(STEPS, 2, 3, MEAN, DEVIATION**2, units=4)
    rng = np.random.default_rng(2)
    steps = model.get_layer("steps")
    steps.set_weights([0.3 * rng.normal(size=each.shape) for each in steps.get_weights()])
    core, prepare, metadata = forecast.device(model, "int8")
    x = np.concatenate([Z * DEVIATION + MEAN, np.zeros((80, STEPS, 4))], -1).astype("float32")
    folder = tmp_path_factory.mktemp("zoo")
    report = export(
        core,
        folder,
        ["tflite"],
        "int8",
        calibration=prepare(x),
        metadata=metadata,
        test=(prepare(x), model.predict(x, verbose=0)),
    )
    return model.predict(x, verbose=0), prepare(x), folder / "model.tflite", report


def test_an_int8_forecast_is_exact_for_every_series(zoo):
    wanted, x, path, report = zoo
    file = EdgeModel(path)
    assert share(wanted, file.predict(x), 2).max() < 0.05
    assert "units" in port_of(file).text
    assert report.outputs["prediction"]["spread"] < 5  # standard deviations
    assert report.quality["file mean absolute error"] < 0.05 * 1000  # the units of the targets
    assert any("in_units" in note for note in report.notes)


def test_the_units_in_the_metadata_are_checked(zoo):
    file = read(zoo[2].read_bytes())
    text = file.metadata["keras_gates"].decode()
    assert describe(file).predictions[0][1].units.shape == (1, 3, 1)
    for old, new in (
        ('"shape":[1,3,1]', '"shape":[1,2,1]'),
        ('"shape":[1,3,1]', '"shape":[3]'),
        ('"scale":[1.0,', '"scale":["a",'),
        ('"offset":[0.0,', '"offset":[0.0,1.0,'),
        ('"units":{', '"units":7,"other":{'),
    ):
        assert old in text
        file.metadata["keras_gates"] = text.replace(old, new).encode()
        with pytest.raises(EdgeError, match="units"):
            describe(file)


def test_the_verification_looks_at_every_series():
    rng = np.random.default_rng(3)
    wanted = rng.normal(size=(40, 1, 4, 2, 3)) * np.array([1, 1000])[:, None]  # samples, batch, time, series, quantiles
    rounded = wanted + rng.normal(size=wanted.shape) * np.array([0.05, 50])[:, None]
    spoiled = rounded.copy()
    spoiled[:, :, :, 0] = 0  # the series with a spread of 1
    compared = [compare.compare([[x] for x in wanted], [[x] for x in got], "int8") for got in (rounded, spoiled)]
    assert compared[0].acceptable
    assert not compared[1].acceptable
    assert compared[1].worst.column.place[0] == 0
    assert "column [0," in str(compared[1].worst)


def test_units_that_the_export_cannot_see_are_withheld_or_warned_of(tmp_path):
    hidden = column(layers.Lambda(lambda x: x * np.array([1, 1000, 1], "float32")))
    with pytest.raises(ExportError, match=r"column \[[02]\]"):
        export(hidden, tmp_path, ["tflite"], "int8", calibration=Z)
    assert not list(tmp_path.iterdir())
    pressure = column(layers.Lambda(lambda x: x * 5.0 + 101325.0))
    report = export(pressure, tmp_path, ["tflite"], "int8", calibration=Z)
    assert any("loses it" in warning and "Rescaling" in warning for warning in report.warnings)


@pytest.mark.slow
def test_the_kits_return_units(tmp_path):
    from test_micro import COMPILER, compiled, selftest

    if COMPILER is None or shutil.which("cc") is None:
        pytest.skip("needs g++ and cc")
    export(ENDS["Rescaling"](), tmp_path, ["c", "c99"], "int8", "stream", "micro", calibration=Z)
    assert selftest(compiled(tmp_path / "c", "model.cc", "selftest.cc")) == 0
    command = "cc -std=c99 -Wall -Wextra -Werror -shared -fPIC model.c -o model.so -lm"
    subprocess.run(command.split(), cwd=tmp_path / "c99", check=True)
    library, file = ctypes.CDLL(str(tmp_path / "c99" / "model.so")), EdgeModel(tmp_path / "model.tflite")
    state, stored, got = (ctypes.c_char * 10_000)(), (ctypes.c_int8 * 3)(), (ctypes.c_float * 3)()
    library.model_reset(state)
    stream, port = file.stream(), file.description.events[0]
    for event in Z[0]:
        events = np.ascontiguousarray(quantized(port, event))
        library.model_push(state, events.ctypes.data_as(ctypes.c_void_p), stored)
        library.model_units_out(stored, got)
        apart = np.abs(np.array(got) - stream.push(event)) / DEVIATION  # LiteRT's default kernels round differently
        assert (apart < 1.5 * port_of(file).tensor.scale + 2e-3).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7, 10])
def test_an_untrained_model_of_few_tokens_exports(tmp_path, seed):
    """7: a column varies by less than what rounding the memory costs; 10: the calibration gives the LSTM's output a wider range
    than its hidden state."""
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Embedding(4, 3), GateLSTM(2), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((4,), dtype="int32"), *layers])
    x = np.random.default_rng(0).integers(0, 2, (40, 4)).astype("int32")
    export(model, tmp_path, ["tflite"], "int8", calibration=x)
    wanted, got = model.predict(x, verbose=0), EdgeModel(tmp_path / "model.tflite").predict(x)
    assert np.abs(got - wanted).mean() < 0.1 * np.abs(wanted).mean()
