"""Importing TensorFlow without the log lines that its C++ code prints while it is loaded."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Discard standard error inside the block; exceptions pass. TF_CPP_MIN_LOG_LEVEL=0 shows everything.

    Setting the variable is not enough: TensorFlow's libraries log while they are loaded, before they read it.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") == "0":
        yield
        return
    sys.stderr.flush()
    original = os.dup(2)
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)


def look_for_devices() -> None:
    """Let TensorFlow, if it is imported, look for GPUs: where there are none it logs complaints, at the first operation unless
    it is asked inside `quietly`."""
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].config.list_physical_devices()
