"""The C++ core against a plain scalar LSTM: a test program, built here with the sanitizers and with vectors of other widths."""

import shutil
import subprocess
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "keras_gates" / "native"
SOURCES = [CORE / f"{name}.cpp" for name in ("baseline", "avx2", "avx512", "dispatch", "memory")]
COMPILER = shutil.which("g++") or shutil.which("clang++")
FLAGS = ["-std=c++17", "-ffp-contract=fast", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{CORE}"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(COMPILER is None, reason="needs g++ or clang++")]


@pytest.mark.parametrize(
    ("flags", "cases"),
    [
        (["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"], 60),
        # the widths of AVX-512 on any processor: the compiler splits the vectors
        (["-O2", "-DKG_BYTES=64", "-DKG_ROWS=12", "-Wno-psabi"], 120),
    ],
    ids=["sanitizers", "wide"],
)
def test_equals_a_scalar_lstm(flags, cases, tmp_path):
    program = tmp_path / "check"
    sources = [Path(__file__).parent / "check_kernel.cpp", *SOURCES]
    built = subprocess.run([COMPILER, *FLAGS, *flags, *sources, "-o", program], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([program, str(cases)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " 0 failures" in ran.stdout
