"""Front ends: text to token numbers, audio to log-mel events, measurements to standardized events. NumPy only.

The parameters come from the file's metadata (``vocabulary`` and ``frontend``), so that a device computes the same as the
training did.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_gates.edge.description import Description
from keras_gates.edge.tflite import EdgeError
from keras_gates.edge.values import numbers

_PUNCTUATION = string.punctuation.encode()
_LONGEST = 1 << 20
_UNKNOWN = ("[UNK]", "<unk>", "<UNK>", "[unk]")


def tokens(text: str, vocabulary: Sequence[str], frontend: dict[str, Any]) -> np.ndarray:
    """Return the token numbers of a text as `keras.layers.TextVectorization` numbers them.

    Args:
        text: One text.
        vocabulary: The word behind each number.
        frontend: ``standardize`` ("lower_and_strip_punctuation", "lower" or None) and ``split`` ("whitespace" or
            "character"); with ``longest``, the last so many words are used, with ``first`` the first, and zeros follow a shorter
            text.

    Returns:
        int32 (time,); empty for a text without words, unless ``longest`` pads it.

    Raises:
        EdgeError: The text has a word that the vocabulary lacks although it has no ``[UNK]``, or a lone surrogate.

    Example:

    >>> tokens("Turn it off!", ["", "[UNK]", "turn", "off"], {})
    array([2, 1, 3], dtype=int32)
    """
    standardize = frontend.get("standardize", "lower_and_strip_punctuation")
    if standardize not in ("lower_and_strip_punctuation", "lower", None):
        raise EdgeError(
            f"this file needs text standardized by {standardize!r}, which keras_gates.edge does not support."
        )
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise EdgeError(f"expected a text that UTF-8 can encode, got {text[error.start]!r} in it.") from None
    # Bytes, because TensorFlow lowers and splits only at ASCII: str.lower and str.split also change É, and split at U+00A0.
    if standardize is not None:
        encoded = encoded.lower()
    if standardize == "lower_and_strip_punctuation":
        encoded = encoded.translate(None, _PUNCTUATION)
    if frontend.get("split") == "character":
        words = list(encoded.decode())
    else:
        words = [word.decode() for word in encoded.split()]
    number_of = {word: number for number, word in reversed(list(enumerate(vocabulary)))}
    unknown = next((number_of[name] for name in _UNKNOWN if name in number_of), None)
    if unknown is None and (missing := next((word for word in words if word not in number_of), None)) is not None:
        raise EdgeError(f"the file's vocabulary of {len(vocabulary)} words lacks {missing!r} and has no '[UNK]'.")
    known = np.array([number_of.get(word, unknown) for word in words], np.int32)
    limits = {key: frontend[key] for key in ("longest", "first") if frontend.get(key) is not None}
    for key, most in limits.items():
        if not isinstance(most, int) or not 0 < most <= _LONGEST:
            raise EdgeError(f"the file's front end has {key} = {most!r}; expected a number of words up to {_LONGEST}.")
        known = np.pad(known[-most:] if key == "longest" else known[:most], (0, max(0, most - len(known))))
    return known


class LogMel:
    """Audio to log-mel events, one every `hop` samples.

        power = (frame · C)² + (frame · S)²
        event = log(power · mel + floor)

    C and S are Hann-windowed cosines and sines, mel the triangular mel bands; the same as
    `keras_gates.models.layers.logmel.LogMel`.

    Args:
        sample_rate: Samples per second (Hz).
        frame: Samples per event.
        hop: Samples between the starts of two events.
        bins: Mel bands.
        low: Lower end of the lowest band in Hz.
        high: Upper end of the highest band in Hz; None is half the sample rate.
        floor: Added before the logarithm.

    Raises:
        EdgeError: The parameters contradict each other.

    Example:

    >>> LogMel(8000, frame=256, hop=128, bins=40)(np.zeros(8000, "float32")).shape
    (61, 40)
    """

    def __init__(
        self,
        sample_rate: int,
        frame: int,
        hop: int,
        bins: int,
        low: float = 60.0,
        high: float | None = None,
        floor: float = 1e-5,
    ):
        if not (0 < hop <= frame <= 1 << 16 and 0 < bins <= frame and 0 <= low < (high or sample_rate / 2)):
            raise EdgeError(
                f"the file's log-mel front end has contradictory parameters: frame {frame}, hop {hop}, bins {bins}."
            )
        self.sample_rate, self.frame, self.hop, self.floor = sample_rate, frame, hop, np.float32(floor)
        time = np.arange(frame)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * time / frame)
        angle = 2 * np.pi * np.outer(time, np.arange(frame // 2 + 1)) / frame
        self.cosines = (window[:, None] * np.cos(angle)).astype("float32")
        self.sines = (window[:, None] * np.sin(angle)).astype("float32")
        hertz = np.linspace(0, sample_rate / 2, frame // 2 + 1)[:, None]
        top = high or sample_rate / 2
        edges = np.linspace(2595 * np.log10(1 + low / 700), 2595 * np.log10(1 + top / 700), bins + 2)
        edges = 700 * (10 ** (edges / 2595) - 1)
        rise, fall = (hertz - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - hertz) / np.diff(edges)[1:]
        self.mel = np.maximum(np.minimum(rise, fall), 0).astype("float32")
        self.reset()

    def reset(self) -> None:
        """Drop the samples that wait for a whole frame."""
        self._rest = np.zeros(0, "float32")

    def __call__(self, sound: np.ndarray) -> np.ndarray:
        """Return the events (time, bins) of one recording.

        Args:
            sound: Samples (n,) in −1…1.
        """
        if len(sound) < self.frame:
            return np.zeros((0, self.mel.shape[1]), "float32")
        frames = np.lib.stride_tricks.sliding_window_view(sound, self.frame)[:: self.hop]
        power = np.square(frames @ self.cosines) + np.square(frames @ self.sines)
        return np.log(power @ self.mel + self.floor)

    def samples(self, events: int) -> int:
        """Return how many samples complete so many events."""
        return (events - 1) * self.hop + self.frame

    def push(self, sound: np.ndarray) -> np.ndarray:
        """Return the events (time, bins) that these samples complete; the remaining samples wait for the next call.

        Args:
            sound: Samples (n,) in −1…1.
        """
        sound = np.concatenate([self._rest, np.asarray(sound, "float32")])
        events = self(sound)
        self._rest = sound[len(events) * self.hop :]
        return events


def log_mel(frontend: dict[str, Any]) -> LogMel:
    """Return the `LogMel` that a file's ``frontend`` entry describes.

    Args:
        frontend: The entry, with the arguments of `LogMel`.

    Raises:
        EdgeError: The entry lacks a parameter or has one of the wrong type.

    Example:

    >>> log_mel({"kind": "log_mel", "sample_rate": 8000, "frame": 256, "hop": 128, "bins": 40}).hop
    128
    """
    names = ("sample_rate", "frame", "hop", "bins", "low", "high", "floor")
    parameters = {name: frontend[name] for name in names if frontend.get(name) is not None}
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in parameters.values()):
        raise EdgeError(f"the parameters of the file's front end must be numbers, got {parameters}.")
    try:
        return LogMel(**parameters)
    except TypeError:
        raise EdgeError(f"the file's log-mel front end needs {names[:4]}, it has {sorted(parameters)}.") from None


def scaled(values: np.ndarray, frontend: dict[str, Any]) -> np.ndarray:
    """Return standardized measurements, float32 of the same shape.

        event = (value − mean) / deviation

    Args:
        values: Measurements (…, channels) in the sensor's units.
        frontend: ``mean`` and ``deviation``, one number per channel.

    Raises:
        EdgeError: Another number of channels, or an entry without these numbers.

    Example:

    >>> scaled(np.array([[20.0, 3.0]]), {"mean": [18.0, 3.0], "deviation": [4.0, 1.0]})
    array([[0.5, 0. ]], dtype=float32)
    """
    try:
        mean, deviation = (np.array(frontend[name], "float32") for name in ("mean", "deviation"))
    except (KeyError, TypeError, ValueError):
        raise EdgeError("the file's scale front end needs 'mean' and 'deviation', one number per channel.") from None
    if mean.ndim != 1 or mean.shape != deviation.shape or not np.all(deviation > 0):
        raise EdgeError("the file's scale front end needs a mean and a deviation above 0 per channel.")
    if values.shape[-1:] != mean.shape:
        raise EdgeError(f"expected {len(mean)} channels on the last axis, got the shape {values.shape}.")
    return ((np.asarray(values, "float32") - mean) / deviation).astype("float32")


def _ending(events: np.ndarray, longest: Any) -> np.ndarray:
    """The last `longest` events of a recording, after zeros (the mean of each channel) if it is shorter."""
    if not isinstance(longest, int) or not 0 < longest <= _LONGEST:
        raise EdgeError(
            f"the file's front end has longest = {longest!r}; expected a number of time steps up to {_LONGEST}."
        )
    return np.pad(events[-longest:], ((max(0, longest - len(events)), 0), (0, 0)))


def events_of(description: Description, raw: str | np.ndarray) -> np.ndarray:
    """Apply the external front end of a file to one example; see `EdgeModel.events`.

    Args:
        description: The file.
        raw: A text, audio (samples,) or measurements (…, channels).

    Raises:
        EdgeError: The file has no such external front end.
    """
    if isinstance(raw, str):
        if not description.vocabulary:
            raise EdgeError("expected numbers, got a text: this file has no vocabulary.")
        return tokens(raw, description.vocabulary, description.frontend)
    if description.scales:
        events = scaled(numbers(raw, "the measurements"), description.frontend)
        longest = description.frontend.get("longest")
        return events if longest is None or events.ndim != 2 else _ending(events, longest)
    if not description.hears:
        raise EdgeError("this file has no external front end; pass the model's input array.")
    return log_mel(description.frontend)(numbers(raw, "the sound"))
