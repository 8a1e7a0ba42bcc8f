"""The names, shapes and types that go into a model and come out of it, with batch and time fixed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from keras_gates.exporting.report import ExportError

_AUTOMATIC = re.compile(r"^(keras_tensor|input_layer|input)(_\d+)*$")
DEFAULT_STEPS = 16


@dataclass(frozen=True)
class Port:
    """One input: its name in the file, its shape without the batch (None where time is open), type, whether axis 1 is time."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    time: bool

    def sized(self, batch: int, steps: int | None) -> tuple[int, ...]:
        """The whole shape for this batch and number of steps."""
        return (batch, steps, *self.shape[1:]) if self.time else (batch, *self.shape)

    def spec(self, batch: int | None, steps: int | None) -> tf.TensorSpec:
        """The same as a TensorSpec."""
        return tf.TensorSpec(self.sized(batch, steps), self.dtype, name=self.name)


@dataclass(frozen=True)
class Inputs:
    """A model's inputs in flat order; `pack` makes of flat tensors what the model takes."""

    ports: tuple[Port, ...]
    pack: Callable[[list], Any]

    @property
    def steps(self) -> int | None:
        """The number of steps the model itself fixes, or None."""
        return next((port.shape[0] for port in self.ports if port.time and port.shape[0]), None)

    def open_specs(self, batch: int | None) -> list[tf.TensorSpec]:
        """Time as open as the model leaves it."""
        return [tf.TensorSpec((batch, *port.shape), port.dtype, name=port.name) for port in self.ports]

    @property
    def timed(self) -> bool:
        return any(port.time for port in self.ports)


def inputs_of(model: keras.Model) -> Inputs:
    """Read a model's inputs.

    Raises:
        ExportError: the model is not built, or an axis other than batch and time is open.
    """
    structure = getattr(model, "_inputs_struct", None)
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
        ports.append(Port(name, shape, dtype, time))
    return Inputs(tuple(ports), lambda flat: tree.pack_sequence_as(structure, list(flat)))


def _built_with(model: keras.Model) -> Any:
    if getattr(model, "inputs", None):
        return model.inputs[0] if len(model.inputs) == 1 else list(model.inputs)
    shape = (model.get_build_config() or {}).get("input_shape")
    if shape is None:
        raise ExportError(
            f"{model.name} is not built, so its input is unknown. Call it on a batch of data, or `model.build(shape)`, first."
        )
    return keras.KerasTensor(tuple(shape), dtype=model.input_dtype, name="event")


def output_names(model: keras.Model, count: int) -> list[str]:
    """Names for the model's flat outputs: its own where the user gave them."""
    if count == 1:
        return ["prediction"]
    structure = getattr(model, "_outputs_struct", None)
    if isinstance(structure, dict):
        return unique([re.sub(r"\W", "_", str(name)) for name in structure], "prediction")
    names = list(getattr(model, "output_names", ()))
    return unique(names if len(names) == count else [""] * count, "prediction")


def _clean(name: str) -> str:
    name = re.sub(r"\W", "_", name)
    return "" if _AUTOMATIC.match(name) else name


def unique(names: list[str], default: str) -> list[str]:
    """The names, empty ones and repetitions numbered."""
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
