"""``keras-gates fit``: whether a model fits a microcontroller, before anything is flashed."""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from keras_gates.cli import keras_files
from keras_gates.edge import EdgeError
from keras_gates.exporting.c99.measure import CORES, Measured, measure
from keras_gates.exporting.report import ExportError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}
_HERTZ = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    options = argparse.ArgumentParser(
        prog="keras-gates fit",
        description="Compile a model's C for a Cortex-M, run an event under an emulator, and compare flash, RAM and time.",
    )
    keras_files.add_model_options(options)
    options.add_argument("--flash", default="256K", help="bytes for code and weights (default: %(default)s)")
    options.add_argument("--ram", default="64K", help="bytes for state and stack (default: %(default)s)")
    options.add_argument("--clock", default="80MHz", help="of the processor (default: %(default)s)")
    options.add_argument("--core", default="m4", choices=tuple(CORES), help="Cortex-M processor (default: %(default)s)")
    options.add_argument("--rate", type=float, help="events per second; sound has its own")
    options.add_argument(
        "--cycles", type=float, default=1.5, help="cycles per instruction, an estimate (default: %(default)s)"
    )
    options.add_argument("--quiet", action="store_true", help="print errors only; the exit status is the answer")
    options.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments after ``keras-gates fit``; None takes those of the process.

    Returns:
        Exit status: 0 if the model fits, 1 if it does not, 2 with the reason on standard error if that cannot be said.
    """
    options = parser().parse_args(argv)
    try:
        limits = _bytes(options.flash), _bytes(options.ram), _hertz(options.clock)
        measured = measure(_file(options), options.core)
        rows = _rows(options, measured, *limits)
        fits = all(used <= limit for _, used, limit, _ in rows)
        largest = None if fits or options.quiet else _largest(options, *limits)
    except (ExportError, EdgeError, OSError) as error:
        if options.verbose:
            raise
        print(f"keras-gates fit: {error}", file=sys.stderr)
        return 2
    if options.json:
        sizes = {name: {"used": used, "limit": limit} for name, used, limit, _ in rows}
        print(json.dumps({"fits": fits, "largest": largest, **sizes, "instructions": measured.instructions}))
    elif not options.quiet:
        print(_sentences(options, measured, rows, fits))
        if not fits:
            print(f"the largest preset that fits: {largest}" if largest else "no preset of the same model fits")
    return 0 if fits else 1


def _rows(
    options: argparse.Namespace, measured: Measured, flash: int, ram: int, clock: float
) -> list[tuple[str, int, int, str]]:
    """Return what is limited: name, how much the model takes, how much there is, unit."""
    rows = [("flash", measured.flash, flash, "bytes"), ("RAM", measured.ram, ram, "bytes")]
    if (load := _load(options, measured)) is not None:
        rows.append(("processor", round(load), round(clock), "cycles per second"))
    return rows


def _sentences(
    options: argparse.Namespace, measured: Measured, rows: list[tuple[str, int, int, str]], fits: bool
) -> str:
    lines = [f"{'yes' if fits else 'no'}: {options.model} on a Cortex-{options.core.upper()}"]
    for name, used, limit, unit in rows:
        verdict = f"{limit - used:,} left" if used <= limit else f"{used - limit:,} too many"
        lines.append(f"  {name:10s} {used:>12,} of {limit:>12,} {unit}, {verdict}")
    lines.append(
        f"  RAM: {measured.state:,} of state, {measured.stack:,} of stack; {measured.instructions:,} instructions per event"
    )
    if measured.per_second is not None:
        lines.append(f"  {measured.per_second:,} instructions per second of sound, with the front end")
    if len(rows) > 2:
        lines.append(f"  cycles are instructions times {options.cycles}, an estimate (--cycles)")
    return "\n".join(lines)


def _load(options: argparse.Namespace, measured: Measured) -> float | None:
    per_second = measured.instructions * options.rate if options.rate else measured.per_second
    return None if per_second is None else per_second * options.cycles


def _file(options: argparse.Namespace) -> bytes:
    """Return the .tflite: the file itself, a preset of the zoo, or an int8 export of a .keras file."""
    path = Path(options.model)
    preset = _weights() / f"{options.model}-int8.tflite"
    if path.suffix == ".tflite":
        return path.read_bytes()
    if preset.is_file():
        return preset.read_bytes()
    keras_files.check_paths(options)
    keras_files.use_tensorflow(options)
    keras_files.import_keras()
    import numpy as np

    import keras_gates

    model, random = keras_files.load(options), np.random.default_rng(0)
    shapes = [[size or 16 for size in port.shape[1:]] for port in model.inputs]
    data = [
        random.integers(0, 2, (40, *shape)) if "int" in str(port.dtype) else random.normal(size=(40, *shape))
        for port, shape in zip(model.inputs, shapes)
    ]  # sizes and counts are those of any calibration
    calibration = [x.astype(str(port.dtype)) for x, port in zip(data, model.inputs)]
    with tempfile.TemporaryDirectory() as folder:
        keras_gates.export(
            model, folder, ("tflite",), "int8", calibration=calibration[0] if len(calibration) == 1 else calibration
        )
        return Path(folder, "model.tflite").read_bytes()


def _largest(options: argparse.Namespace, flash: int, ram: int, clock: float) -> str | None:
    """Return the largest preset that fits, of the same model if the name is one of the zoo's."""
    presets = sorted(_weights().glob("*-int8.tflite"), key=lambda path: -path.stat().st_size)
    family = Path(options.model).name.split("-")[0].split(".")[0]
    same = [path for path in presets if path.name.startswith(f"{family}-")]
    for path in same or presets:
        if path.stat().st_size > flash + (8 << 10):  # the C has a little less than the file
            continue
        try:
            measured = measure(path.read_bytes(), options.core)
        except ExportError:
            continue
        load = _load(options, measured)
        if measured.flash <= flash and measured.ram <= ram and (load is None or load <= clock):
            return path.name.removesuffix("-int8.tflite")
    return None


def _weights() -> Path:
    return Path(str(files("keras_gates.models"))) / "weights"


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KM]?)i?B?", text, re.IGNORECASE)
    if match is None:
        raise ExportError(f"expected bytes such as 256K, got {text!r}.")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _hertz(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMG]?)(?:Hz)?", text, re.IGNORECASE)
    if match is None:
        raise ExportError(f"expected a clock such as 80MHz, got {text!r}.")
    return float(match[1]) * _HERTZ[match[2].upper()]
