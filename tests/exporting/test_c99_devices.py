"""C99 on a Cortex-M4 and a RISC-V core under qemu: the self-test's recorded answers of LiteRT and TFLM, bit for bit."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("ai_edge_litert", reason="the answers come from ai-edge-litert")
from test_c99_packed import with_small_weights
from test_c99_windows import windows

from keras_gates.exporting.c99.cores import CORES
from keras_gates.exporting.c99.measure import linked
from keras_gates.exporting.c99.write import write_c99

ROOT = Path(__file__).parents[2]
START = ROOT / "keras_gates" / "exporting" / "c99" / "templates"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
COMPILER, EMULATOR = shutil.which("arm-none-eabi-gcc"), shutil.which("qemu-system-arm")

RISC_COMPILER, RISC_EMULATOR = shutil.which("riscv64-unknown-elf-gcc"), shutil.which("qemu-system-riscv32")


@pytest.mark.skipif(
    not (COMPILER and EMULATOR), reason="needs Debian's gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm"
)
@pytest.mark.parametrize("arithmetic", ["litert", "tflm"])
@pytest.mark.parametrize("file", ["gesture-nano", "text-questions-nano"])
def test_the_selftest_passes_on_an_emulated_cortex_m4(tmp_path, file, arithmetic):
    if arithmetic == "tflm":
        pytest.importorskip("tflite_micro", reason="the answers come from TFLM")
    data = (ROOT / "models" / "weights" / f"{file}-int8.tflite").read_bytes()
    write_c99(data, tmp_path, arithmetic=arithmetic)
    machine = [COMPILER, "-mcpu=cortex-m4", "-mthumb", "-Os"]
    subprocess.run([*machine, *STRICT, "-c", "model.c", "-o", "model.o"], cwd=tmp_path, check=True)
    sizes = subprocess.run(["arm-none-eabi-size", "model.o"], cwd=tmp_path, capture_output=True, text=True, check=True)
    _, data_bytes, bss_bytes, *_ = map(int, sizes.stdout.splitlines()[1].split()[:4])
    assert (data_bytes, bss_bytes) == (0, 0)  # no static data that changes
    link = ["-nostartfiles", "--specs=rdimon.specs", "-T", START / "board.ld", "-Wl,--defsym=RAM_SIZE=0x20000"]
    program = [START / "startup.c", "model.o", "selftest.c", "-o", "selftest.elf"]
    subprocess.run([*machine, *link, *program], cwd=tmp_path, check=True)
    board = [EMULATOR, "-M", "mps2-an386", "-nographic", "-semihosting-config", "enable=on,target=native", "-kernel"]
    result = subprocess.run([*board, "selftest.elf"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed" in result.stdout


@pytest.mark.skipif(
    not (RISC_COMPILER and RISC_EMULATOR),
    reason="needs Debian's gcc-riscv64-unknown-elf, picolibc-riscv64-unknown-elf and qemu-system-misc",
)
@pytest.mark.parametrize("file", ["gesture-nano", "speech-nano"])
def test_the_selftest_passes_on_an_emulated_risc_v_core(tmp_path, file):
    data = (ROOT / "models" / "weights" / f"{file}-int8.tflite").read_bytes()
    write_c99(data, tmp_path)
    core = [RISC_COMPILER, "-march=rv32imac", "-mabi=ilp32", "-Os", *STRICT]
    memory = {"flash": 0x80000000, "flash_size": 0x400000, "ram": 0x80400000, "ram_size": 0x200000}
    link = ["--specs=picolibc.specs", "--oslib=semihost", "--crt0=hosted"]
    link += [f"-Wl,--defsym=__{name}={value}" for name, value in memory.items()]
    subprocess.run([*core, *link, "model.c", "selftest.c", "-o", "selftest.elf"], cwd=tmp_path, check=True)
    board = [
        RISC_EMULATOR,
        "-M",
        "virt",
        "-cpu",
        "rv32",
        "-bios",
        "none",
        "-nographic",
        "-semihosting-config",
        "enable=on",
    ]
    result = subprocess.run(
        [*board, "-kernel", "selftest.elf"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed" in result.stdout + result.stderr  # picolibc writes to the latter


@pytest.mark.slow
@pytest.mark.parametrize("core", ["m0", "m4", "rv32"])
@pytest.mark.parametrize("kind", ["windows", "packed", "loops"])
def test_other_operators_on_emulated_cores(tmp_path, kind, core):
    chosen = CORES[core]
    if missing := [tool for tool in chosen.tools if shutil.which(tool) is None]:
        pytest.skip(f"needs {' and '.join(missing)}: {chosen.packages}")
    data = {
        "windows": lambda: windows("int8"),  # convolutions, pooling, means, hard SiLU
        "packed": lambda: with_small_weights((ROOT / "models/weights/show-lstm-int8.tflite").read_bytes()),
        "loops": (ROOT / "tests" / "data" / "two_loops.tflite").read_bytes,  # float32
    }[kind]()
    write_c99(data, tmp_path)
    program = [*chosen.compiler, "-Os", *STRICT[:-1], "model.c", "selftest.c", *linked(chosen), "-o", "selftest.elf"]
    subprocess.run(program, cwd=tmp_path, check=True)
    board = [*chosen.emulator, "-nographic", "-semihosting-config", "enable=on,target=native", "-kernel"]
    result = subprocess.run([*board, "selftest.elf"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed" in result.stdout + result.stderr
