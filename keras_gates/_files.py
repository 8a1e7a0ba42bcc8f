"""Files that are never half written: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has no flock: folders are not locked there
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def replace_file(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path` to write to; renamed to `path` when the block ends, removed when it raises.

    Args:
        path: the file to write or replace. Its folder must exist.

    Raises:
        OSError: the folder is missing, full or read-only.

    Example:

    >>> with replace_file("numbers.txt") as temporary:
    ...     characters = temporary.write_text("1 2 3")
    >>> Path("numbers.txt").read_text()
    '1 2 3'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write `content` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file.

    Raises:
        OSError: the file cannot be read.
        json.JSONDecodeError: it is not JSON.
    """
    return json.loads(Path(path).read_text(encoding="utf-8"))


@contextlib.contextmanager
def lock(file: int, wait: bool = True) -> Iterator[None]:
    """Hold the operating system's exclusive lock of an open file or folder. A file system without locks grants it.

    Args:
        file: file descriptor; its lock ends when it is closed, also when the process is killed.
        wait: wait for another process; False raises at once.

    Raises:
        BlockingIOError: another process holds the lock and `wait` is False.
    """
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:
            pass  # a file system without locks
    yield
