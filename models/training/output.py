"""What `train.py` prints: progress and a table, one JSON object, or errors only."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Answer = Callable[[Mapping[str, Any]], None]
FLAGS = ("json", "quiet", "verbose")
RESULTS = ("parameters", "scores", "baselines", "best_epoch", "seconds", "exports", "export_failures")


@contextlib.contextmanager
def chosen(arguments: argparse.Namespace) -> Iterator[Answer]:
    """Print in this block what `--json`, `--quiet` and `--verbose` ask for.

    With `--json` everything but the answer goes to standard error, with `--quiet` nowhere.

    Args:
        arguments: of train.py.

    Yields:
        A function that prints its argument as one JSON object if `--json` was given, else nothing.
    """
    if arguments.verbose:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
    stdout = sys.stdout

    def answer(results: Mapping[str, Any]) -> None:
        if arguments.json:
            print(json.dumps(results), file=stdout, flush=True)

    with contextlib.ExitStack() as stack:
        if arguments.quiet:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        elif arguments.json:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield answer


def results_of(folder: Path) -> dict[str, Any]:
    """Return the results of a finished run for `--json`, from its metrics.json.

    Args:
        folder: of the run.
    """
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    results = {name: metrics[name] for name in RESULTS if name in metrics}
    return {"folder": str(folder), "report": str(folder / "report.md"), **results}


def flags_of(arguments: argparse.Namespace) -> list[str]:
    """Return the flags of this file that were given, for a process that goes on with the run."""
    return [f"--{name}" for name in FLAGS if getattr(arguments, name)]
