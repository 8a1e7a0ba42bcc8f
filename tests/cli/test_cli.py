"""The command line: what it prints and writes is what `EdgeModel` says."""

import io
import json
import re
import runpy
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from exported import LABELS, X, exported

from keras_gates.cli import main
from keras_gates.edge import EdgeModel


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "x.csv"
    np.savetxt(path, X[0], delimiter=",", header="a,b,c,d", comments="")
    return path


def test_info_as_table_and_as_json(capsys):
    path = exported("int8").path
    status, out, _ = run(capsys, "info", path)
    assert status == 0
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM: 1" in out
    assert "no, yes, other" in out
    _, out, _ = run(capsys, "info", path, "--json")
    assert json.loads(out) == json.loads(json.dumps(EdgeModel(path).info()))


def test_predict_from_npy_csv_and_standard_input_agree(capsys, table, tmp_path, monkeypatch):
    path = exported("float").path
    np.save(tmp_path / "x.npy", X[0])
    monkeypatch.setattr(sys, "stdin", io.StringIO(table.read_text()))
    label, value = EdgeModel(path).predict(X[:1], top=1)[0][0]
    status, out, _ = run(capsys, "predict", path, tmp_path / "x.npy", table, "-")
    rows = [line.split() for line in out.splitlines()[1:]]
    assert status == 0
    assert rows == [[str(i), label, f"{value:.3f}"] for i in range(3)]


def test_predict_writes_an_array(capsys, tmp_path):
    path = exported("float").path
    np.save(tmp_path / "x.npy", X[:5])
    assert run(capsys, "predict", path, tmp_path / "x.npy", "-o", tmp_path / "y.npy")[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), EdgeModel(path).predict(X[:5]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npy", "y.npy"]


def test_predict_several_inputs_from_npz(capsys, tmp_path):
    path = exported("several").path
    one, other = X[0, :, :3], X[1, :, :2]
    np.savez(tmp_path / "x.npz", one=one, other=other)
    assert run(capsys, "predict", path, tmp_path / "x.npz", "-o", tmp_path / "y.npz")[0] == 0
    wanted = EdgeModel(path).predict({"one": one[None], "other": other[None]})
    got = np.load(tmp_path / "y.npz")
    for name, values in wanted.items():
        np.testing.assert_array_equal(got[name], values)


def test_predictions_of_different_length_are_written_without_pickle(capsys, tmp_path):
    path = exported("several").path
    for name, steps in (("long", 6), ("short", 4)):
        np.savez(tmp_path / f"{name}.npz", one=X[0, :steps, :3], other=X[1, :steps, :2])
    files = tmp_path / "long.npz", tmp_path / "short.npz"
    assert run(capsys, "predict", path, *files, "-o", tmp_path / "y.npz")[0] == 0
    got = np.load(tmp_path / "y.npz", allow_pickle=False)
    assert {name: got[name].shape for name in got} == {"tags_0": (6, 2), "tags_1": (4, 2), "mood": (2, 1)}


def test_predictions_of_different_lengths_are_an_array_each(capsys, tmp_path):
    path = exported("several").path
    for number, steps in enumerate((12, 7)):
        np.savez(tmp_path / f"{number}.npz", one=X[0, :steps, :3], other=X[1, :steps, :2])
    inputs = [tmp_path / "0.npz", tmp_path / "1.npz"]
    status, _, err = run(capsys, "predict", path, *inputs, "-o", tmp_path / "y.npy")
    assert status == 2
    assert "tags_0, tags_1, mood): write them to a .npz" in err
    assert run(capsys, "predict", path, *inputs, "-o", tmp_path / "y.npz")[0] == 0
    got = np.load(tmp_path / "y.npz")
    assert [got["tags_0"].shape, got["tags_1"].shape, got["mood"].shape] == [(12, 2), (7, 2), (2, 1)]
    wanted = EdgeModel(path).predict({"one": X[:1, :7, :3], "other": X[1:2, :7, :2]})
    np.testing.assert_array_equal(got["tags_1"], wanted["tags"][0])


def test_predict_texts_from_standard_input(capsys, monkeypatch):
    path = exported("words").path
    texts = ["turn it off", "turn it on, please"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(texts) + "\n\n"))
    _, out, _ = run(capsys, "predict", path, "-", "--top", 3)
    wanted = EdgeModel(path).predict(texts, top=3)
    rows = [line.split() for line in out.splitlines()[1:]]
    assert [row[1::2] for row in rows] == [[label for label, _ in best] for best in wanted]


def test_stream_is_push_and_state_continues(capsys, table, tmp_path):
    path = exported("stream").path
    stream = EdgeModel(path).stream(smooth=2)
    wanted = [(t, *stream_best(stream, event)) for t, event in enumerate(np.concatenate([X[0], X[0]]))]
    lines = []
    for _ in range(2):
        status, out, _ = run(capsys, "stream", path, table, "--smooth", 2, "--state", tmp_path / "s.npz")
        assert status == 0
        lines += out.splitlines()
    assert [line.split("\t") for line in lines] == [[str(t), label, f"{value:.3f}"] for t, label, value in wanted]


def stream_best(stream, event):
    row = stream.push(event)
    return LABELS[row.argmax()], row.max()


def test_stream_with_a_threshold_prints_detections(capsys, table):
    path = exported("stream").path
    detections = EdgeModel(path).stream(threshold=0.3).detect(X[0])
    wanted = [f"{found.event}\t{found.label}\t{found.value:.3f}" for found in detections]
    _, out, _ = run(capsys, "stream", path, table, "--threshold", 0.3)
    assert out.splitlines() == wanted
    assert wanted


def test_bench_measures(capsys):
    path = exported("micro").path
    status, out, _ = run(capsys, "bench", path, "--runs", 8, "--json")
    measured = json.loads(out)
    assert status == 0
    assert measured["bytes"] == path.stat().st_size
    for times in (measured["sequence"], measured["event"], measured["interpreter"]):
        assert 0 < times["min"] <= times["p50"] <= times["p90"] <= times["p99"] <= times["max"]
    assert set(measured["operators"]) == {"UNIDIRECTIONAL_SEQUENCE_LSTM", "STRIDED_SLICE", "FULLY_CONNECTED", "SOFTMAX"}
    assert "p99" in run(capsys, "bench", path, "--runs", 3)[1]


def recording(path, samples, rate=8000):
    sound = np.random.default_rng(5).integers(-9000, 9000, samples, "int16")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(sound.tobytes())
    return sound / np.float32(2**15)


@pytest.mark.parametrize("samples", [700, 1408, 3000])
def test_a_recording_becomes_log_mel_cut_or_filled_to_the_length_of_the_model(capsys, tmp_path, samples):
    file = exported("hearing")
    sound = recording(tmp_path / "a.wav", samples)
    model = EdgeModel(file.path)
    before = max(1408 - samples, 0) // 2
    cut = np.pad(sound, (before, max(1408 - samples, 0) - before))
    loudest = np.convolve(np.square(cut.astype("float64")), np.ones(1408), "valid").argmax()
    wanted = model.predict(model.events(cut[loudest : loudest + 1408])[None])
    assert run(capsys, "predict", file.path, tmp_path / "a.wav", "-o", tmp_path / "y.npy")[0] == 0
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), wanted, atol=1e-5)
    _, out, _ = run(capsys, "stream", file.path, tmp_path / "a.wav")
    assert len(out.splitlines()) == (samples - 256) // 128 + 1
    assert len(model.stream().feed(sound)) == (samples - 256) // 128 + 1


def test_recordings_that_do_not_fit_the_model(capsys, tmp_path):
    recording(tmp_path / "a.wav", 500)
    (tmp_path / "b.wav").write_bytes(b"ID3")
    status, _, err = run(capsys, "predict", exported("float").path, tmp_path / "a.wav")
    assert status == 2
    assert "not sound" in err
    status, _, err = run(capsys, "predict", exported("hearing").path, tmp_path / "b.wav")
    assert status == 2
    assert "not a sound file" in err


def test_another_sample_rate_is_resampled_as_in_training(capsys, tmp_path):
    from scipy.signal import resample_poly

    time = np.arange(2816) / 16000
    tone = (0.4 * np.sin(2 * np.pi * 500 * time) * np.sin(np.pi * time / time[-1])).astype("float32")
    with wave.open(str(tmp_path / "b.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(np.round(tone * 2**15).astype("<i2").tobytes())
    model = EdgeModel(exported("hearing").path)
    wanted = model.predict(model.events(resample_poly(tone, 1, 2)[:1408].astype("float32"))[None])
    assert run(capsys, "predict", exported("hearing").path, tmp_path / "b.wav", "-o", tmp_path / "y.npy")[0] == 0
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), wanted, atol=0.02)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3,4\n1,2,three,4\n", "line 2: expected numbers"),
        ("1,2,3,4\n1,2,3\n", "line 2: expected 4 numbers"),
        ("1,2\n", "expected"),
        ("1,2,nan,4\n", "got nan"),
        ("", "holds no numbers"),
        ("a,b\n", "holds no numbers"),
        ("1,2,3,4\n1,2,3,\0\n", "expected numbers|not valid CSV"),
        ("1,2,three,4\n", "line 1: expected numbers"),
    ],
)
def test_what_is_wrong_in_a_csv_is_said(capsys, tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    status, out, err = run(capsys, "predict", exported("float").path, tmp_path / "x.csv")
    assert (status, out) == (2, "")
    assert re.search(message, err)


def test_files_that_are_missing_or_foreign(capsys, tmp_path):
    (tmp_path / "x.npy").write_bytes(b"nothing")
    path = exported("float").path
    missing = tmp_path / "no.csv"
    for arguments in (("info", missing), ("predict", path, tmp_path / "x.npy"), ("predict", path, missing)):
        status, _, err = run(capsys, *arguments)
        assert status == 2
        assert err.count("\n") == 1
        assert "keras-gates: " in err


def test_help_names_every_command_and_each_has_its_own(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    for command in ("train", "export", "info", "predict", "stream", "bench"):
        assert f"keras-gates {command}" in text
    for command in ("info", "predict", "stream", "bench"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "the .tflite file" in capsys.readouterr().out


LAZY = """
import sys
import keras_gates.cli, keras_gates.edge, keras_gates.cli.export, keras_gates.models.training
assert not {"keras", "tensorflow", "jax", "torch"} & set(sys.modules), "slow to start"
assert "usage" in keras_gates.cli.parser().format_help() + keras_gates.models.training.options.parser().format_help()
%s
import keras
print(*keras.saving.get_custom_objects())
"""


@pytest.mark.parametrize("first", ["import keras", "from keras_gates.layers.gates import Gate"])
def test_it_starts_without_keras_and_registers_the_classes_when_keras_comes(first):
    import keras

    from keras_gates import _registration

    _registration.register()
    ours = {name for name in keras.saving.get_custom_objects() if name.startswith("keras_gates>")}
    assert {"keras_gates>GateLSTM", "keras_gates>ZoneoutUseGate", "keras_gates>LogMel"} <= ours
    command = [sys.executable, "-c", LAZY % first]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ours <= set(done.stdout.split()), done.stderr


def test_a_reader_that_stops_early_is_no_error(table):
    script = "import sys; sys.modules['keras'] = None; from keras_gates.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "stream", str(exported("stream").path), str(table)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("0\t")
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


def test_the_example_streams_skips_bad_lines_and_takes_up_its_state_again(capsys, table, tmp_path, monkeypatch):
    program = runpy.run_path(str(Path(__file__).parents[2] / "examples/stream_csv.py"))["main"]
    rows = table.read_text().splitlines()[1:]
    model = EdgeModel(exported("stream").path)
    stream = model.stream(smooth=5, threshold=0.6)
    for half in (rows[:6], rows[6:]):
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(["1,2", *half])))
        program(exported("stream").path, tmp_path / "state.npz")
        captured = capsys.readouterr()
        events = np.loadtxt(half, delimiter=",")
        wanted = [f"event {d.event}: {d.label} ({d.value:.0%})" for d in stream.detect(events)]
        assert captured.out.splitlines() == wanted
        assert "skipped '1,2'" in captured.err
    kept = np.load(tmp_path / "state.npz")
    for name, value in stream.state.items():
        np.testing.assert_array_equal(kept[name], value)
