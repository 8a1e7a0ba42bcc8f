"""Running TensorFlow and LiteRT without the log lines that their C++ code prints."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Discard standard error inside the block; exceptions pass. TF_CPP_MIN_LOG_LEVEL=0 shows everything.

    Setting the variable is not enough: TensorFlow's libraries log while they are loaded, before they read it.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") == "0":
        yield
        return
    with _discarded(2):
        yield


@contextlib.contextmanager
def without_native_log() -> Iterator[None]:
    """Discard what C++ code writes to standard error inside the block; what Python writes there passes.

    TF_CPP_MIN_LOG_LEVEL=0 shows everything.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # replaced by something without a file
        yield
        return
    with _discarded(descriptor) as original, contextlib.redirect_stderr(original):
        yield


@contextlib.contextmanager
def _discarded(descriptor: int) -> Iterator[IO[str]]:
    """Discard what is written to a descriptor; yields a stream to where it led before."""
    sys.stderr.flush()
    original = os.dup(descriptor)
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), descriptor)
    try:
        with open(original, "w", closefd=False) as stream:
            yield stream
    finally:
        os.dup2(original, descriptor)
        os.close(original)


def look_for_devices() -> None:
    """Let TensorFlow, if it is imported, look for GPUs: where there are none it logs complaints, at the first operation unless
    it is asked inside `quietly`."""
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].config.list_physical_devices()
