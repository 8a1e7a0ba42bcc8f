"""A model's input and output arrays: rows of them as tensors, texts, the fixed batch size, and back to NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


def select_examples(x: Any, rows: Any) -> Any:
    """Return some examples of a model's input as tensors.

    Args:
        x: what the model takes: one array `(batch, ...)`, or several in a list or dict.
        rows: which examples, a slice or an integer array.

    Returns:
        Tensors in the structure of `x`; texts as TensorFlow strings.
    """

    def one(array: Any) -> Any:
        return text_tensors(array[rows]) if _is_text(array) else ops.convert_to_tensor(array[rows])

    return keras.tree.map_structure(one, x)


def text_tensors(x: Any) -> Any:
    """Return a model's input with every array of texts as a TensorFlow string tensor, the only form that Keras takes.

    Args:
        x: one array `(batch, ...)`, or several in a list or dict.

    Returns:
        The same structure; arrays without texts are passed through.
    """

    def one(array: Any) -> Any:
        if not _is_text(array):
            return array
        import tensorflow as tf

        return tf.constant(array)

    return keras.tree.map_structure(one, x)


def _is_text(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "UOS"


def fixed_batch(model: keras.layers.Layer) -> int | None:
    """Return the batch size that a model was built for, or None if it takes any."""
    inputs = keras.tree.flatten(getattr(model, "inputs", None) or [])
    return inputs[0].shape[0] if inputs else None


def to_numpy(tensor: Any) -> np.ndarray:
    """Return a tensor as a NumPy array, half precisions as float32."""
    if "float16" in keras.backend.standardize_dtype(tensor.dtype):
        tensor = ops.cast(tensor, "float32")
    return np.asarray(ops.convert_to_numpy(tensor))


def padded_time(array: np.ndarray, time: int, fill: Any = 0) -> np.ndarray:
    """Return `(batch, t, ...)` with its time axis padded at the end to `time` steps of the value `fill`."""
    missing = time - array.shape[1]
    if not missing:
        return array
    return np.pad(array, [(0, 0), (0, missing), *[(0, 0)] * (array.ndim - 2)], constant_values=fill)


def concatenate_batches(arrays: list[np.ndarray], fill: Any = 0) -> np.ndarray:
    """Return batches `(batch, ...)` as one array; where their time axes (axis 1) differ, shorter ones are padded with `fill`."""
    if any(array.shape[1:] != arrays[0].shape[1:] for array in arrays):
        time = max(array.shape[1] for array in arrays)
        arrays = [padded_time(array, time, fill) for array in arrays]
    return np.concatenate(arrays)
