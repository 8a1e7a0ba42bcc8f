"""The model that a command reads: what can be said about its path before Keras is imported, then loading it."""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import os
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_gates._quiet import look_for_devices, quietly
from keras_gates.edge import EdgeError

if TYPE_CHECKING:
    import keras

INSTALL = 'this command needs Keras and TensorFlow: pip install "keras-gates[tensorflow]"'
_AGAIN = (
    "Build the same model in code with Keras 3, load its weights (model.load_weights), then model.save('model.keras')"
)


def add_model_options(options: argparse.ArgumentParser, what: str = "a .keras file") -> None:
    """Add the model file and the options for what Keras does not load by itself.

    Args:
        options: The command's parser.
        what: The help text of the model.
    """
    options.add_argument("model", help=what)
    options.add_argument(
        "--module", metavar="MY_LAYERS.PY", help="run this Python file first: its classes and functions are known then"
    )
    options.add_argument(
        "--allow-lambda",
        action="store_true",
        help="load Lambda layers: the code in them runs, so know where it is from",
    )
    options.add_argument(
        "--verbose", action="store_true", help="show log output of TensorFlow and LiteRT, and tracebacks"
    )


def check_paths(options: argparse.Namespace) -> None:
    """Check the files that were named, without Keras.

    Raises:
        EdgeError: One is missing, or is no model that Keras 3 reads.
    """
    path = Path(options.model)
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            raise EdgeError(
                f"{path} is a SavedModel, which holds graphs and no layers. Open it where it was saved, with tf_keras "
                f"(pip install tf_keras), and call model.save_weights('weights.h5'). {_AGAIN}."
            )
        raise EdgeError(f"{path} is a folder: expected a .keras file.")
    if not path.is_file():
        raise EdgeError(f"{path}: there is no such file.")
    if path.suffix == ".keras" and not zipfile.is_zipfile(path):
        raise EdgeError(f"{path} is damaged or no .keras file: it is not a zip archive.")
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise EdgeError(f"{path}: expected a .keras file, got {path.suffix or 'a file without an ending'}.")
    if options.module and not Path(options.module).is_file():
        raise EdgeError(f"--module {options.module}: there is no such file.")


def import_keras() -> None:
    """Import Keras on TensorFlow without log output.

    Raises:
        EdgeError: It is not installed.
    """
    try:
        with quietly():
            import keras  # noqa: F401
            import tensorflow  # noqa: F401

            look_for_devices()
    except ImportError as error:
        raise EdgeError(f"{INSTALL} ({error})") from None


def use_tensorflow(options: argparse.Namespace) -> None:
    """Choose the backend, and whether the C++ libraries log; before Keras is imported."""
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter traces with TensorFlow, whatever trained the model
    if options.verbose:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"


def load(options: argparse.Namespace) -> keras.Model:
    """Load the model.

    Raises:
        EdgeError: It cannot be loaded: why, and which option or step helps.
    """
    import keras

    custom = _objects_of(options.module) if options.module else {}
    try:
        return keras.saving.load_model(
            options.model, custom_objects=custom, compile=False, safe_mode=not options.allow_lambda
        )
    except Exception as error:
        raise EdgeError(f"{options.model}: {_reason(options, error)}") from error


def _objects_of(path: str) -> dict[str, Any]:
    """Run a Python file and return its classes and functions by name."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise EdgeError(f"--module {path}: expected a .py file.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise EdgeError(f"--module {path} stopped with {type(error).__name__}: {error}") from error
    return {name: thing for name, thing in vars(module).items() if inspect.isclass(thing) or inspect.isfunction(thing)}


def _reason(options: argparse.Namespace, error: Exception) -> str:
    text = " ".join(str(error).split())
    if "ambda" in text and "safe_mode" in text:
        return "it holds a Lambda layer, whose code would run. If you know where the file is from, add --allow-lambda."
    if Path(options.model).suffix != ".keras":
        return f"Keras 3 does not read this file of Keras 2 ({text[:120]}). {_AGAIN}."
    unknown = re.search(r"Could not locate (?:class|function) '([^']+)'", text) or re.search(
        r"Unknown \w+:? '([^']+)'", text
    )
    if unknown:
        return f"it holds {unknown[1]}, which Keras does not know. Give the Python file that defines it: --module my_layers.py."
    return f"Keras cannot load it: {text[:300]}"
