"""Leaving a model as it was: seeds, statistics, states of stateful layers and metrics keep their values."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import keras
import numpy as np
from keras import ops

from keras_gates._compat import flatten_layers

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def unchanged(model: keras.layers.Layer) -> Iterator[None]:
    """Give a model's variables afterwards the values that they had before the block, also when it raises.

    A forward pass changes more than one expects: a layer with `dropout` draws its masks even if it does not use them, layers
    may count calls, `stateful` layers carry their states over. New layers draw their seeds from Python's `random`.

    Args:
        model: A model or layer. Weights that are trained are not copied: a forward pass does not change them.
    """
    before = [(variable, _value(variable)) for variable in _changing(model)]
    random_state = random.getstate()
    try:
        yield
    finally:
        random.setstate(random_state)
        for variable, value in before:
            if not np.array_equal(_value(variable), value):
                variable.assign(value)


def leaves_model_unchanged(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function whose first argument is a model with `unchanged`."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        model = args[0] if args else kwargs.get("model")
        if not isinstance(model, keras.layers.Layer):
            return function(*args, **kwargs)  # it has its own words for that
        with unchanged(model):
            return function(*args, **kwargs)

    return wrapper


def _value(variable: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(variable))  # a copy: on a CPU the array may share the variable's memory


def _changing(model: keras.layers.Layer) -> list[Any]:
    """Return the variables that a forward pass may change: all that are not trained, seeds, metrics and states."""
    variables = [variable for variable in model.variables if not variable.trainable]
    variables += getattr(model, "metrics_variables", [])
    for layer in flatten_layers(model):
        if isinstance(layer, keras.layers.RNN) and layer.stateful and layer.states is not None:
            variables += keras.tree.flatten(layer.states)  # Keras does not count them among the variables
    return list({id(variable): variable for variable in variables}.values())
