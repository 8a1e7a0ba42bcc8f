"""The user's own files: what is read from them, and what is said about each way in which they can be wrong."""

import struct
import wave

import numpy as np
import pytest

from keras_gates.models.data import audio, corpus, files, sensors, series, text
from keras_gates.models.data.splits import divide
from keras_gates.models.data.wav import read_wav, resample
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


def riff(encoding, bits, data, channels=1, rate=8000):
    form = struct.pack("<HHIIHH", encoding, channels, rate, rate * bits // 8, bits // 8, bits)
    return (
        b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + form
        + b"data" + struct.pack("<I", len(data)) + data
    )  # fmt: skip


TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(800) / 8000)


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_wav_of_every_width_is_the_sound_that_was_written(tmp_path, bits):
    write_wav(tmp_path / "a.wav", TONE, bits=bits)
    sound, rate = read_wav(tmp_path / "a.wav")
    assert rate == 8000
    assert sound.dtype == np.float32
    np.testing.assert_allclose(sound, TONE, atol=2 / 2 ** (min(bits, 20) - 1))


def test_wav_of_floats_and_of_two_channels(tmp_path):
    (tmp_path / "f.wav").write_bytes(riff(3, 32, TONE.astype("<f4").tobytes()))
    np.testing.assert_allclose(read_wav(tmp_path / "f.wav")[0], TONE, atol=1e-6)
    write_wav(tmp_path / "s.wav", np.stack([TONE, -TONE / 2], 1).ravel(), channels=2)
    np.testing.assert_allclose(read_wav(tmp_path / "s.wav")[0], TONE / 4, atol=1e-4)


def test_another_sample_rate_is_resampled_to_the_same_tone(tmp_path):
    time = np.arange(44100) / 44100
    write_wav(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * time), rate=44100)
    sound, rate = read_wav(tmp_path / "a.wav", sample_rate=8000)
    assert (rate, len(sound)) == (8000, 8000)
    middle = slice(500, 7500)
    np.testing.assert_allclose(sound[middle], 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)[middle], atol=0.01)
    above = resample(np.sin(2 * np.pi * 6000 * time).astype("float32"), 44100, 8000)
    assert np.abs(above[middle]).max() < 0.02, "what is above half the new rate must not fold back"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "empty"),
        (b"ID3\x03rest of an mp3", "MP3"),
        (b"OggS rest", "Ogg"),
        (riff(7, 8, b"\x00" * 80), "µ-law"),
        (riff(17, 4, b"\x00" * 80), "IMA ADPCM"),
        (riff(1, 16, b""), "contains no audio"),
        (riff(1, 16, b"\x00" * 80)[:20], "damaged"),
        (riff(3, 32, np.array([0.1, np.nan], "<f4").tobytes()), "NaN or infinity"),
    ],
)
def test_a_wav_that_cannot_be_read_is_named_with_its_reason(tmp_path, raw, said):
    path = tmp_path / "broken.wav"
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"broken\.wav") as error:
        read_wav(path)
    assert said in str(error.value)


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


def test_windows_centre_what_is_short_and_keep_the_loudest_of_what_is_long():
    short, long = np.ones(4, "float32"), np.zeros(20, "float32")
    long[11:14] = 1
    rows = audio.windows([short, long], 8)
    np.testing.assert_array_equal(rows[0], [0, 0, 1, 1, 1, 1, 0, 0])
    assert rows[1].sum() == 3


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


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "empty"),
        (b"text,label\n", "no rows"),
        (b"text,class\nhello,a\n", "no column 'label'; its columns are: text, class"),
        (b"text,text,label\nhello,x,a\n", "'text' more than once"),
        (b"text,label\nhello,a,b\n", "row 2: 3 cells"),
        ("text,label\nh\xe9llo,a\n".encode("latin-1"), "not UTF-8 .byte 0xe9 in line 2"),
        ("text,label\nhello,a\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_a_table_that_is_not_what_was_expected(tmp_path, raw, said):
    path = tmp_path / "mine.csv"
    path.write_bytes(raw)
    with pytest.raises(UserError, match=said):
        files.read_table(path, required=("text", "label"))


def test_a_table_with_semicolons_quotes_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes('\ufefftext;label\n"one; two\nthree";a\nfour;b\n'.encode())
    assert files.read_table(path, required=("text", "label")) == {
        "text": ["one; two\nthree", "four"],
        "label": ["a", "b"],
    }


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
        ("x,label\n1,a\nhigh,b\n", "column 'x', data row 2: 'high' is not a number"),
        ("x,label\n1,a\n,b\n", "data row 2: '' is not a number"),
        ("x,label\n1,a\n2,a\n", "one label"),
        ("x,label\n1,a\n2,\n", "data row 2: the label is empty"),
    ],
)
def test_a_sensor_file_that_is_not_what_was_expected(tmp_path, content, said):
    path = tmp_path / "sensor.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=said):
        sensors.csv_recordings(path)


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


def test_series_with_every_form_of_time(tmp_path):
    forms = ("2024-01-01 0{}:00", "2024-01-01T0{}:00:00Z", "1.1.2024 0{}:00", "1/1/2024 0{}:00", None)
    for form in forms:
        path = tmp_path / "series.csv"
        times = [form.format(hour) if form else str(1704067200 + 3600 * hour) for hour in range(5)]
        path.write_text("date,sold\n" + "\n".join(f"{time},{hour}" for hour, time in enumerate(times)))
        found = series.csv_series(path)
        np.testing.assert_array_equal(found.seconds, 1704067200 + 3600 * np.arange(5))
        np.testing.assert_array_equal(found.values[:, 0], np.arange(5))


def test_the_calendar_knows_hour_and_weekday():
    found = series.generated_series(hours=400)
    calendar = found.calendar()
    np.testing.assert_allclose(calendar[0], [1, 1, 0, 0], atol=1e-6)  # 2024-01-01 00:00 was a Monday
    np.testing.assert_allclose(calendar[6], [0, np.cos(2 * np.pi / 28), 1, np.sin(2 * np.pi / 28)], atol=1e-6)
    np.testing.assert_allclose(calendar[168:], calendar[:-168], atol=1e-5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("date,x\nsoon,1\n", "'soon' is not a time"),
        ("date,x\n1704067200000,1\n", "'1704067200000' is not a time; .* or seconds since 1970"),
        ("date,x\n1704067200,1\ninf,2\n", "data row 2: 'inf' is not a time"),
        ("date,x\nnan,1\n", "'nan' is not a time"),
        ("date\n2024-01-01\n", "no column besides 'date'"),
        ("date,x\n2024-01-01,1\n2024-01-02,2\n2024-01-05,3\n2024-01-06,4\n", "data row 3: 2024-01-05 comes 3 days"),
        ("date,x\n2024-01-02,1\n2024-01-01,2\n2023-12-31,3\n", "sort them"),
        ("date,x\n2024-01-01,1\n", "needs at least 3"),
        ("date,x\n2024-01-01,\n2024-01-02,2\n", "'' is not a number"),
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
