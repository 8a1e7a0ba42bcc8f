"""Making a Keras object again from its constructor arguments, in memory: functions and objects are carried over as they are.

A config, as Keras saves it, holds functions and classes by name. Those that are not registered, lambdas and `Lambda` layers do
not come back from it, and a user's function that is called `relu` comes back as Keras' own.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import keras

from keras_gates._compat import compile_arguments

Part = Callable[[Any], Any]  # from a layer inside another to the one to pass in its place

_BASE = ("name", "trainable", "dtype")  # what Keras adds to a config, whether or not the constructor accepts it


def arguments_of(thing: Any, part: Part, get_config: Callable[[], dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return the constructor arguments of a layer, operation, optimizer or metric, with functions and objects as such.

    Args:
        thing: the Keras object.
        part: called with each layer among the arguments; returns the layer to pass in its place.
        get_config: where the names of the arguments come from; default: `thing.get_config`.

    Returns:
        What the constructor takes.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns of lambdas in a config; they are not taken from it
            config = (get_config or thing.get_config)()
    except NotImplementedError:  # a class without `get_config`: what it stores in attributes of its arguments' names
        names = [*inspect.signature(type(thing).__init__).parameters][1:]
        config = {name: getattr(thing, name) for name in (*names, *_BASE) if hasattr(thing, name)}
    arguments = {name: _live(thing, name, value, part) for name, value in config.items()}
    if "dtype" in arguments and isinstance(thing, keras.layers.Layer):
        arguments["dtype"] = thing.dtype_policy
    return arguments


def again(thing: Any, part: Part | None = None) -> Any:
    """Return a new object of the same class, made with the same arguments, without weights or state.

    Args:
        thing: a layer, operation, optimizer or metric. A layer without variables whose arguments are not known is returned
            itself: sharing it does no harm.
        part: as for `arguments_of`; default: layers inside are made again, too.

    Raises:
        TypeError: its arguments are not known.
    """
    part, cls = part or again, type(thing)
    try:
        arguments = arguments_of(thing, part)
        own = not cls.from_config.__module__.startswith(("keras.", "keras_gates."))
        if own and any(isinstance(value, dict) and "class_name" in value for value in arguments.values()):
            with keras.saving.custom_object_scope({cls.__name__: cls}):
                return cls.from_config(thing.get_config())  # which deserializes what the constructor takes as objects
        accepted = inspect.signature(cls.__init__).parameters
        for name in [*accepted][1:]:  # what a config without all arguments leaves out
            parameter = accepted[name]
            required = parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            if required and name not in arguments and hasattr(thing, name):
                arguments[name] = _live(thing, name, getattr(thing, name), part)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values()):
            arguments = {name: value for name, value in arguments.items() if name in accepted or name not in _BASE}
        new = cls(**arguments)
    except Exception as error:
        if isinstance(thing, keras.Operation) and not getattr(thing, "variables", None):
            return thing
        raise TypeError(
            f"{getattr(thing, 'name', thing)} ({cls.__name__}) cannot be made again: {_first_sentence(error)} Give the class a "
            "get_config that returns its constructor's arguments."
        ) from None
    if isinstance(thing, keras.layers.Layer):
        new.name, new.trainable = thing.name, thing.trainable
    return new


def compile_like(model: keras.Model, source: keras.Model) -> None:
    """Compile a model with the arguments of a compiled one: the same functions, a new optimizer, new metrics.

    Args:
        model: the model to compile.
        source: the compiled model.

    Raises:
        TypeError: the arguments of its optimizer or of a metric are not known.
    """

    def fresh(value: Any) -> Any:
        return again(value) if isinstance(value, keras.optimizers.Optimizer | keras.metrics.Metric) else value

    arguments = compile_arguments(source)
    model.compile(**{name: keras.tree.map_structure(fresh, value) for name, value in arguments.items()})


def _live(thing: Any, name: str, value: Any, part: Part) -> Any:
    """Return an argument as an object; `value` is how the config has it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    for attribute in (name, f"_{name}"):
        actual = getattr(thing, attribute, None)
        if isinstance(actual, keras.Operation):
            return part(actual)
        if isinstance(actual, list | tuple) and any(isinstance(one, keras.Operation) for one in actual):
            return [part(one) if isinstance(one, keras.Operation) else one for one in actual]
        if isinstance(actual, keras.optimizers.Optimizer):  # inside a LossScaleOptimizer
            return again(actual)
        if callable(actual) or hasattr(actual, "get_config"):
            return actual
    return value


def _first_sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".:") + "." if lines else f"{type(error).__name__}."
