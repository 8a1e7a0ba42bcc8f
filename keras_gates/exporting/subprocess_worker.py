"""Run a function in a subprocess, so that a crash in native code becomes a Python error.

TensorFlow's converter and TFLM's interpreter are C++ that aborts or segfaults on some models. Importing TensorFlow takes
seconds, so one server process imports it once and forks a child per job. `multiprocessing`'s own fork server is
not used because its children import the caller's `__main__` again: a training script without a guard would train twice.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import importlib
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


class ChildError(RuntimeError):
    """The job raised, crashed or ran out of time; the message holds its traceback, or the end of what it printed.

    Args:
        message: The message.
        printed: What a job printed that raised.
    """

    def __init__(self, message: str, printed: str = "") -> None:
        super().__init__(message)
        self.printed = printed

    @property
    def reason(self) -> str:
        """The error in one line, with the last line that the job printed."""
        error, printed = (text.strip().splitlines() for text in (str(self), self.printed))
        if error and error[0].startswith("Traceback"):
            return " — ".join([error[-1], *printed[-1:]])
        return " ".join(dict.fromkeys([*error[:1], *error[-1:]]))


_lock = threading.Lock()
_server: subprocess.Popen | None = None
_log = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the server)


def start() -> None:
    """Start the server now, so that its TensorFlow import overlaps with other work."""
    with _lock:
        _ensure_server()


def call(job: Callable, *args: Any, timeout: float = 900.0) -> Any:
    """Run `job(*args)` in a fresh child process and return its result.

    Args:
        job: A function importable by name (module level).
        *args: Anything that can be pickled.
        timeout: Seconds after which the child is ended.

    Returns:
        What `job` returned, pickled and unpickled.

    Raises:
        ChildError: the job raised (its traceback is in the message), crashed (the signal is named) or took too long.

    Example:

    ```python
    subprocess_worker.call(os.path.join, "a", "b")  # "a/b"
    ```
    """
    with _lock, tempfile.TemporaryDirectory(prefix="keras_gates_job_") as folder:
        server = _ensure_server()
        assert server.stdin is not None
        assert server.stdout is not None
        task = {"module": job.__module__, "name": job.__qualname__, "args": args, "timeout": timeout}
        Path(folder, "job").write_bytes(pickle.dumps(task))
        try:
            server.stdin.write(folder + "\n")
            server.stdin.flush()
            answer = server.stdout.readline().strip()
        except BrokenPipeError:
            answer = ""
        result = Path(folder, "result")
        if answer == "0" and result.exists():
            succeeded, value = pickle.loads(result.read_bytes())
            if succeeded:
                return value
            raise ChildError(value, _printed(folder))
        tail = _printed(folder)
        if answer == "1" and not tail:  # without room for a log there is none for the reason
            tail = os.strerror(errno.ENOSPC)
        raise ChildError(f"{job.__module__}.{job.__qualname__}: {_reason(answer, timeout)}. Its last output:\n{tail}")


def _printed(folder: str) -> str:
    log = Path(folder, "log")
    printed = log.read_bytes() if log.exists() else _server_output()
    return printed[-2000:].decode(errors="replace").strip()


def _server_output() -> bytes:
    _log.seek(0)
    return _log.read()


def _reason(answer: str, timeout: float) -> str:
    if answer == "-14":
        return f"took longer than {timeout:.0f} s"
    if answer.startswith("-"):
        return f"crashed with signal {answer[1:]}"
    return f"ended with status {answer}" if answer else "the server process has ended"


def _ensure_server() -> subprocess.Popen:
    global _server
    if _server is None or _server.poll() is not None:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
        }
        _server = subprocess.Popen(
            [sys.executable, "-c", "from keras_gates.exporting import subprocess_worker; subprocess_worker.serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=_log,
            text=True,
            env=environment,
        )
        atexit.register(_end, _server)
    return _server


def _end(server: subprocess.Popen) -> None:
    assert server.stdin
    with contextlib.suppress(BrokenPipeError):
        server.stdin.close()
    try:
        server.wait(timeout=5)
    except subprocess.TimeoutExpired:
        server.kill()


def serve() -> None:
    """Run the server's loop: read one folder name per line from stdin, write the child's exit code per line to stdout."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _ = importlib.import_module("tensorflow").lite.TFLiteConverter  # loaded when first used: here, not in every child
    for line in sys.stdin:
        folder = Path(line.strip())
        task = pickle.loads((folder / "job").read_bytes())
        importlib.import_module(task["module"])  # here, so that its imports are paid once and not by every child
        gc.freeze()  # the converter collects garbage: in a child that would copy every page of the server's objects
        child = os.fork()
        if child == 0:
            _work(task, folder)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _work(task: dict[str, Any], folder: Path) -> None:
    """Run the job in the child and write its result; exit without Python's clean-up, which would run the parent's handlers."""
    import signal

    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        signal.alarm(max(1, int(task["timeout"])))
        job = getattr(sys.modules[task["module"]], task["name"])
        outcome = (True, job(*task["args"]))
        data = pickle.dumps(outcome)
    except BaseException:
        data = pickle.dumps((False, traceback.format_exc()))
    try:
        (folder / "result").write_bytes(data)
    except OSError as error:  # the disk is full, or the parent ended and its folder is gone
        os.write(2, f"the result cannot be written: {error.strerror}".encode())
        os._exit(1)
    os._exit(0)
