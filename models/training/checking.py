"""`python train.py check DATA`: reads the data, prints what was understood of them, and trains nothing."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from keras_gates._quiet import look_for_devices, quietly
from keras_gates.edge import sound, tables
from keras_gates.edge.chunks import is_large, read_chunks
from keras_gates.models import registry
from keras_gates.models.data.files import user_errors
from keras_gates.models.data.intervals import interval_table
from keras_gates.models.registry import UserError
from keras_gates.models.training import options


def check(arguments: argparse.Namespace) -> dict[str, Any]:
    """Print what a run would read, and return it for `--json`.

    Args:
        arguments: of train.py; `path` is the data.

    Returns:
        By name: `data`, `model`, `notes` and the `command` that trains.

    Raises:
        UserError: the data cannot be read, or no model reads them.
    """
    arguments.data = arguments.path or arguments.data
    if arguments.data in ("builtin", "tfds"):
        raise UserError("check reads your own files: python train.py check DATA")
    arguments.model = model_for(arguments.data)
    config = options.configuration(arguments)
    with quietly():
        importlib.import_module("tensorflow")
        look_for_devices()
    data = registry.find(config.model).data(config.data, config.data_dir, config.seed, **config.data_arguments)
    print(f"{config.data}: data for {config.model} ({registry.find(config.model).line})")
    for note in data.notes:
        print(f"  {note}")
    command = f"python train.py {config.model} --data {config.data}"
    print(f"to train: {command}")
    return {"data": config.data, "model": config.model, "notes": list(data.notes), "command": command}


@user_errors()
def model_for(path: str | Path) -> str:
    """Return the name of the model that reads a file or folder, by what is in it.

    Args:
        path: of the data.

    Raises:
        UserError: there is nothing there that a model reads.
    """
    path = Path(path)
    if path.is_dir():
        below = [file for file in path.rglob("*") if file.is_file() and not file.name.startswith(".")]
        kinds = {file.suffix.lower() for file in below}
        if kinds & set(sound.SUFFIXES):
            return "speech"
        if kinds & set(tables.SUFFIXES):
            return "gesture"
        if ".txt" in kinds:
            return "language" if any(file.parent == path for file in below) else "text"
        raise UserError(f"{path} has no sound files, tables or .txt files; expected one sub-folder per label")
    if not path.exists():
        raise UserError(f"there is no file or folder {path}")
    if path.suffix.lower() == ".txt":
        return "language"
    if path.suffix.lower() in sound.SUFFIXES:
        if not interval_table(path):
            raise UserError(f"{path} has no labels; expected {path.stem}.labels.csv with start,end,label next to it")
        return "speech"
    if path.suffix.lower() in tables.SUFFIXES and interval_table(path):
        return "gesture"
    if path.suffix.lower() not in tables.SUFFIXES:
        raise UserError(
            f"no model reads {path}; expected a folder, a .txt file, or a table ({', '.join(tables.SUFFIXES)})"
        )
    names = next(read_chunks(path)).names if is_large(path) else tables.read_table(path).names
    if "label" in names:
        return "text" if "text" in names else "gesture"
    return "forecast"
