"""What users already have must keep working while the code is rearranged: public names, saved classes, exported files.

This file, run as a program, wrote `tests/data/pinned/` at commit 2be9f4a, before the packages were rearranged. A file exported
today must hold the same operators, tensors and constants. Its metadata is compared by meaning, not by byte, since it names
versions; scales and integer constants may differ by rounding, since calibration runs in the float kernels of the processor.
"""

import inspect
import json
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_gates
import keras_gates.models

pytest.importorskip("tensorflow", reason="export needs TensorFlow")
pytest.importorskip("ai_edge_litert", reason="a .tflite is read with ai-edge-litert")
if keras.backend.backend() != "tensorflow":
    pytest.skip("export traces with TensorFlow", allow_module_level=True)
from keras_gates import GateLSTM, export
from keras_gates.edge import EdgeModel

PINNED = next(folder / "data/pinned" for folder in Path(__file__).parents if (folder / "data").is_dir())
NAMES = [
    "CoupledForgetGate",
    "EdgeModel",
    "ExportError",
    "ExportReport",
    "ForgetGate",
    "Gate",
    "GateLSTM",
    "GateLSTMCell",
    "GateMonitor",
    "GateWarning",
    "Horizon",
    "Influence",
    "LayerNormForgetGate",
    "LayerNormLearnGate",
    "LayerNormUseGate",
    "LayerTrace",
    "LearnGate",
    "OpenForgetGate",
    "OpenLearnGate",
    "OpenUseGate",
    "PeepholeForgetGate",
    "PeepholeLearnGate",
    "PeepholeUseGate",
    "ProjectionUseGate",
    "RememberGate",
    "Trace",
    "Unit",
    "UseGate",
    "Weights",
    "ZoneoutRememberGate",
    "ZoneoutUseGate",
    "ablate",
    "convert",
    "export",
    "find_units",
    "from_keras",
    "from_torch",
    "gate_summary",
    "influence",
    "memory_horizon",
    "plot_confusion",
    "plot_curves",
    "plot_flow",
    "plot_gates",
    "plot_horizon",
    "plot_memory",
    "plot_units",
    "report",
    "to_keras",
    "to_torch",
    "trace",
    "worth_of_gates",
]
REGISTERED = [
    "CoupledForgetGate",
    "ForgetGate",
    "GateLSTM",
    "GateLSTMCell",
    "LayerNormForgetGate",
    "LayerNormLearnGate",
    "LayerNormUseGate",
    "LearnGate",
    "OpenForgetGate",
    "OpenLearnGate",
    "OpenUseGate",
    "PeepholeForgetGate",
    "PeepholeLearnGate",
    "PeepholeUseGate",
    "ProjectionUseGate",
    "RememberGate",
    "UseGate",
    "ZoneoutRememberGate",
    "ZoneoutUseGate",
]
PARAMETERS = {
    "GateLSTM": "units activation recurrent_activation use_bias kernel_initializer recurrent_initializer bias_initializer "
    "unit_forget_bias kernel_regularizer recurrent_regularizer bias_regularizer activity_regularizer kernel_constraint "
    "recurrent_constraint bias_constraint dropout recurrent_dropout seed return_sequences return_state go_backwards stateful "
    "unroll use_cudnn formulation learn forget remember use loop",
    "export": "model out formats precision mode target batch calibration metadata steps test name float_operators",
}
TIME, FEATURES, WORDS = 6, 4, 12


def weighted(model, seed=0):
    """Weights drawn by NumPy, which gives the same numbers on every machine."""
    draw = np.random.default_rng(seed)
    model.set_weights([(0.5 * draw.normal(size=w.shape)).astype("float32") for w in model.get_weights()])
    return model


def events(time=TIME):
    return keras.Input((time, FEATURES), name="event")


def layered(*layers, inputs=None):
    inputs = events() if inputs is None else inputs
    x = inputs
    for layer in layers:
        x = layer(x)
    return weighted(keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="answer")(x), name="pinned"))


def words(formulation):
    tokens = keras.Input((TIME,), dtype="int32", name="words")
    return layered(
        keras.layers.Embedding(WORDS, 5, mask_zero=True), GateLSTM(6, formulation=formulation), inputs=tokens
    )


def joined():
    return layered(keras.layers.Bidirectional(GateLSTM(4, return_sequences=True)), keras.layers.LSTM(5))


def masked():
    return layered(keras.layers.Masking(), GateLSTM(6), inputs=events())


CASES = {
    "float32": (lambda: layered(GateLSTM(6, return_sequences=True), keras.layers.LSTM(5)), {}),
    "float16": (lambda: layered(GateLSTM(16), inputs=events(None)), {"precision": "float16"}),
    "dynamic": (lambda: layered(GateLSTM(18), inputs=events(None)), {"precision": "dynamic"}),
    "int8": (lambda: layered(GateLSTM(6, return_sequences=True), GateLSTM(5)), {"precision": "int8"}),
    "int8_joined": (joined, {"precision": "int8"}),
    "int8_micro_stream": (
        lambda: layered(GateLSTM(6), inputs=events(None)),
        # Requested by name since CMSIS-NN was found to clear this operator's state: "auto" is the step lowering.
        {"precision": "int8", "target": "micro", "mode": "stream", "lowering": "fused"},
    ),
    "int8_words": (lambda: words("standard"), {"precision": "int8", "target": "micro"}),
    "int8_unrolled": (lambda: words("article"), {"precision": "int8"}),
    "int8_step": (lambda: layered(GateLSTM(6, formulation="article")), {"precision": "int8"}),
    "int16x8_micro": (lambda: layered(GateLSTM(6)), {"precision": "int16x8", "target": "micro"}),
    "int16x8_step": (lambda: layered(GateLSTM(6)), {"precision": "int16x8"}),
    "masked": (masked, {}),
    "while": (lambda: layered(GateLSTM(6, formulation="article")), {}),
    "float_front": (
        lambda: layered(keras.layers.Dense(5, use_bias=False, name="front"), GateLSTM(6)),
        {"precision": "int8", "float_operators": ["FULLY_CONNECTED"]},
    ),
}


def calibration(model):
    draw = np.random.default_rng(1)
    if "int" in model.inputs[0].dtype:
        return draw.integers(1, WORDS, size=(40, TIME)).astype("int32")
    return draw.normal(size=(40, TIME, FEATURES)).astype("float32")


def exported(name, folder):
    build, options = CASES[name]
    model = build()
    export(model, folder, ["tflite", "c"] if name == "int8_micro_stream" else ["tflite"],
           calibration=calibration(model), metadata={"labels": ["a", "b", "c"]}, **options)  # fmt: skip
    return folder / "model.tflite"


def contents(data):
    """Operators, tensors and constants of a file, without names and metadata."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data))
    graphs = []
    for graph in model.subgraphs:
        tensors = []
        for tensor in graph.tensors:
            quantization = tensor.quantization
            scale = None if quantization is None or quantization.scale is None else np.asarray(quantization.scale)
            zero = None if scale is None else np.asarray(quantization.zeroPoint)
            stored = model.buffers[tensor.buffer].data
            stored = None if stored is None or not len(stored) else np.asarray(stored).astype(np.uint8).tobytes()
            tensors.append((tensor.type, [] if tensor.shape is None else list(tensor.shape), scale, zero, stored))
        operators = [
            (max(code.builtinCode, code.deprecatedBuiltinCode), list(operator.inputs), list(operator.outputs))
            for operator in graph.operators
            for code in [model.operatorCodes[operator.opcodeIndex]]
        ]
        graphs.append((operators, tensors, list(graph.inputs), list(graph.outputs)))
    return graphs


@pytest.mark.parametrize("name", CASES)
def test_an_exported_file_holds_what_it_held(name, tmp_path):
    if "micro" in name or name == "int8_words":
        pytest.importorskip("tflite_micro", reason="TFLM verifies this file: pip install --pre tflite-micro")
    today, pinned = exported(name, tmp_path), PINNED / f"{name}.tflite"
    one, other = contents(today.read_bytes()), contents(pinned.read_bytes())
    assert len(one) == len(other)
    for (ops, tensors, inputs, outputs), (old_ops, old_tensors, old_inputs, old_outputs) in zip(one, other):
        assert ops == old_ops
        assert (inputs, outputs) == (old_inputs, old_outputs)
        assert len(tensors) == len(old_tensors)
        for new, old in zip(tensors, old_tensors):
            assert new[:2] == old[:2]
            for found, wanted, tolerance in ((new[2], old[2], 1e-5), (new[3], old[3], 0)):
                assert (found is None) == (wanted is None)
                if found is not None:
                    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=0 if tolerance else 1)
            assert (new[4] is None) == (old[4] is None)
            if new[4] is not None and new[4] != old[4]:
                kind = {0: "<f4", 9: "i1", 2: "<i4", 4: "<i8", 7: "<i2"}[new[0]]
                values, before = np.frombuffer(new[4], kind), np.frombuffer(old[4], kind)
                np.testing.assert_allclose(values, before, rtol=1e-5, atol=0 if kind == "<f4" else 1)
    if name == "int16x8_micro":
        return  # TFLM runs this file, LiteRT does not
    was, now = EdgeModel(pinned), EdgeModel(today)
    x = calibration(CASES[name][0]())[:3]
    np.testing.assert_allclose(now.predict(x), was.predict(x), atol=0.01)
    assert list(now.labels) == list(was.labels) == ["a", "b", "c"]


def test_the_c_kit_of_a_pinned_file_is_the_same_text(tmp_path):
    pytest.importorskip("tflite_micro", reason="TFLM gives the golden vectors: pip install --pre tflite-micro")
    exported("int8_micro_stream", tmp_path)
    for path in sorted((PINNED / "c").iterdir()):
        new, old = ((folder / path.name).read_text().splitlines() for folder in (tmp_path / "c", PINNED / "c"))
        differing = [(a, b) for a, b in zip(new, old) if a != b]
        arrays = {"golden", "model_data", "0x"}  # a processor may round a scale, and the bytes after it, otherwise
        assert len(new) == len(old) or path.name == "model.cc", path.name
        assert all(
            any(word in a + b for word in arrays) or a.strip().strip("{},-.0123456789 x") == "" for a, b in differing
        ), differing[:3]


def test_public_names_stay():
    assert set(NAMES) <= set(keras_gates.__all__)
    for name in NAMES:
        assert getattr(keras_gates, name) is not None


def test_saved_class_names_stay():
    for name in REGISTERED:
        assert keras.saving.get_registered_object(f"keras_gates>{name}") is getattr(keras_gates, name)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_stay(name):
    parameters = list(inspect.signature(getattr(keras_gates, name)).parameters)
    assert [p for p in parameters if p in PARAMETERS[name].split()] == PARAMETERS[name].split()


def described(path):
    model = EdgeModel(path)
    information = model.info()
    return [information["mode"], list(model.labels or []), information["inputs"]]


def test_shipped_files_are_read_with_the_metadata_they_were_written_with():
    wanted = json.loads((PINNED / "shipped.json").read_text())
    assert wanted
    for name, (mode, labels, shapes) in wanted.items():
        assert described(Path(keras_gates.models.__file__).parent / "weights" / name) == [mode, labels, shapes]


if __name__ == "__main__":
    import shutil
    import tempfile

    PINNED.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        with tempfile.TemporaryDirectory() as made:
            shutil.copy(exported(case, Path(made)), PINNED / f"{case}.tflite")
            if case == "int8_micro_stream":
                shutil.copytree(Path(made) / "c", PINNED / "c", dirs_exist_ok=True)
    shipped = {}
    for path in sorted((Path(keras_gates.models.__file__).parent / "weights").glob("*.tflite")):
        shipped[path.name] = described(path)
    (PINNED / "shipped.json").write_text(json.dumps(shipped, indent=1) + "\n")
