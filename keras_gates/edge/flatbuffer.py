"""Following the offsets of a flatbuffer, each checked first: https://flatbuffers.dev/internals."""

from __future__ import annotations

import struct
from typing import Any

from keras_gates._errors import GatesError


class EdgeError(GatesError, ValueError):
    """Any failure of the edge runtime; the message says what was expected, what it got and what to do."""


def unpack(data: bytes, form: str, at: int) -> Any:
    """Return the number at a position, in a format of `struct`."""
    try:
        return struct.unpack_from(form, data, at)[0]
    except struct.error:
        raise EdgeError(
            f"the file is damaged or was cut short: byte {at} lies outside its {len(data)} bytes."
        ) from None


def within(index: int, count: int, what: str) -> int:
    """Return an index that must be below `count`."""
    if not 0 <= index < count:
        raise EdgeError(f"the file is damaged: {what} {index} does not exist, there are {count}.")
    return index


class Table:
    """A flatbuffer table; every offset is checked before it is followed."""

    def __init__(self, data: bytes, at: int):
        self.data, self.at = data, at
        self.vtable = at - unpack(data, "<i", at)
        if self.vtable < 0 or at % 4:
            raise EdgeError(f"the file is damaged: the table at byte {at} has no place for its fields.")
        self.vtable_bytes = unpack(data, "<H", self.vtable)
        table_bytes = unpack(data, "<H", self.vtable + 2)
        if self.vtable_bytes < 4 or self.vtable % 2 or self.vtable + self.vtable_bytes > len(data):
            raise EdgeError(f"the file is damaged: the field list at byte {self.vtable} is broken.")
        if table_bytes < 4 or at + table_bytes > len(data):
            raise EdgeError(f"the file is damaged or was cut short: the table at byte {at} ends outside it.")
        self.end = at + table_bytes

    def place(self, field: int, size: int = 4) -> int | None:
        """Return the position of a field of `size` bytes; None if the table lacks it."""
        entry = 4 + 2 * field
        if entry + 2 > self.vtable_bytes:
            return None
        offset = unpack(self.data, "<H", self.vtable + entry)
        if offset == 0:
            return None
        place = self.at + offset
        if offset < 4 or place + size > self.end or place % size:
            raise EdgeError(f"the file is damaged: field {field} of the table at byte {self.at} lies outside it.")
        return place

    def number(self, field: int, form: str, default: int = 0) -> Any:
        """Return a number that is a field."""
        place = self.place(field, struct.calcsize(form))
        return default if place is None else unpack(self.data, form, place)

    def follow(self, field: int) -> int | None:
        """Return the position that a field refers to; None if the table lacks it."""
        place = self.place(field)
        return None if place is None else place + unpack(self.data, "<I", place)

    def span(self, field: int, item_bytes: int) -> tuple[int, int]:
        """Return the position of a vector's first item and the number of items."""
        at = self.follow(field)
        if at is None:
            return 0, 0
        count = unpack(self.data, "<I", at)
        if at + 4 + count * item_bytes > len(self.data) or at % 4 or (at + 4) % item_bytes:
            raise EdgeError(f"the file is damaged or was cut short: {count} items at byte {at} lie outside it.")
        return at + 4, count

    def numbers(self, field: int, code: str) -> tuple:
        """Return a vector of numbers."""
        start, count = self.span(field, struct.calcsize("<" + code))
        return struct.unpack_from(f"<{count}{code}", self.data, start)

    def text(self, field: int) -> str:
        """Return a text."""
        start, count = self.span(field, 1)
        if count and self.data[start + count : start + count + 1] != b"\0":
            raise EdgeError(f"the file is damaged: the text at byte {start} has no end.")
        return self.data[start : start + count].decode("utf-8", "replace")

    def tables(self, field: int) -> list[Table]:
        """Return a vector of tables."""
        start, count = self.span(field, 4)
        return [Table(self.data, at + unpack(self.data, "<I", at)) for at in range(start, start + 4 * count, 4)]

    def table(self, field: int) -> Table | None:
        """Return a table; None if this one lacks the field."""
        at = self.follow(field)
        return None if at is None else Table(self.data, at)
