"""Log-mel events of 16-bit sound in integers alone: the C on a device computes the same ones.

    x = sample · window                       fixed point with `extra` bits more than a sample
    X = FFT(x)                                butterflies in 32 bits
    event = log2(|X|² · mel + floor)          in 1/65536, from a table of 65 entries

`LogMel` is the same in floating point; the two differ by less than a step of an int8 file almost everywhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from keras_gates.edge.description import Port
from keras_gates.edge.frontends import LogMel, log_mel
from keras_gates.edge.tflite import EdgeError

SHORT = 15  # bits behind the point of samples, window and twiddle factors
DROPPED = 12  # low bits of the power that are not needed
_WEIGHT = 12  # bits behind the point of the mel weights
_STEPS = 64  # of the table of log2


class FixedLogMel:
    """16-bit sound to what a file's input stores.

    Args:
        frontend: The file's ``frontend`` entry.
        port: The input that takes the events.

    Attributes:
        frame, hop, bins: As in `LogMel`.
        extra: Bits that the windowed samples have more than 16-bit samples.
        window: (frame,) int, of 2^15.
        cosines, sines: Twiddle factors (frame / 2,) int, of 2^15.
        swaps: For each place of the FFT's input the sample that it takes.
        bands: Per band its first frequency and its weights, of 2^12.
        floor: Added to each band's power.
        logarithms: (65,) log2(1 + i / 64), of 2^16.
        one: What the logarithm of a power of 1 is, of 2^16.
        rescale: Multiplier and right shift from the logarithm to the stored value; None for a float32 file.

    Raises:
        EdgeError: The frame is no power of two from 16 to 4096 samples.

    Example:

    >>> from keras_gates.edge.tflite import read
    >>> from keras_gates.edge.description import describe
    >>> description = describe(read(open("model.tflite", "rb").read()))  # doctest: +SKIP
    >>> FixedLogMel(description.frontend, description.events[0])(np.zeros(8000, "int16")).shape  # doctest: +SKIP
    (61, 40)
    """

    def __init__(self, frontend: dict[str, Any], port: Port):
        float_mel: LogMel = log_mel(frontend)
        self.frame, self.hop, self.bins = float_mel.frame, float_mel.hop, float_mel.mel.shape[1]
        stages = self.frame.bit_length() - 1
        if self.frame != 1 << stages or not 4 <= stages <= 12:
            raise EdgeError(f"log-mel in integers takes a frame of a power of two from 16 to 4096, not {self.frame}.")
        self.extra = 16 - stages
        time = np.arange(self.frame)
        self.window = _fixed(0.5 - 0.5 * np.cos(2 * np.pi * time / self.frame), SHORT)
        angle = 2 * np.pi * np.arange(self.frame // 2) / self.frame
        self.cosines, self.sines = _fixed(np.cos(angle), SHORT), _fixed(-np.sin(angle), SHORT)
        self.swaps = np.array([int(f"{i:0{stages}b}"[::-1], 2) for i in range(self.frame)])
        self.bands = []
        for weights in float_mel.mel.T:
            used = np.flatnonzero(weights)
            first, end = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
            self.bands.append((first, np.round(weights[first:end].astype(float) * 2**_WEIGHT).astype(np.int64)))
        bits = 2 * (SHORT + self.extra) - DROPPED
        self.floor = max(round(float(float_mel.floor) * 2.0**bits), 1) << _WEIGHT
        self.one = (bits + _WEIGHT) << 16
        self.logarithms = np.round(np.log2(1 + np.arange(_STEPS + 1) / _STEPS) * 65536).astype(np.int64)
        self.scale, self.zero_point, self.dtype = port.tensor.scale, port.tensor.zero_point, port.tensor.dtype
        self.rescale = None
        if self.scale:
            fraction, exponent = math.frexp(math.log(2) / 65536 / float(self.scale))
            self.rescale = (round(fraction * 2**31), 31 - exponent)
        self.reset()

    def reset(self) -> None:
        """Drop the samples that wait for a whole frame."""
        self._rest = np.zeros(0, np.int16)

    def __call__(self, sound: np.ndarray) -> np.ndarray:
        """Return what the input stores for the events of one recording, (time, bins).

        Args:
            sound: int16 samples (n,).
        """
        if len(sound) < self.frame:
            return np.zeros((0, self.bins), self.dtype)
        frames = np.lib.stride_tricks.sliding_window_view(sound, self.frame)[:: self.hop].astype(np.int64)
        real, imaginary = self._transformed(
            (frames * self.window + (1 << (SHORT - self.extra - 1))) >> (SHORT - self.extra)
        )
        power = (real * real + imaginary * imaginary).astype(np.uint64) >> np.uint64(DROPPED)
        columns = []
        for first, weights in self.bands:
            terms = power[:, first : first + len(weights)] * weights.astype(np.uint64)
            columns.append(terms.sum(1, dtype=np.uint64) + np.uint64(self.floor))
        logarithm = self._log2(np.stack(columns, 1)) - self.one
        if self.rescale is None:
            return logarithm.astype(np.float32) * np.float32(math.log(2) / 65536)
        multiplier, shift = self.rescale
        limits = np.iinfo(self.dtype)
        whole = (logarithm * multiplier + (1 << (shift - 1)) >> shift) + self.zero_point
        return np.clip(whole, limits.min, limits.max).astype(self.dtype)

    def push(self, sound: np.ndarray) -> np.ndarray:
        """Return what the input stores for the events that these samples complete; the rest waits for the next call.

        Args:
            sound: int16 samples (n,).
        """
        sound = np.concatenate([self._rest, sound])
        stored = self(sound)
        self._rest = sound[len(stored) * self.hop :]
        return stored

    def _transformed(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower half of the FFT of frames (n, frame)."""
        real, imaginary = x[:, self.swaps].copy(), np.zeros_like(x)
        half = 1
        while half < self.frame:
            turn = slice(None, None, self.frame // (2 * half))
            c, s = self.cosines[turn][:half], self.sines[turn][:half]
            a, b = (part.reshape(len(x), -1, 2, half) for part in (real, imaginary))
            rounding = 1 << (SHORT - 1)
            p = (a[:, :, 1] * c - b[:, :, 1] * s + rounding) >> SHORT
            q = (a[:, :, 1] * s + b[:, :, 1] * c + rounding) >> SHORT
            real = np.stack([a[:, :, 0] + p, a[:, :, 0] - p], 2).reshape(len(x), -1)
            imaginary = np.stack([b[:, :, 0] + q, b[:, :, 0] - q], 2).reshape(len(x), -1)
            half *= 2
        return real[:, : self.frame // 2 + 1], imaginary[:, : self.frame // 2 + 1]

    def _log2(self, x: np.ndarray) -> np.ndarray:
        """Return log2 of positive uint64, of 2^16."""
        high = np.zeros(x.shape, np.int64)
        for bits in (32, 16, 8, 4, 2, 1):
            reach = (x >> (high + bits).astype(np.uint64)) > 0
            high += np.where(reach, bits, 0)
        low = np.maximum(high - 22, 0).astype(np.uint64)  # 22 bits behind the leading one: 6 for the table, 16 between
        mantissa = ((x >> low) << np.maximum(22 - high, 0).astype(np.uint64)).astype(np.int64) - (1 << 22)
        place, between = mantissa >> 16, mantissa & 0xFFFF
        base = self.logarithms[place]
        return (high << 16) + base + ((self.logarithms[np.minimum(place + 1, _STEPS)] - base) * between >> 16)


def _fixed(x: np.ndarray, bits: int) -> np.ndarray:
    return np.minimum(np.round(x * 2**bits), 2**bits - 1).astype(np.int64)
