"""What a model takes on a microcontroller: flash, RAM and instructions, from the linker and an emulator."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from string import Template

from keras_gates.exporting.c99.cores import Core, core_of
from keras_gates.exporting.c99.write import C99, write_c99
from keras_gates.exporting.report import ExportError

_TEMPLATES = Path(__file__).parent / "templates"
_CALLS = 8  # as in templates/measure.c
_FLASH, _RAM = 0x400000, 0x20000
_NANOSECONDS = 1000  # of a microsecond; the emulator runs an instruction per nanosecond


@dataclass(frozen=True)
class Measured:
    """What a model takes.

    Attributes:
        flash: Bytes of code and constants, with what they need of the compiler's library.
        state: Bytes of NAME_state.
        stack: Bytes of stack in NAME_push, or NAME_listen.
        instructions: Per event.
        per_second: Per second of sound, with the front end; None if the file takes no sound.
    """

    flash: int
    state: int
    stack: int
    instructions: int
    per_second: int | None

    @property
    def ram(self) -> int:
        """Bytes of state and stack."""
        return self.state + self.stack


def measure(data: bytes, core: str = "m4") -> Measured:
    """Compile a file's C with -Os and run an event under qemu.

    Args:
        data: Bytes of the ``.tflite``.
        core: One of `keras_gates.exporting.c99.cores.CORES`.

    Raises:
        ExportError: A tool is missing, or there is no C for the file.

    Example:

    >>> measured = measure(Path("model.tflite").read_bytes(), "m4")  # doctest: +SKIP
    >>> measured.flash, measured.ram, measured.instructions  # doctest: +SKIP
    (15468, 916, 145480)
    """
    chosen = core_of(core)
    with tempfile.TemporaryDirectory() as folder:
        return _measured(Path(folder), write_c99(data, folder), chosen)


def _measured(folder: Path, c99: C99, core: Core) -> Measured:
    header = (folder / "model.h").read_text(encoding="utf-8")
    words, events = _words(header, c99)
    for name in ("measure.c", "bare.c"):
        text = (_TEMPLATES / name).read_text(encoding="utf-8")
        (folder / name).write_text(Template(text).substitute(words), encoding="utf-8")
    gcc = [*core.compiler, "-Os", "-std=c99"]
    bare = ["-nostartfiles", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections,-e,main", "-lc", "-lgcc"]
    # a linker script of the C library keeps more than the program
    script = [] if core.is_arm else ["-T", str(_TEMPLATES / "board.ld")]
    _run(folder, [*gcc, "bare.c", "model.c", *script, *bare, "-o", "bare.elf"])
    sizes = _run(folder, [core.compiler[0].replace("-gcc", "-size"), "bare.elf"]).splitlines()[1].split()
    _run(folder, [*gcc, "model.c", "measure.c", *linked(core), "-o", "measure.elf"])
    counting = ["-icount", "shift=0", "-nographic", "-semihosting-config", "enable=on,target=native"]
    printed = _run(folder, [*core.emulator, *counting, "-kernel", "measure.elf"])
    ticks, stack, state = map(int, printed.split())
    if not ticks:
        raise ExportError(
            f"the {core.title}'s counter stands still in this version of {core.emulator[0]}; measure another core."
        )
    instructions = round(ticks * _NANOSECONDS / core.clock / _CALLS / events)
    per_second = None
    if c99.listens:
        per_second = instructions * _macro(header, "SAMPLE_RATE") // _macro(header, "HOP")
    return Measured(int(sizes[0]) + int(sizes[1]), state, stack, instructions, per_second)


def linked(core: Core) -> list[str]:
    """Return what links a program that prints, with its start.

    Args:
        core: The processor.
    """
    if core.is_arm:
        memory = {"FLASH": core.flash, "RAM": core.ram, "RAM_SIZE": _RAM}
        start = [
            "-nostartfiles",
            "--specs=rdimon.specs",
            "-T",
            str(_TEMPLATES / "board.ld"),
            str(_TEMPLATES / "startup.c"),
        ]
    else:
        memory = {"__flash": core.flash, "__flash_size": _FLASH, "__ram": core.ram, "__ram_size": _RAM}
        start = ["--oslib=semihost", "--crt0=hosted"]
    return start + [f"-Wl,--defsym={name}={value:#x}" for name, value in memory.items()]


def _words(header: str, c99: C99) -> tuple[dict[str, str], int]:
    """What the programs declare and call, and the number of events per call."""
    if c99.listens:
        return {
            "declarations": "static const int16_t sound[MODEL_HOP];",
            "call": "model_listen(&state, sound, MODEL_HOP);",
        }, 1
    call = "push" if c99.streams else "run"
    match = re.search(rf"int model_{call}\(model_state \*s, (.*)\);", header)
    parameters = match[1].split(", ") if match else []
    lines, names = [], []
    for parameter in parameters:
        kind, _, name = parameter.rpartition(" *")
        size = _macro(header, f"{name.upper()}_SIZE")
        lines.append(f"static {kind} {name}[{size}];")
        names.append(name)
    stepwise = c99.streams and "_STEP " in header
    events = 1 if stepwise else _macro(header, "EVENTS")
    return {"declarations": "\n".join(lines), "call": f"(void)model_{call}(&state, {', '.join(names)});"}, events


def _macro(header: str, name: str) -> int:
    match = re.search(rf"#define MODEL_{name} (\d+)", header)
    if match is None:
        raise ExportError(f"the header lacks MODEL_{name}.")
    return int(match[1])


def _run(folder: Path, command: list[str]) -> str:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if result.returncode:
        raise ExportError(f"{command[0]} failed: {' '.join((result.stderr or result.stdout).split())[:300]}")
    return result.stdout or result.stderr  # picolibc prints to the latter
