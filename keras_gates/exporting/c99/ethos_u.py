"""What a model takes on an Ethos-U, by the estimate of Arm's compiler Vela (``pip install ethos-u-vela``)."""

from __future__ import annotations

import csv
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from keras_gates.exporting.report import ExportError

ACCELERATOR = "ethos-u55-128"
_SECONDS = 300


@dataclass(frozen=True)
class EthosU:
    """Vela's estimate for one call of a file, in its default system configuration and memory mode.

    Attributes:
        accelerator: The configuration, "ethos-u55-128" for example.
        cycles: Of the call: a whole sequence, or the events of a stream's call.
        sram: Bytes of SRAM.
        flash: Bytes of flash outside the chip.
        npu, cpu: Operators that run on the Ethos-U, and on the processor.
    """

    accelerator: str
    cycles: int
    sram: int
    flash: int
    npu: int
    cpu: int


def ethos_u(data: bytes, accelerator: str = ACCELERATOR) -> EthosU:
    """Compile a file for an Ethos-U and return Vela's estimate.

    Args:
        data: Bytes of an int8 ``.tflite``.
        accelerator: The configuration, as Vela names it.

    Raises:
        ExportError: Vela is not installed, or cannot compile the file.

    Example:

    >>> ethos_u(Path("model.tflite").read_bytes()).cycles  # doctest: +SKIP
    868652
    """
    vela = shutil.which("vela")
    if vela is None:
        raise ExportError("Ethos-U cycles need Arm's compiler Vela: pip install ethos-u-vela")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.tflite").write_bytes(data)
        command = [vela, "model.tflite", "--output-dir", ".", "--accelerator-config", accelerator]
        try:
            result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            raise ExportError(f"Vela did not compile the file within {_SECONDS} s.") from None
        tables = list(Path(folder).glob("model_summary_*.csv"))
        if result.returncode or not tables:
            lines = (result.stderr or result.stdout).strip().splitlines() or ["no reason"]
            raise ExportError(f"Vela cannot compile the file: {lines[-1][:300]}")
        with open(tables[0], encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file))
    npu, cpu = (_count(result.stdout, kind) for kind in ("NPU", "CPU"))
    sram, flash = (round(1024 * float(row[f"{kind}_memory_used"])) for kind in ("sram", "off_chip_flash"))
    return EthosU(accelerator, round(float(row["cycles_total"])), sram, flash, npu, cpu)


def _count(text: str, kind: str) -> int:
    line = next((line for line in text.splitlines() if line.startswith(f"{kind} operators")), "= 0")
    return int(line.partition("=")[2].split()[0])
