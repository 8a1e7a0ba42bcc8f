"""Reads WAV files: any sample rate, any number of channels, the encodings that microphones and editors write."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from keras_gates.models.registry import UserError

ENCODINGS = {2: "ADPCM", 6: "A-law", 7: "µ-law", 17: "IMA ADPCM", 49: "GSM 6.10", 80: "MPEG", 85: "MP3"}
MAGIC = {b"OggS": "Ogg", b"fLaC": "FLAC", b"ID3": "MP3", b"RIFX": "big-endian RIFF", b"FORM": "AIFF"}


def read_wav(path: str | Path, sample_rate: int | None = None) -> tuple[np.ndarray, int]:
    """Return a recording as float32 (samples,) in −1…1, its channels averaged, and its sample rate in Hz.

    Args:
        path: a WAV file: PCM of 8, 16, 24 or 32 bits, or IEEE float of 32 or 64 bits.
        sample_rate: in Hz, to which the recording is resampled; None keeps its own.

    Raises:
        UserError: not a WAV file, truncated, empty, or in another encoding.

    Example:
        audio, rate = read_wav("yes.wav", sample_rate=8000)
    """
    path = Path(path)
    raw = path.read_bytes()
    if raw[:4] != b"RIFF" or raw[8:12] != b"WAVE":
        kind = next((name for magic, name in MAGIC.items() if raw.startswith(magic)), "something else")
        raise UserError(f"{path} is not a WAV file but {kind if raw else 'empty'}; convert it to WAV (PCM, 16 bits)")
    chunks = _chunks(raw)
    if len(chunks.get(b"fmt ", b"")) < 16 or b"data" not in chunks:
        raise UserError(f"{path} is damaged: a WAV file has a format and a data chunk; record or convert it again")
    encoding, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunks[b"fmt "][:16])
    if encoding == 0xFFFE:
        encoding = struct.unpack("<H", chunks[b"fmt "][24:26])[0] if len(chunks[b"fmt "]) >= 26 else 0
    audio = _decoded(chunks[b"data"], encoding, bits)
    if audio is None:
        name = ENCODINGS.get(encoding, f"{bits} bits of encoding {encoding}")
        raise UserError(
            f"{path} is encoded as {name}; expected PCM or float: convert it, e.g. with ffmpeg -i IN.wav -c:a pcm_s16le OUT.wav"
        )
    if not channels or not rate or len(audio) < channels:
        raise UserError(f"{path} contains no audio; record it again")
    audio = audio[: len(audio) // channels * channels].reshape(-1, channels).mean(1, dtype="float32")
    if not np.isfinite(audio).all():
        raise UserError(f"{path} contains NaN or infinity; record or convert it again")
    if sample_rate is None or sample_rate == rate:
        return audio, rate
    return resample(audio, rate, sample_rate), sample_rate


def resample(audio: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Return audio (samples,) at another sample rate, by a polyphase low-pass filter, as float32.

    Args:
        audio: (samples,).
        rate, new_rate: in Hz.
    """
    from scipy.signal import resample_poly  # takes a second: only where it is needed

    divisor = int(np.gcd(rate, new_rate))
    return resample_poly(audio, new_rate // divisor, rate // divisor).astype("float32")


def _chunks(raw: bytes) -> dict[bytes, bytes]:
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(raw):
        name, size = struct.unpack("<4sI", raw[at : at + 8])
        chunks.setdefault(name, raw[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return chunks


def _decoded(data: bytes, encoding: int, bits: int) -> np.ndarray | None:
    whole = data[: len(data) // max(bits // 8, 1) * max(bits // 8, 1)]
    if encoding == 3 and bits in (32, 64):
        return np.frombuffer(whole, f"<f{bits // 8}").astype("float32")
    if encoding != 1 or bits not in (8, 16, 24, 32):
        return None
    if bits == 8:
        return (np.frombuffer(whole, "u1").astype("float32") - 128) / 128
    if bits == 24:
        wide = np.zeros((len(whole) // 3, 4), "u1")
        wide[:, 1:] = np.frombuffer(whole, "u1").reshape(-1, 3)
        return wide.view("<i4")[:, 0].astype("float32") / 2**31
    return np.frombuffer(whole, f"<i{bits // 8}").astype("float32") / 2 ** (bits - 1)
