"""`keras-gates export model.keras out/`: the export from a command line, and precisions side by side."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_gates._quiet import quietly
from keras_gates.exporting.options import FORMATS, FORMS, MODES, PRECISIONS, TARGETS
from keras_gates.exporting.report import ExportError, ExportReport

if TYPE_CHECKING:
    import keras


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
    made.add_argument("--mode", default="sequence", choices=MODES, help="a whole sequence a call, or events")
    made.add_argument("--target", default="cpu", choices=TARGETS, help="LiteRT, or TFLM on a microcontroller")
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
    """Run the command; 0 where the files were written, 2 where not, with the reason on standard error."""
    options = parser().parse_args(argv)
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever trained the model
    with quietly():
        import keras
        import tensorflow as tf

        from keras_gates.exporting.pipeline import export

        tf.config.list_physical_devices()  # without a GPU this complains
    metadata: dict[str, Any] = {}
    if options.labels:
        metadata["labels"] = options.labels.split(",")
    if options.licence:
        metadata["licence"] = options.licence
    try:
        model = keras.saving.load_model(options.model, compile=False)
        calibration, test = _read(options.calibration)
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
        print(export(model, options.out, options.formats.split(","), options.precision, **shared))
    except (ExportError, ValueError, OSError) as error:
        print(f"keras-gates export: {error}", file=sys.stderr)
        return 2
    return 0


def compare(model: keras.Model, out: str | Path, shared: dict[str, Any]) -> int:
    """Export in every precision as out/model-PRECISION.tflite and print size, accuracy, latency and arena side by side.

    Returns:
        0 where at least one file was written, else 2.
    """
    from keras_gates.exporting.pipeline import export

    reports, refused = [], []
    for precision in PRECISIONS:
        try:
            reports.append(export(model, out, ("tflite",), precision, name=f"model-{precision}", **shared))
        except ExportError as error:
            refused.append(f"no {precision}: {str(error).splitlines()[0]}")
    if reports:
        score = next((name.removeprefix("file ") for name in reports[0].quality or {} if name.startswith("file ")), "")
        rows = [
            ("precision", "form", "bytes", "largest", "mean", "same answer", score, "µs a call", "arena to reserve")
        ]
        if reports[0].quality:
            rows.append(("Keras itself", *[""] * 5, f"{reports[0].quality[f'keras {score}']:.4g}", "", ""))
        rows += [_row(report) for report in reports]
        rows = list(zip(*[column for column in zip(*rows) if any(column[1:])]))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        print(
            "\nlargest, mean: difference from Keras over samples not calibrated with; µs: median here, one thread",
            end="",
        )
        print(", one event a call in the form step" if any("step" in report.form for report in reports) else "")
    told = refused + [f"{report.precision}: {warning}" for report in reports for warning in report.warnings]
    print(*told, sep="\n", end="\n" if told else "")
    return 0 if reports else 2


def _row(report: ExportReport) -> tuple[str, ...]:
    quality = next((value for name, value in (report.quality or {}).items() if name.startswith("file")), None)
    return (
        report.precision,
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
