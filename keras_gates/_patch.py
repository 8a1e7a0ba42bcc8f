"""The one way to swap attributes of a live object temporarily."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

_ABSENT = object()


@contextlib.contextmanager
def patched(changes: Iterable[tuple[Any, str, Any]]) -> Iterator[None]:
    """Set every `(object, attribute, value)` inside the block; afterwards each object is exactly as it was.

    Values go into the instance's `__dict__`, past Keras' attribute tracking, which would add layers and variables.

    Raises:
        AttributeError: an object has no attribute of that name, so the swap would have no effect (another version of Keras).
    """
    before = []
    try:
        for target, name, value in changes:
            if not hasattr(target, name):
                raise AttributeError(
                    f"{type(target).__name__} has no attribute {name!r} to replace; this version of Keras is not supported "
                    "(docs/versions.md lists those that are)."
                )
            before.append((vars(target), name, vars(target).get(name, _ABSENT)))
            vars(target)[name] = value
        yield
    finally:
        for attributes, name, value in reversed(before):
            if value is _ABSENT:
                del attributes[name]
            else:
                attributes[name] = value
