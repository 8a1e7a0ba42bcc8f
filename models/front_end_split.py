"""Splits a model in two: the front end, which something else computes, and the rest, which runs on the device."""

from __future__ import annotations

from typing import Any

from keras_gates.models.lazy import keras


def without_front_end(model: Any, front: str, name: str) -> Any:
    """Return the part of a model after its layer `front` as a new `keras.Model` with the same layers.

    Args:
        model: a functional `keras.Model` in which everything except the input depends on `front`.
        front: name of the layer whose output becomes the new model's input.
        name: of the new model's input.

    Example:
        without_front_end(keras_gates.models.load("speech"), "log_mel", "events")      # from log-mel events to words
    """
    from keras_gates.quantization.aware import is_quantize_aware  # imports Keras

    output = model.get_layer(front).output
    rest = keras.Model(output, model.output)
    events = keras.Input(output.shape[1:], dtype=output.dtype, name=name)
    answer = rest(events)
    if is_quantize_aware(model):  # whose layers are looked for in the model itself, not in one inside it
        answer = keras.models.clone_model(rest, input_tensors=events, clone_function=lambda layer: layer).output
    return keras.Model(events, answer, name=f"{model.name}_on_device")
