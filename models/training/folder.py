"""The folder of a run: created under a temporary name, locked while it is written, renamed when it is complete, so that no
run overwrites another."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from keras_gates._files import lock
from keras_gates.models.registry import UserError
from keras_gates.models.training import run_config
from keras_gates.models.training.run_config import RunConfig

UNFINISHED = ".unfinished"
LOCK = "writer.txt"


def start(out: str | Path, name: str) -> Path:
    """Create a new, empty folder `OUT/NAME-TIME.unfinished`.

    Args:
        out: the folder that run folders are in; created if missing.
        name: of the model.

    Raises:
        UserError: the folder cannot be created.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1, 100):
        final = Path(out) / f"{name}-{stamp}{f'-{number}' if number > 1 else ''}"
        folder = final.with_name(final.name + UNFINISHED)
        try:
            if final.exists():
                continue
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"cannot create a run folder in {out} (--out): {error.strerror}") from error
        return folder
    raise UserError(f"{out} already has 100 runs that started within the same second; choose another --out")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let only this process write the run folder. The lock is the operating system's and ends with the process, however that
    ends; a file system without locks grants it.

    Raises:
        UserError: another process writes the folder; it is named.
    """
    with (folder / LOCK).open("a+", encoding="utf-8") as file, contextlib.ExitStack() as held:
        try:
            held.enter_context(lock(file.fileno(), wait=False))
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"{folder} is being written by {file.read().strip() or 'another process'}; wait for it or stop it, then "
                "--resume"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        file.flush()
        yield


def final_name(folder: Path) -> Path:
    """Return the name of a run's folder when the run is complete."""
    return folder.with_name(folder.name.removesuffix(UNFINISHED))


def finish(folder: Path) -> Path:
    """Rename a complete run's folder to its final name, and return that."""
    final = final_name(folder)
    folder.rename(final)
    (final / LOCK).unlink(missing_ok=True)
    return final


def discard(folder: Path) -> None:
    """Remove the folder of a run that failed before its first epoch ended; any other stays."""
    if not (folder / "state.json").exists():
        shutil.rmtree(folder)


def forget_config(folder: Path) -> None:
    """Remove config.json, which only an unfinished run needs."""
    (folder / run_config.FILE).unlink(missing_ok=True)


def to_resume(run: str | Path) -> tuple[Path, RunConfig]:
    """Return the folder of an interrupted run, and its configuration.

    Raises:
        UserError: there is no such run, or it is finished.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise UserError(f"there is no run folder {run} (--resume); the names of interrupted runs end in {UNFINISHED}")
    if not folder.name.endswith(UNFINISHED):
        raise UserError(f"{run} is finished; to train it further: --from-weights {run}")
    return folder, RunConfig.read(folder)
