"""The device's share of a model: what comes after a front-end that is computed elsewhere."""

from __future__ import annotations

from typing import Any


def behind(model: Any, front: str, name: str) -> Any:
    """The part of `model` behind its layer `front`, the same layers, as a `keras.Model` of its own.

    Args:
        model: a functional `keras.Model` in which everything but its input depends on `front`.
        front: the name of the layer whose output the device gets.
        name: of the new model's input.

    Example:
        behind(keras_gates.models.load("speech"), "log_mel", "events")      # log-mel in, words out
    """
    import keras

    given = model.get_layer(front).output
    rest = keras.Model(given, model.output)
    taken = keras.Input(given.shape[1:], dtype=given.dtype, name=name)
    return keras.Model(taken, rest(taken), name=f"{model.name}_on_device")
