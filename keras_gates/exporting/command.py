"""`keras-gates export model.keras out/`: the export from a command line, and precisions side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_gates.exporting.forms import FORMS
from keras_gates.exporting.pipeline import FORMATS, PRECISIONS, export
from keras_gates.exporting.report import ExportError, ExportReport


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(
        prog="keras-gates export",
        description="A trained Keras model to SavedModel, .tflite and C, each compared with the model before it is written.",
    )
    made.add_argument("model", help="a .keras file")
    made.add_argument("out", help="folder for the files; made where it is missing")
    made.add_argument("--formats", default="saved_model,tflite", help=f"of {', '.join(FORMATS)} (default: %(default)s)")
    made.add_argument("--precision", default="float32", choices=PRECISIONS, help="default: %(default)s")
    made.add_argument(
        "--mode", default="sequence", choices=("sequence", "stream"), help="a whole sequence a call, or events"
    )
    made.add_argument("--target", default="cpu", choices=("cpu", "micro"), help="LiteRT, or TFLM on a microcontroller")
    made.add_argument("--form", default="auto", choices=FORMS, help="how recurrent layers run (default: %(default)s)")
    made.add_argument("--batch", type=int, default=1, help="sequences a call (default: %(default)s)")
    made.add_argument("--steps", type=int, help="events a call; default: the model's or the data's, 1 in a stream")
    made.add_argument(
        "--calibration",
        help=".npy with inputs (samples, time, …), or .npz with one array an input; an array y in the .npz are targets: quality",
    )
    made.add_argument("--labels", help="class names, separated by commas, for the file's metadata")
    made.add_argument("--licence", help="licence of the weights, for the file's metadata")
    made.add_argument("--compare", action="store_true", help="every precision that fits target and data, side by side")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 where the files were written, 1 where not (the reason is printed)."""
    options = parser().parse_args(argv)
    model = keras.saving.load_model(options.model, compile=False)
    calibration, test = _read(options.calibration)
    metadata: dict[str, Any] = {}
    if options.labels:
        metadata["labels"] = options.labels.split(",")
    if options.licence:
        metadata["licence"] = options.licence
    shared = {
        "mode": options.mode,
        "target": options.target,
        "batch": options.batch,
        "calibration": calibration,
        "metadata": metadata,
        "form": options.form,
        "steps": options.steps,
        "test": test,
    }
    if options.compare:
        return compare(model, options.out, shared)
    try:
        print(export(model, options.out, options.formats.split(","), options.precision, **shared))
    except (ExportError, ValueError) as error:
        print(f"not exported: {error}")
        return 1
    return 0


def compare(model: keras.Model, out: str | Path, shared: dict[str, Any]) -> int:
    """Export in every precision as out/model-PRECISION.tflite and print size, accuracy, latency and arena side by side."""
    rows = [("precision", "form", "bytes", "largest", "mean", "same", "quality", "µs", "arena")]
    for precision in PRECISIONS:
        if precision in ("float16", "dynamic") and shared["target"] == "micro":
            continue
        try:
            report = export(model, out, ("tflite",), precision, name=f"model-{precision}", **shared)
            rows.append(_row(precision, report))
        except ExportError as error:
            rows.append((precision, str(error).splitlines()[0][:90], *[""] * 7))
    widths = [max(len(row[i]) for row in rows if row[2]) for i in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
            if row[2]
            else f"{row[0]}  {row[1]}"
        )
    return 0 if any(row[2] for row in rows[1:]) else 1


def _row(precision: str, report: ExportReport) -> tuple[str, ...]:
    quality = next((value for name, value in (report.quality or {}).items() if name.startswith("file")), None)
    return (
        precision,
        report.form,
        f"{report.bytes:,}",
        f"{report.max_difference:.2g}",
        f"{report.mean_difference:.2g}",
        "" if report.agreement is None else f"{100 * report.agreement:.1f} %",
        "" if quality is None else f"{quality:.4g}",
        "" if report.latency_us is None else f"{report.latency_us:.0f}",
        "" if report.arena_bytes is None else f"{report.arena_bytes:,}",
    )


def _read(path: str | None) -> tuple[Any, tuple[Any, Any] | None]:
    """Calibration inputs, and (inputs, targets) where the file holds targets `y`."""
    if path is None:
        return None, None
    found = np.load(path)
    if isinstance(found, np.ndarray):
        return found, None
    arrays = {name: found[name] for name in found.files}
    targets = arrays.pop("y", None)
    inputs = next(iter(arrays.values())) if len(arrays) == 1 else arrays
    return inputs, None if targets is None else (inputs, targets)
