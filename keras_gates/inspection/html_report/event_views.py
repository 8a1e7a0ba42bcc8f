"""Events as a person sees them: words, pictures, the rows of a picture, a waveform, or curves."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_gates._compat import flatten_layers

PUNCTUATION = re.compile(r"[!\"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']")


def shown_events(model: keras.layers.Layer, x: np.ndarray, time: int, vocabulary: Sequence[str] = ()) -> dict[str, Any]:
    """Return how the events of one example can be shown.

    Args:
        model: The model; a layer in it may know the vocabulary.
        x: The example without its batch dimension: a text, numbers, pictures, samples or values.
        time: The number of events.
        vocabulary: The word or character behind each number.

    Returns:
        A dict with `kind`: "words" (`items`), "pictures" (`png`, `width`, `height`: one next to the other), "rows" (`png`,
        `width`, `height`, `per`: "row" or "pixel"), "wave" (`samples`) or "series" (`values (time, features)`).
    """
    x = np.asarray(x)
    if x.dtype.kind in "USO":
        return {"kind": "words", "items": _words(x.item(), time)}
    if x.ndim == 1 and x.dtype.kind in "iu" and len(x) == time:
        names = vocabulary or _vocabulary(model)
        return {"kind": "words", "items": [str(names[n]) if n < len(names) else str(n) for n in x.tolist()]}
    if x.ndim in (3, 4) and len(x) == time and x.shape[1] > 3:
        pictures = _as_bytes(x if x.ndim == 4 else x[..., None])
        height, width = pictures.shape[1:3]
        return {
            "kind": "pictures",
            "png": png(np.concatenate(list(pictures), axis=1)),
            "width": width,
            "height": height,
        }
    if x.ndim == 2 and min(x.shape) > 3 and time == x.size:
        return _rows(x, "pixel")
    if x.ndim == 2 and x.dtype.kind in "iuf" and len(x) == time and _is_picture(x):
        return _rows(x, "row")
    if x.ndim in (1, 2) and x.size > 4 * time and x.shape[0] > time:
        samples = x if x.ndim == 1 else x[:, 0]
        return {"kind": "wave", "samples": _envelope(samples.astype("float64"), 1600)}
    values = x.reshape(time, -1) if x.size and x.size % time == 0 else np.zeros((time, 0))
    return {"kind": "series", "values": values.astype("float32")}


def _words(text: Any, time: int) -> list[str]:
    """Return the words that the zoo's text models see (`models/layers/words.py`): a word of nothing but punctuation is none."""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    words = [word for word in text.split() if PUNCTUATION.sub("", word)][-time:]
    return words + [""] * (time - len(words))


def _vocabulary(model: keras.layers.Layer) -> Sequence[str]:
    return next((layer.vocabulary for layer in flatten_layers(model) if getattr(layer, "vocabulary", None)), ())


def _is_picture(x: np.ndarray) -> bool:
    """Whether a (time, features) array looks like a picture: brightness from 0 to 255, as many columns as a picture has."""
    return x.min() >= 0 and 15 < x.max() <= 255 and x.shape[1] > 3 and x.shape[0] <= 4 * x.shape[1] and np.ptp(x) > 15


def _rows(x: np.ndarray, per: str) -> dict[str, Any]:
    return {
        "kind": "rows",
        "png": png(_as_bytes(255 - x)[..., None]),
        "width": x.shape[1],
        "height": x.shape[0],
        "per": per,
    }


def _as_bytes(x: np.ndarray) -> np.ndarray:
    x = x.astype("float64")
    if x.min() < 0 or x.max() <= 1:
        x = (x - x.min()) / max(np.ptp(x), 1e-9) * 255
    return np.clip(x, 0, 255).round().astype("uint8")


def _envelope(samples: np.ndarray, points: int) -> np.ndarray:
    """Return the lowest and highest sample of each of `points` stretches, `(points, 2)`, scaled to -1 to 1."""
    edges = np.linspace(0, len(samples), min(points, len(samples)) + 1).astype(int)
    ends = np.stack([np.minimum.reduceat(samples, edges[:-1]), np.maximum.reduceat(samples, edges[:-1])], axis=-1)
    return (ends / max(np.abs(ends).max(), 1e-9)).astype("float32")


def png(picture: np.ndarray) -> str:
    """Return a `uint8` picture `(height, width, 1 or 3)` as the `data:` URL of a PNG."""
    height, width, channels = picture.shape
    if channels not in (1, 3):
        picture, channels = picture[..., :1], 1
    rows = np.concatenate([np.zeros((height, 1), "uint8"), picture.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    file = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9))
        + chunk(b"IEND", b"")
    )
    return "data:image/png;base64," + base64.b64encode(file).decode()
