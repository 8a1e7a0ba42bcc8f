"""The native LSTM kernel: loads the compiled core and TensorFlow's operators, or says why they are absent.

The core is compiled when the package is installed and a C++ compiler is there (setup.py); nothing else depends on it.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
from pathlib import Path
from typing import Any


def _library(name: str) -> Path | None:
    """The compiled library of this name next to this file."""
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(name + suffix)
        if path.exists():
            return path
    return None


@functools.cache
def _loaded() -> tuple[ctypes.CDLL | None, str | None]:
    path = _library("_core")
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
    library, reason = _loaded()
    if library is None:
        raise ImportError(f"keras_gates.native: the compiled kernel is absent: {reason}.")
    return library


def instructions() -> str:
    """Return the instruction set in use: `"avx512"`, `"avx2"` or `"baseline"`.

    Raises:
        ImportError: the core is absent.
    """
    return core().kg_instructions().decode()


@functools.cache
def tensorflow_operators() -> Any:
    """Load TensorFlow's operators: a module with `keras_gates_lstm` and `keras_gates_lstm_gradient`.

    Raises:
        ImportError: the core or the operators are absent, or this TensorFlow does not take them.
    """
    import tensorflow as tf

    library, path = core(), _library("_tensorflow")
    if path is None:
        raise ImportError(
            "keras_gates.native: the operators for TensorFlow were not compiled. Install keras_gates again."
        )
    operators = tf.load_op_library(str(path))
    functions = (library.kg_lstm_forward, library.kg_lstm_backward, library.kg_lstm_saved_size)
    addresses = [ctypes.cast(function, ctypes.c_void_p) for function in functions]
    if not ctypes.CDLL(str(path)).kg_tensorflow_use(*addresses):
        raise ImportError(f"keras_gates.native: TensorFlow {tf.__version__} does not take the operators.")
    return operators
