"""Conversion of values to what a file stores and back: checked, quantized, dequantized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_gates.edge.description import Description, Port
from keras_gates.edge.tflite import EdgeError


def numbers(value: Any, what: str) -> np.ndarray:
    """Return an array of real numbers.

    Args:
        value: An array, or nested sequences of numbers.
        what: Name of the value in the error.

    Raises:
        EdgeError: Text, objects, complex numbers or rows of unequal length.

    Example:

    >>> numbers([[1, 2], [3, 4]], "input 'x'").shape
    (2, 2)
    """
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise EdgeError(f"{what}: expected an array of numbers, got {type(value).__name__} ({error}).") from None
    if array.dtype.kind not in "fiub":
        raise EdgeError(f"{what}: expected an array of numbers, got {array.dtype}.")
    return array


def by_name(description: Description, x: Any) -> dict[str, Any]:
    """Return the value for each event input by name.

    Args:
        description: The file.
        x: The value of the only input; for several inputs a dict by name (in the file or in the Keras model), or a tuple or
            list in the file's order.

    Raises:
        EdgeError: An input is missing or unknown.
    """
    names = [port.name for port in description.events]
    values: dict[str, Any]
    if isinstance(x, Mapping):
        by_keras_name = {port.keras_name: port.name for port in description.events}
        values = {by_keras_name.get(name) or name: value for name, value in x.items()}
    elif len(names) == 1:
        values = {names[0]: x}
    elif isinstance(x, tuple | list) and len(x) == len(names):
        values = dict(zip(names, x))
    else:
        raise EdgeError(f"expected {len(names)} inputs: a dict with {names}, or a tuple in this order.")
    if set(values) != set(names):
        raise EdgeError(f"expected the inputs {names}, got {list(values)}.")
    return values


def checked(port: Port, example: np.ndarray, vocabulary: int = 0) -> np.ndarray:
    """Return values that an input can take: finite float32, or whole numbers of its type.

    Args:
        port: The input.
        example: Numbers of any shape and real type.
        vocabulary: Number of words if the values are token numbers, else 0.

    Raises:
        EdgeError: NaN, infinity, a fraction or a number out of range; the message has the position.
    """
    tensor = port.tensor
    if tensor.dtype in ("float32", "float16") or tensor.scale:
        with np.errstate(over="ignore"):
            example = example.astype(np.float32)
        if not np.isfinite(example).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(example))[0])
            raise EdgeError(f"input {port.name!r}: expected finite float32 numbers, got {example[place]} at {place}.")
        return example
    if tensor.dtype not in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"):
        raise EdgeError(f"input {port.name!r} is of type {tensor.dtype}, which keras_gates.edge does not support.")
    if not np.isfinite(example).all() or (example != np.floor(example)).any():
        raise EdgeError(
            f"input {port.name!r}: expected whole numbers ({tensor.dtype}), got {example.dtype} with fractions."
        )
    limits = np.iinfo("int8" if tensor.dtype == "bool" else tensor.dtype)
    low, high = (0, vocabulary - 1) if vocabulary else (limits.min, limits.max)
    if example.size and (example.min() < low or example.max() > high):
        raise EdgeError(f"input {port.name!r}: expected {low}…{high}, got {example.min()}…{example.max()}.")
    return example.astype(tensor.dtype)


def quantized(port: Port, real: np.ndarray) -> np.ndarray:
    """Return what the tensor stores for real numbers, clipped to its type.

        stored = round(real / scale) + zero point

    Halves round away from zero, as in the runtimes.

    Args:
        port: An input or output.
        real: Real numbers of any shape; values of a tensor without a scale only change their type.
    """
    tensor = port.tensor
    if not tensor.scale or tensor.dtype.startswith("float"):
        return np.ascontiguousarray(real, tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    scaled = real / np.float32(tensor.scale)
    whole = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)) + tensor.zero_point
    return np.clip(whole, limits.min, limits.max).astype(tensor.dtype)


def real(port: Port, stored: np.ndarray) -> np.ndarray:
    """Return the real numbers that a tensor stores, float32; whole numbers without a scale stay.

        real = (stored - zero point) · scale

    A prediction whose units are outside the graph is then multiplied by their scale, and their offset is added.

    Args:
        port: An input or output.
        stored: Values of the tensor's type, of any shape.
    """
    tensor = port.tensor
    numbers = stored.astype(np.float32) if stored.dtype.kind == "f" else stored
    if tensor.scale and not tensor.dtype.startswith("float"):
        numbers = (stored.astype(np.float32) - tensor.zero_point) * np.float32(tensor.scale)
    if port.units:
        scale, offset = (np.reshape(each, port.units.shape) for each in (port.units.scale, port.units.offset))
        return (numbers * scale + offset).astype(np.float32)
    return numbers


def stored(port: Port, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return one input as the interpreter takes it.

    Args:
        port: The input.
        columns: Checked events and lengths by input name, with their batch axis. An input that is not in it is
            explicit memory, which starts at zero.
    """
    if port.name not in columns:
        return np.full(port.tensor.shape, port.tensor.zero_point, port.tensor.dtype)
    value = quantized(port, columns[port.name])
    return value if port.role == "event" else value.reshape(port.tensor.shape)


def fed_back(source: Port, result: Port, stored: np.ndarray) -> np.ndarray:
    """Return explicit memory as the next call takes it: the same bytes if scales are equal, otherwise quantized again.

    Args:
        source: The input of the next call.
        result: The output of this call.
        stored: Values of that output.
    """
    one, other = source.tensor, result.tensor
    same = (one.scale, one.zero_point) == (other.scale, other.zero_point)
    return stored if same else quantized(source, real(result, stored))


def best(labels: Sequence[str], prediction: np.ndarray, top: int = 1) -> list:
    """Return the best classes of a prediction, best first; see `EdgeModel.best`.

    Args:
        labels: Names of the classes; classes beyond them go by number.
        prediction: Values (…, classes). A single value for two labels is the probability of the second.
        top: Number of classes.
    """
    prediction = np.asarray(prediction)
    if prediction.ndim > 1:
        return [best(labels, step, top) for step in prediction]
    if len(labels) == 2 and prediction.shape == (1,):
        prediction = np.array([1 - prediction[0], prediction[0]])
    order = np.argsort(-prediction, kind="stable")[: max(int(top), 1)]
    return [(labels[i] if i < len(labels) else int(i), float(prediction[i])) for i in order]


def predictions(description: Description, results: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the real numbers of the predictions among all outputs of a call, each (batch, …).

    Args:
        description: The file.
        results: All outputs, in the order of the file.

    Raises:
        EdgeError: An output does not have one row per example.
    """
    values = [real(port, results[place]) for place, port in description.predictions]
    for value, (_, port) in zip(values, description.predictions):
        if value.shape[:1] != (description.batch,):
            raise EdgeError(
                f"output {port.name!r}: expected {description.batch} rows, one per example, got {value.shape}; the file is "
                "damaged, or its outputs have no batch axis."
            )
    return values


def stacked(rows: list[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    """Return rows of one shape as one array; rows of several shapes stay a list."""
    return np.stack(rows) if len({row.shape for row in rows}) == 1 else rows
