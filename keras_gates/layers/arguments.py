"""Constructor arguments of gates, cell and layer: those shared with `keras.layers.LSTMCell`, and checks of the others."""

from __future__ import annotations

import operator
from typing import Any, TypedDict

import keras

FORMAT = 1  # of the configs in saved files; raised when a config means something else than before

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


class LayerOptions(TypedDict, total=False):
    """What `**kwargs` of cell and layer may hold, so that type checkers reject any other name."""

    name: str | None
    dtype: Any
    trainable: bool
    autocast: bool
    zero_output_for_mask: bool
    input_shape: tuple[int | None, ...]
    format: int


def resolve(scope: dict[str, Any]) -> dict[str, Any]:
    """Return the shared arguments in `scope` (a constructor's `locals()`) as objects: `"tanh"` becomes the function."""
    return {name: scope[name] if kind is None else kind.get(scope[name]) for name, kind in _KINDS.items()}


def serialize(layer: keras.layers.Layer) -> dict[str, Any]:
    """Return the shared arguments of `layer` as a config."""
    values = {name: getattr(layer, name) for name in SHARED}
    return {name: value if _KINDS[name] is None else _KINDS[name].serialize(value) for name, value in values.items()}


def positive_integer(value: Any, name: str, owner: str) -> int:
    """Return `value` as an `int`.

    Raises:
        ValueError: it is not a positive integer.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if isinstance(value, bool) or number <= 0:
        raise ValueError(f"{owner}: `{name}` must be a positive integer, got {value!r}.")
    return number


def known_formulation(formulation: str, owner: str) -> str:
    """Return `formulation` if it is `"standard"` or `"article"`.

    Raises:
        ValueError: it is neither.
    """
    if formulation not in ("standard", "article"):
        raise ValueError(f"{owner}: `formulation` must be 'standard' or 'article', got {formulation!r}.")
    return formulation


def checked_saturation(saturation: float | None, cell: Any) -> float | None:
    """Return `saturation` of a layer over a cell as a float, or None.

    Raises:
        ValueError: it is no positive number, or the cell does not add up the gates' inputs for all time steps at once.
    """
    if saturation is None:
        return None
    number = isinstance(saturation, int | float) and not isinstance(saturation, bool)
    if not number or not 0 < saturation < float("inf"):
        raise ValueError(f"GateLSTM: `saturation` must be a positive number or None, got {saturation!r}.")
    if not cell.is_plain or cell.implementation == 1:
        own = "recurrent_dropout or implementation=1" if cell.is_plain else "a custom gate"
        raise ValueError(f"GateLSTM: `saturation` needs the built-in gates with one dropout mask for all, got {own}.")
    return float(saturation)


def check_format(written: int) -> None:
    """Check the format number of a config, which `get_config` writes and the constructor accepts.

    Raises:
        ValueError: the config was written in a later format than this version reads.
    """
    if written > FORMAT:
        raise ValueError(
            f"This layer was saved in format {written}; this version of keras_gates reads up to {FORMAT}. Update keras_gates."
        )


def deserialize_gate(gate: Any) -> Any:
    """Return the gate of a config, as `keras.initializers.get` does for an initializer; anything else as it is."""
    return keras.saving.deserialize_keras_object(gate) if isinstance(gate, dict) else gate
