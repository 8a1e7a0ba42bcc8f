"""`--threads N` of the benchmarks, and what machine they ran on. Imported before any framework, whose threads it limits.

A process that may use N processors only is taken by every framework, by OpenMP and by the native kernel for a machine with N
processors, so all contenders, also those in child processes, have the same number of threads.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

OPTION = "--threads"


def _one_per_core(processors: set[int]) -> list[int]:
    """The processors, the first of every core in front: two of one core share its arithmetic."""

    def siblings(number: int) -> str:
        path = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        return path.read_text() if path.exists() else str(number)

    first: dict[str, int] = {}
    for number in sorted(processors):
        first.setdefault(siblings(number), number)
    return [*first.values(), *sorted(processors - set(first.values()))]


def _limit() -> None:
    """Leave this process as many processors as `--threads` says on the command line."""
    argv = sys.argv
    number = argv[argv.index(OPTION) + 1] if OPTION in argv[:-1] else None
    number = next((text.partition("=")[2] for text in argv if text.startswith(f"{OPTION}=")), number)
    if number is None or not hasattr(os, "sched_setaffinity"):
        return
    os.sched_setaffinity(0, _one_per_core(os.sched_getaffinity(0))[: max(1, int(number))])


def threads() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


_limit()


def machine() -> dict[str, Any]:
    """Processor, processors, threads used, the kernel's instructions, versions."""
    import keras

    from keras_gates import native

    backend = keras.backend.backend()
    absent = native.why_absent()
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "threads": threads(),
        "native_kernel": f"absent: {absent}" if absent else native.instructions(),
        "backend": backend,
        "versions": {name: _version(name) for name in ("keras", backend, "torch", "numpy")},
    }


def described(document: dict[str, Any]) -> str:
    """`machine()` in a line."""
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items() if version)
    return (
        f"{document['processor']}, {document['threads']} of {document['processors']} processors, native kernel: "
        f"{document['native_kernel']}, backend {document['backend']}, {versions}"
    )
