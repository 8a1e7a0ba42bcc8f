"""The C as a library of an ecosystem: each in its documented layout, its C compiled by the compilers that are here."""

import json
import shutil
import subprocess

import pytest

pytest.importorskip("ai_edge_litert", reason="the answers come from ai-edge-litert")
from test_c99 import STRICT, make, zoo

from keras_gates.exporting.c99.projects import PROJECTS
from keras_gates.exporting.c99.write import write_c99
from keras_gates.exporting.report import ExportError

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

LAYOUTS = {
    "make": {"m.h", "m.c", "selftest.c", "Makefile", "wav.c"},
    "qemu": {"m.h", "m.c", "main.c", "startup.c", "board.ld", "Makefile"},
    # https://arduino.github.io/arduino-cli/latest/library-specification
    "arduino": {"library.properties", "src/m.h", "src/m.c", "examples/m_loop/m_loop.ino"},
    # https://docs.platformio.org/en/latest/projectconf and /librarymanager/creating.html
    "platformio": {"platformio.ini", "lib/m/library.json", "lib/m/src/m.h", "lib/m/src/m.c", "src/main.c"},
    # https://docs.espressif.com/projects/esp-idf, build system
    "esp-idf": {
        "CMakeLists.txt",
        "components/m/CMakeLists.txt",
        "components/m/idf_component.yml",
        "components/m/include/m.h",
        "components/m/m.c",
        "main/CMakeLists.txt",
        "main/main.c",
    },
    # https://docs.zephyrproject.org/latest/develop/modules.html
    "zephyr": {
        "zephyr/module.yml",
        "CMakeLists.txt",
        "Kconfig",
        "include/m.h",
        "src/m.c",
        "samples/selftest/CMakeLists.txt",
        "samples/selftest/prj.conf",
        "samples/selftest/src/main.c",
    },
}


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """All projects of the zoo's smallest speech model."""
    folder = tmp_path_factory.mktemp("projects")
    for project in PROJECTS:
        write_c99(zoo("speech-nano"), folder / project, name="m", project=project)
    return folder


@pytest.mark.parametrize("project", PROJECTS)
def test_a_project_has_its_layout_and_its_c_compiles(projects, project, tmp_path):
    folder = projects / project
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == LAYOUTS[project]
    header = next(folder.rglob("m.h")).parent
    for source in (path for path in folder.rglob("*.c") if path.name != "startup.c"):  # that one is for Arm
        subprocess.run(["gcc", *STRICT, "-c", f"-I{header}", source, "-o", tmp_path / "c.o"], check=True)


def test_the_files_that_tools_read_have_what_the_tools_need(projects):
    lines = (projects / "arduino" / "library.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required <= set(properties)
    library = json.loads((projects / "platformio" / "lib" / "m" / "library.json").read_text())
    assert {"name", "version"} <= set(library)
    component = (projects / "esp-idf" / "components" / "m" / "CMakeLists.txt").read_text()
    assert component == 'idf_component_register(SRCS "m.c" INCLUDE_DIRS "include")\n'
    module = (projects / "zephyr" / "zephyr" / "module.yml").read_text()
    assert module == "name: m\nbuild:\n  cmake: .\n  kconfig: Kconfig\n"
    assert "config M\n" in (projects / "zephyr" / "Kconfig").read_text()


def test_the_arduino_sketch_compiles_as_cpp(projects, tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    sketch = next((projects / "arduino" / "examples").rglob("*.ino")).read_text()
    serial = "struct Port { void begin(long) {} void println(const char *) {} } Serial;\n"
    program = serial + sketch + "\nint main() { setup(); loop(); }\n"
    (tmp_path / "sketch.cpp").write_text(program)
    source = projects / "arduino" / "src"
    subprocess.run(["gcc", *STRICT, "-c", source / "m.c", "-o", tmp_path / "m.o"], check=True)
    command = [
        "g++",
        "-Wall",
        "-Werror",
        f"-I{source}",
        tmp_path / "sketch.cpp",
        tmp_path / "m.o",
        "-o",
        tmp_path / "run",
    ]
    subprocess.run(command, check=True)
    assert subprocess.run([tmp_path / "run"]).returncode == 0


def test_an_unknown_project_is_refused(tmp_path):
    with pytest.raises(
        ExportError, match="project must be of make, qemu, arduino, platformio, esp-idf, zephyr; got 'mbed'"
    ):
        write_c99(zoo("gesture-nano"), tmp_path / "out", project="mbed")
    assert not (tmp_path / "out").exists()


def test_the_program_that_reads_a_wav_refuses_another_file(projects):
    folder = projects / "make"
    built = make(folder, "wav", "CFLAGS=-O1 -Werror -fsanitize=address,undefined -fno-sanitize-recover")
    assert built.returncode == 0, built.stderr
    for content in (b"", b"RIFF1234WAVE", b"RIFF1234WAVEfmt \x10\0\0\0" + bytes(16)):
        (folder / "bad.wav").write_bytes(content)
        result = subprocess.run([folder / "wav", folder / "bad.wav"], capture_output=True, text=True)
        assert result.returncode == 1
        assert "expected a WAV of 16-bit PCM, one channel, 8000 Hz" in result.stdout
