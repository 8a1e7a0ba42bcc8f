"""The constructor arguments that gates, cell and layer share with `keras.layers.LSTMCell`: resolved and serialized once."""

from __future__ import annotations

from typing import Any

import keras

_KINDS = {
    "activation": keras.activations,
    "recurrent_activation": keras.activations,
    "use_bias": None,
    "kernel_initializer": keras.initializers,
    "recurrent_initializer": keras.initializers,
    "bias_initializer": keras.initializers,
    "unit_forget_bias": None,
    "kernel_regularizer": keras.regularizers,
    "recurrent_regularizer": keras.regularizers,
    "bias_regularizer": keras.regularizers,
    "kernel_constraint": keras.constraints,
    "recurrent_constraint": keras.constraints,
    "bias_constraint": keras.constraints,
}
SHARED = tuple(_KINDS)


def resolve(scope: dict[str, Any]) -> dict[str, Any]:
    """The shared arguments found in `scope` (a constructor's `locals()`), as objects: `"tanh"` becomes the function."""
    return {name: scope[name] if kind is None else kind.get(scope[name]) for name, kind in _KINDS.items()}


def serialize(layer: keras.layers.Layer) -> dict[str, Any]:
    """The shared arguments of `layer` as a config."""
    values = {name: getattr(layer, name) for name in SHARED}
    return {name: value if _KINDS[name] is None else _KINDS[name].serialize(value) for name, value in values.items()}
