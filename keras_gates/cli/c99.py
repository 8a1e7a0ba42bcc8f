"""``keras-gates c99 model.tflite out/``: `keras_gates.exporting.c99.write.write_c99` from the command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    options = argparse.ArgumentParser(
        prog="keras-gates c99",
        description="Write a .tflite as C99 that needs no runtime, with a self-test and a Makefile.",
    )
    options.add_argument("file", help="a .tflite file")
    options.add_argument("out", help="output folder; created if it does not exist")
    options.add_argument("--name", default="model", help="prefix of every name in the C (default: %(default)s)")
    options.add_argument(
        "--arithmetic",
        default="auto",
        choices=("auto", "litert", "tflm"),
        help="whose answers the integers give bit for bit: LiteRT's reference kernels or TFLM (default: LiteRT if it can run it)",
    )
    options.add_argument(
        "--project",
        default="make",
        choices=("make", "qemu", "arduino", "platformio", "esp-idf", "zephyr"),
        help="layout of the folder (default: %(default)s)",
    )
    options.add_argument(
        "--smooth", type=int, default=1, help="events over which NAME_listen averages (default: %(default)s)"
    )
    options.add_argument(
        "--threshold", type=float, default=0.5, help="average from which it reports a class (default: %(default)s)"
    )
    options.add_argument("--background", default="", help="labels that it never reports, separated by commas")
    options.add_argument("--quiet", action="store_true", help="print errors only")
    options.add_argument("--json", action="store_true", help="print one JSON object instead of a sentence")
    options.add_argument("--verbose", action="store_true", help="show tracebacks")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments after ``keras-gates c99``; None takes those of the process.

    Returns:
        Exit status: 0 if the files were written, otherwise 2 with the reason on standard error.
    """
    options = parser().parse_args(argv)
    from keras_gates.exporting.c99.frontends import Trigger
    from keras_gates.exporting.c99.write import write_c99
    from keras_gates.exporting.report import ExportError

    try:
        data = Path(options.file).read_bytes()
        background = tuple(filter(None, options.background.split(",")))
        trigger = Trigger(options.smooth, options.threshold, background)
        c99 = write_c99(
            data,
            options.out,
            name=options.name,
            arithmetic=options.arithmetic,
            trigger=trigger,
            project=options.project,
        )
    except (ExportError, OSError) as error:
        if options.verbose:
            raise
        print(f"keras-gates c99: {error}", file=sys.stderr)
        return 2
    files = [str(Path(options.out) / path.name) for path in c99.files]
    if options.quiet:
        return 0
    if options.json:
        print(json.dumps({"files": files, "streams": c99.streams}))
        return 0
    calls = f"{c99.name}_run and {c99.name}_push" if c99.streams else f"{c99.name}_run"
    calls += f", {c99.name}_listen" if c99.listens else ""
    then = {"make": "runs the self-test", "qemu": "compiles for an emulated Cortex-M4"}.get(options.project)
    then = f"; `make -C {options.out}` {then}" if then else ""
    print(f"{', '.join(files)}: {calls}{then}")
    return 0
