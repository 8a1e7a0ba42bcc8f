"""The folder of a run: made under another name, renamed when it is whole, so that no run is ever half written over
another.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_gates.models.registry import UserError

try:
    import fcntl
except ImportError:  # Windows: runs are not locked there
    fcntl = None  # type: ignore[assignment]

UNFINISHED = ".unfinished"
LOCK = "writer.txt"


def start(out: str | Path, name: str) -> Path:
    """A new, empty folder `OUT/NAME-<time>.unfinished`."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1, 100):
        final = Path(out) / f"{name}-{stamp}{f'-{number}' if number > 1 else ''}"
        folder = final.with_name(final.name + UNFINISHED)
        if final.exists():
            continue
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"cannot make a run folder in {out} (--out): {error.strerror}") from error
        return folder
    raise UserError(f"{out} already has a hundred runs of this second")


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """The context in which this process alone writes a run's folder. The lock is the operating system's and ends with the
    process, however that ends; a file system without locks gives none.

    Raises:
        UserError: another process writes there; it is named.
    """
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"{folder} is being written by {file.read().strip() or 'another process'}. "
                "Wait for it, or stop it and give --resume again"
            ) from None
        except OSError:
            pass
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        file.flush()
        yield


def finish(folder: Path) -> Path:
    """Gives a whole run its final name."""
    final = folder.with_name(folder.name.removesuffix(UNFINISHED))
    folder.rename(final)
    (final / LOCK).unlink(missing_ok=True)
    return final


def discard(folder: Path) -> None:
    """Removes the folder of a run that could not even begin; one that has reached something stays."""
    if not (folder / "state.json").exists():
        shutil.rmtree(folder)


def to_resume(run: str | Path) -> tuple[Path, dict[str, Any]]:
    """The folder of an interrupted run and its configuration. Raises `UserError` where there is nothing to go on with."""
    folder = Path(run)
    if not folder.is_dir():
        raise UserError(f"there is no run folder {run} (--resume); interrupted runs end in {UNFINISHED}")
    if not folder.name.endswith(UNFINISHED):
        raise UserError(f"{run} is finished; to train it further: --from-weights {run}")
    path = folder / "config.json"
    if not path.exists():
        raise UserError(f"{run} has no config.json: nothing was started there")
    return folder, read_json(path)


def write_json(path: Path, content: Any) -> None:
    """Writes under a temporary name, then renames."""
    waiting = path.with_name(path.name + ".tmp")
    waiting.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(waiting, path)


def read_json(path: Path) -> Any:
    """What a JSON file of a run holds. Raises `OSError` or `json.JSONDecodeError` where it cannot be read."""
    return json.loads(path.read_text(encoding="utf-8"))
