"""A model's input and output arrays: rows of them as tensors, texts, the fixed batch size, and back to NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates._errors import InvalidArgument

NUMBERS = 2**21  # of the largest array in one pass: rows are computed together until this size is reached


def rows_per_pass(numbers: float) -> int:
    """Return how many rows a pass computes together, at least one, if its largest array has this many numbers per row."""
    return max(1, int(NUMBERS // max(numbers, 1)))


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


def check_examples(model: Any, x: Any, caller: str) -> None:
    """Raise a sentence where `x` cannot be a model's input, before Keras raises a page.

    Args:
        model: A Keras model or layer.
        x: What the model is to be called on.
        caller: The function that the error names.

    Raises:
        TypeError: `model` is no Keras model.
        InvalidArgument: A list instead of an array, one example without a batch axis, another shape or number of inputs than the
            model takes, or no example.
    """
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"{caller}: expected a Keras model, got a {type(model).__name__}.")
    wanted = [tuple(tensor.shape) for tensor in keras.tree.flatten(getattr(model, "inputs", None) or [])]
    arrays = keras.tree.flatten(x)
    if any(not hasattr(array, "shape") for array in arrays):
        raise InvalidArgument(
            f"{caller}: x must be {_described(wanted)}, got a {type(x).__name__} of numbers or texts; pass numpy.asarray(x)."
        )
    if wanted and len(arrays) != len(wanted):
        raise InvalidArgument(f"{caller}: {model.name} takes {_described(wanted)}, got {len(arrays)} arrays.")
    for array, shape in zip(arrays, wanted):
        _check_shape(tuple(array.shape), shape, f"{caller}: {model.name} takes {_described([shape])}")
    if not arrays or not len(arrays[0]):
        raise InvalidArgument(f"{caller}: x holds no example.")


def _check_shape(given: tuple[Any, ...], wanted: tuple[Any, ...], what: str) -> None:
    def fits(shape: tuple[Any, ...], rest: tuple[Any, ...]) -> bool:
        return len(shape) == len(rest) and all(b in (None, a) for a, b in zip(shape, rest))

    # Keras adds or removes a last axis of size 1.
    if (
        fits(given[1:], wanted[1:])
        or fits((*given, 1)[1:], wanted[1:])
        or (given[-1:] == (1,) and fits(given[1:-1], wanted[1:]))
    ):
        return
    if fits(given, wanted[1:]):
        raise InvalidArgument(f"{what}, got one example without the batch axis, of shape {given}; pass x[None].")
    raise InvalidArgument(f"{what}, got the shape {given}.")


def _described(shapes: list[tuple[Any, ...]]) -> str:
    """Return in words which arrays a model takes: the batch axis and sizes that may vary by name."""
    if len(shapes) != 1:
        return f"{len(shapes)} arrays" if shapes else "an array (batch, ...)"
    sizes = ["batch", *("any" if size is None else str(size) for size in shapes[0][1:])]
    return f"an array ({', '.join(sizes)})"
