"""The configuration of one run: everything its result depends on, as plain values."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_gates._files import read_json, write_json
from keras_gates.models.registry import UserError

FILE = "config.json"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What `python train.py` was asked for. A run folder holds it as config.json, metrics.json under "config".

    Attributes:
        model: name of the model in the zoo.
        preset: name of the preset.
        data: "builtin", "tfds", or the path of the user's files.
        data_dir: folder of the TFDS data sets; None is TFDS' default.
        seed: random seed.
        build: arguments of the model's `build`.
        data_arguments: arguments of the model's `data`.
        recipe: the training recipe (see `keras_gates.models.training.recipe.DEFAULTS`).
        adapt: entries of the recipe that follow the size of the data, until the run starts.
        from_weights: weights to start from: a run folder, a .keras file or "shipped".
        precision: precisions of the exported .tflite files.
        mode: "sequence" or "stream", how the .tflite files are called.
        target: "cpu" or "micro", what the .tflite files run on.
        qat: "int8" or "int4" for a short training in integers after the ordinary one; None without.
        export: whether to export at all.
        baselines: whether to train simple models for comparison.
        arguments: the command line, without the program's name.
        backend: the Keras backend that trained; None before the run starts.
    """

    model: str
    preset: str
    data: str = "builtin"
    data_dir: str | None = None
    seed: int = 0
    build: Mapping[str, Any] = field(default_factory=dict)
    data_arguments: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    adapt: tuple[str, ...] = ()
    from_weights: str | None = None
    precision: tuple[str, ...] = ("float32",)
    mode: str = "sequence"
    target: str = "cpu"
    qat: str | None = None
    export: bool = True
    baselines: bool = True
    arguments: tuple[str, ...] = ()
    backend: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as values that JSON can hold."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """Return the configuration that `to_dict` made these values of.

        Raises:
            UserError: a value is missing or has an unknown name.
        """
        known = {item.name for item in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise UserError(f"unknown entry {unknown[0]!r} in a run configuration; known: {', '.join(sorted(known))}")
        if missing := [name for name in ("model", "preset") if name not in values]:
            raise UserError(f"a run configuration needs the entry {missing[0]!r}; it has: {', '.join(sorted(values))}")
        sequences = {name: tuple(values[name]) for name in ("precision", "arguments", "adapt") if name in values}
        return cls(**{**values, **sequences})

    def write(self, folder: Path) -> None:
        """Write config.json into a run folder."""
        write_json(folder / FILE, self.to_dict())

    @classmethod
    def read(cls, folder: Path) -> RunConfig:
        """Read config.json of a run folder.

        Raises:
            UserError: there is none, or it is not a run configuration.
        """
        path = folder / FILE
        try:
            values = read_json(path)
        except FileNotFoundError as error:
            raise UserError(f"{folder} has no {FILE}: no run was started there") from error
        except json.JSONDecodeError as error:
            raise UserError(f"{path} is not valid JSON ({error}); start the run again") from error
        try:
            return cls.from_dict(values)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
