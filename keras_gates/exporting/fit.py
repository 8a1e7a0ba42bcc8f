"""`fit_report`: whether a model fits a microcontroller, before anything is flashed."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_gates._arguments import typed
from keras_gates.exporting.c99.cores import CORES
from keras_gates.exporting.c99.ethos_u import EthosU, ethos_u
from keras_gates.exporting.c99.graph import graph_of
from keras_gates.exporting.c99.measure import Measured, measure
from keras_gates.exporting.c99.source import source_of
from keras_gates.exporting.report import ExportError

if TYPE_CHECKING:
    import keras

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}
_HERTZ = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_SEQUENCES, _STEPS = 40, 16


@dataclass(frozen=True)
class Limit:
    """One of the things that a device has a limited amount of.

    Attributes:
        name: "flash", "RAM" or "processor".
        used, limit: What the model takes, and what there is.
        unit: Of both.
    """

    name: str
    used: int
    limit: int
    unit: str

    def __str__(self) -> str:
        verdict = (
            f"{self.limit - self.used:,} left" if self.used <= self.limit else f"{self.used - self.limit:,} too many"
        )
        return f"  {self.name:10s} {self.used:>12,} of {self.limit:>12,} {self.unit}, {verdict}"


@dataclass(frozen=True)
class FitReport:
    """What `fit_report` returns; printed, it is the text of ``keras-gates fit``.

    Attributes:
        model: The model's name or path.
        core: The processor, a key of `keras_gates.exporting.c99.cores.CORES`.
        measured: Flash, state, stack and instructions.
        limits: What the model takes, and what there is; the processor if events per second are known.
        cycles: Cycles per instruction that were assumed.
        ethos_u: Vela's estimate; None if there is none.
        note: Why there is none.
    """

    model: str
    core: str
    measured: Measured
    limits: tuple[Limit, ...]
    cycles: float
    ethos_u: EthosU | None = None
    note: str = ""

    @property
    def fits(self) -> bool:
        """Whether every limit holds."""
        return all(limit.used <= limit.limit for limit in self.limits)

    def __str__(self) -> str:
        measured = self.measured
        lines = [f"{'yes' if self.fits else 'no'}: {self.model} on a {CORES[self.core].title}", *map(str, self.limits)]
        lines.append(
            f"  RAM: {measured.state:,} of state, {measured.stack:,} of stack; {measured.instructions:,} instructions per event"
        )
        if measured.per_second is not None:
            lines.append(f"  {measured.per_second:,} instructions per second of sound, with the front end")
        if len(self.limits) > 2:
            lines.append(f"  cycles are instructions times {self.cycles}, an estimate (--cycles)")
        if self.ethos_u is None:
            lines.append(f"  no Ethos-U estimate: {self.note}")
        else:
            lines.append(
                f"  {self.ethos_u.accelerator}: {self.ethos_u.cycles:,} cycles per call, {self.ethos_u.sram:,} bytes of SRAM, "
                f"{self.ethos_u.cpu} operators left to the processor (Vela's estimate)"
            )
        return "\n".join(lines)


@typed
def fit_report(
    model: keras.Model | str | os.PathLike | bytes,
    flash: int | str = "256K",
    ram: int | str = "64K",
    clock: float | str = "80MHz",
    core: str = "m4",
    *,
    rate: float | None = None,
    cycles: float = 1.5,
    accelerator: str | None = None,
) -> FitReport:
    """Compile a model's C for a processor, run an event under an emulator, and compare flash, RAM and time with a device.

    A Keras model is exported in int8 with random calibration: sizes and counts are those of any other, answers are not.

    Args:
        model: A Keras model, the path of a ``.keras`` or ``.tflite`` file, or a file's bytes.
        flash: Bytes for code and weights, a number or text such as "256K".
        ram: Bytes for state and stack.
        clock: Of the processor in Hz, a number or text such as "80MHz".
        core: "m0", "m3", "m4", "m7", "m33", "m55" (Cortex-M) or "rv32" (RISC-V, RV32IMAC).
        rate: Events per second; sound has its own. Without one the processor's time is not compared.
        cycles: Cycles per instruction, an estimate.
        accelerator: An Ethos-U, "ethos-u55-128" for example, of which Vela estimates cycles; None asks for none.

    Returns:
        The report; `FitReport.fits` is the answer.

    Raises:
        ExportError: A tool is missing, a limit cannot be read, or there is no C for the model.

    Example:

    >>> print(keras_gates.fit_report("model.keras", flash="256K", ram="64K", clock="80MHz"))  # doctest: +SKIP
    yes: model.keras on a Cortex-M4
      flash            15,948 of      262,144 bytes, 246,196 left
      RAM               1,104 of       65,536 bytes, 64,432 left
      RAM: 768 of state, 336 of stack; 145,615 instructions per event
    """
    room, memory, hertz = size_of(flash), size_of(ram), _hertz(clock)
    name, data = _file(model)
    measured = measure(data, core)
    limits = [Limit("flash", measured.flash, room, "bytes"), Limit("RAM", measured.ram, memory, "bytes")]
    per_second = measured.instructions * rate if rate else measured.per_second
    if per_second is not None:
        limits.append(Limit("processor", round(per_second * cycles), round(hertz), "cycles per second"))
    estimate, note = None, "not asked for"
    if accelerator is not None:
        try:
            estimate = _estimate(data, accelerator)
        except ExportError as error:
            note = str(error)
    return FitReport(name, core, measured, tuple(limits), cycles, estimate, note)


def _estimate(data: bytes, accelerator: str) -> EthosU:
    if any(value.dtype != "int8" for value in graph_of(data).inputs):
        raise ExportError("an Ethos-U runs int8 files.")
    return ethos_u(data, accelerator)


def _file(model: Any) -> tuple[str, bytes]:
    """Return a name and the .tflite: the file itself, or an int8 export."""
    if isinstance(model, bytes):
        return "the file", model
    import keras

    if isinstance(model, str | os.PathLike):
        path = Path(model)
        try:
            if path.suffix == ".tflite":
                return str(path), path.read_bytes()
        except OSError as error:
            raise ExportError(f"cannot read {path}: {error.strerror}.") from None
        try:
            return str(path), exported(keras.saving.load_model(path, compile=False))
        except (OSError, ValueError, TypeError) as error:
            raise ExportError(f"cannot load {path}: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(model, keras.Model):
        raise ExportError(f"fit_report: model must be a Keras model, a path or a file's bytes, got {model!r:.60}.")
    return model.name, exported(model)


def exported(model: keras.Model) -> bytes:
    """Return an int8 export with random calibration; sizes and counts are those of any other."""
    from keras_gates.exporting.model_inputs import inputs_of, random_samples  # these import Keras and TensorFlow
    from keras_gates.exporting.pipeline import export

    model = _after_texts(model)
    inputs = inputs_of(model)
    data = [
        np.concatenate(arrays) for arrays in zip(*random_samples(model, inputs, inputs.steps or _STEPS, _SEQUENCES))
    ]
    with tempfile.TemporaryDirectory() as folder:
        calibration = data[0] if len(data) == 1 else data
        try:
            export(model, folder, ("tflite",), "int8", calibration=calibration)
            source_of(graph_of(Path(folder, "model.tflite").read_bytes()), "model", "litert")
        except ExportError:  # an operator without C, or a loop, where a microcontroller's file has its steps
            export(model, folder, ("tflite",), "int8", target="micro", calibration=calibration)
        return Path(folder, "model.tflite").read_bytes()


def _after_texts(model: keras.Model) -> keras.Model:
    """Return the part of a model behind the layer that turns texts into numbers; the model itself if it takes none."""
    import keras

    for layer in model.layers:
        ends = getattr(layer, "input", None), getattr(layer, "output", None)
        if [getattr(tensor, "dtype", "") == "string" for tensor in ends] == [True, False]:
            return keras.Model(layer.output, model.outputs, name=model.name)
    return model


def size_of(text: int | str) -> int:
    """Return bytes from a number, or from text such as "256K".

    Raises:
        ExportError: The text is not a size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KM]?)i?B?", str(text), re.IGNORECASE)
    if match is None:
        raise ExportError(f"expected bytes such as 256K, got {text!r}.")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _hertz(text: float | str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMG]?)(?:Hz)?", str(text), re.IGNORECASE)
    if match is None:
        raise ExportError(f"expected a clock such as 80MHz, got {text!r}.")
    return float(match[1]) * _HERTZ[match[2].upper()]
