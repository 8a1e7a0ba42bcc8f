"""Files that export writes, opened by ai-edge-litert and plain TensorFlow, against the Keras model they came from."""

import json
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import keras_gates
from keras_gates import ExportError, GateLSTM, GateLSTMCell, export

tf = pytest.importorskip("tensorflow", reason="export needs TensorFlow")
litert = pytest.importorskip("ai_edge_litert.interpreter", reason="verification needs ai-edge-litert")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export traces with TensorFlow")
from keras_gates.edge.tflite import read  # noqa: E402

STEPS, FEATURES = 10, 6
FUSED = "UNIDIRECTIONAL_SEQUENCE_LSTM"


def events(count=60, steps=STEPS, seed=0):
    return np.random.default_rng(seed).normal(size=(count, steps, FEATURES)).astype("float32")


def padded(count=60, seed=0):
    """Right-padded events, of every length from 0."""
    lengths = np.arange(count) % (STEPS + 1)
    return np.where(np.arange(STEPS)[None, :, None] < lengths[:, None, None], events(count, seed=seed), 0).astype(
        "float32"
    )


def tokens(count=60, seed=0):
    draw = np.random.default_rng(seed)
    lengths = np.arange(count) % (STEPS + 1)
    return np.where(np.arange(STEPS) < lengths[:, None], draw.integers(1, 20, (count, STEPS)), 0).astype("int32")


def sequential(*made, steps=STEPS):
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((steps, FEATURES)), *made])


def functional(inputs, outputs):
    return keras.Model(inputs, outputs)


def tagger(**options):
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(20, 5, mask_zero=True),
            layers.Bidirectional(layers.LSTM(6, return_sequences=True), **options),
            layers.Dense(3),
        ]
    )


def answers(folder, x, name="model.tflite"):
    """Every sample through the stock interpreter by the file's own signature, memory reset before each; float out."""
    interpreter = litert.Interpreter(model_path=str(Path(folder) / name))
    interpreter.allocate_tensors()
    call = interpreter.get_signature_runner()
    taken, given = call.get_input_details(), call.get_output_details()
    results = []
    for example in x:
        interpreter.reset_all_variables()
        feed = {}
        for key, detail in taken.items():
            if key == "lengths":
                real = example.reshape(len(example), -1).any(axis=-1)
                feed[key] = np.array([real.sum()], np.int32)
            else:
                scale, zero = detail["quantization"]
                feed[key] = example[None] if not scale else np.clip(np.round(example[None] / scale + zero), -128, 127)
                feed[key] = feed[key].astype(detail["dtype"])
        answer = call(**feed)
        row = []
        for key, detail in given.items():
            scale, zero = detail["quantization"]
            row.append((answer[key].astype("float32") - zero) * scale if scale else answer[key])
        results.append(row)
    return [np.concatenate(column) for column in zip(*results)]


MODELS = {
    "keras LSTM": lambda: sequential(layers.LSTM(8), layers.Dense(3)),
    "GateLSTM": lambda: sequential(GateLSTM(8, use_bias=False), layers.Dense(3)),
    "cells": lambda: sequential(
        layers.RNN(GateLSTMCell(8), return_sequences=True), layers.RNN([layers.LSTMCell(7), GateLSTMCell(5)])
    ),
    "both ways": lambda: sequential(
        layers.Bidirectional(layers.LSTM(6, return_sequences=True)), layers.Bidirectional(GateLSTM(5), merge_mode="sum")
    ),
    "backwards": lambda: sequential(layers.LSTM(6, go_backwards=True, return_sequences=True), layers.Dense(2)),
    "masked": lambda: sequential(layers.Masking(), GateLSTM(7, return_sequences=True), layers.LSTM(5), layers.Dense(3)),
    "nested": lambda: sequential(
        keras.Sequential([keras.Input((STEPS, FEATURES)), layers.LSTM(6, return_sequences=True)]),
        layers.Normalization(mean=0.1, variance=2.0),
        layers.LSTM(4),
    ),
}
COUNTS = {"keras LSTM": 1, "GateLSTM": 1, "cells": 3, "both ways": 4, "backwards": 1, "masked": 2, "nested": 2}


@pytest.mark.parametrize("name", MODELS)
def test_one_fused_operator_a_layer_and_direction(tmp_path, name):
    model = MODELS[name]()
    x = padded() if name == "masked" else events()
    report = export(model, tmp_path, ["tflite"], calibration=x)
    assert report.lowering == "fused"
    assert report.operators[FUSED] == COUNTS[name]
    assert not {"WHILE", "CUSTOM"} & set(report.operators)
    fresh = padded(22, seed=1) if name == "masked" else events(22, seed=1)
    np.testing.assert_allclose(answers(tmp_path, fresh)[0], model(fresh), atol=1e-5)


@pytest.mark.parametrize("name", ["cells", "both ways", "masked"])
def test_int8_throughout_and_close_to_keras(tmp_path, name):
    model = MODELS[name]()
    make = padded if name == "masked" else events
    report = export(model, tmp_path, ["tflite"], "int8", calibration=make(100))
    assert report.lowering == "fused"
    assert not report.warnings
    assert any("take 'dynamic'" in note for note in report.notes)  # target="cpu", where int8 is slow
    graph = read((tmp_path / "model.tflite").read_bytes()).subgraphs[0]
    moved = [graph.tensors[i].dtype for o in graph.operators for i in (*o.inputs, *o.outputs) if i >= 0]
    assert "float32" not in moved
    fresh = make(22, seed=1)
    assert np.abs(answers(tmp_path, fresh)[0] - np.asarray(model(fresh))).mean() < 0.01


@pytest.mark.parametrize("merge_mode", ["concat", "mul"])
def test_tokens_both_ways_over_padding_of_every_length(tmp_path, merge_mode):
    model = tagger(merge_mode=merge_mode)
    x = tokens()
    report = export(model, tmp_path, ["tflite"], calibration=x)
    assert report.operators[FUSED] == 2
    np.testing.assert_allclose(answers(tmp_path, x[:22])[0], model(x[:22]), atol=1e-5)
    export(model, tmp_path, ["tflite"], "int8", calibration=x)
    np.testing.assert_allclose(answers(tmp_path, x[:22])[0], model(x[:22]), atol=0.05)


def test_a_mask_that_is_not_right_padding_is_computed_in_the_file(tmp_path):
    model = sequential(layers.Masking(), layers.LSTM(5))
    x = events()
    x[:, 3] = 0
    report = export(model, tmp_path, ["tflite"], calibration=x)
    assert "WHILE" in report.operators
    assert any("padding" in note for note in report.notes)
    np.testing.assert_allclose(answers(tmp_path, x[:5])[0], model(x[:5]), atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_ltm_that_is_read_and_memories_that_are_given(tmp_path, precision):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((STEPS, FEATURES))
    every, stm, ltm = layers.LSTM(5, return_state=True, return_sequences=True)(inputs)
    model = keras.Model(inputs, {"after": GateLSTM(5)(every, initial_state=[stm, ltm]), "ltm": ltm})
    report = export(model, tmp_path, ["tflite"], precision, calibration=events())
    assert report.lowering == ("while" if precision == "float32" else "unrolled")
    wanted = model(events(9, seed=1))
    after, ltm = answers(tmp_path, events(9, seed=1))
    allowed = 1e-6 if precision == "float32" else 0.02
    assert np.abs(after - np.asarray(wanted["after"])).mean() < allowed
    assert np.abs(ltm - np.asarray(wanted["ltm"])).mean() < allowed


def test_a_memory_is_not_another_layers_zeros(tmp_path):
    """The converter gives an LSTM's empty memory and the zeros that a loop of as many units starts from one tensor."""
    model = sequential(layers.LSTM(4, return_sequences=True), GateLSTM(4, formulation="article"))
    report = export(model, tmp_path, ["tflite"], calibration=events())
    assert report.lowering == "fused+while"
    np.testing.assert_allclose(answers(tmp_path, events(9, seed=1))[0], model(events(9, seed=1)), atol=1e-5)
    embedding = layers.Embedding(20, 5, mask_zero=True)
    options = {"formulation": "article", "return_sequences": True}
    model = keras.Sequential([keras.Input((4,), dtype="int32"), embedding, GateLSTM(5, **options), layers.LSTM(5)])
    report = export(model, tmp_path, ["tflite"], "int8", calibration=tokens()[:, :4])
    assert report.lowering == "unrolled+fused"
    x = tokens(20, seed=1)[:, :4]
    assert np.abs(answers(tmp_path, x)[0] - np.asarray(model(x))).mean() < 0.01


def test_several_inputs_and_outputs_joined(tmp_path):
    keras.utils.set_random_seed(3)
    audio, context = keras.Input((None, FEATURES), name="audio"), keras.Input((4,), name="context")
    joined = layers.Concatenate()([layers.LSTM(7)(audio), layers.Dense(7, activation="tanh")(context)])
    model = keras.Model([audio, context], [layers.Dense(3, name="left")(joined), layers.Dense(2, name="right")(joined)])
    data = {"audio": events(), "context": np.random.default_rng(1).normal(size=(60, 4)).astype("float32")}
    report = export(model, tmp_path, ["tflite"], "int8", calibration=data)
    assert report.operators[FUSED] == 1
    said = json.loads(read((tmp_path / "model.tflite").read_bytes()).metadata["keras_gates"])
    assert [port["name"] for port in said["inputs"]] == ["audio", "context"]
    assert [port["name"] for port in said["outputs"]] == ["left", "right"]
    assert report.mean_difference < 0.02


def test_convolutions_over_frames_are_flattened(tmp_path):
    keras.utils.set_random_seed(3)
    frame = keras.Sequential([layers.Conv2D(3, 3), layers.BatchNormalization(), layers.Flatten()])
    model = keras.Sequential([keras.Input((STEPS, 6, 6, 1)), layers.TimeDistributed(frame), layers.LSTM(5)])
    x = np.random.default_rng(0).normal(size=(20, STEPS, 6, 6, 1)).astype("float32")
    report = export(model, tmp_path, ["tflite"], calibration=x)
    assert report.operators["CONV_2D"] == report.operators[FUSED] == 1


class OwnModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.memory, self.head = layers.LSTM(6), layers.Dense(2)

    def call(self, x):
        return self.head(self.memory(x))


def test_a_subclassed_model_in_a_batch_of_two(tmp_path):
    model = OwnModel()
    x = events()
    with pytest.raises(ExportError, match="not built"):
        export(model, tmp_path, ["tflite"], calibration=x)
    model(x[:2])
    report = export(model, tmp_path, ["tflite"], calibration=x, batch=2)
    assert report.operators[FUSED] == 1
    interpreter = litert.Interpreter(model_path=str(tmp_path / "model.tflite"))
    got = interpreter.get_signature_runner()(event=x[:2])["prediction"]
    np.testing.assert_allclose(got, model(x[:2]), atol=1e-5)


def test_mixed_precision_is_exported_in_float32(tmp_path):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((STEPS, FEATURES)), layers.LSTM(6, dtype="mixed_float16"), layers.Dense(2)])
    report = export(model, tmp_path, ["tflite"], "dynamic", calibration=events())
    assert report.operators[FUSED] == 1
    assert model.layers[0].compute_dtype == "float16"


@pytest.mark.parametrize(
    ("formulation", "precision"),
    [
        ("standard", "float32"),
        ("standard", "dynamic"),
        ("standard", "int8"),
        ("article", "float32"),
        ("article", "int8"),
    ],
)
def test_a_stream_is_the_sequence_event_by_event(tmp_path, formulation, precision):
    model = sequential(
        GateLSTM(6, formulation=formulation, return_sequences=True), layers.LSTM(5, return_sequences=True)
    )
    report = export(model, tmp_path, ["tflite"], precision, "stream", calibration=events(80))
    assert report.lowering == ("fused" if formulation == "standard" else "step")
    x = events(3, seed=1)
    wanted = np.asarray(model(x))
    edge = keras_gates.EdgeModel(tmp_path / "model.tflite")
    for sequence, every in zip(x, wanted):
        stream = edge.stream()
        got = np.stack([np.asarray(stream.push(event)).reshape(-1) for event in sequence])
        np.testing.assert_allclose(got, every, atol=1e-5 if precision != "int8" else 0.05)


RESIZED = {
    "causal": (lambda: sequential(layers.LSTM(6, return_sequences=True), steps=None), events, "sequence"),
    "stream": (lambda: sequential(layers.LSTM(6), steps=None), events, "stream"),
    "padded": (lambda: sequential(layers.Masking(), layers.LSTM(6), steps=None), padded, "sequence"),
    "both ways": (lambda: sequential(layers.Bidirectional(layers.LSTM(4)), steps=None), events, "sequence"),
}


@pytest.mark.parametrize("what", RESIZED)
def test_a_fused_file_takes_other_lengths(tmp_path, what):
    build, data, mode = RESIZED[what]
    model = build()
    report = export(model, tmp_path, ["tflite"], mode=mode, calibration=data())
    assert report.resizable
    x = events(3, steps=23, seed=1)
    np.testing.assert_allclose(keras_gates.EdgeModel(tmp_path / "model.tflite").predict(x), model(x), atol=1e-5)
    if "padded" in what:
        return
    interpreter = litert.Interpreter(model_path=str(tmp_path / "model.tflite"))
    got = interpreter.get_signature_runner()(event=x[:1])["prediction"]
    np.testing.assert_allclose(got, model(x[:1]), atol=1e-5)


def test_a_loop_does_not_take_other_lengths(tmp_path):
    model = sequential(GateLSTM(4, formulation="article"), steps=None)
    assert not export(model, tmp_path, ["tflite"], calibration=events()).resizable


LOOKS_BACK = {
    "bidirectional": lambda: sequential(layers.Bidirectional(layers.LSTM(4), name="both"), steps=None),
    "go_backwards": lambda: sequential(layers.LSTM(4, go_backwards=True, name="both"), steps=None),
    "every step": lambda: sequential(layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="both")),
    "convolution": lambda: sequential(layers.Conv1D(4, 3, padding="same", name="both"), layers.LSTM(4), steps=None),
}


@pytest.mark.parametrize("what", LOOKS_BACK)
def test_what_cannot_stream_is_refused_by_name(tmp_path, what):
    with pytest.raises(ExportError, match=r"stream.*both"):
        export(LOOKS_BACK[what](), tmp_path, ["tflite"], mode="stream")
    assert not list(tmp_path.iterdir())


def test_an_ltm_that_stays_small_is_not_answered_wrong(tmp_path):
    """The converter gives such a memory the scale 2^-16, which the int8 kernels cannot compute with."""
    model = sequential(layers.LSTM(8))
    model.layers[0].set_weights([0.2 * weight for weight in model.layers[0].get_weights()])
    export(model, tmp_path, ["tflite"], "int8", calibration=events(80))
    graph = read((tmp_path / "model.tflite").read_bytes()).subgraphs[0]
    fused = next(operator for operator in graph.operators if operator.name == FUSED)
    assert graph.tensors[fused.inputs[19]].scale == 2.0**-15
    x = events(10, seed=1)
    wanted = np.asarray(model(x))
    assert np.abs(answers(tmp_path, x)[0] - wanted).mean() < 0.03 * np.ptp(wanted)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_an_ltm_beyond_ten_is_not_clipped(tmp_path, precision):
    """LTM climbs by 1 an event to about 30, then falls to about 10: clipped at 10, it would end below 0."""
    from keras_gates.edge.values import quantized, real
    from keras_gates.exporting.verify import tflm

    kernel, bias = np.array([[1, 1, 1, 1, 8, 8, 1, 1]]), np.array([8, 8, 8, 8, 0, 0, 8, 8])
    model = keras.Sequential([keras.Input((50, 1)), layers.LSTM(2)])
    model.set_weights([kernel, 0.1 * np.ones((2, 8)), bias])
    rises = np.arange(28, 32)
    x = np.where(np.arange(50) < rises[:, None], 1.0, -1.0)[..., None].astype("float32")
    wanted = np.asarray(model(x))
    assert wanted.min() > 0.9
    export(model, tmp_path, ["tflite"], precision, target="micro", calibration=np.concatenate([x, -x] * 8))
    np.testing.assert_allclose(answers(tmp_path, x)[0], wanted, atol=0.02)
    if not tflm.available():
        return
    file = keras_gates.EdgeModel(tmp_path / "model.tflite")
    event, (_, prediction) = file.description.events[0], file.description.predictions[0]
    results, _ = tflm.run_tflm(file.data, [[[quantized(event, each[None])]] for each in x])
    got = np.concatenate([real(prediction, call[0]) for (call,) in results])
    np.testing.assert_allclose(got, wanted, atol=0.02)


@pytest.mark.parametrize("precision", ["int8"])
def test_the_same_model_gives_the_same_bytes(tmp_path, precision):
    model = sequential(layers.Bidirectional(layers.LSTM(5)), layers.Dense(2))
    before = [weight.copy() for weight in model.get_weights()]
    options = {"calibration": events(), "metadata": {"labels": ["yes", "no"], "colour": "blue"}}
    export(model, tmp_path / "one", ["tflite"], precision, **options)
    sequential(layers.LSTM(2))
    export(model, tmp_path / "two", ["tflite"], precision, **options)
    assert (tmp_path / "one/model.tflite").read_bytes() == (tmp_path / "two/model.tflite").read_bytes()
    said = json.loads(read((tmp_path / "one/model.tflite").read_bytes()).metadata["keras_gates"])
    assert said["labels"] == ["yes", "no"]
    assert said["user"] == {"colour": "blue"}
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights()))
    assert not {"call", "inner_loop"} & set(vars(model.layers[0].forward_layer))


def test_over_tolerance_is_an_error_and_leaves_what_was_there(tmp_path, monkeypatch):
    from keras_gates.exporting.verify import compare

    model = sequential(layers.LSTM(5))
    export(model, tmp_path, ["tflite"], calibration=events())
    before = (tmp_path / "model.tflite").read_bytes()
    monkeypatch.setitem(compare.LIMITS, "int8", compare.Limits(0.0, 1e-9, 1e-9, 1.0, 1e-9))
    with pytest.raises(ExportError, match=r"differs from Keras.*changes the output most at: .*hidden state"):
        export(model, tmp_path, ["tflite"], "int8", calibration=events())
    assert (tmp_path / "model.tflite").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export.json", "export.txt", "model.tflite"]


def test_a_crash_of_the_converter_is_an_error(tmp_path):
    """WHILE with integer calibration kills the process (tensorflow#75140): a child's, not this one."""
    from keras_gates.exporting import subprocess_worker

    with pytest.raises(subprocess_worker.ChildError, match="signal 6"):
        subprocess_worker.call(sys.modules["os"].abort)
    assert subprocess_worker.call(max, 1, 2) == 2


REFUSED = {
    "calibration": ({"precision": "int8"}, "needs calibration"),
    "micro dynamic": ({"precision": "dynamic", "target": "micro"}, "TFLM"),
    "while int8": ({"precision": "int8", "lowering": "while", "calibration": events()}, "75140"),
    "fused article": ({"lowering": "fused"}, "standard formulation"),
    "shape": ({"calibration": np.zeros((9, STEPS, 4), "float32")}, "expected"),
    "not JSON": ({"metadata": {"x": object()}}, "JSON"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_said(tmp_path, what):
    options, said = REFUSED[what]
    with pytest.raises(ExportError, match=said):
        export(sequential(GateLSTM(4, formulation="article")), tmp_path, ["tflite"], **options)
    assert not list(tmp_path.iterdir())


def test_unknown_words_are_value_errors(tmp_path):
    for wrong in (
        {"precision": "int3"},
        {"mode": "live"},
        {"target": "gpu"},
        {"lowering": "best"},
        {"formats": ["onnx"]},
    ):
        with pytest.raises(ValueError, match="must be of"):
            export(sequential(layers.LSTM(4)), tmp_path, **wrong)


def test_poor_calibration_is_warned_of(tmp_path):
    report = export(sequential(layers.LSTM(4), steps=None), tmp_path, ["tflite"], "int8", calibration=events(20))
    assert any("sequences to calibrate" in warning for warning in report.warnings)
    report = export(
        sequential(layers.LSTM(4), steps=None), tmp_path, ["tflite"], "int8", "stream", calibration=events(60, steps=1)
    )
    assert any("first events" in warning for warning in report.warnings)


def test_saved_model_serves_and_steps_in_plain_tensorflow(tmp_path):
    model = sequential(layers.LSTM(6, return_sequences=True), GateLSTM(5, formulation="article"), steps=None)
    export(model, tmp_path, ["saved_model"])
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    x = events(4, steps=7)
    wanted = np.asarray(model(x))
    np.testing.assert_allclose(loaded.signatures["serve"](event=tf.constant(x))["prediction"], wanted, atol=1e-6)
    layer = layers.TFSMLayer(str(tmp_path / "saved_model"), call_endpoint="serve")
    np.testing.assert_allclose(layer(x)["prediction"], wanted, atol=1e-6)
    step = loaded.signatures["step"]
    memory = loaded.signatures["initial_state"]()
    assert sorted(memory) == ["ltm_1", "ltm_2", "stm_1", "stm_2"]
    for time in range(7):
        answer = step(event=tf.constant(x[:1, time : time + 1]), **memory)
        memory = {name: answer[f"{name}_next"] for name in memory}
    np.testing.assert_allclose(answer["prediction"], wanted[:1], atol=1e-6)


def test_quality_on_a_test_set_and_the_command_line(tmp_path, capsys):
    from keras_gates.cli.export import main

    model = sequential(layers.LSTM(6), layers.Dense(3, activation="softmax"))
    x = events(80)
    y = np.asarray(model(x)).argmax(-1)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    assert (
        main([str(tmp_path / "model.keras"), str(tmp_path / "out"), "--calibration", str(tmp_path / "data.npz")]) == 0
    )
    printed = capsys.readouterr().out
    assert "keras accuracy 1" in printed
    assert "file accuracy 1" in printed
    report = json.loads((tmp_path / "out/export.json").read_text())
    assert report["quality"] == {"keras accuracy": 1.0, "file accuracy": 1.0}
    assert report["files"] == {"tflite": "model.tflite", "saved_model": "saved_model"}
    assert main([str(tmp_path / "model.keras"), str(tmp_path / "out"), "--precision", "int8"]) == 2
    assert "calibration" in capsys.readouterr().err
    assert main([str(tmp_path / "no.keras"), str(tmp_path / "out")]) == 2
    assert "no.keras" in capsys.readouterr().err


def test_precisions_side_by_side(tmp_path, capsys):
    """The table says what the files do: their size on disk, and their accuracy as `EdgeModel` finds it over the test set."""
    from keras_gates.cli.export import compare

    model = sequential(layers.LSTM(6), layers.Dense(3, activation="softmax"))
    x = events(40)
    y = np.roll(np.asarray(model(x)).argmax(-1), 1)
    shared = {"mode": "sequence", "target": "cpu", "calibration": x, "test": (x, y)}
    assert compare(model, tmp_path, shared) == 0
    head, *rows = (re.split(r"  +", line) for line in capsys.readouterr().out.split("\n\n")[0].splitlines())
    assert head == ["precision", "lowering", "bytes", "largest", "mean", "same answer", "accuracy", "µs per call"]
    right = np.mean(np.asarray(model(x)).argmax(-1) == y)
    assert rows[0] == ["Keras itself", f"{right:.4g}"]
    assert [row[:2] for row in rows[1:]] == [
        ["float32", "fused"], ["float16", "fused"], ["dynamic", "fused"], ["int8", "fused"], ["int16x8", "step"]
    ]  # fmt: skip
    for precision, _, size, largest, mean, _, accuracy, _ in rows[1:]:
        path = tmp_path / f"model-{precision}.tflite"
        assert size == f"{path.stat().st_size:,}"
        assert float(mean) <= float(largest)
        found = keras_gates.EdgeModel(path).predict(x).argmax(-1)
        assert accuracy == f"{np.mean(found == y):.4g}"


def test_other_lowerings_are_timed_too(tmp_path):
    report = export(sequential(layers.LSTM(6)), tmp_path, ["tflite"], also_time=("while", "unrolled"))
    assert set(report.latency_by_lowering) == {"while", "unrolled"}
    assert all(latency > 0 for latency in report.latency_by_lowering.values())
    assert report.lowering == "fused"
    assert re.search(r"\n +while: \d+ µs\n +unrolled: \d+ µs", str(report))
