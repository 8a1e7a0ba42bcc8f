"""The processors that a model is measured on: how each is compiled for and emulated."""

from __future__ import annotations

import shutil
from typing import NamedTuple

from keras_gates.exporting.report import ExportError

_ARM = "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
_RISC_V = "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc"


class Core(NamedTuple):
    """How a processor is compiled for and emulated.

    Attributes:
        title: Its name for people.
        compiler: The compiler and its options.
        emulator: The emulator and the board with this processor.
        packages: Debian's packages of both.
        flash, ram: Where its memories begin.
        clock: MHz of the counter that `templates/measure.c` reads.
    """

    title: str
    compiler: tuple[str, ...]
    emulator: tuple[str, ...]
    packages: str
    flash: int
    ram: int
    clock: int

    @property
    def is_arm(self) -> bool:
        """Whether it is a Cortex-M."""
        return self.packages == _ARM

    @property
    def tools(self) -> tuple[str, str]:
        """The programs that measuring takes."""
        return self.compiler[0], self.emulator[0]


def _arm(cpu: str, board: str, flash: int = 0, ram: int = 0x20000000, clock: int = 25) -> Core:
    title = "Cortex-" + cpu.removeprefix("cortex-").partition("+")[0].upper()
    compiler = ("arm-none-eabi-gcc", f"-mcpu={cpu}", "-mthumb")
    return Core(title, compiler, ("qemu-system-arm", "-M", board), _ARM, flash, ram, clock)


CORES = {
    "m0": _arm("cortex-m0", "mps2-an385"),  # the M3's board, which runs this too
    "m3": _arm("cortex-m3", "mps2-an385"),
    "m4": _arm("cortex-m4", "mps2-an386"),
    "m7": _arm("cortex-m7", "mps2-an500"),
    "m33": _arm("cortex-m33+nodsp+nofp", "mps2-an505", 0x10000000, 0x38000000, 20),
    "m55": _arm("cortex-m55+nomve+nofp", "mps3-an547", clock=32),
    "rv32": Core(
        "RV32IMAC",
        ("riscv64-unknown-elf-gcc", "-march=rv32imac", "-mabi=ilp32", "--specs=picolibc.specs"),
        ("qemu-system-riscv32", "-M", "virt", "-cpu", "rv32", "-bios", "none"),
        _RISC_V,
        0x80000000,
        0x80400000,
        1000,  # its counter is one of instructions
    ),
}


def core_of(name: str) -> Core:
    """Return a processor whose tools are there.

    Args:
        name: One of `CORES`.

    Raises:
        ExportError: The name is unknown, or a tool is missing.
    """
    if name not in CORES:
        raise ExportError(f"core must be of {', '.join(CORES)}; got {name!r}.")
    core = CORES[name]
    if missing := [tool for tool in core.tools if shutil.which(tool) is None]:
        raise ExportError(f"measuring needs {' and '.join(missing)}: apt-get install {core.packages}")
    return core
