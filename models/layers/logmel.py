"""The front end of the speech model: audio to log-mel events, as Keras layers that export as plain matrix products."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("keras_gates")
class LogMel(keras.layers.Layer):
    """Audio (batch, samples) to events (batch, time, bins): log(power in `bins` mel bands + floor), one event per `hop`.

    power = (frame · C)² + (frame · S)², C and S the windowed cosines and sines of a Fourier transform; events =
    log(power · mel + floor). time = samples // hop − frame // hop + 1. Everything is a reshape, a concatenation and
    three matrix products, so it becomes builtin operators on a device.

    Args:
        sample_rate: in Hz.
        frame: samples per event, a multiple of `hop`.
        hop: samples from one event to the next.
        bins: number of mel bands; mel = 2595 log10(1 + Hz / 700).
        low, high: range of the mel bands, in Hz; `high=None` is half the sample rate.
        floor: added to the power, so that silence has a finite logarithm.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        ValueError: `frame` is not a multiple of `hop`.

    Example:
        events = LogMel(8000)(sound)        # (1, 8000) → (1, 61, 40)
    """

    def __init__(
        self,
        sample_rate: int = 8000,
        frame: int = 256,
        hop: int = 128,
        bins: int = 40,
        low: float = 60.0,
        high: float | None = None,
        floor: float = 1e-5,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if frame % hop:
            raise ValueError(f"frame must be a multiple of hop; got frame={frame}, hop={hop}")
        self.sample_rate, self.frame, self.hop, self.bins = sample_rate, frame, hop, bins
        self.low, self.high, self.floor = low, high, floor
        self.cosines, self.sines = fourier(frame)
        self.mel = mel_bands(sample_rate, frame, bins, low, high or sample_rate / 2)

    def call(self, sound):
        blocks = ops.shape(sound)[1] // self.hop
        rows = ops.reshape(sound[:, : blocks * self.hop], (-1, blocks, self.hop))
        overlap = self.frame // self.hop
        frames = ops.concatenate([rows[:, shift : blocks - overlap + 1 + shift] for shift in range(overlap)], axis=-1)
        power = ops.square(frames @ self.cosines) + ops.square(frames @ self.sines)
        return ops.log(power @ self.mel + self.floor)

    def compute_output_shape(self, input_shape):
        samples = input_shape[1]
        time = None if samples is None else samples // self.hop - self.frame // self.hop + 1
        return input_shape[0], time, self.bins

    def get_config(self):
        names = ("sample_rate", "frame", "hop", "bins", "low", "high", "floor")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def fourier(frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the Hann-windowed cosines and sines of a Fourier transform, each float32 (frame, frame // 2 + 1)."""
    time = np.arange(frame)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * time / frame)
    angle = 2 * np.pi * np.outer(time, np.arange(frame // 2 + 1)) / frame
    return (window[:, None] * np.cos(angle)).astype("float32"), (window[:, None] * np.sin(angle)).astype("float32")


def mel_bands(sample_rate: int, frame: int, bins: int, low: float, high: float) -> np.ndarray:
    """Return triangular filters, equally wide in mel, over the frequencies of a Fourier transform: float32 (frame // 2 + 1,
    bins).

    Args:
        sample_rate, frame, bins, low, high: as in `LogMel`.
    """
    hertz = np.linspace(0, sample_rate / 2, frame // 2 + 1)[:, None]
    edges = np.linspace(2595 * np.log10(1 + low / 700), 2595 * np.log10(1 + high / 700), bins + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    rise = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.maximum(np.minimum(rise, fall), 0).astype("float32")


@keras.saving.register_keras_serializable("keras_gates")
class AnotherVoice(keras.layers.Layer):
    """Voice augmentation of log-mel events (batch, time, bins), during training only.

    Each example's frequency axis is stretched or compressed (vocal tract length), tilted and bent (microphone), and `masks`
    ranges of bands and of time steps are replaced by the example's mean (SpecAugment, Park et al. 2019).

    Args:
        stretch: maximum relative stretching of the frequency axis.
        tilt: standard deviation of the tilt at the edges, in nepers of power.
        masks: number of masks of each kind.
        widest: maximum width of a mask, as a share of all bands or time steps.
        seed: random seed.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(
        self,
        stretch: float = 0.1,
        tilt: float = 0.6,
        masks: int = 1,
        widest: float = 0.17,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.stretch, self.tilt, self.masks, self.widest, self.seed = stretch, tilt, masks, widest, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, events, training=False):
        if not training:
            return events
        return self._masked(self._bent(self._stretched(events)))

    def _stretched(self, events):
        bins = events.shape[-1]
        band = ops.arange(bins, dtype="float32")
        position = ops.clip(band * ops.exp(self.stretch * self._uniform(events, 1)), 0, bins - 1)
        weights = ops.relu(1 - ops.abs(band[:, None] - position[:, None, :]))
        return events @ ops.cast(weights, events.dtype)

    def _bent(self, events):
        across = ops.linspace(-1.0, 1.0, events.shape[-1])
        shapes = ops.stack([across, 0.6 * ops.cos(3 * across)])
        noise = keras.random.normal((ops.shape(events)[0], 2), seed=self.seed_generator)
        return events + ops.cast(self.tilt * noise @ shapes, events.dtype)[:, None]

    def _masked(self, events):
        mean = ops.mean(events, axis=(1, 2), keepdims=True)
        for _ in range(self.masks):
            events = ops.where(self._random_range(events, ops.shape(events)[1])[:, :, None], mean, events)
            events = ops.where(self._random_range(events, events.shape[2])[:, None, :], mean, events)
        return events

    def _random_range(self, events, length):
        place = ops.arange(
            length, dtype="float32"
        )  # before the cast: JAX needs a length that is known while it compiles
        length = ops.cast(length, "float32")
        width = self.widest * length * (1 + self._uniform(events, 1)) / 2
        start = (length - width) * (1 + self._uniform(events, 1)) / 2
        return (place >= start) & (place < start + width)

    def _uniform(self, events, columns):
        return keras.random.uniform((ops.shape(events)[0], columns), -1.0, 1.0, seed=self.seed_generator)

    def get_config(self):
        names = ("stretch", "tilt", "masks", "widest", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
