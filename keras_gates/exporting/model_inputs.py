"""Names, shapes and types of what goes into a model and comes out of it, and samples of it."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from keras_gates import _compat
from keras_gates.exporting.report import ExportError

_AUTOMATIC = re.compile(r"^(keras_tensor|input_layer|input)(_\d+)*$")
DEFAULT_STEPS = 16
Sample = list[np.ndarray]  # one array per input, each with a batch axis of 1


@dataclass(frozen=True)
class ModelInput:
    """One input of a model.

    Attributes:
        name: its name in the file, an ASCII identifier.
        keras_name: its name in the model.
        shape: without the batch axis; None for an open time axis.
        dtype: "float32", "int32" or "bool".
        time: whether axis 1 (after the batch) is time.
    """

    name: str
    keras_name: str
    shape: tuple[int | None, ...]
    dtype: str
    time: bool

    def sized(self, batch: int | None, steps: int | None) -> tuple[int | None, ...]:
        """Return the whole shape for a batch size and a number of time steps."""
        return (batch, steps, *self.shape[1:]) if self.time else (batch, *self.shape)

    def spec(self, batch: int | None, steps: int | None) -> tf.TensorSpec:
        """Return the same as a TensorSpec."""
        return tf.TensorSpec(self.sized(batch, steps), self.dtype, name=self.name)


@dataclass(frozen=True)
class Inputs:
    """A model's inputs in flat order.

    Attributes:
        ports: the inputs.
        pack: turns a flat list of tensors into the structure that the model takes.
    """

    ports: tuple[ModelInput, ...]
    pack: Callable[[list], Any]

    @property
    def steps(self) -> int | None:
        """The number of time steps that the model fixes, or None."""
        return next((port.shape[0] for port in self.ports if port.time and port.shape[0]), None)

    def open_specs(self, batch: int | None) -> list[tf.TensorSpec]:
        """Return the inputs as TensorSpecs, with time as open as the model leaves it."""
        return [tf.TensorSpec((batch, *port.shape), port.dtype, name=port.name) for port in self.ports]

    @property
    def timed(self) -> bool:
        """Whether any input has a time axis."""
        return any(port.time for port in self.ports)


def inputs_of(model: keras.Model) -> Inputs:
    """Return a model's inputs.

    Args:
        model: A built model.

    Raises:
        ExportError: the model is not built, or an axis other than batch and time is open.
    """
    structure = _compat.input_structure(model)
    if structure is None and isinstance(model, keras.Sequential) and model.built:
        structure = model.inputs[0]
    if structure is None:
        structure = _built_with(model)
    flat = tree.flatten(structure)
    names = unique([_clean(x.name) for x in flat], "event")
    ports = []
    for name, x in zip(names, flat):
        shape, dtype = tuple(x.shape[1:]), keras.backend.standardize_dtype(x.dtype)
        dtype = "float32" if dtype in ("float16", "bfloat16", "float64") else "int32" if "int" in dtype else dtype
        time = bool(shape) and (shape[0] is None or len(shape) in (2, 4) or (len(shape) == 1 and dtype == "int32"))
        if None in shape[1:]:
            raise ExportError(
                f"{model.name}: input {x.name!r} has the shape {tuple(x.shape)}; only batch and time (axis 1) may be open. "
                "Give the other axes a size in keras.Input."
            )
        ports.append(ModelInput(name, x.name, shape, dtype, time))
    return Inputs(tuple(ports), lambda flat: tree.pack_sequence_as(structure, list(flat)))


def _built_with(model: keras.Model) -> Any:
    if getattr(model, "inputs", None):
        return model.inputs[0] if len(model.inputs) == 1 else list(model.inputs)
    built = model.get_build_config() or {}
    shapes = built.get("input_shape", built.get("shapes_dict"))
    if shapes is None:
        raise ExportError(
            f"{model.name} is not built, so its input is unknown. First call it on a batch of data, or `model.build(shape)`."
        )
    embeds = any(isinstance(layer, keras.layers.Embedding) for layer in _compat.flatten_layers(model))

    def tensor(path: tuple[Any, ...], shape: tuple[int | None, ...]) -> keras.KerasTensor:
        name = str(path[-1]) if path and isinstance(path[-1], str) else "event"
        dtype = "int32" if embeds and len(shape) == 2 else model.input_dtype  # Keras records the shapes alone
        return keras.KerasTensor(tuple(shape), dtype=dtype, name=name)

    return _map_shapes(tensor, shapes)


def _map_shapes(function: Callable, shapes: Any, path: tuple[Any, ...] = ()) -> Any:
    """Return `function(path, shape)` in the place of every shape in nested dicts, lists and tuples of shapes."""
    if isinstance(shapes, dict):
        return {key: _map_shapes(function, value, (*path, key)) for key, value in shapes.items()}
    if all(size is None or isinstance(size, int) for size in shapes):
        return function(path, shapes)
    return type(shapes)(_map_shapes(function, value, (*path, number)) for number, value in enumerate(shapes))


def output_names(model: keras.Model, count: int) -> list[str]:
    """Return names for the model's flat outputs: the user's if there are any, else prediction, prediction_1, …"""
    if count == 1:
        return ["prediction"]
    structure = _compat.output_structure(model)
    if isinstance(structure, dict):
        return unique([re.sub(r"\W", "_", str(name)) for name in structure], "prediction")
    names = list(getattr(model, "output_names", ()))
    return unique(names if len(names) == count else [""] * count, "prediction")


def is_made_up(name: str) -> bool:
    """Return whether Keras, not the user, gave an input this name."""
    return bool(_AUTOMATIC.match(name))


def _clean(name: str) -> str:
    """Return an identifier that TensorFlow and the converter leave as it is; "" for a name that Keras made up."""
    if is_made_up(name):
        return ""
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not name[0].isalpha():
        name = f"input_{name.lstrip('_')}"
    return f"{name}_" if keyword.iskeyword(name) or name == "self" else name


def unique(names: list[str], default: str) -> list[str]:
    """Return the names with a number in place of empty ones, and after repetitions an underscore."""
    unnamed = names.count("")
    filled, number = [], 0
    for name in names:
        if not name:
            number += 1
            name = default if unnamed == 1 else f"{default}_{number}"
        while name in filled:
            name += "_"
        filled.append(name)
    return filled


def random_samples(
    model: keras.Model, inputs: Inputs, steps: int | None, count: int = 8, vocabulary: int = 0
) -> list[Sample]:
    """Return random inputs, the same at every call: standard normal events, tokens within the smallest embedding.

    Args:
        model: The model.
        inputs: Its inputs.
        steps: Time steps per sample.
        count: Number of samples.
        vocabulary: Number of words in the file's vocabulary; tokens stay below it. 0: it has none.
    """
    generator = np.random.default_rng(0)
    sizes = [layer.input_dim for layer in _compat.flatten_layers(model) if isinstance(layer, keras.layers.Embedding)]
    tokens = min([*sizes, *([vocabulary] if vocabulary else [])], default=2)

    def draw(port: ModelInput) -> np.ndarray:
        shape = [size for size in port.sized(1, steps) if size is not None]
        if port.dtype == "float32":
            return generator.normal(size=shape).astype("float32")
        return generator.integers(min(1, tokens - 1), max(tokens, 1), size=shape).astype(port.dtype)

    return [[draw(port) for port in inputs.ports] for _ in range(count)]
