"""Imports packages that are optional on a device."""

from __future__ import annotations

import importlib
from typing import Any

from keras_gates.edge.tflite import EdgeError


def need(package: str, for_what: str) -> Any:
    """Import an optional package.

    Raises:
        EdgeError: it is not installed; the message has the command.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        raise EdgeError(f'{for_what} needs {package}: pip install "keras-gates[files]"') from None
