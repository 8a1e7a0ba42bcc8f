"""Arguments of the wrong type, for every argument of every public function: success, or one sentence that is ours or Keras'."""

import inspect
import linecache
import traceback
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_gates
from keras_gates import EdgeModel, GateLSTM, GatesError

WRONG = (None, "text", 1.5, [], {}, object())
X = np.random.default_rng(0).normal(size=(6, 4, 3)).astype("float32")
LABELS = np.arange(6) % 2


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4, 3)), GateLSTM(4), keras.layers.Dense(2, activation="softmax")]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def trace(model):
    return keras_gates.trace(model, X)


def complaint(function, name, wrong, arguments):
    """None, or how a call with one wrong argument fails otherwise than by a sentence that the code raises on purpose."""
    kwargs = arguments | {name: wrong}
    positional = [kwargs.pop(each) for each in list(inspect.signature(function).parameters)[:1] if each in kwargs]
    try:
        function(*positional, **kwargs)
    except (GatesError, TypeError, ValueError) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        first = linecache.getline(frame.filename, frame.lineno).strip()
        is_sentence = first.startswith("raise") and "\n" not in str(error) and len(str(error)) < 400
        return None if is_sentence else f"{type(error).__name__} ({frame.name}): {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def complaints(function, arguments, wrongs=WRONG, without=()):
    """One line per argument and wrong value that fails otherwise; "" if there is none."""
    parameters = inspect.signature(function).parameters.values()
    named = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    return "\n".join(
        f"{function.__qualname__}({each.name}={wrong!r:.20}): {failure:.160}"
        for each in named
        for wrong in wrongs
        if each.name not in without and (wrong is not None or each.default is not None)
        if (failure := complaint(function, each.name, wrong, arguments)) is not None
    )


LAYERS = ("GateLSTM", "GateLSTMCell", "LearnGate", "ForgetGate", "UseGate", "ZoneoutUseGate", "LayerNormUseGate")
INSPECTED = {
    "trace": {"x": X},
    "influence": {"x": X},
    "memory_horizon": {"x": X},
    "influence_matrix": {"x": X},
    "gate_summary": {"x": X},
    "ablate": {"x": X, "forget": "mean"},
    "worth_of_gates": {"x": X, "y": LABELS, "factors": ["use"], "holds": ["open"]},
    "find_units": {"data": X, "label_fn": lambda example: example[:, 0]},
    "from_keras": {},
    "to_keras": {},
    "convert": {"to": keras.layers.LSTM},
    "to_torch": {},
}


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.slow) if each == "worth_of_gates" else each for each in INSPECTED]
)
def test_functions_of_a_model(model, name):
    function = getattr(keras_gates, name)
    first = next(iter(inspect.signature(function).parameters))
    assert complaints(function, {first: model, **INSPECTED[name]}) == ""


@pytest.mark.slow
def test_plots(trace):
    pytest.importorskip("matplotlib").use("agg")
    from matplotlib import pyplot

    horizon = keras_gates.Horizon(np.ones(4) / 4, 0.9, 4)
    calls = {
        "plot_gates": {"trace": trace},
        "plot_flow": {"trace": trace},
        "plot_units": {"trace": trace},
        "plot_memory": {"trace": trace},
        "plot_horizon": {"horizons": horizon},
        "plot_confusion": {"predicted": LABELS, "actual": LABELS, "labels": ["a", "b"]},
        "plot_curves": {"history": {"loss": [1.0, 0.5]}},
    }
    for name, arguments in calls.items():
        assert complaints(getattr(keras_gates, name), arguments) == ""
        pyplot.close("all")


@pytest.mark.parametrize(
    "name", ["GateLSTM", "GateLSTMCell", "LearnGate", "ForgetGate", "UseGate", "ZoneoutUseGate", "LayerNormUseGate"]
)
def test_layers(name):
    assert complaints(getattr(keras_gates, name), {"units": 3}) == ""


def test_what_a_trace_and_a_span_take(trace, tmp_path):
    layer = trace.first
    for method, arguments in (
        (layer.end_of, {}),
        (layer.without_padding, {}),
        (layer.until, {"end": 3}),
        (layer.still_held, {}),
        (trace.__getitem__, {}),
        (keras_gates.GateMonitor, {"x": X}),
        (keras_gates.start_with_span, {"layer": GateLSTM(3), "span": 5}),
    ):
        assert complaints(method, arguments) == ""
    assert complaints(keras_gates.Trace.load, {}, (None, 1.5, [], {}, object())) == ""  # a text is a path


def test_the_edge_runtime():
    pytest.importorskip("ai_edge_litert")
    path = Path(keras_gates.__file__).parents[1] / "models/weights/speech-nano-dynamic.tflite"
    file = EdgeModel(path)
    stream = file.stream()
    for method, arguments in (
        (EdgeModel, {"path": path}),
        (file.predict, {"x": np.zeros((1, 20, file.description.events[0].tensor.shape[-1]))}),
        (file.best, {"prediction": np.ones(3)}),
        (file.events, {}),
        (file.stream, {}),
        (stream.push, {}),
        (stream.feed, {}),
        (stream.detect, {}),
    ):
        assert complaints(method, arguments, without=("probe",)) == ""


@pytest.mark.slow
def test_functions_that_write_or_measure(model, tmp_path):
    pytest.importorskip("ai_edge_litert")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("export traces with TensorFlow")
    formats = {"formats": ["saved_model"]}  # the quickest; the arguments of the others are checked before
    for name, arguments, without in (
        (
            "export",
            {"model": model, "out": tmp_path / "out", **formats},
            ("name", "out", "also_time", "float_operators"),
        ),
        ("report", {"model": model, "examples": X[:2], "path": tmp_path / "report.html"}, ("path", "shows")),
        ("quantization_report", {"model": model, "data": X}, ()),
        ("quantize_aware", {"model": model, "calibration": X}, ("exact_training",)),
        ("fit_report", {"model": model}, ()),
    ):
        assert complaints(getattr(keras_gates, name), arguments, without=without) == ""
    assert complaints(keras_gates.from_torch, {}, without=("return_sequences",)) == ""  # it imports PyTorch
    for function, place, arguments in (
        (keras_gates.report, "path", {"model": model, "examples": X}),
        (keras_gates.export, "out", {"model": model, **formats}),
    ):
        failures = [complaint(function, place, wrong, arguments) for wrong in (None, 1.5, [], {}, object())]
        assert failures == [None] * 5
