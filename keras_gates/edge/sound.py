"""Reads recordings with soundfile, resamples them with soxr, and cuts them to the length of a model.

Both packages are optional on a device: `pip install "keras-gates[files]"`. Training and the device read the same way.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_gates.edge.optional import need
from keras_gates.edge.tflite import EdgeError

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")
RATES = (2000, 768_000)  # Hz; above is a damaged header, below there is no speech
SHORTEST = 0.01  # seconds


def read_wav(path: str | Path, sample_rate: int | None = None) -> tuple[np.ndarray, int]:
    """Read a recording: WAV of every kind, FLAC, OGG, MP3, AIFF.

    Args:
        path: of the file.
        sample_rate: in Hz, to which the recording is resampled; None keeps its own.

    Returns:
        Samples, float32 (n,) in −1…1 with the channels averaged, and the sample rate in Hz.

    Raises:
        EdgeError: no sound file, damaged, shorter than 10 ms, an impossible sample rate, or not finite.

    Example:

    >>> sound, rate = read_wav("yes.wav", sample_rate=8000)  # doctest: +SKIP
    >>> sound.shape, rate  # doctest: +SKIP
    ((8000,), 8000)
    """
    soundfile = need("soundfile", "sound")
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise EdgeError(f"{path} cannot be read: {error.strerror}") from None
    if not raw:
        raise EdgeError(f"{path} is empty; record it again")
    try:
        with soundfile.SoundFile(io.BytesIO(_with_sizes(raw))) as file:
            rate = file.samplerate
            # A damaged header: resampling from 67 MHz takes all memory.
            channels = file.read(dtype="float32", always_2d=True) if RATES[0] <= rate <= RATES[1] else None
    except (soundfile.SoundFileError, RuntimeError, ValueError, MemoryError) as error:
        reason = str(error).rpartition(": ")[2].strip(" .") or type(error).__name__
        raise EdgeError(
            f"{path} is not a sound file that can be read ({reason}); convert it to WAV, e.g. ffmpeg -i IN OUT.wav"
        ) from None
    if channels is None:
        raise EdgeError(
            f"{path} has a sample rate of {rate:,} Hz, expected {RATES[0]:,} to {RATES[1]:,}; convert it again"
        )
    sound = channels.mean(1, dtype="float32") if channels.shape[1] > 1 else channels[:, 0]
    if len(sound) < SHORTEST * rate:
        raise EdgeError(f"{path} contains {len(sound)} samples, less than 10 ms; record it again, or remove it")
    if not np.isfinite(sound).all():
        raise EdgeError(f"{path} contains NaN or infinity; record or convert it again")
    if sample_rate is None or sample_rate == rate:
        return sound, rate
    return resample(sound, rate, sample_rate), sample_rate


def read_blocks(path: str | Path, sample_rate: int, seconds: float = 10.0) -> Iterator[np.ndarray]:
    """Read a long recording block by block, so that an hour takes no more memory than a minute.

    Args:
        path: of the file, see `read_wav`.
        sample_rate: in Hz, to which the recording is resampled.
        seconds: per block.

    Yields:
        Samples, float32 (n,) in −1…1 with the channels averaged.

    Raises:
        EdgeError: as `read_wav`.

    Example:

    >>> sum(len(block) for block in read_blocks("hour.wav", 8000))  # doctest: +SKIP
    28800000
    """
    soundfile = need("soundfile", "sound")
    try:
        with soundfile.SoundFile(str(path)) as file:
            rate, frames = file.samplerate, file.frames
            if not RATES[0] <= rate <= RATES[1] or frames < SHORTEST * rate:
                raise RuntimeError
            stream = (
                need("soxr", "another sample rate").ResampleStream(rate, sample_rate, 1)
                if rate != sample_rate
                else None
            )
            left = frames
            for channels in file.blocks(round(seconds * rate), dtype="float32", always_2d=True):
                left -= len(channels)
                block = channels.mean(1, dtype="float32") if channels.shape[1] > 1 else channels[:, 0]
                if not np.isfinite(block).all():
                    raise EdgeError(f"{path} contains NaN or infinity; record or convert it again")
                yield block if stream is None else stream.resample_chunk(block, last=left <= 0).astype("float32")
    except (soundfile.SoundFileError, RuntimeError):
        yield read_wav(path, sample_rate)[0]  # a header with wrong sizes; or the error, in a sentence


def _with_sizes(raw: bytes) -> bytes:
    """Correct the sizes of a WAV file that was written to a pipe: 0, 0xFFFFFFFF or what its writer guessed."""
    if raw[:4] != b"RIFF" or raw[8:12] != b"WAVE":
        return raw
    at = 12
    while at + 8 <= len(raw):
        name, size = struct.unpack("<4sI", raw[at : at + 8])
        rest = len(raw) - at - 8
        if name == b"data":
            if size > rest or (size == 0 and rest > 0):
                return (
                    raw[:4]
                    + struct.pack("<I", len(raw) - 8)
                    + raw[8 : at + 4]
                    + struct.pack("<I", rest)
                    + raw[at + 8 :]
                )
            return raw
        at += 8 + size + size % 2
    return raw


def resample(sound: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Return sound (samples,) at another sample rate, float32.

    Args:
        sound: (samples,).
        rate, new_rate: in Hz.
    """
    return need("soxr", "another sample rate").resample(sound, rate, new_rate).astype("float32")


def windows(recordings: Sequence[np.ndarray], samples: int) -> np.ndarray:
    """Return recordings of any length as (recordings, samples): short ones centred in silence, of long ones the loudest part.

    Args:
        recordings: each (samples,).
        samples: of the result.
    """
    rows = np.zeros((len(recordings), samples), "float32")
    for row, sound in zip(rows, recordings):
        if len(sound) > samples:
            energy = np.concatenate([[0.0], np.cumsum(sound.astype("float64") ** 2)])
            start = int(np.argmax(energy[samples:] - energy[:-samples]))
            row[:] = sound[start : start + samples]
        else:
            start = (samples - len(sound)) // 2
            row[start : start + len(sound)] = sound
    return rows
