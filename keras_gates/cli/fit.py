"""``keras-gates fit``: whether a model fits a microcontroller, before anything is flashed."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from keras_gates.cli import keras_files
from keras_gates.edge import EdgeError
from keras_gates.exporting.c99.cores import CORES
from keras_gates.exporting.c99.ethos_u import ACCELERATOR
from keras_gates.exporting.fit import FitReport, exported, fit_report, size_of
from keras_gates.exporting.report import ExportError


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    options = argparse.ArgumentParser(
        prog="keras-gates fit",
        description="Compile a model's C for a microcontroller, run an event under an emulator, and compare flash, RAM and time.",
    )
    keras_files.add_model_options(options, "a .keras or .tflite file, or the name of a preset such as gesture-nano")
    options.add_argument("--flash", default="256K", help="bytes for code and weights (default: %(default)s)")
    options.add_argument("--ram", default="64K", help="bytes for state and stack (default: %(default)s)")
    options.add_argument("--clock", default="80MHz", help="of the processor (default: %(default)s)")
    cores = "Cortex-M or RISC-V; all prints a table of them (default: %(default)s)"
    options.add_argument("--core", default="m4", choices=(*CORES, "all"), help=cores)
    options.add_argument("--rate", type=float, help="events per second; sound has its own")
    options.add_argument(
        "--cycles", type=float, default=1.5, help="cycles per instruction, an estimate (default: %(default)s)"
    )
    options.add_argument(
        "--accelerator", default=ACCELERATOR, help="Ethos-U for Vela's estimate, if installed (default: %(default)s)"
    )
    options.add_argument("--quiet", action="store_true", help="print errors only; the exit status is the answer")
    options.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments after ``keras-gates fit``; None takes those of the process.

    Returns:
        Exit status: 0 if the model fits (all cores), 1 if it does not, 2 with the reason on standard error if that cannot be
        said.
    """
    options = parser().parse_args(argv)
    try:
        model = _model(options)
        if options.core == "all":
            return _all_cores(options, model)
        report = _report(options, model, options.accelerator)
        largest = None if report.fits or options.quiet else _largest(options)
    except (ExportError, EdgeError, OSError) as error:
        if options.verbose:
            raise
        print(f"keras-gates fit: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(_values(report, largest)))
    elif not options.quiet:
        print(dataclasses.replace(report, model=options.model))
        if not report.fits:
            print(f"the largest preset that fits: {largest}" if largest else "no preset of the same model fits")
    return 0 if report.fits else 1


def _all_cores(options: argparse.Namespace, model: Any) -> int:
    """Print a line per core, and return the exit status."""
    data = model if isinstance(model, bytes) else exported(model)
    reports = [_report(options, data, None, core) for core in CORES]
    if options.json:
        print(json.dumps({report.core: _values(report, None) for report in reports}))
    elif not options.quiet:
        print(f"{'':13}{'fits':6}{'flash':>9}{'RAM':>8}{'instructions per event':>24}{'per second of sound':>21}")
        for report in reports:
            measured, sound = report.measured, report.measured.per_second
            print(
                f"{CORES[report.core].title:13}{'yes' if report.fits else 'no':6}{measured.flash:9,}{measured.ram:8,}"
                f"{measured.instructions:24,}{'' if sound is None else f'{sound:,}':>21}"
            )
    return 0 if all(report.fits for report in reports) else 1


def _report(options: argparse.Namespace, model: Any, accelerator: str | None, core: str | None = None) -> FitReport:
    return fit_report(
        model,
        options.flash,
        options.ram,
        options.clock,
        core or options.core,
        rate=options.rate,
        cycles=options.cycles,
        accelerator=accelerator,
    )


def _values(report: FitReport, largest: str | None) -> dict[str, Any]:
    sizes = {limit.name: {"used": limit.used, "limit": limit.limit} for limit in report.limits}
    estimate = dataclasses.asdict(report.ethos_u) if report.ethos_u else None
    counted = {"instructions": report.measured.instructions, "ethos_u": estimate}
    return {"fits": report.fits, "largest": largest, **sizes, **counted}


def _model(options: argparse.Namespace) -> Any:
    """Return the bytes of a .tflite or of a preset of the zoo, or the model in a .keras file."""
    path = Path(options.model)
    preset = _weights() / f"{options.model.replace('/', '-')}-int8.tflite"
    if path.suffix == ".tflite":
        if not path.is_file():
            raise EdgeError(f"{path}: there is no such file.")
        return path.read_bytes()
    if preset.is_file():
        return preset.read_bytes()
    keras_files.check_paths(options)
    keras_files.use_tensorflow(options)
    keras_files.import_keras()
    return keras_files.load(options)


def _largest(options: argparse.Namespace) -> str | None:
    """Return the largest preset that fits, of the same model if the name is one of the zoo's."""
    presets = sorted(_weights().glob("*-int8.tflite"), key=lambda path: -path.stat().st_size)
    family = Path(options.model).name.split("-")[0].split(".")[0]
    same = [path for path in presets if path.name.startswith(f"{family}-")]
    flash = size_of(options.flash)
    for path in same or presets:
        if path.stat().st_size > flash + (8 << 10):  # the C has a little less than the file
            continue
        try:
            if _report(options, path.read_bytes(), None).fits:
                return path.name.removesuffix("-int8.tflite")
        except ExportError:
            continue
    return None


def _weights() -> Path:
    return Path(str(files("keras_gates.models"))) / "weights"
