"""Importing TensorFlow without the lines that its C++ prints before it can be asked not to."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Standard error goes nowhere inside; exceptions are unharmed. TF_CPP_MIN_LOG_LEVEL=0 shows everything.

    The variable alone does not do: TensorFlow's libraries log while they are loaded, before they read it.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") == "0":
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
