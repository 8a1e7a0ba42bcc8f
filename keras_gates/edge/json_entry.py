"""JSON objects from a file's metadata, read with the type that each value must have."""

from __future__ import annotations

from typing import Any

from keras_gates.edge.tflite import EdgeError


class Entry:
    """A JSON object whose values are read with a required type.

    Args:
        value: The object.
        where: What it is, for errors.

    Raises:
        EdgeError: `value` is no object.
    """

    def __init__(self, value: Any, where: str):
        if not isinstance(value, dict):
            raise EdgeError(f"{where}: expected an object, got {type(value).__name__}; export again.")
        self.value, self.where = value, where

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        """Return a value, `default` if there is none.

        Raises:
            EdgeError: it is of another type.
        """
        value = self.value.get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise EdgeError(f"{self.where}: {key!r} must be {kind.__name__}, got {value!r:.60}; export again.")
        return value

    def entries(self, key: str) -> list[Entry]:
        """Return a list of objects."""
        return [Entry(value, f"{self.where}, {key!r}") for value in self.get(key, list, [])]

    def strings(self, key: str) -> list[str]:
        """Return a list of strings."""
        values = self.get(key, list, [])
        if not all(isinstance(value, str) for value in values):
            raise EdgeError(f"{self.where}: {key!r} must be a list of strings; export again.")
        return values
