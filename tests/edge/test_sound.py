"""Sound files of every kind, as soundfile writes them, and what is wrong in others."""

import struct

import numpy as np
import pytest

from keras_gates.edge.sound import read_wav, resample, windows
from keras_gates.edge.tflite import EdgeError

soundfile = pytest.importorskip("soundfile", reason="sound needs the extra `files`")
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)).astype("float32")


@pytest.mark.parametrize(
    ("kind", "subtype", "error"),
    [
        ("wav", "PCM_U8", 0.01), ("wav", "PCM_16", 1e-4), ("wav", "PCM_24", 1e-6), ("wav", "PCM_32", 1e-6), ("wav", "FLOAT", 0),
        ("wav", "DOUBLE", 0), ("wav", "ULAW", 0.02), ("wavex", "PCM_16", 1e-4), ("wavex", "FLOAT", 0), ("wavex", "DOUBLE", 0),
        ("rf64", "PCM_16", 1e-4), ("flac", "PCM_16", 1e-4), ("aiff", "PCM_24", 1e-6),
    ],
)  # fmt: skip
def test_every_kind_of_file_is_the_sound_that_was_written(tmp_path, kind, subtype, error):
    path = tmp_path / ("a.wav" if kind in ("wavex", "rf64") else f"a.{kind}")
    soundfile.write(path, TONE, 8000, format=kind.upper(), subtype=subtype)
    sound, rate = read_wav(path)
    assert (rate, sound.dtype) == (8000, np.float32)
    np.testing.assert_allclose(sound, TONE, atol=error)


@pytest.mark.parametrize("kind", ["ogg", "mp3"])
def test_compressed_sound_is_the_same_tone(tmp_path, kind):
    soundfile.write(tmp_path / f"a.{kind}", np.tile(TONE, 2), 8000)
    sound, _ = read_wav(tmp_path / f"a.{kind}")
    assert np.abs(np.fft.rfft(sound[2000:10000])).argmax() == 440


def test_channels_are_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([TONE, -TONE / 2], 1), 8000, subtype="FLOAT")
    np.testing.assert_allclose(read_wav(tmp_path / "a.wav")[0], TONE / 4, atol=1e-6)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 10**6])
def test_a_file_that_was_written_to_a_pipe(tmp_path, size):
    soundfile.write(tmp_path / "a.wav", TONE, 8000, subtype="PCM_16")
    raw = bytearray((tmp_path / "a.wav").read_bytes())
    at = raw.index(b"data")
    raw[4:8], raw[at + 4 : at + 8] = struct.pack("<I", size), struct.pack("<I", size)
    (tmp_path / "a.wav").write_bytes(raw)
    np.testing.assert_allclose(read_wav(tmp_path / "a.wav")[0], TONE, atol=1e-4)


def wav(rate=8000, samples=1000, encoding=1):
    form = struct.pack("<HHIIHH", encoding, 1, rate, 2 * rate % 2**32, 2, 16)
    data = b"\1\0" * samples
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b"ID3\x03rest", "not a sound file that can be read"),
        (wav()[:20], "not a sound file that can be read"),
        (wav(67_000_000), "67,000,000 Hz"),
        (wav(4_000_000_000), "not a sound file that can be read"),
        (wav(1), "1 Hz, expected 2,000"),
        (wav(samples=0), "contains 0 samples"),
        (wav(samples=1), "contains 1 samples, less than 10 ms"),
        (wav(encoding=99), "not a sound file that can be read"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_the_file(tmp_path, raw, message):
    (tmp_path / "broken.wav").write_bytes(raw)
    with pytest.raises(EdgeError, match=r"broken\.wav") as error:
        read_wav(tmp_path / "broken.wav")
    assert message in str(error.value)


def test_nan_is_refused_and_a_missing_file_named(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.where(TONE > 0.4, np.nan, TONE), 8000, subtype="FLOAT")
    with pytest.raises(EdgeError, match="NaN or infinity"):
        read_wav(tmp_path / "a.wav")
    with pytest.raises(EdgeError, match=r"none\.wav cannot be read"):
        read_wav(tmp_path / "none.wav")


def test_another_sample_rate_is_the_same_tone(tmp_path):
    time = np.arange(44100) / 44100
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * time), 44100)
    sound, rate = read_wav(tmp_path / "a.wav", sample_rate=8000)
    assert (rate, len(sound)) == (8000, 8000)
    middle = slice(500, 7500)
    np.testing.assert_allclose(sound[middle], TONE[middle], atol=0.01)
    above = resample(np.sin(2 * np.pi * 6000 * time).astype("float32"), 44100, 8000)
    assert np.abs(above[middle]).max() < 0.02, "what is above half the new rate must not fold back"


def test_windows_centre_what_is_short_and_keep_the_loudest_of_what_is_long():
    short, long = np.ones(4, "float32"), np.zeros(20, "float32")
    long[11:14] = 1
    rows = windows([short, long], 8)
    np.testing.assert_array_equal(rows[0], [0, 0, 1, 1, 1, 1, 0, 0])
    assert rows[1].sum() == 3
