"""``keras-gates look model.keras data.npy -o report.html``: the interactive report of `keras_gates.report`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_gates.cli.inputs import read_arrays, read_lines, read_rows
from keras_gates.cli.keras_files import add_model_options, check_paths, import_keras, load, use_tensorflow
from keras_gates.edge import EdgeError


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    options = argparse.ArgumentParser(
        prog="keras-gates look",
        description="Write an interactive report of what the gates of a model do with some examples: one HTML file.",
    )
    add_model_options(options)
    options.add_argument(
        "data",
        help="examples: .npy (examples, …); .npz with one array per input, an array y in it holds the true answers; .csv, the "
        "time steps of one example; .txt, one text per line",
    )
    options.add_argument("-o", "--output", default="report.html", help="the file to write (default: %(default)s)")
    options.add_argument(
        "--search", metavar="DATA", help="a larger data set in which events are searched where a unit does the same"
    )
    options.add_argument("--labels", help="class names, separated by commas")
    options.add_argument("--title", help="title of the report (default: the model's name)")
    options.add_argument("--quiet", action="store_true", help="print errors only")
    options.add_argument("--json", action="store_true", help="print one JSON object instead of a sentence")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments after ``keras-gates look``; None takes those of the process.

    Returns:
        Exit status: 0 if the report was written, otherwise 2 with the reason on standard error.
    """
    options = parser().parse_args(argv)
    try:
        check_paths(options)
        if not Path(options.output).absolute().parent.is_dir():
            raise EdgeError(f"{options.output}: there is no folder {Path(options.output).parent} to write to.")
        examples, truth = _read(options.data)
        search = _read(options.search)[0] if options.search else None
        use_tensorflow(options)
        import_keras()
        from keras_gates.inspection.html_report.build import report

        labels = options.labels.split(",") if options.labels else ()
        path = report(
            load(options), examples, options.output, truth=truth, labels=labels, title=options.title, search=search
        )
    except (ValueError, TypeError, OSError) as error:
        if options.verbose:
            raise
        print(f"keras-gates look: {' '.join(str(error).split())[:500]}", file=sys.stderr)
        return 2
    if not options.quiet:
        print(
            json.dumps({"report": str(path), "bytes": path.stat().st_size})
            if options.json
            else f"{path}: open it in a browser"
        )
    return 0


def _read(source: str) -> tuple[Any, Any]:
    """Return examples, and true answers if the file holds them."""
    kind = Path(source).suffix.lower()
    if not Path(source).is_file():
        raise EdgeError(f"{source}: there is no such file.")
    if kind == ".csv":
        return _finite(source, np.array(list(read_rows(source)))[None]), None
    if kind == ".txt":
        return np.array([line.rstrip("\n") for line in read_lines(source) if line.strip()], object), None
    arrays = read_arrays(Path(source))
    truth = arrays.pop("y", None)
    if not arrays:
        raise EdgeError(f"{source}: it holds no examples besides y.")
    for name, array in arrays.items():
        _finite(source if len(arrays) == 1 else f"{source}, array {name!r}", array)
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays, truth


def _finite(source: str, array: np.ndarray) -> np.ndarray:
    """Return an array of examples.

    Raises:
        EdgeError: A number in it is not finite.
    """
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise EdgeError(
            f"{source}: expected finite numbers, got {array[place]} at {place}, counted from 0. Fill the gap or leave the "
            "example out."
        )
    return array
