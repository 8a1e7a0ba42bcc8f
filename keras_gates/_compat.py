"""Every private name of Keras and TensorFlow that this package uses, fetched once.

Nothing degrades silently: a name that is missing raises `ImportError` with the versions that have it.
"""

from __future__ import annotations

from typing import Any

import keras


def _missing(name: str, of: str) -> ImportError:
    return ImportError(
        f"{of} {getattr(keras, '__version__', '?')} has no {name}, which keras_gates uses. Install keras>=3.10,<4 with "
        "tensorflow>=2.19,<3 (docs/versions.md lists the tested pairs)."
    )


def flatten_layers(model: keras.layers.Layer, include_self: bool = True) -> list[keras.layers.Layer]:
    """The layer and every layer inside it, at any depth."""
    try:
        return list(model._flatten_layers(include_self=include_self))
    except AttributeError as error:
        raise _missing("Layer._flatten_layers", "Keras") from error


def dropout_cell() -> Any:
    """The mixin by which `keras.layers.RNN` knows that a cell draws its dropout masks before the loop."""
    for base in keras.layers.LSTMCell.__mro__:
        if base.__name__ == "DropoutRNNCell":
            return base
    raise _missing("DropoutRNNCell", "Keras")
