"""show_versions: what is installed here and whether the native kernel runs, for reports of errors."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform

from keras_gates import native

PACKAGES = ("keras", "tensorflow", "jax", "torch", "ai-edge-litert", "tflite-micro", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of Python, keras_gates and what it works with, Keras' backend, and the state of the native kernel.

    Returns:
        Name → version, or `"not installed"`; `"backend"` → the backend, or `"Keras is not installed"`; `"native kernel"` →
        the instruction set it uses, or why it is absent.
    """
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for package in ("keras-gates", *PACKAGES):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    found["backend"] = _backend()
    absent = native.why_absent()
    found["native kernel"] = f"absent: {absent}" if absent else f"{native.instructions()}, {os.cpu_count()} processors"
    return found


def _backend() -> str:
    if importlib.util.find_spec("keras") is None:
        return "Keras is not installed"
    import keras

    return keras.backend.backend()


def show_versions() -> None:
    """Print the versions of Python, Keras, its backend and the runtimes, and whether the native kernel is there.

    Add the output to a report of an error.

    Returns:
        None.

    Example:

    >>> keras_gates.show_versions()
    python          ...
    """
    for name, version in versions().items():
        print(f"{name:15s} {version}")
