"""Keras, TensorFlow and JAX, imported at their first use: `python train.py --list` and `--help` start without them.

A model file describes a model (presets, recipe, data sources) and builds it. Reading the description must not cost the
seconds that importing Keras takes, so model files and loaders take Keras from here:

    from keras_gates.models.lazy import keras, tf

Modules that define Keras classes (`layers/`, `training/fitting.py`, …) import Keras itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["jax", "keras", "lazy_function", "tf"]


class _LazyModule(ModuleType):
    """A module whose first attribute access imports it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # tools that inspect this object must not import anything
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)


def lazy_function(path: str) -> Callable[..., Any]:
    """Return a function that imports its implementation when it is called.

    Args:
        path: "module:function".

    Example:

    >>> square_root = lazy_function("math:sqrt")
    >>> square_root(9)
    3.0
    """
    module, _, name = path.partition(":")

    def call(*arguments: Any, **named: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*arguments, **named)

    call.__name__, call.__doc__ = name, f"See `{path}`."
    return call


if TYPE_CHECKING:
    import jax
    import keras
    import tensorflow as tf
else:
    jax, keras, tf = _LazyModule("jax"), _LazyModule("keras"), _LazyModule("tensorflow")
