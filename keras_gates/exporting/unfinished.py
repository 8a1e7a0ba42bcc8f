"""The hidden folder that an export writes to: gone afterwards, however the process ends."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_NAME = re.compile(r"\.export_(?P<host>.+)_(?P<process>\d+)_[0-9a-f]{8}")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def unfinished_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder in `out` and remove it afterwards, also if SIGTERM ends the process.

    What ends the process at once (SIGKILL, a power cut) leaves the folder; the next export to `out` on this machine removes it.

    Args:
        out: An existing folder.
    """
    _remove_left(out)
    folder = out / f".export_{_host()}_{os.getpid()}_{secrets.token_hex(4)}"
    with _removed_on_sigterm(folder):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def full_disk(error: BaseException) -> str | None:
    """Return in words that a file could not be written for want of space, or None if an error has another cause.

    TensorFlow's errors are no `OSError`, and those of a subprocess are text: both have the system's words in them.
    """
    for number in _FULL:
        if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
            return os.strerror(number)
    return None


def _host() -> str:
    return re.sub(r"[^\w.-]", "-", socket.gethostname()) or "host"


def _remove_left(out: Path) -> None:
    """Remove the folders of exports on this machine whose process has ended."""
    if os.name == "nt":  # os.kill would end the process there
        return
    for path in out.glob(".export_*"):
        name = _NAME.fullmatch(path.name)
        if name and name["host"] == _host() and not _runs(int(name["process"])):
            shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


@contextlib.contextmanager
def _removed_on_sigterm(folder: Path) -> Iterator[None]:
    """Remove the folder if SIGTERM comes in this block, where the program leaves SIGTERM to the system."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(number: int, _: Any) -> None:
        # No exception: one that is raised in a destructor or a callback of TensorFlow is only printed.
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
