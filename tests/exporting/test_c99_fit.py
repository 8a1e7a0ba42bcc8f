"""`keras-gates fit`: sizes from the linker, instructions and stack from an emulator; the same as GNU's tools say."""

import json
import re
import shutil
import subprocess

import pytest

pytest.importorskip("ai_edge_litert", reason="the answers come from ai-edge-litert")
from test_c99 import WEIGHTS, zoo

from keras_gates.cli import main
from keras_gates.exporting.c99.cores import CORES
from keras_gates.exporting.c99.ethos_u import ethos_u
from keras_gates.exporting.c99.measure import measure
from keras_gates.exporting.c99.write import write_c99
from keras_gates.exporting.fit import fit_report
from keras_gates.exporting.report import ExportError

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, CORES["m4"].tools)),
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


@pytest.mark.skipif(
    not all(map(shutil.which, CORES["rv32"].tools)),
    reason="needs Debian's gcc-riscv64-unknown-elf, picolibc-riscv64-unknown-elf and qemu-system-misc",
)
def test_a_risc_v_core_is_measured_by_its_own_counter():
    arm, risc = measure(zoo("gesture-nano"), "m4"), measure(zoo("gesture-nano"), "rv32")
    assert risc.state == arm.state  # 32 bits both
    assert 4 * 20 * 23 * 3 < risc.instructions < 1_000_000
    assert 0.5 < risc.instructions / arm.instructions < 2
    assert 0.8 < risc.flash / arm.flash < 1.25  # mostly the same constants


def test_limits_are_compared_and_named():
    data = zoo("gesture-nano")
    measured = measure(data, "m4")
    report = fit_report(data, flash=measured.flash, ram=measured.ram, clock=1e6, rate=1)
    assert report.fits
    assert "yes: the file on a Cortex-M4" in str(report)
    assert "no Ethos-U estimate: not asked for" in str(report)
    tight = fit_report(data, flash=measured.flash - 1, ram="64K", clock="0.1MHz", rate=10, cycles=2)
    assert [limit.used <= limit.limit for limit in tight.limits] == [False, True, False]
    assert tight.limits[2].used == measured.instructions * 10 * 2
    assert "1 too many" in str(tight)


@pytest.mark.slow
def test_a_keras_model_is_exported_and_measured(tmp_path):
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow", reason="the file is exported here")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("export traces with TensorFlow")
    import keras_gates

    keras.utils.set_random_seed(0)
    texts = keras.layers.TextVectorization(vocabulary=["on", "off"], output_sequence_length=4)
    layers = [texts, keras.layers.Embedding(4, 3), keras_gates.GateLSTM(2), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((1,), dtype="string"), *layers])
    report = keras_gates.fit_report(model)
    assert report.fits
    assert report.measured.flash < 16_000
    path = tmp_path / "model.txt"
    path.write_text("no model")
    with pytest.raises(ExportError, match="cannot load"):
        keras_gates.fit_report(path)


@pytest.mark.skipif(shutil.which("vela") is None, reason="needs ethos-u-vela")
def test_vela_estimates_an_ethos_u():
    estimate = ethos_u(zoo("gesture-nano"))
    assert estimate.cpu == 0
    assert estimate.cycles > 4 * 20 * 23 * 56 / 128  # multiplications, of which it has 128 units
    with pytest.raises(ExportError, match="Vela cannot compile the file"):
        ethos_u(b"no file")


def test_without_vela_a_sentence_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExportError, match="pip install ethos-u-vela"):
        ethos_u(zoo("gesture-nano"))


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


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(shutil.which, CORES["rv32"].tools)),
    reason="needs Debian's gcc-riscv64-unknown-elf, picolibc-riscv64-unknown-elf and qemu-system-misc",
)
def test_the_command_compares_all_cores(capsys):
    assert main(["fit", "speech-nano", "--core", "all", "--clock", "80MHz"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert "per second of sound" in head
    assert [line.split()[0] for line in lines] == [core.title for core in CORES.values()]
    assert all(int(line.split()[4].replace(",", "")) > 100_000 for line in lines)  # every core's counter counts
    measured = measure(zoo("speech-nano"), "m0")
    numbers = [int(text.replace(",", "")) for text in lines[0].split()[2:]]
    assert numbers == [measured.flash, measured.ram, measured.instructions, measured.per_second]
    assert main(["fit", "speech-nano", "--core", "all", "--flash", "43000", "--json"]) == 1  # the M0's does not fit
    fits = {core: values["fits"] for core, values in json.loads(capsys.readouterr().out).items()}
    assert not fits["m0"]
    assert fits["m4"]


def test_what_cannot_be_answered_is_one_sentence(capsys, tmp_path):
    assert main(["fit", "gesture-nano", "--flash", "much"]) == 2
    assert capsys.readouterr().err == "keras-gates fit: expected bytes such as 256K, got 'much'.\n"
    assert main(["fit", str(tmp_path / "none.keras")]) == 2
    assert "there is no such file" in capsys.readouterr().err
    with pytest.raises(ExportError, match="core must be of m0, m3, m4, m7, m33, m55, rv32; got 'm5'"):
        measure(zoo("gesture-nano"), "m5")
