"""Checks of a cell's gates: when they are passed in, and of what they return, before any loop runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras


def check_gate(cell: keras.layers.Layer, name: str, gate: Any, plain: Mapping[str, type]) -> None:
    """Check a gate that is passed to a cell.

    Args:
        cell: the `GateLSTMCell`, whose `units` are set.
        name: which gate: `"learn"`, `"forget"`, `"remember"` or `"use"`.
        gate: the custom gate.
        plain: the class of the plain gate in each place.

    Raises:
        TypeError: it is not a Keras layer.
        ValueError: it is a gate for another place, computes in another dtype, has other units, or an activity regularizer.
    """
    if not isinstance(gate, keras.layers.Layer):
        raise TypeError(f"{cell.name}: the {name} gate must be a Keras layer, got {gate!r}. Subclass keras_gates.Gate.")
    role = next((role for role, kind in plain.items() if isinstance(gate, kind)), name)
    if role != name:
        raise ValueError(
            f"{cell.name}: {name}={type(gate).__name__}(…) is a {role} gate, which computes something else; pass it as "
            f"{role}=, or a gate like keras_gates.{name.capitalize()}Gate here."
        )
    if gate.compute_dtype != cell.compute_dtype:
        raise ValueError(
            f"{cell.name}: the {name} gate computes in {gate.compute_dtype}, the cell in {cell.compute_dtype}. Give both "
            "the same `dtype`."
        )
    if gate.activity_regularizer is not None:
        raise ValueError(
            f"{cell.name}: the {name} gate has an activity_regularizer, whose loss would be lost inside the loop over "
            "time. Put it on the layer (GateLSTM or RNN) instead."
        )
    if getattr(gate, "units", cell.units) != cell.units:
        raise ValueError(f"{cell.name}: the {name} gate has {gate.units} units, the cell has {cell.units}.")


def check_value(cell: keras.layers.Layer, name: str, what: str, value: Any) -> None:
    """Check the shape and dtype of what a gate returned for symbolic inputs.

    A loop would broadcast or cast it silently.

    Args:
        cell: the `GateLSTMCell`.
        name: which gate.
        what: `"result"`, or the name of a factor, for the error.
        value: what the gate returned.

    Raises:
        ValueError: it is not a tensor of shape `(batch, units)` in the cell's compute dtype.
    """
    shape = tuple(getattr(value, "shape", ()))
    dtype = keras.backend.standardize_dtype(getattr(value, "dtype", "float32"))
    # Except on TensorFlow, Keras' operations compute the shape of a float64 result as float32.
    dtypes = {cell.compute_dtype, keras.backend.result_type(cell.compute_dtype, float)}
    if keras.backend.backend() == "torch":  # where symbolic weights show the variables' dtype
        dtypes.add(cell.variable_dtype)
    if shape != (None, cell.units) or dtype not in dtypes:
        raise ValueError(
            f"{cell.name}: the {name} gate's {what} must have the shape (batch, {cell.units}) in {cell.compute_dtype}, "
            f"got {('batch', *shape[1:]) if shape[:1] == (None,) else shape} in {dtype}."
        )


def check_store(layer: keras.layers.Layer, expected: bool, store: Any) -> None:
    """Check whether a weight file has weights for a gate, and none for the cell itself.

    Args:
        layer: the gate or cell.
        expected: whether it has weights.
        store: the file's arrays by name.

    Raises:
        ValueError: a layer of another class wrote the file.
    """
    stored = len(store.keys()) > 0
    if expected != stored:
        raise ValueError(
            f"The file has {'weights' if stored else 'no weights'} for {layer.name!r}, which has "
            f"{'its own' if expected else 'none of its own'}: another class wrote it. If that was keras.layers.LSTM, load the "
            "file into a model with keras.layers.LSTM and convert that: keras_gates.from_keras(model). Between GateLSTM and "
            "RNN(GateLSTMCell): keras_gates.convert."
        )
