"""Probabilities of int8 files have 16 bits: what LiteRT's reference kernels, TFLM and Keras make of them."""

from pathlib import Path

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="export needs TensorFlow")
pytest.importorskip("ai_edge_litert", reason="a .tflite is read with ai-edge-litert")
if keras.backend.backend() != "tensorflow":
    pytest.skip("export traces with TensorFlow", allow_module_level=True)
from keras import layers

from keras_gates import GateLSTM, export
from keras_gates.edge import EdgeModel
from keras_gates.edge.tflite import seal
from keras_gates.exporting import subprocess_worker
from keras_gates.exporting.tflite import flatbuffer
from keras_gates.exporting.tflite.outputs import widen
from keras_gates.exporting.verify.runner import run

DATA = next(folder / "data" for folder in Path(__file__).parents if (folder / "data").is_dir())
TIME, FEATURES, CLASSES = 8, 4, 40
X = np.random.default_rng(0).normal(size=(60, TIME, FEATURES)).astype("float32")


def model():
    """A softmax per time step, one that another layer reads too, a sigmoid, a plain output, and both activations of the input."""
    draw = np.random.default_rng(1)
    events = keras.Input((TIME, FEATURES), name="event")
    hidden = GateLSTM(8, return_sequences=True)(events)
    steps = layers.TimeDistributed(layers.Dense(CLASSES, activation="softmax"), name="steps")(hidden)
    last = layers.GlobalAveragePooling1D()(hidden)
    shared = layers.Dense(3, activation="softmax", name="shared")(last)
    alarm = layers.Dense(1, activation="sigmoid", name="alarm")(last)
    bare = [layers.Activation(kind, name=kind)(events) for kind in ("softmax", "sigmoid")]
    made = keras.Model(events, [steps, shared, alarm, layers.Dense(2, name="plain")(shared), *bare])
    made.set_weights([draw.normal(size=w.shape).astype("float32") for w in made.get_weights()])
    return made


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The model, its answers, and its file."""
    folder, made = tmp_path_factory.mktemp("outputs"), model()
    export(made, folder, ["tflite"], "int8", calibration=X)
    return made, [np.asarray(each) for each in made(X[:6])], folder / "model.tflite"


def test_every_probability_has_16_bits_and_says_so(files):
    _, _, path = files
    softmax, sigmoid = ("int16", 2**-16, -32768, "softmax"), ("int16", 2**-15, 0, "sigmoid")
    ports = {port.name: port for _, port in EdgeModel(path).description.predictions}
    held = {
        name: (port.tensor.dtype, port.tensor.scale, port.tensor.zero_point, port.activation)
        for name, port in ports.items()
    }
    assert (held["plain"][0], held.pop("plain")[-1]) == ("int8", None)
    assert held == {"steps": softmax, "shared": softmax, "softmax": softmax, "alarm": sigmoid, "sigmoid": sigmoid}


def test_reference_kernels_and_tflm_agree(files):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    pytest.importorskip("tflite_micro", reason="the other runtime: pip install --pre tflite-micro")
    _, _, path = files
    data, description = path.read_bytes(), EdgeModel(path).description
    reference = Interpreter(model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    reference.allocate_tensors()
    event = description.inputs[0].tensor
    every = np.arange(-128, 128, dtype=np.int8).reshape(-1, 1, TIME, FEATURES)  # every count
    samples = [{"event": (x.astype(np.float32) - event.zero_point) * np.float32(event.scale)} for x in every]
    micro = subprocess_worker.call(run, data, samples, False, True).predictions
    for x, row in zip(every, micro):
        reference.reset_all_variables()
        reference.set_tensor(event.index, x)
        reference.invoke()
        for got, (_, port) in zip(row, description.predictions):
            stored = reference.get_tensor(port.tensor.index).astype(np.float32)
            wanted = (stored - port.tensor.zero_point) * np.float32(port.tensor.scale)
            if port.name in ("softmax", "sigmoid"):
                np.testing.assert_array_equal(got, wanted)
            else:  # the matrix products before it differ by one count; the bound is in the model's units
                scale = np.reshape(port.units.scale, port.units.shape) if port.units else 1.0
                np.testing.assert_allclose(scale * got, scale * wanted, atol=max(0.01, port.tolerance))


def test_small_probabilities_are_those_of_keras(files):
    _, wanted, path = files
    got = EdgeModel(path).predict(X[:6])
    for name, want in zip(("steps", "shared", "alarm"), wanted):
        assert np.abs(got[name] - want).mean() < 0.01  # random weights: the logits' own rounding
    rare = wanted[0] < 1 / 600  # half a step of 8 bits
    seen = rare & (wanted[0] > 1e-4)
    assert seen.sum() > 100
    assert (got["steps"][seen] > 0).all()
    assert np.abs(np.log(got["steps"][seen] / wanted[0][seen])).mean() < 0.2


def test_a_file_exported_earlier_runs_and_becomes_the_finer_one():
    for name in ("int8", "int8_micro_stream"):
        earlier = (DATA / "earlier" / f"{name}.tflite").read_bytes()
        was = EdgeModel(earlier)
        assert was.description.outputs[0].tensor.dtype == "int8"
        x = X[:5, : was.description.inputs[0].steps if was.description.mode == "sequence" else TIME]
        finer = flatbuffer.load(earlier)
        widen(finer, was.description.outputs[0].name)
        now = EdgeModel(seal(flatbuffer.dump(finer)))
        assert now.description.outputs[0].tensor.dtype == "int16"
        np.testing.assert_allclose(now.predict(x), was.predict(x), atol=0.51 / 256)  # the nearest step of the coarser
        widen(finer, was.description.outputs[0].name)  # twice is once
        assert seal(flatbuffer.dump(finer)) == now.data
