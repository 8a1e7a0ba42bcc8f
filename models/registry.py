"""The models of the zoo, and what the description of a model contains.

A model is one module of this folder that ends in `MODEL = ZooModel(...)` and whose name is listed in `NAMES` below: presets
and recipe as plain dicts, and the functions that build it and load its data. Importing the module must be quick (`train.py
--list` imports all of them), so it takes Keras and TensorFlow from `keras_gates.models.lazy`, which imports them at their first
use; functions of slow modules are named by `lazy_function("module:function")`. train.py does the rest (options, fitting,
resuming, checkpoints, export, verification, run folder, report) and calls only what is named here.

**Presets** are plain dicts; the first is the default:

    PRESETS = {"rows": {"about": "one row per event", "build": {"units": 128}, "recipe_for": {"tfds": {"epochs": 12}}}}

    about        one line for a newcomer
    build        keyword arguments of `build`
    data         keyword arguments of `data`
    recipe       entries that replace those of the model's recipe
    recipe_for   entries that replace them for one data source: "builtin", "tfds" or "files"

**Recipe**, a plain dict; missing entries have the values in `keras_gates.models.training.recipe.DEFAULTS`:

    epochs, batch_size, learning_rate (its peak)
    schedule         "constant", "cosine" (decay to zero)
    warmup           share of all steps in which the learning rate rises from zero
    optimizer        "adam" or "sgd"; with weight_decay (decoupled), momentum (of sgd), clipnorm
    loss, metrics    as `keras.Model.compile` takes them
    monitor          the quantity that decides which checkpoint is best, e.g. "val_accuracy"
    patience         epochs without improvement before training stops; None never stops early

**`build(**arguments)` → keras.Model**, not compiled; every argument has a default. It is called with the preset's `build`, then
`Data.build` (what follows from the data: classes, shapes, vocabulary), then the options of the command line (`units`,
`formulation`). The model takes raw input (pictures 0…255, audio, text, sensor values): it contains its front end, and its
output has a name and dtype float32.

**`data(source, data_dir=None, seed=0, **arguments)` → Data**, see keras_gates/models/data/pipeline.py. `source` is "builtin",
"tfds", or the path of the user's files; `data_dir` is the folder of the TFDS data sets (open them with
`keras_gates.models.data.tfds.open_tfds`). The split into train, validation and test does not depend on `seed`. Errors that the
user can correct are `UserError`s: one line with what was expected, what was given, and what to do.

Optional functions:

    compile(model, recipe, steps)      replaces the default compile; steps is the number of all training steps or None
    callbacks(model)                   → list of `keras.callbacks.Callback` for training
    judge(model, data, folder)         → Judgement: scores on the test split, pictures written into folder, example
                                       predictions; default: the metrics, a confusion matrix and a few predictions
    device(model, precision)           → DeviceModel, if the device cannot run the whole model
    compare(config, folder, verbose)   → Judgement: `python train.py NAME --compare`
    numeric(model)                     → (part, prepare): the part of a model after its strings, with the same weights, and what
                                       turns one input into the part's, in TensorFlow operations
    score(data, outputs, targets)      → name → number, for the exported files of a model that does not predict one class
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from keras_gates._errors import GatesError
from keras_gates._files import read_json
from keras_gates.models.lazy import keras

NAMES = ("show", "digits", "speech", "gesture", "text", "language", "forecast")
WEIGHTS = Path(__file__).parent / "weights"
PRECISIONS = ("float32", "float16", "dynamic", "int8", "int4")  # of .tflite files, the default first


class UserError(GatesError, ValueError):
    """An error that the user can correct: train.py prints its message in one line, without a traceback."""


@dataclass
class Judgement:
    """The evaluation of a trained model, for metrics.json, the report and the table on the screen.

    Attributes:
        scores: name → number, e.g. {"accuracy": 0.985}; `--list` shows the first.
        pictures: (file name in the run folder, caption).
        text: lines of Markdown for the report: example predictions, tables.
    """

    scores: dict[str, float] = field(default_factory=dict)
    pictures: list[tuple[str, str]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)


class DeviceModel(NamedTuple):
    """The part of a model that runs on a device, and what happens before it.

    Attributes:
        core: a `keras.Model` of the device's part, with the same layers.
        prepare: turns a NumPy batch for the whole model into a NumPy batch for `core`.
        metadata: entries for the .tflite file; its "frontend" describes what `keras_gates.edge` computes before `core`.
    """

    core: Any
    prepare: Callable[[Any], Any]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ZooModel:
    """One model of the zoo. This module's docstring describes what each field must contain.

    Attributes:
        name: the module's name, and the word after `python train.py`.
        line: one line for `--list`.
        task: what it does, in a word or two ("spoken words").
        build: builds the `keras.Model`.
        data: loads the data.
        presets: name → plain dict; the first is the default.
        recipe: the training recipe.
        builtin: one line about the built-in data; empty if there is none.
        tfds: names of the TFDS data sets that it loads.
        files: one line about the format of the user's files; empty if it reads none.
        published: published results for comparison, each {"figure", "value", "source", "protocol"}.
        tried: experiments and their results, one sentence each.
        compile: replaces the default compile.
        start: sets initial weights from the training data, if the recipe says `linear_start`.
        callbacks: further callbacks for training.
        judge: replaces the default evaluation.
        device: returns the part that runs on a device.
        compare: trains and compares the model's alternatives.
        score: scores outputs that are no classes.
        numeric: the part of a model that JAX and PyTorch can train, if its input is text.
    """

    name: str
    line: str
    task: str
    build: Callable[..., Any]
    data: Callable[..., Any]
    presets: Mapping[str, Mapping[str, Any]]
    recipe: Mapping[str, Any]
    builtin: str = ""
    tfds: tuple[str, ...] = ()
    files: str = ""
    published: tuple[Mapping[str, Any], ...] = ()
    tried: tuple[str, ...] = ()
    compile: Callable[..., None] | None = None
    start: Callable[..., None] | None = None
    callbacks: Callable[..., list] | None = None
    judge: Callable[..., Any] | None = None
    device: Callable[..., Any] | None = None
    compare: Callable[..., Any] | None = None
    score: Callable[..., Mapping[str, float]] | None = None
    numeric: Callable[..., tuple[Any, Callable[[Any], Any]]] | None = None

    def preset(self, name: str | None = None) -> tuple[str, Mapping[str, Any]]:
        """Return a preset's name and its dict; None is the first.

        Raises:
            UserError: there is no preset of that name.
        """
        preset = name or next(iter(self.presets))
        if preset not in self.presets:
            raise UserError(f"{self.name} has no preset {preset!r}; it has: {', '.join(self.presets)}")
        return preset, self.presets[preset]


def names() -> tuple[str, ...]:
    """Return the names of all models, in the order of `python train.py --list`."""
    return NAMES


def find(name: str) -> ZooModel:
    """Return the description of a model.

    Args:
        name: one of `names()`.

    Returns:
        The description: presets, recipe, and the functions that build it and load its data.

    Raises:
        UserError: there is no model of that name.
    """
    if name not in NAMES:
        raise UserError(f"there is no model {name!r}; the zoo has: {', '.join(NAMES)}")
    return importlib.import_module(f"keras_gates.models.{name}").MODEL


def build(name: str, preset: str | None = None, **overrides: Any) -> Any:
    """Return a fresh `keras.Model`, not compiled.

    Args:
        name: one of `names()`.
        preset: one of the model's presets; None is the first.
        **overrides: arguments of the model's own `build`, e.g. `units=32`, `formulation="article"`.

    Returns:
        The model, with random weights.

    Raises:
        UserError: there is no model or preset of that name.

    Example:
        model = keras_gates.models.build("digits", preset="rows", formulation="article")
    """
    model = find(name)
    _, settings = model.preset(preset)
    return model.build(**{**settings.get("build", {}), **overrides})


def load(name: str, preset: str | None = None, format: str = "keras", precision: str | None = None) -> Any:
    """Return a trained model.

    Args:
        name: one of `names()`.
        preset: one of the model's presets; None is the first one with shipped weights.
        format: "keras" for a `keras.Model`, "tflite" for the `Path` of the file for the device.
        precision: of the .tflite file: "float32", "float16", "dynamic", "int8" or "int4", if the zoo ships it; None is the
            first of these that it ships.

    Raises:
        UserError: no such weights are shipped (the message lists those that are), or none are installed.

    Example:
        model = keras_gates.models.load("digits")
    """
    preset = _shipped(name, preset)
    if format not in ("keras", "tflite"):
        raise UserError(f'format must be "keras" or "tflite", not {format!r}')
    if format == "keras" and precision not in (None, "float32"):
        raise UserError(f'a Keras model is float32; for precision="{precision}" add format="tflite"')
    shipped = [one for one in PRECISIONS if (WEIGHTS / f"{name}-{preset}-{one}.tflite").exists()]
    precision = precision or next(iter(shipped), PRECISIONS[0])
    path = WEIGHTS / (f"{name}-{preset}.keras" if format == "keras" else f"{name}-{preset}-{precision}.tflite")
    if not any(WEIGHTS.glob("*.keras")):
        raise UserError(
            f"{path.name} is not installed: trained weights come in a wheel of their own, keras_gates_weights. Install it, or "
            "run from a checkout."
        )
    if not path.exists():
        if format == "tflite" and shipped:
            raise UserError(f"{path.name} is not shipped; precision must be {' or '.join(map(repr, shipped))}")
        names = sorted(other.name for other in WEIGHTS.glob(f"{name}-*") if other.suffix in (".keras", ".tflite"))
        raise UserError(f"{path.name} is not shipped; for {name} there is: {', '.join(names) or 'nothing yet'}")
    return path if format == "tflite" else keras.saving.load_model(path, compile=False)


def from_preset(preset: str, **options: Any) -> Any:
    """Return a trained model by one name, as KerasHub's `from_preset` takes it.

    Args:
        preset: "MODEL" or "MODEL/PRESET", e.g. "digits" or "text/sentiment-nano".
        **options: `format` and `precision` of `load`.

    Returns:
        What `load` returns: a `keras.Model`, or the `Path` of a .tflite file.

    Raises:
        UserError: as for `load`.

    Example:
        model = keras_gates.models.from_preset("text/sentiment-nano")
    """
    name, _, chosen = preset.partition("/")
    return load(name, chosen or None, **options)


def card(name: str, preset: str | None = None) -> dict[str, Any]:
    """Return the card of the weights that `load` returns for the same name and preset: scores, sizes, command and data, from
    the JSON file next to them; empty if none are shipped.

    Args:
        name: one of `names()`.
        preset: one of the model's presets; None is the first one with shipped weights.
    """
    preset = _shipped(name, preset)
    path = WEIGHTS / f"{name}-{preset}.json"
    return read_json(path) if path.exists() else {}


def _shipped(name: str, preset: str | None) -> str:
    """The preset's name; None is the first one with shipped weights, or the first if there are none."""
    model = find(name)
    shipped = (other for other in model.presets if (WEIGHTS / f"{name}-{other}.json").exists())
    return model.preset(preset or next(shipped, None))[0]
