"""The list of models, and what a model of the zoo has to say about itself.

A model is one module of this folder that ends in `MODEL = ZooModel(...)` and whose name stands in `NAMES` below. The
module must import quickly: NumPy at the top at most; TensorFlow, Keras and scikit-learn inside the functions that use
them. train.py does everything else (options, fitting, resuming, checkpoints, export, verification, run folder, report)
and calls only what is named here.

**Presets** are plain dicts; the first is the default:

    PRESETS = {"rows": {"about": "a row an event", "build": {"units": 128}, "recipe_for": {"tfds": {"epochs": 12}}}}

    about        one line for a newcomer
    build        keyword arguments of `build`
    data         keyword arguments of `data`
    recipe       entries that replace those of the model's recipe
    recipe_for   entries that replace them once more, by source: "builtin", "tfds" or "files"

**Recipe**, a plain dict; what is missing has the value in `keras_gates.models.training.fitting.DEFAULTS`:

    epochs, batch_size, learning_rate
    schedule         "constant", "cosine" (down to zero)
    warmup           the share of all steps in which the learning rate rises from zero
    optimizer        "adam" or "sgd"; with weight_decay (decoupled), momentum (of sgd), clipnorm
    loss, metrics    as `keras.Model.compile` takes them
    monitor          what the best checkpoint is chosen by, e.g. "val_accuracy"
    patience         epochs without a better one before training stops; None never stops early

**`build(**arguments)` → keras.Model**, not compiled; every argument has a default. It is called with the preset's
`build`, then `Data.build` (what the data dictates: classes, shapes, vocabulary), then what the user gave on the command
line (`units`, `formulation`). The model takes raw input (pictures 0…255, audio, text, sensor values): its front-end is
inside, and its output is named and in float32.

**`data(source, data_dir=None, seed=0, **arguments)` → Data**, see keras_gates/models/data/pipeline.py. `source` is
"builtin", "tfds", or the path of the user's own files; `data_dir` is where TFDS data is (open it by
keras_gates.models.data.tfds.open_tfds). The split into train, validation and test does not depend on `seed`.
Raise `UserError` (one line: what was expected, what came, what to do) for everything a user can get wrong.

Optional functions:

    compile(model, recipe, steps)      instead of the default compile; steps is the number of all training steps or None
    judge(model, data, folder)         → Judgement: scores on the test split, pictures written into folder, example
                                       predictions; default: the metrics, a confusion matrix and a few predictions
    device(model, precision)           → (core, prepare, told), where the whole model cannot go to the device: `core` is a
                                       keras.Model of the device's share (the same layers), `prepare(x)` turns a NumPy
                                       batch for the model into the NumPy batch for the core, `told` is metadata for the
                                       file (its "frontend": what `keras_gates.edge` does instead)
    compare(config, folder, verbose)   → Judgement: what `python train.py NAME --compare` does
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("show", "digits", "speech", "gesture", "text", "language", "forecast")
WEIGHTS = Path(__file__).parent / "weights"


class UserError(ValueError):
    """Something the user can put right: train.py prints the message alone, in one line, without a traceback."""


@dataclass
class Judgement:
    """What is known of a trained model: it goes into metrics.json, the report and the table on the screen.

    Attributes:
        scores: name → number, e.g. {"accuracy": 0.985}; the first is the one `--list` shows.
        pictures: (file name inside the run folder, caption).
        text: lines of Markdown for the report: example predictions a person can judge, tables.
    """

    scores: dict[str, float] = field(default_factory=dict)
    pictures: list[tuple[str, str]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ZooModel:
    """One model of the zoo; the module's docstring says what each field must do.

    Attributes:
        name: the module's name, and the word after `python train.py`.
        line: one line for `--list`.
        task: what it does, in a word or two ("picture by rows", "spoken words").
        build: makes the keras.Model.
        data: loads the data.
        presets: name → plain dict; the first is the default.
        recipe: how it is trained.
        builtin: what the built-in data is, in a line; empty where there is none.
        tfds: the names of the TFDS data sets it loads.
        files: what the user's own files must look like, in a line; empty where it takes none.
        published: figures to stand beside, each {"figure", "value", "source", "protocol"}.
        tried: what else was tried and what it gave, a sentence each.
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
    callbacks: Callable[..., list] | None = None
    judge: Callable[..., Any] | None = None
    device: Callable[..., Any] | None = None
    compare: Callable[..., Any] | None = None

    def preset(self, name: str | None = None) -> tuple[str, Mapping[str, Any]]:
        """The preset's name and its dict; None is the first."""
        chosen = name or next(iter(self.presets))
        if chosen not in self.presets:
            raise UserError(f"{self.name} has no preset {chosen!r}; it has: {', '.join(self.presets)}")
        return chosen, self.presets[chosen]


def names() -> tuple[str, ...]:
    """The names of all models, in the order of `python train.py --list`."""
    return NAMES


def find(name: str) -> ZooModel:
    """The description of one model. Raises `UserError` for a name the zoo does not have."""
    if name not in NAMES:
        raise UserError(f"there is no model {name!r}; the zoo has: {', '.join(NAMES)}")
    return importlib.import_module(f"keras_gates.models.{name}").MODEL


def build(name: str, preset: str | None = None, **overrides: Any) -> Any:
    """A fresh, uncompiled `keras.Model`.

    Args:
        name: one of `names()`.
        preset: one of the model's presets; None is its first.
        overrides: arguments of the model's own `build`, e.g. `units=32`, `formulation="article"`.

    Example:
        model = keras_gates.models.build("digits", preset="rows", formulation="article")
    """
    model = find(name)
    _, chosen = model.preset(preset)
    return model.build(**{**chosen.get("build", {}), **overrides})


def load(name: str, preset: str | None = None, format: str = "keras", precision: str = "float32") -> Any:
    """A trained model: `format="keras"` gives a `keras.Model`, `format="tflite"` the `Path` of the file for the device.

    Args:
        name: one of `names()`.
        preset: one of the model's presets; None is the first one whose weights are shipped.
        format: "keras" or "tflite".
        precision: of the tflite file: "float32", "float16", "dynamic" or "int8", where the zoo ships it.

    Raises:
        UserError: where no trained weights are shipped for this; the message lists what is.

    Example:
        model = keras_gates.models.load("digits")
    """
    preset = _shipped(name, preset)
    if format not in ("keras", "tflite"):
        raise UserError(f'format must be "keras" or "tflite", not {format!r}')
    path = WEIGHTS / (f"{name}-{preset}.keras" if format == "keras" else f"{name}-{preset}-{precision}.tflite")
    if not path.exists():
        shipped = sorted(other.name for other in WEIGHTS.glob(f"{name}-*") if other.suffix in (".keras", ".tflite"))
        raise UserError(f"{path.name} is not shipped; for {name} there is: {', '.join(shipped) or 'nothing yet'}")
    if format == "tflite":
        return path
    import keras

    import keras_gates  # noqa: F401  (registers the classes that load_model needs)

    return keras.saving.load_model(path, compile=False)


def card(name: str, preset: str | None = None) -> dict[str, Any]:
    """What is known of the shipped weights (scores, sizes, command, data) that `load` gives for the same name and preset:
    the JSON beside them; empty where none are shipped."""
    preset = _shipped(name, preset)
    path = WEIGHTS / f"{name}-{preset}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _shipped(name: str, preset: str | None) -> str:
    """The preset's name; None is the first one whose weights are shipped, or the first where none are."""
    model = find(name)
    cards = (known for known in model.presets if (WEIGHTS / f"{name}-{known}.json").exists())
    return model.preset(preset or next(cards, None))[0]
