"""``keras-gates export model.keras out/``: `keras_gates.export` from the command line, and precisions side by side."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_gates.cli.inputs import read_arrays
from keras_gates.cli.keras_files import add_model_options, check_paths, import_keras, load, use_tensorflow
from keras_gates.cli.table import print_table
from keras_gates.edge import EdgeError
from keras_gates.exporting.options import FORMATS, LOWERINGS, MODES, PRECISIONS, TARGETS
from keras_gates.exporting.report import ExportError, ExportReport

if TYPE_CHECKING:
    import keras


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    options = argparse.ArgumentParser(
        prog="keras-gates export",
        description="Export a trained Keras model to SavedModel, .tflite or C. Each file is verified before it is written.",
    )
    add_model_options(options)
    options.add_argument("out", help="output folder; created if it does not exist")
    options.add_argument(
        "--formats", default="saved_model,tflite", help=f"of {', '.join(FORMATS)} (default: %(default)s)"
    )
    options.add_argument("--precision", default="float32", choices=(*PRECISIONS, "int4"), help="default: %(default)s")
    options.add_argument("--mode", default="sequence", choices=MODES, help="whole sequences or events per call")
    options.add_argument("--target", default="cpu", choices=TARGETS, help="LiteRT, or TFLM on a microcontroller")
    options.add_argument(
        "--lowering", default="auto", choices=LOWERINGS, help="how recurrent layers run (default: %(default)s)"
    )
    options.add_argument(
        "--batch", type=int, default=1, help="sequences per call; baked into the file (default: %(default)s)"
    )
    options.add_argument(
        "--steps", type=int, help="time steps per call (default: those of the model or the data; 1 in a stream)"
    )
    options.add_argument(
        "--calibration",
        help="calibration inputs: .npy (samples, time, …), or .npz with one array per input; an array y in the .npz holds "
        "targets, to report accuracy",
    )
    options.add_argument("--labels", help="class names, separated by commas, for the file's metadata")
    options.add_argument("--licence", help="licence of the weights, for the file's metadata")
    options.add_argument(
        "--compare", action="store_true", help="export in every precision that suits target and data, side by side"
    )
    options.add_argument("--quiet", action="store_true", help="print errors only")
    options.add_argument("--json", action="store_true", help="print the report as JSON")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments after ``keras-gates export``; None takes those of the process.

    Returns:
        Exit status: 0 if the files were written, otherwise 2 with the reason on standard error.
    """
    options = parser().parse_args(argv)
    try:
        formats = _checked(options)
        calibration, test = _read(options.calibration)
        use_tensorflow(options)
        import_keras()
        from keras_gates.exporting.pipeline import export

        metadata: dict[str, Any] = {"labels": options.labels.split(",")} if options.labels else {}
        metadata |= {"licence": options.licence} if options.licence else {}
        shared = {
            "mode": options.mode,
            "target": options.target,
            "batch": options.batch,
            "calibration": calibration,
            "metadata": metadata,
            "lowering": options.lowering,
            "steps": options.steps,
            "test": test,
        }
        model = load(options)
        if options.compare:
            return compare(model, options.out, shared, options.json, options.quiet)
        report = export(model, options.out, formats, options.precision, **shared)
    except (ExportError, ValueError, TypeError, OSError) as error:
        if options.verbose:
            raise
        print(f"keras-gates export: {error}", file=sys.stderr)
        return 2
    if not options.quiet:
        print(report.to_json() if options.json else report)
    return 0


def _checked(options: argparse.Namespace) -> list[str]:
    """Return the formats; check all that needs no Keras.

    Raises:
        EdgeError: A name or path is wrong, or a precision needs data.
    """
    check_paths(options)
    formats = [name.strip() for name in options.formats.split(",")]
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise EdgeError(f"--formats: expected some of {', '.join(FORMATS)}, got {', '.join(unknown)}.")
    if Path(options.out).exists() and not Path(options.out).is_dir():
        raise EdgeError(f"{options.out} is a file: expected a folder to write to.")
    if options.precision.startswith("int") and options.calibration is None and not options.compare:
        raise EdgeError(
            f"--precision {options.precision} needs inputs to calibrate with: add --calibration data.npy, an array (samples, …) "
            "of typical inputs."
        )
    return formats


def compare(
    model: keras.Model, out: str | Path, shared: dict[str, Any], as_json: bool = False, quiet: bool = False
) -> int:
    """Export in every precision as out/model-PRECISION.tflite and print size, accuracy, latency and arena side by side.

    Args:
        model: The trained model.
        out: Output folder.
        shared: Keyword arguments of `keras_gates.export` that all precisions share.
        as_json: Print one JSON object with `reports` by precision and `refused` instead.
        quiet: Print nothing if a file was written.

    Returns:
        Exit status: 0 if at least one file was written, otherwise 2.
    """
    from keras_gates.exporting.pipeline import export

    reports, refused = [], []
    for precision in PRECISIONS:
        try:
            reports.append(export(model, out, ("tflite",), precision, name=f"model-{precision}", **shared))
        except ExportError as error:
            refused.append(f"no {precision}: {str(error).splitlines()[0]}")
    if quiet and reports:
        return 0
    if as_json:
        by_precision = {report.precision: report.to_dict() for report in reports}
        print(json.dumps({"reports": by_precision, "refused": refused}))
        return 0 if reports else 2
    if reports:
        _print_reports(reports)
    for line in refused + [f"{report.precision}: {warning}" for report in reports for warning in report.warnings]:
        print(line)
    return 0 if reports else 2


def _print_reports(reports: list[ExportReport]) -> None:
    score = next((name.removeprefix("file ") for name in reports[0].quality or {} if name.startswith("file ")), "")
    head = (
        "precision",
        "lowering",
        "bytes",
        "largest",
        "mean",
        "same answer",
        score,
        "µs per call",
        "arena to reserve",
    )
    rows = [_row(report) for report in reports]
    if reports[0].quality:
        rows.insert(0, ("Keras itself", *[""] * 5, f"{reports[0].quality[f'keras {score}']:.4g}", "", ""))
    filled = [place for place in range(len(head)) if any(row[place] for row in rows)]
    print_table([[row[place] for place in filled] for row in rows], [head[place] for place in filled])
    steps = (
        "; one event per call with the lowering step" if any("step" in report.lowering for report in reports) else ""
    )
    print(
        f"\nlargest, mean: difference from Keras over held-out samples; µs: median on this machine, one thread{steps}"
    )


def _row(report: ExportReport) -> tuple[str, ...]:
    quality = next((value for name, value in (report.quality or {}).items() if name.startswith("file")), None)
    return (
        report.precision,
        report.lowering,
        f"{report.bytes:,}",
        f"{report.max_difference:.2g}",
        f"{report.mean_difference:.2g}",
        "" if report.agreement is None else f"{100 * report.agreement:.1f} %",
        "" if quality is None else f"{quality:.4g}",
        "" if report.latency_us is None else f"{report.latency_us:.0f}",
        "" if report.arena_bytes is None else f"{report.arena_bytes:,}",
    )


def _read(path: str | None) -> tuple[Any, tuple[Any, Any] | None]:
    """Return calibration inputs and, if the file holds targets `y`, (inputs, targets)."""
    if path is None:
        return None, None
    if Path(path).suffix.lower() == ".csv":
        raise EdgeError(
            f"{path}: calibration inputs are an array (samples, time, features), which a CSV does not hold. Convert it: "
            "numpy.save('data.npy', numpy.loadtxt('data.csv', delimiter=',').reshape(samples, time, features))."
        )
    arrays = read_arrays(Path(path))
    targets = arrays.pop("y", None)
    if not arrays:
        raise EdgeError(
            f"{path}: expected at least one array of inputs, it holds {'y alone' if targets is not None else 'none'}."
        )
    inputs = next(iter(arrays.values())) if len(arrays) == 1 else arrays
    return inputs, None if targets is None else (inputs, targets)
