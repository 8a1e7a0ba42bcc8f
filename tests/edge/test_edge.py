"""EdgeModel and Stream against Keras: the file on the device says what the model said."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from exported import CLASSES, FEATURES, LABELS, TIME, X, exported

from keras_gates.edge import EdgeError, EdgeModel
from keras_gates.edge.tflite import read, seal
from keras_gates.edge.values import best

TOLERANCE = {
    "float": 1e-5,
    "stream": 1e-5,
    "both_ways": 1e-5,
    "article": 1e-5,
    "int8": 0.03,
    "micro": 0.03,
    "article_int8": 0.08,
}


@pytest.mark.parametrize("name", TOLERANCE)
def test_predict_is_what_keras_predicts(name):
    file = exported(name)
    np.testing.assert_allclose(EdgeModel(file.path).predict(X[:5]), file.wanted(X[:5]), atol=TOLERANCE[name])


@pytest.mark.parametrize("name", ["float", "stream", "micro", "int8", "article", "article_int8"])
def test_a_stream_says_at_every_event_what_keras_says_of_the_sequence_so_far(name):
    file = exported(name)
    stream = EdgeModel(file.path).stream()
    got = [stream.push(event) for event in X[0]]
    wanted = [file.wanted(X[:1, : t + 1])[0] for t in range(TIME)]
    np.testing.assert_allclose(got, wanted, atol=TOLERANCE[name])
    assert stream.count == TIME


@pytest.mark.parametrize("name", ["stream", "micro", "micro_step", "article_int8"])
def test_a_stream_ends_where_predict_ends(name):
    model = EdgeModel(exported(name).path)
    np.testing.assert_array_equal(model.stream().push(X[3])[-1], model.predict(X[3:4])[0])


@pytest.mark.parametrize("name", ["stream", "micro", "article", "article_int8"])
def test_state_saved_to_disk_continues_exactly(name, tmp_path):
    stream = EdgeModel(exported(name).path).stream(smooth=3)
    stream.push(X[0])
    np.savez(tmp_path / "state.npz", **stream.state)
    other = EdgeModel(exported(name).path).stream(smooth=3)
    other.state = np.load(tmp_path / "state.npz")
    assert other.count == TIME
    np.testing.assert_array_equal(other.push(X[1]), stream.push(X[1]))


def test_state_continues_in_another_process_without_keras(tmp_path):
    stream = EdgeModel(exported("micro").path).stream()
    stream.push(X[0])
    np.savez(tmp_path / "state.npz", **stream.state)
    np.save(tmp_path / "x.npy", X[1])
    script = (
        "import sys; sys.modules['keras'] = None; import numpy as np; from keras_gates.edge import EdgeModel\n"
        f"stream = EdgeModel({str(exported('micro').path)!r}).stream()\n"
        "stream.state = np.load('state.npz'); np.save('y.npy', stream.push(np.load('x.npy')))\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), stream.push(X[1]))


def test_streams_of_one_file_do_not_share_memory():
    model = EdgeModel(exported("stream").path)
    one, other = model.stream(), model.stream()
    alone = model.stream().push(X[0])
    got = []
    for mine, theirs in zip(X[0], X[1]):
        got.append(one.push(mine))
        other.push(theirs)
        model.predict(X[2:3])
    np.testing.assert_array_equal(got, alone)


def test_reset_begins_anew_and_predict_never_remembers():
    model = EdgeModel(exported("micro").path)
    stream = model.stream()
    first = stream.push(X[0])
    assert np.abs(stream.push(X[0]) - first).max() > 0.01
    stream.reset()
    np.testing.assert_array_equal(stream.push(X[0]), first)
    np.testing.assert_array_equal(model.predict(X[:1]), model.predict(X[:1]))


def test_smoothing_is_the_mean_of_the_last_predictions():
    model = EdgeModel(exported("stream").path)
    plain = model.stream().push(X[0])
    smooth = model.stream(smooth=4).push(X[0])
    wanted = [plain[max(t - 3, 0) : t + 1].mean(0) for t in range(TIME)]
    np.testing.assert_allclose(smooth, wanted, atol=1e-6)


def test_detect_tells_a_rise_once_and_never_a_background_label():
    model = EdgeModel(exported("stream").path)
    plain = model.stream().push(X[0])
    threshold = float(np.median(plain.max(1)))
    best = [(LABELS[row.argmax()], row.max() >= threshold) for row in plain]
    wanted, raised = [], None
    for event, (label, active) in enumerate(best):
        if active and label != raised:
            wanted.append((label, event))
        raised = label if active else None
    stream = model.stream(threshold=threshold)
    assert [(found.label, found.event) for event in X[0] for found in stream.detect(event)] == wanted
    assert wanted
    stream = model.stream(threshold=threshold)
    assert [(found.label, found.event) for found in stream.detect(X[0])] == wanted
    quiet = model.stream(threshold=threshold, background=LABELS)
    assert quiet.detect(X[0]) == []


def test_a_file_that_needs_the_whole_sequence_does_not_stream():
    with pytest.raises(EdgeError, match="does not stream"):
        EdgeModel(exported("both_ways").path).stream()


def test_texts_lengths_and_padding():
    file = exported("words")
    model = EdgeModel(file.path)
    padded = np.zeros((3, TIME), "int32")
    padded[0, :3], padded[1, :4] = [2, 3, 4], [2, 1, 3, 5]
    wanted = file.wanted(padded)
    np.testing.assert_allclose(model.predict(padded), wanted, atol=1e-5)
    np.testing.assert_allclose(model.predict(["Turn it off!", "turn THAT it on"]), wanted[:2], atol=1e-5)
    np.testing.assert_allclose(model.predict([padded[0, :3], padded[1, :4]]), wanted[:2], atol=1e-5)
    np.testing.assert_allclose(model.predict(padded, lengths=[3, 4, 0]), wanted, atol=1e-5)
    assert model.predict("turn it off", top=1)[0][0][0] == LABELS[wanted[0].argmax()]
    with pytest.raises(EdgeError, match="padding before a valid step"):
        model.predict([[2, 0, 3]])
    np.testing.assert_allclose(model.predict(["Turn it off!", "?!", ""]), wanted[[0, 2, 2]], atol=1e-5)
    with pytest.raises(EdgeError, match=r"expected 0…5"):
        model.predict([[2, 6]])
    with pytest.raises(EdgeError, match="0…12"):
        model.predict(padded, lengths=[3, 4, 13])


def test_several_inputs_and_outputs_by_name():
    file = exported("several")
    model = EdgeModel(file.path)
    one, other = X[:3, :, :3], X[3:6, :, :2]
    tags, mood = file.wanted([one, other])
    for x in ({"other": other, "one": one}, (one, other)):
        got = model.predict(x)
        np.testing.assert_allclose(got["tags"], tags, atol=1e-5)
        np.testing.assert_allclose(got["mood"], mood, atol=1e-5)
    got = model.stream().push({"one": one[0], "other": other[0]})
    np.testing.assert_allclose(got["tags"], tags[0], atol=1e-5)
    np.testing.assert_allclose(got["mood"][-1], mood[0], atol=1e-5)
    with pytest.raises(EdgeError, match="inputs"):
        model.predict({"one": one})


def test_best_labels_in_order():
    model = EdgeModel(exported("float").path)
    (first, second), _ = model.predict(X[:2], top=2)
    row = model.predict(X[:1])[0]
    order = np.argsort(-row)
    assert [first, second] == [(LABELS[i], pytest.approx(float(row[i]))) for i in order[:2]]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X[0], r"expected \(batch, .*4\), got \(12, 4\)"),
        (X[:1, :, :3], r"got one of \(12, 3\)"),
        (np.where(np.arange(48).reshape(1, 12, 4) == 17, np.nan, X[:1]), r"nan at \(4, 1\)"),
        (X[:1].astype("float64") * 1e300, "inf at"),
        (X[:1].astype(complex), "complex"),
        ("turn it off", "no vocabulary"),
        ([[["a"] * 4]], "array of numbers"),
        (X[:0], "at least one example"),
        (None, "array of numbers"),
        ([[1, 2], [3]], "got one of"),
        ({"other": X}, "expected the inputs"),
    ],
)
def test_what_does_not_fit_is_an_error_that_says_so(x, message):
    with pytest.raises(EdgeError, match=message):
        EdgeModel(exported("float").path).predict(x)


def test_events_that_do_not_fit():
    stream = EdgeModel(exported("stream").path).stream(threshold=0.5)
    for event in (X[0, 0, :3], X[:2], np.full(FEATURES, np.nan), [], "word", X[0, :0]):
        with pytest.raises(EdgeError):
            stream.push(event)
    before = stream.state
    for broken in (
        {},
        {**before, "recent": np.zeros((1, 9), "float32")},
        {**before, "memory_0": np.zeros(3, "float32")},
    ):
        with pytest.raises(EdgeError, match="state"):
            stream.state = broken
    with pytest.raises(EdgeError, match="has no label"):
        EdgeModel(exported("stream").path).stream(background=["maybe"])


def test_info_is_plain_and_right():
    file = exported("int8")
    info = json.loads(json.dumps(EdgeModel(file.path).info()))
    assert info["bytes"] == len(file.data)
    assert info["sealed"] is True
    assert info["labels"] == LABELS
    assert info["operators"]["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 1
    assert info["memory_bytes"] == 8 * 1 + 8 * 2
    assert info["precision"] == "int8"


def test_operator_names_are_those_of_litert():
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    from keras_gates.edge.schema import OPERATORS, TYPES

    codes = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    assert list(OPERATORS) == [codes[i] for i in range(len(OPERATORS))]
    types = {code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    assert list(TYPES) == [types[i] for i in range(len(types))]


@pytest.mark.parametrize("name", ["float", "int8", "words", "article"])
def test_read_finds_what_the_schema_finds(name):
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    file = exported(name)
    mine, theirs = read(file.data), schema.ModelT.InitFromPackedBuf(file.data, 0)
    for graph, other in zip(mine.subgraphs, theirs.subgraphs, strict=True):
        assert list(graph.inputs) == list(other.inputs)
        assert list(graph.outputs) == list(other.outputs)
        for tensor, wanted in zip(graph.tensors, other.tensors, strict=True):
            assert tensor.name.encode() == wanted.name
            assert list(tensor.shape) == list([] if wanted.shape is None else wanted.shape)
            assert tensor.variable == wanted.isVariable
            scale = None if wanted.quantization is None else wanted.quantization.scale
            assert tensor.scale == (float(scale[0]) if scale is not None and len(scale) == 1 else None)
        for operator, wanted in zip(graph.operators, other.operators, strict=True):
            assert list(operator.inputs) == list(wanted.inputs)
            assert list(operator.outputs) == list(wanted.outputs)


def test_a_file_that_changed_since_its_export_does_not_open():
    data = exported("float").data
    assert read(data).sealed is True
    for place in range(0, len(data), 97):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(EdgeError):
            EdgeModel(bytes(changed), probe=False)
    lost = data.replace(b'{"digest"', b'{"digesd"')
    with pytest.raises(EdgeError, match="changed"):
        EdgeModel(lost, probe=False)
    assert EdgeModel(lost).info()["sealed"] is False
    assert seal(data) == data
    with pytest.raises(EdgeError, match="cannot seal"):
        seal(data.replace(b'{"digest"', b'{"digesd"'))


@pytest.mark.parametrize(
    "data", [b"", b"TFL3", bytes(100), b"\x1c\0\0\0TFL3" + bytes(20), b"PK\3\4" + bytes(99), b"\xff" * 64]
)
def test_foreign_bytes_are_an_error(data):
    with pytest.raises(EdgeError, match=r"\.tflite|damaged"):
        EdgeModel(data)


def test_files_that_are_not_there_and_arguments_that_make_no_sense(tmp_path):
    with pytest.raises(EdgeError, match="cannot read"):
        EdgeModel(tmp_path / "no.tflite")
    with pytest.raises(EdgeError, match="cannot read"):
        EdgeModel(tmp_path)
    with pytest.raises(EdgeError, match="num_threads"):
        EdgeModel(exported("float").path, num_threads=0)


def test_a_file_without_our_metadata_runs_too():
    file = exported("stream")
    bare = file.data.replace(b"keras_gates", b"other_gates").replace(b'{"digest"', b'{"digesd"')
    model = EdgeModel(bare)
    assert not model.description.known
    np.testing.assert_allclose(model.predict(X[:2]), file.wanted(X[:2]), atol=1e-5)
    np.testing.assert_allclose(model.stream().push(X[0])[-1], file.wanted(X[:1])[0], atol=1e-5)


def test_metadata_that_does_not_fit_the_graph_is_an_error():
    from keras_gates.edge.description import describe

    file = read(exported("article").data)
    entry = json.loads(file.metadata["keras_gates"])
    broken = [
        {"format": 2},
        {"inputs": []},
        {"inputs": [{**port, "role": "oracle"} for port in entry["inputs"]]},
        {"inputs": [{**port, "name": "x"} for port in entry["inputs"]]},
        {"states": []},
        {"states": [{**pair, "output": "prediction"} for pair in entry["states"]]},
        {"labels": ["only", "two"]},
        {"labels": [1, 2, 3]},
        {"mode": 3},
    ]
    for change in broken:
        text = json.dumps({**entry, **change}).encode()
        with pytest.raises(EdgeError, match=r"metadata|memory"):
            describe(dataclasses.replace(file, metadata={"keras_gates": text}))
    for text in (b"", b"{", b"[]", b"\xff\xfe", b"[" * 5000):
        with pytest.raises(EdgeError, match=r"metadata"):
            describe(dataclasses.replace(file, metadata={"keras_gates": text}))


def test_shapes_that_contradict_each_other_are_an_error():
    """Found by changing single numbers of a file: they ended in IndexError and ValueError."""
    from keras_gates.edge.description import describe
    from keras_gates.edge.values import predictions

    def changed(file, tensor, shape):
        graph = file.subgraphs[0]
        tensors = [dataclasses.replace(t, shape=shape) if t.index == tensor.index else t for t in graph.tensors]
        return dataclasses.replace(file, subgraphs=(dataclasses.replace(graph, tensors=tuple(tensors)),))

    model = EdgeModel(exported("words").path)
    (lengths,), (event,) = model.description.role("lengths"), model.description.events
    with pytest.raises(EdgeError, match="batch of 1"):
        describe(changed(model.file, lengths.tensor, (3,)))
    with pytest.raises(EdgeError, match="0 examples"):
        describe(changed(model.file, event.tensor, (0, TIME)))
    for shape in ((), (0, 3), (2, 3)):
        with pytest.raises(EdgeError, match="expected 1 rows"):
            predictions(model.description, [np.zeros(shape, "float32")])


def test_the_lowering_is_read_by_its_earlier_name_too():
    from keras_gates.edge.description import describe

    file = read(exported("article").data)
    entry = json.loads(file.metadata["keras_gates"])
    entry.pop("form", None)
    for key in ("lowering", "form"):
        text = json.dumps({**entry, key: "step"}).encode()
        description = describe(dataclasses.replace(file, metadata={"keras_gates": text}))
        assert description.lowering == description.facts["lowering"] == "step"
    assert EdgeModel(exported("article").path).info()["lowering"] == "step"


def test_a_file_that_kills_the_runtime_is_an_error_not_the_end(monkeypatch):
    from keras_gates.edge import runtime

    monkeypatch.setattr(runtime, "_PROBE", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(EdgeError, match="crashes LiteRT"):
        EdgeModel(exported("float").path, probe=True)


def test_compiled_model_takes_only_files_with_explicit_state():
    """LiteRT's other interface does not load what keeps memory in an operator: docs/deploy.md says so."""
    compiled = pytest.importorskip("ai_edge_litert.compiled_model").CompiledModel
    with pytest.raises(RuntimeError, match="Failed to load"):
        compiled.from_file(str(exported("float").path))
    file = exported("article")
    model = compiled.from_file(str(file.path))
    description = EdgeModel(file.path).description
    inputs = {port.name: model.create_input_buffer_by_name("step", port.name) for port in description.inputs}
    outputs = {port.name: model.create_output_buffer_by_name("step", port.name) for port in description.outputs}
    memory = [np.zeros(8, "float32") for _ in description.memory]
    for event in X[0]:
        inputs["event"].write(event)
        for pair, value in zip(description.memory, memory):
            inputs[description.inputs[pair.source].name].write(value)
        model.run_by_name("step", inputs, outputs)
        memory = [outputs[description.outputs[pair.result].name].read(8, np.float32) for pair in description.memory]
    got = outputs[description.predictions[0][1].name].read(CLASSES, np.float32)
    np.testing.assert_allclose(got, file.wanted(X[:1])[0], atol=1e-5)


def test_predictions_have_the_shape_of_the_classes():
    assert EdgeModel(exported("float").path).predict(X[:7]).shape == (7, CLASSES)


@pytest.mark.parametrize("name", ["words", "int8", "several"])
def test_train_measures_files_with_lengths_integers_and_several_outputs(name):
    from keras_gates.models.training.deploying import run_tflite

    file = exported(name)
    x = {
        "words": np.array([[2, 3, 4] + [0] * 9, [5] * 12, [0] * 12], "int32"),
        "int8": X[:3],
        "several": (X[:2, :, :3], X[:2, :, :2]),
    }[name]
    wanted = file.wanted(x)
    np.testing.assert_allclose(run_tflite(file.path, x), wanted[0] if name == "several" else wanted, atol=0.02)


def test_one_value_for_two_labels_is_the_probability_of_the_second():
    (first, second) = best(["no", "yes"], np.array([0.3]), 2)
    assert (first[0], second[0]) == ("no", "yes")
    np.testing.assert_allclose((first[1], second[1]), (0.7, 0.3))
