"""Attributes set for the time of a `with`, and put back exactly as they were."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

_ABSENT = object()


@contextlib.contextmanager
def patched(changes: Iterable[tuple[Any, str, Any]]) -> Iterator[None]:
    """Inside, every `(object, attribute, value)` holds.

    Values go into the instance's `__dict__`, past Keras' attribute tracking, so that the object is the same afterwards.
    """
    before = []
    try:
        for target, name, value in changes:
            before.append((vars(target), name, vars(target).get(name, _ABSENT)))
            vars(target)[name] = value
        yield
    finally:
        for attributes, name, value in reversed(before):
            if value is _ABSENT:
                del attributes[name]
            else:
                attributes[name] = value
