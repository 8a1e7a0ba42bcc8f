"""The native LSTM kernel: loads the compiled core, or says why it is absent. One binding per backend stands next to it.

The core is compiled when the package is installed and a C++ compiler is there (setup.py); nothing else depends on it.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
from pathlib import Path

NO_SECOND_GRADIENT = (
    "GateLSTM: the native loop has a first gradient only; a gradient of a gradient was requested. Build the layer with "
    "loop='portable'."
)


def library(name: str) -> Path | None:
    """Return the path of the compiled library of this name (`"_core"`, `"_tensorflow"`), or None if it was not compiled."""
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(name + suffix)
        if path.exists():
            return path
    return None


@functools.cache
def _loaded() -> tuple[ctypes.CDLL | None, str | None]:
    path = library("_core")
    if path is None:
        return None, "it was not compiled: install keras_gates where a C++ compiler (g++ or clang++) is found"
    try:
        core = ctypes.CDLL(str(path))
    except OSError as error:
        return None, f"{path.name} does not load: {error}"
    core.kg_instructions.restype = ctypes.c_char_p
    core.kg_use_instructions.argtypes = [ctypes.c_char_p]
    return core, None


def why_absent() -> str | None:
    """Return why the kernel cannot be used here, or None if it can."""
    return _loaded()[1]


def core() -> ctypes.CDLL:
    """Return the compiled core; its functions are those of lstm.h.

    Raises:
        ImportError: the core is absent; the message says why.
    """
    loaded, reason = _loaded()
    if loaded is None:
        raise ImportError(f"keras_gates.native: the compiled kernel is absent: {reason}.")
    return loaded


def instructions() -> str:
    """Return the instruction set in use: `"avx512"`, `"avx2"` or `"baseline"`.

    Raises:
        ImportError: the core is absent.
    """
    return core().kg_instructions().decode()
