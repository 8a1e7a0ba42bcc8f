"""Long recordings: windows from labelled intervals for training, and events with times from an hour of sound or sensor values."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile

import keras_gates.models
from keras_gates.cli import main
from keras_gates.edge import EdgeError, EdgeModel
from keras_gates.edge.sound import read_blocks, read_wav
from keras_gates.models import find
from keras_gates.models.data import audio, sensors
from keras_gates.models.data.intervals import Interval, training_windows
from keras_gates.models.registry import UserError
from keras_gates.models.training.checking import model_for

RATE = 8000
SAMPLES = np.load(Path(__file__).parents[1] / "data" / "samples.npz")  # whose they are: tests/data/README.md


def starts(windows, label):
    return [window.start for window in windows if window.label == label]


def test_a_long_interval_is_cut_with_overlap_and_a_short_one_is_centred():
    windows = training_windows(1000, [Interval(100, 160, "walk"), Interval(500, 510, "tap")], size=20, stride=10)
    walk = starts(windows, "walk")
    assert walk == [100, 110, 120, 140]  # blocks of 40 rows: no window crosses from 139 to 140
    assert starts(windows, "tap") == [495]
    assert training_windows(10, [Interval(0, 10, "walk")], size=20, stride=10) == []


def test_background_is_what_no_interval_touches_at_most_twice_as_often():
    windows = training_windows(10_000, [Interval(100, 160, "walk"), Interval(500, 510, "tap")], 20, 10, "background")
    background = starts(windows, "background")
    assert len(background) == 2 * 5
    assert all(start + 20 <= 100 or start >= 160 for start in background)
    assert all(start + 20 <= 500 or start >= 510 for start in background)


@pytest.mark.parametrize("seed", range(20))
def test_windows_of_two_groups_share_no_sample(seed):
    draw = np.random.default_rng(seed)
    edges = np.sort(draw.choice(5000, 40, replace=False))
    intervals = [Interval(int(a), int(b), str(draw.integers(3))) for a, b in zip(edges[::2], edges[1::2])]
    windows = training_windows(5000, intervals, 50, 20, "background")
    owner = {}
    for window in windows:
        for row in range(window.start, window.start + 50):
            assert owner.setdefault(row, window.group) == window.group
    for window in windows:
        inside = [each for each in intervals if each.start < window.start + 50 and each.end > window.start]
        assert (window.label == "background") == (not inside)
        assert inside == [] or window.label in {each.label for each in inside}


def tones(path, seconds, words, rate=RATE):
    """A recording of faint noise with half-second tones: (start, pitch)."""
    draw = np.random.default_rng(0)
    sound = draw.normal(0, 0.002, round(seconds * rate))
    for start, pitch in words:
        at, time = round(start * rate), np.arange(rate // 2) / rate
        sound[at : at + rate // 2] += 0.4 * np.sin(2 * np.pi * pitch * time) * np.hanning(rate // 2)
    soundfile.write(path, sound, rate)


def labelled(folder, name, label_file, header=True):
    words = [(2 + 3 * number, 300 if number % 2 else 900) for number in range(30)]
    tones(folder / f"{name}.wav", 95, words, rate=16000)
    names = {300: "low", 900: "high"}
    rows = [f"{start}\t{start + 0.5}\t{names[pitch]}" for start, pitch in words]
    if header:
        rows = ["start,end,label", *(row.replace("\t", ",") for row in rows)]
    (folder / label_file).write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize(("label_file", "header"), [("a.csv", True), ("a.labels.csv", True), ("a.txt", False)])
def test_sound_with_intervals_next_to_it(tmp_path, label_file, header):
    labelled(tmp_path, "a", label_file, header)  # a.txt: a label track of Audacity
    assert model_for(tmp_path / "a.wav") == model_for(tmp_path) == "speech"
    for source in (tmp_path / "a.wav", tmp_path):
        recordings = audio.long_sounds(str(source), sample_rate=RATE)
        assert recordings.labels == ["background", "high", "low"]
        sounds = [sound for items, _ in recordings.splits() for sound in items]
        classes = np.concatenate([classes for _, classes in recordings.splits()])
        assert {len(sound) for sound in sounds} == {RATE}
        assert np.bincount(classes)[1:].tolist() == [15, 15]
        for sound, index in zip(sounds, classes):
            spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
            if recordings.labels[index] != "background":
                assert abs(int(spectrum.argmax()) - {"high": 900, "low": 300}[recordings.labels[index]]) < 5
                energy = np.square(sound).cumsum() / np.square(sound).sum()
                assert abs(np.searchsorted(energy, 0.5) - RATE / 2) < RATE / 50  # in the middle
            else:
                assert np.abs(sound).max() < 0.02


def test_sensor_values_with_intervals_next_to_them(tmp_path):
    rows = np.arange(3000)
    step = np.where(rows // 150 % 2, 0.2, 1.0)
    wave = np.sin(np.cumsum(step))
    times = np.datetime64("2024-05-01T10:00:00") + (rows * 20).astype("timedelta64[ms]")
    text = "\n".join(f"{time},{value:.4f}" for time, value in zip(times, wave))
    (tmp_path / "day.csv").write_text("time,x\n" + text)
    intervals = [f"{times[at]},{times[at + 149]},{'slow' if at // 150 % 2 else 'fast'}" for at in range(0, 3000, 150)]
    (tmp_path / "day.labels.csv").write_text("start,end,label\n" + "\n".join(intervals))
    assert model_for(tmp_path / "day.csv") == "gesture"
    movements = sensors.long_recordings_of(tmp_path / "day.csv", steps=50, stride=25, background="")
    assert movements.labels == ["fast", "slow"]
    for items, classes in movements.splits():
        for recording, index in zip(items, classes):
            crossings = np.count_nonzero(np.diff(np.sign(recording[:, 0])))
            assert recording.shape == (50, 1)
            assert (crossings > 10) == (movements.labels[index] == "fast")
    split = sensors.long_recordings_of(tmp_path / "day.csv", steps=50, stride=25, background="", split="time")
    assert [len(classes) > 0 for _, classes in split.splits()] == [True, True, True]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("start,end,label\n3,2,a\n", "line 2: the interval from 3 to 2 is empty"),
        ("start,end,label\n3,200,a\n", "line 2: the interval of 'a' is not within the recording"),
        ("start,end,label\n3,x,a\n", "column 'end': 'x' is not a number"),
        ("start,end,label\n3,4,a\n", "have 1 labels; expected at least 2"),
        ("start,end,kind\n3,4,a\n", "no column 'label'"),
    ],
)
def test_what_is_wrong_with_intervals(tmp_path, content, words):
    tones(tmp_path / "a.wav", 10, [(3, 300)])
    (tmp_path / "a.labels.csv").write_text(content)
    with pytest.raises(UserError, match=words):
        audio.long_sounds(str(tmp_path / "a.wav"), background="")


def test_a_recording_without_intervals_is_named(tmp_path):
    labelled(tmp_path, "a", "a.csv")
    tones(tmp_path / "b.wav", 10, [])
    with pytest.raises(UserError, match=r"b.wav has no table of intervals; expected b.labels.csv"):
        find("speech").data(str(tmp_path))


def test_a_long_recording_is_read_in_blocks(tmp_path):
    tones(tmp_path / "a.wav", 95, [(50, 300)], rate=16000)
    blocks = list(read_blocks(tmp_path / "a.wav", RATE, seconds=10))
    assert max(map(len, blocks)) <= 10 * RATE + 1000
    whole, _ = read_wav(tmp_path / "a.wav", RATE)
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-4)
    piped = bytearray((tmp_path / "a.wav").read_bytes())
    piped[piped.index(b"data") + 4 :][:4] = b"\xff" * 4
    (tmp_path / "b.wav").write_bytes(piped)
    assert sum(map(len, read_blocks(tmp_path / "b.wav", RATE))) == len(whole)
    (tmp_path / "c.wav").write_bytes(b"RIFF")
    with pytest.raises(EdgeError, match=r"c.wav is not a sound file"):
        list(read_blocks(tmp_path / "c.wav", RATE))


def shipped(model, preset, precision="int8"):
    pytest.importorskip("ai_edge_litert")
    return str(keras_gates.models.load(model, preset, format="tflite", precision=precision))


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Two minutes of faint noise with 12 spoken digits at known times; (path, [(second, digit)])."""
    folder = tmp_path_factory.mktemp("long")
    sound = np.random.default_rng(1).normal(0, 0.001, 120 * RATE)
    words = []
    for number in range(12):
        at = (4 + 9 * number) * RATE
        word = SAMPLES["speech_x"][number].astype("float64") / 32768
        sound[at : at + len(word)] += word
        loud = np.flatnonzero(np.abs(word) > 0.2 * np.abs(word).max())
        words.append(((at + (loud[0] + loud[-1]) / 2) / RATE, str(SAMPLES["speech_y"][number])))
    soundfile.write(folder / "hour.wav", np.clip(sound, -1, 1), RATE)
    return folder / "hour.wav", words


@pytest.mark.parametrize(("preset", "precision"), [("base", "int8"), ("small", "dynamic"), ("nano", "int8")])
def test_long_sound_become_words_with_times(spoken, capsys, preset, precision):
    path, words = spoken
    assert main(["predict", shipped("speech", preset, precision), str(path), "--stream", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    right = 0
    for second, digit in words:
        near = [event for event in events if event["start"] - 0.3 <= second <= event["end"] + 0.3]
        right += any(event["label"] == digit for event in near)
    assert right >= 11
    assert all(any(event["start"] - 1 <= second <= event["end"] + 1 for second, _ in words) for event in events)


@pytest.mark.parametrize("preset", ["base", "small", "nano"])
def test_long_sensor_data_become_gestures_with_times(tmp_path, capsys, preset):
    x = np.random.default_rng(0).normal(0, 1, (30, 51, 3)).cumsum(1).round(3) + np.array([0, 0, 9.8])
    model = shipped("gesture", preset)
    rows = x.reshape(-1, 3)
    times = [f"{at // 600:02}:{at // 10 % 60:02}.{at % 10}" for at in range(len(rows))]
    lines = [f"{time},{','.join(map(str, row))}" for time, row in zip(times, rows.tolist())]
    (tmp_path / "day.csv").write_text("time,x,y,z\n" + "\n".join(lines))
    options = ["--stream", "--json", "--hop", str(x.shape[1]), "--smooth", "1", "--threshold", "0.01"]
    assert main(["predict", model, str(tmp_path / "day.csv"), *options]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    edge = EdgeModel(model)
    best = [each[0][0] for each in edge.predict(x.astype("float32"), top=1)]
    merged = [label for number, label in enumerate(best) if number == 0 or label != best[number - 1]]
    assert [event["label"] for event in events] == merged
    assert events[0]["start"].startswith("00:0")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports with TensorFlow")
@pytest.mark.slow  # two exports
@pytest.mark.parametrize("preset", ["base", "nano"])
def test_a_model_with_sound_as_its_input_streams(tmp_path, capsys, spoken, preset):
    pytest.importorskip("ai_edge_litert")
    zoo, model = find("speech"), keras_gates.models.load("speech", preset)
    device = zoo.device(model, "float32")
    keras_gates.export(
        device.core, tmp_path, formats=["tflite"], metadata={"labels": [str(d) for d in range(10)], **device.metadata}
    )
    path, words = spoken
    assert main(["predict", str(tmp_path / "model.tflite"), str(path), "--stream"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split("\t") == ["start", "end", "label", "value"]
    assert 11 <= len(lines) <= 18
    assert float(lines[0].split("\t")[0]) == pytest.approx(words[0][0], abs=1)


def test_what_does_not_stream_is_said_in_one_line(tmp_path, capsys):
    tones(tmp_path / "a.wav", 0.5, [])
    (tmp_path / "a.csv").write_text("a,b,c\n1,2,3\n")
    text = shipped("text", "questions", "int8")
    cases = [
        (shipped("speech", "nano"), "a.wav", [], "shorter than the model's window of 7936"),
        (shipped("gesture", "nano"), "a.wav", [], "not sound"),
        (shipped("speech", "nano"), "a.csv", [], "is a table"),
        (text, "a.csv", [], "events with times need a model that classifies windows"),
        (shipped("gesture", "nano"), "a.csv", ["--background", "sneeze"], "no label ['sneeze']"),
        (shipped("gesture", "nano"), "a.csv", ["--threshold", "7"], "a threshold up to 1"),
    ]
    for model, name, options, words in cases:
        assert main(["predict", model, str(tmp_path / name), "--stream", *options]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [({"split": "weekly"}, "random.*time.*weekly"), ({"group": "name", "split": "time"}, "by groups or by time")],
)
def test_an_unknown_or_contradictory_split_is_one_sentence(tmp_path, options, message):
    labelled(tmp_path, "hour", "hour.labels.csv")
    with pytest.raises(UserError, match=message):
        audio.long_sounds(str(tmp_path / "hour.wav"), sample_rate=4000, **options)
