"""`keras-gates fit`: sizes from the linker, instructions and stack from an emulator; the same as GNU's tools say."""

import re
import shutil
import subprocess

import pytest

pytest.importorskip("ai_edge_litert", reason="the answers come from ai-edge-litert")
from test_c99 import WEIGHTS, zoo

from keras_gates.cli import main
from keras_gates.exporting.c99.measure import TOOLS, measure
from keras_gates.exporting.c99.write import write_c99
from keras_gates.exporting.report import ExportError

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)),
    reason="needs Debian's gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm",
)


def test_a_small_model_is_measured(tmp_path):
    data = zoo("gesture-nano")
    measured = measure(data, "m4")
    write_c99(data, tmp_path)
    compiler = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-Os", "-std=c99", "-fstack-usage", "-c", "model.c"]
    subprocess.run(compiler, cwd=tmp_path, check=True)
    sizes = subprocess.check_output(["arm-none-eabi-size", "model.o"], cwd=tmp_path, text=True)
    text = int(sizes.splitlines()[1].split()[0])
    frames = [int(line.split("\t")[1]) for line in (tmp_path / "model.su").read_text().splitlines()]
    assert text - 200 < measured.flash < text + 1000  # functions that are not called go, memcpy comes
    assert max(frames) <= measured.stack <= sum(frames) + 64
    # at least 20 units, 4 gates, 3 features: each product a load, a load and a multiplication
    assert 4 * 20 * 23 * 3 < measured.instructions < 1_000_000
    assert measured.per_second is None
    assert measured == measure(data, "m4")  # instructions are counted, not timed


@pytest.mark.slow
def test_the_command_answers_and_names_the_largest_preset(capsys):
    file = str(WEIGHTS / "speech-nano-int8.tflite")
    assert main(["fit", file, "--flash", "256K", "--ram", "64K", "--clock", "80MHz"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("yes: ")
    assert re.search(r"[\d,]+ instructions per second of sound", text)
    assert main(["fit", "speech-base", "--flash", "64K", "--ram", "16K", "--clock", "64MHz"]) == 1
    text = capsys.readouterr().out
    assert text.startswith("no: ")
    assert "too many" in text
    assert "the largest preset that fits: speech-nano" in text


def test_what_cannot_be_answered_is_one_sentence(capsys, tmp_path):
    assert main(["fit", "gesture-nano", "--flash", "much"]) == 2
    assert capsys.readouterr().err == "keras-gates fit: expected bytes such as 256K, got 'much'.\n"
    assert main(["fit", str(tmp_path / "none.keras")]) == 2
    assert "there is no such file" in capsys.readouterr().err
    with pytest.raises(ExportError, match="core must be of m0, m3, m4, m7, m33, m55; got 'm5'"):
        measure(zoo("gesture-nano"), "m5")
