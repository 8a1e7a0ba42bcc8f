"""The user's own files: what is read from them, and what is said about each way in which they can be wrong."""

import wave

import numpy as np
import pytest

from keras_gates.models.data import audio, corpus, files, sensors, series, text
from keras_gates.models.data.splits import by_group, by_time, divide
from keras_gates.models.registry import UserError


def write_wav(path, sound, rate=8000, channels=1, bits=16):
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = np.round(np.asarray(sound) * (2 ** (bits - 1) - 1)).astype("int64")
    if bits == 8:
        raw = (whole + 128).astype("u1").tobytes()
    else:
        raw = b"".join(int(value).to_bytes(bits // 8, "little", signed=True) for value in whole)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(bits // 8)
        file.setframerate(rate)
        file.writeframes(raw)


TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(800) / 8000)


def test_a_folder_of_words_becomes_three_splits(tmp_path):
    for word, pitch in (("no", 300), ("yes", 600)):
        for number in range(10):
            rate = 16000 if number else 8000
            write_wav(
                tmp_path / word / f"{number}.wav", 0.5 * np.sin(2 * np.pi * pitch * np.arange(rate // 2) / rate), rate
            )
    words = audio.wav_folder(str(tmp_path))
    assert words.labels == ["no", "yes"]
    assert words.sample_rate == 8000
    assert [len(classes) for _, classes in words.splits()] == [14, 2, 4]
    for sounds, classes in words.splits():
        for sound, index in zip(sounds, classes):
            assert len(sound) == 4000
            loudest = np.abs(np.fft.rfft(sound)).argmax() * 2
            assert abs(loudest - (300, 600)[index]) < 5


def test_a_folder_that_the_user_divided_stays_divided(tmp_path):
    for part, count in (("train", 10), ("test", 3)):
        for word in ("no", "yes"):
            for number in range(count):
                write_wav(tmp_path / part / word / f"{number}.wav", TONE)
    words = audio.wav_folder(str(tmp_path))
    assert [len(classes) for _, classes in words.splits()] == [18, 2, 6]


def _tree(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x,label\n1,a\n")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "0 sub-folders"),
        (["a/1.wav"], "1 sub-folders"),
        (["a/1.wav", "b/1.txt"], "no .wav file"),
        (["train/a/1.wav", "train/b/1.wav", "c/1.wav"], "either split all"),
        (["test/a/1.wav", "test/b/1.wav"], "no train"),
        (["train/a/1.wav", "train/b/1.wav", "test/a/1.wav"], "these differ: b"),
    ],
)
def test_a_folder_that_is_not_what_was_expected(tmp_path, names, said):
    _tree(tmp_path, names)
    with pytest.raises(UserError, match=said):
        files.labelled_files(tmp_path, ".wav")


def test_no_such_folder():
    with pytest.raises(UserError, match="nowhere is not a folder"):
        files.labelled_files("nowhere", ".wav")


def test_every_class_is_in_every_part_and_nothing_twice():
    classes = np.array([0] * 50 + [1] * 4)
    parts = divide(classes, ["many", "few"])
    assert sorted(np.concatenate(parts)) == list(range(54))
    assert [int((classes[part] == 1).sum()) for part in parts] == [2, 1, 1]
    assert [int((classes[part] == 0).sum()) for part in parts] == [35, 5, 10]
    with pytest.raises(UserError, match="'few' has 2 examples; expected at least 3"):
        divide(np.array([0] * 9 + [1] * 2), ["many", "few"])


def test_a_sensor_in_one_file_is_cut_where_the_label_changes(tmp_path):
    path = tmp_path / "sensor.csv"
    rows = [f"{number},{number},{-number},{'walk' if number // 100 % 2 else 'rest'}" for number in range(800)]
    path.write_text("time,x,y,label\n" + "\n".join(rows))
    moves = sensors.csv_recordings(path, steps=25)
    assert (moves.labels, list(moves.channels)) == (["rest", "walk"], ["x", "y"])
    recordings = [recording for part, _ in moves.splits() for recording in part]
    classes = np.concatenate([classes for _, classes in moves.splits()])
    assert [recording.shape for recording in recordings] == [(25, 2)] * 32
    for recording, index in zip(recordings, classes):
        assert recording[0, 0] // 100 % 2 == index
        np.testing.assert_array_equal(np.diff(recording[:, 0]), 1)


def test_a_sensor_with_a_column_recording_is_not_cut(tmp_path):
    path = tmp_path / "sensor.csv"
    rows = [f"{recording},{recording % 2},{step}" for recording in range(20) for step in range(3 + recording)]
    path.write_text("recording,label,x\n" + "\n".join(rows))
    moves = sensors.csv_recordings(path)
    lengths = sorted(len(recording) for part, _ in moves.splits() for recording in part)
    assert lengths == list(range(3, 23))


def test_a_folder_of_sensor_files(tmp_path):
    for label in ("left", "right"):
        (tmp_path / label).mkdir()
        for number in range(5):
            (tmp_path / label / f"{number}.csv").write_text("timestamp,ax,ay\n" + f"0,{number},1\n1,{number},2\n")
    moves = sensors.csv_recordings(tmp_path)
    assert list(moves.channels) == ["ax", "ay"]
    assert sum(len(part) for part, _ in moves.splits()) == 10
    (tmp_path / "right" / "9.csv").write_text("timestamp,ax,az\n0,1,1\n")
    with pytest.raises(UserError, match=r"9.csv has the channels ax, az; the first file has ax, ay"):
        sensors.csv_recordings(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("time,x\n0,1\n", "no column 'label'"),
        ("time,label\n0,a\n", "no sensor column"),
        ("x,label\n1,a\nhigh,b\n", "line 3, column 'x': 'high' is not a number"),
        ("x,label\n1,a\n,b\n", "line 3, column 'x': '' is not a number"),
        ("x,label\n1,a\n2,a\n", "one label"),
        ("x,label\n1,a\n2,\n", "line 3, column 'label': the cell is empty"),
    ],
)
def test_a_sensor_file_that_is_not_what_was_expected(tmp_path, content, said):
    path = tmp_path / "sensor.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=said):
        sensors.csv_recordings(path)


def test_recordings_whose_rows_take_turns(tmp_path):
    rows = [
        f"{recording},{'ab'[recording % 2]},{recording * 100 + step}" for step in range(7) for recording in range(20)
    ]
    (tmp_path / "sensor.csv").write_text("recording,label,x\n" + "\n".join(rows))
    moves = sensors.csv_recordings(tmp_path / "sensor.csv")
    recordings = [recording[:, 0] for part, _ in moves.splits() for recording in part]
    assert len(recordings) == 20
    for recording in recordings:
        np.testing.assert_array_equal(recording - recording[0], np.arange(7))


def test_several_labels_within_one_recording(tmp_path):
    rows = [f"{recording},{'rest' if step < 4 else 'walk'},{step}" for recording in range(6) for step in range(10)]
    (tmp_path / "sensor.csv").write_text("recording,label,x\n" + "\n".join(rows))
    moves = sensors.csv_recordings(tmp_path / "sensor.csv")
    assert "6 recordings were cut into 12 where their label changes" in moves.notes
    for part, classes in moves.splits():
        for recording, index in zip(part, classes):
            assert recording[:, 0].tolist() == ([0, 1, 2, 3] if moves.labels[index] == "rest" else [4, 5, 6, 7, 8, 9])


def test_one_recording_per_row(tmp_path):
    head = ",".join(f"{axis}{step}" for axis in ("ax", "ay") for step in range(1, 6))
    rows = [f"{'ab'[row % 2]}," + ",".join(str(10 * row + cell) for cell in range(10)) for row in range(20)]
    (tmp_path / "wide.csv").write_text(f"label,{head}\n" + "\n".join(rows))
    moves = sensors.csv_recordings(tmp_path / "wide.csv", wide=True)
    assert list(moves.channels) == ["ax", "ay"]
    for recording in moves.train[0]:
        np.testing.assert_array_equal(recording - recording[0, 0], np.stack([np.arange(5), np.arange(5, 10)], 1))


def test_a_sampling_rate_that_changes_and_an_index_without_name_are_told(tmp_path):
    rows = [f"{row},{row * (1 if row < 30 else 5)},{row},{'ab'[row // 10 % 2]}" for row in range(60)]
    (tmp_path / "sensor.csv").write_text(",time,x,label\n" + "\n".join(rows))
    moves = sensors.csv_recordings(tmp_path / "sensor.csv", steps=5)
    assert list(moves.channels) == ["x"]
    assert any("the sampling rate changes" in note for note in moves.notes)
    assert any("has no name" in note for note in moves.notes)


def test_counters_that_float32_cannot_hold_are_told(tmp_path):
    rows = [f"{123456789 + row},{row},{'ab'[row // 10 % 2]}" for row in range(60)]
    (tmp_path / "sensor.csv").write_text("counter,x,label\n" + "\n".join(rows))
    (note,) = [n for n in sensors.csv_recordings(tmp_path / "sensor.csv", steps=5).notes if "loses accuracy" in n]
    assert "'counter'" in note
    assert np.spacing(np.float32(123456789)) == 8
    assert "only to 8" in note


def test_groups_stay_together_and_a_leak_is_told(tmp_path):
    rows = [f"{'ab'[row % 2]},p{row // 2 % 10},text number {row % 40}" for row in range(80)]
    (tmp_path / "texts.csv").write_text("label,person,text\n" + "\n".join(rows))
    texts = text.own_texts(tmp_path / "texts.csv", group="person")
    people = {row.split(",")[2]: row.split(",")[1] for row in rows}
    groups = [{people[one] for one in part} for part, _ in texts.splits()]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert sum(len(part) for part, _ in texts.splits()) == 80
    assert not any("leak" in note for note in texts.notes)
    assert any("leak" in note and "same text" in note for note in text.own_texts(tmp_path / "texts.csv").notes)
    with pytest.raises(UserError, match="2 groups; expected at least 3"):
        by_group(np.array([0, 1] * 4), ["a", "b"], ["x", "y"] * 4)


def test_a_split_by_time_keeps_the_order():
    classes = np.array([0, 1] * 10)
    train, validation, test = by_time(classes, ["a", "b"])
    assert (train.max(), validation.tolist(), test.min()) == (13, [14, 15], 16)


def test_hidden_files_and_background_noise_are_no_words(tmp_path):
    for word in ("no", "yes"):
        for number in range(5):
            write_wav(tmp_path / word / f"{number}.wav", TONE * (0.5 + 0.1 * number))
        (tmp_path / word / "._1.wav").write_bytes(b"Mac OS X")
    write_wav(tmp_path / audio.NOISE / "hiss.wav", np.random.default_rng(0).normal(0, 0.1, 16000))
    words = audio.wav_folder(str(tmp_path))
    assert words.labels == ["no", "yes"]
    assert sum(len(part) for part, _ in words.splits()) == 10
    assert [len(noise) for noise in words.noise] == [16000]


@pytest.mark.parametrize("rate", [-1, 0, 8000.5, 10**9, "8000 Hz"])
def test_an_impossible_sample_rate_is_refused(tmp_path, rate):
    with pytest.raises(UserError, match="sample_rate must be a whole number"):
        audio.wav_folder(str(tmp_path), rate)


def test_silence_and_flac_are_read(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    for word in ("no", "yes"):
        (tmp_path / word).mkdir()
        for number in range(5):
            soundfile.write(tmp_path / word / f"{number}.flac", TONE * (number > 0), 8000)
    assert "2 recordings are silent" in audio.wav_folder(str(tmp_path)).notes


def test_texts_from_a_table_and_from_folders(tmp_path):
    path = tmp_path / "mails.csv"
    path.write_text(
        "text,label\n" + "\n".join(f"mail {number},{'ham' if number % 2 else 'spam'}" for number in range(20))
    )
    texts = text.own_texts(path)
    assert texts.labels == ["ham", "spam"]
    assert sum(len(part) for part, _ in texts.splits()) == 20
    for label in ("a", "b"):
        (tmp_path / "folder" / label).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "folder" / label / f"{number}.txt").write_text(f"{label} {number}")
    for part, classes in text.own_texts(tmp_path / "folder").splits():
        assert [content[0] for content in part] == ["ab"[index] for index in classes]
    (tmp_path / "folder" / "a" / "7.txt").write_text(" ")
    with pytest.raises(UserError, match=r"7.txt is empty"):
        text.own_texts(tmp_path / "folder")
    with pytest.raises(UserError, match="neither a folder"):
        text.own_texts(tmp_path / "mails.json")


def test_the_calendar_knows_hour_and_weekday():
    found = series.generated_series(hours=400)
    calendar = found.calendar()
    np.testing.assert_allclose(calendar[0], [1, 1, 0, 0], atol=1e-6)  # 2024-01-01 00:00 was a Monday
    np.testing.assert_allclose(calendar[6], [0, np.cos(2 * np.pi / 28), 1, np.sin(2 * np.pi / 28)], atol=1e-6)
    np.testing.assert_allclose(calendar[168:], calendar[:-168], atol=1e-5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("date\n2024-01-01\n", "no column besides 'date'"),
        ("date,x\n2024-01-01,1\n2024-01-02,2\n2024-01-05,3\n2024-01-06,4\n", "line 4, .* 2024-01-05 .* comes 3 days"),
        ("date,x\n2024-01-01,1\n", "needs at least 3"),
        ("date,x\n2024-01-01,\n2024-01-02,2\n2024-01-03,2\n", "line 2, column 'x': '' is not a number"),
    ],
)
def test_a_series_that_is_not_what_was_expected(tmp_path, content, said):
    path = tmp_path / "series.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=said):
        series.csv_series(path)


def test_a_missing_series_is_named(tmp_path):
    path = tmp_path / "series.csv"
    path.write_text("date,x\n2024-01-01,1\n2024-01-02,1\n")
    with pytest.raises(UserError, match="no column 'OT'"):
        series.csv_series(path, ["OT"])


def test_a_corpus_in_the_layout_of_the_penn_treebank(tmp_path):
    for part, content in (("train", " a b <unk> a \n b a \n"), ("valid", " a c \n"), ("test", " b \n")):
        (tmp_path / f"ptb.{part}.txt").write_text(content)
    vocabulary, splits = corpus.own_corpus(tmp_path).numbered("word")
    assert vocabulary == ["<unk>", "a", "<eos>", "b"]
    assert [split.tolist() for split in splits] == [[1, 3, 0, 1, 2, 3, 1, 2], [1, 0, 2], [3, 2]]
    (tmp_path / "ptb.valid.txt").unlink()
    with pytest.raises(UserError, match=r"0 files named \*valid\*.txt"):
        corpus.own_corpus(tmp_path)


def test_lanes_go_on_where_the_batch_before_stopped():
    batches = corpus.lanes(np.arange(101), 4, 10)
    assert [x.shape for x, _ in batches] == [(4, 10), (4, 10), (4, 5)]
    assert len(batches) == corpus.lanes_count(101, 4, 10)
    whole = np.concatenate([x for x, _ in batches], 1)
    np.testing.assert_array_equal(whole, np.arange(100).reshape(4, 25))
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches], 1), whole + 1)
    with pytest.raises(UserError, match="too few for a batch of 64"):
        corpus.lanes(np.arange(20), 64, 10)


def test_a_short_text_file(tmp_path):
    (tmp_path / "short.txt").write_text("hello")
    with pytest.raises(UserError, match="5 characters; expected at least 2,000"):
        corpus.own_corpus(tmp_path / "short.txt")
