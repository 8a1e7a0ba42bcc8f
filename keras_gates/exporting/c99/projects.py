"""The C as a library of an ecosystem: Arduino, PlatformIO, ESP-IDF, Zephyr, an emulated board, or a plain Makefile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from string import Template

from keras_gates.exporting.c99.source import Source, makefile
from keras_gates.exporting.report import ExportError

_TEMPLATES = Path(__file__).parent / "templates"
_VERSION = "1.0.0"
_SENTENCE = "A recurrent network in C99 without a runtime, written by keras_gates."


def project_files(project: str, source: Source, test: str) -> dict[str, str]:
    """Return a project's files: their text by path.

    Args:
        project: One of `PROJECTS`.
        source: What `source_of` returned.
        test: Text of ``selftest.c``.

    Raises:
        ExportError: The project is unknown.
    """
    if project not in PROJECTS:
        raise ExportError(f"project must be of {', '.join(PROJECTS)}; got {project!r}.")
    return PROJECTS[project](source, test)


def _make(source: Source, test: str) -> dict[str, str]:
    name = source.name
    files = {f"{name}.h": source.header, f"{name}.c": source.code, "selftest.c": test, "Makefile": makefile(name)}
    return files | ({"wav.c": _filled("wav.in", source)} if source.listens and source.labelled else {})


def _qemu(source: Source, test: str) -> dict[str, str]:
    main = _filled("wav.in", source) if source.listens and source.labelled else test
    start = {name: (_TEMPLATES / name).read_text(encoding="utf-8") for name in ("startup.c", "board.ld")}
    files = {f"{source.name}.h": source.header, f"{source.name}.c": source.code, "main.c": main}
    return files | start | {"Makefile": _filled("qemu.in", source)}


def _arduino(source: Source, test: str) -> dict[str, str]:
    name = source.name
    properties = {
        "name": name,
        "version": _VERSION,
        "author": "keras_gates",
        "maintainer": "keras_gates",
        "sentence": _SENTENCE,
        "paragraph": "No heap, no static data that changes; all state in a struct.",
        "category": "Data Processing",
        "url": "https://www.arduino.cc/reference/en/libraries/",
        "architectures": "*",
        "includes": f"{name}.h",
    }
    sketch = f"#include <{name}.h>\n\nstatic {name}_state state;\n\n"
    sketch += f"void setup() {{\n    Serial.begin(115200);\n    {name}_reset(&state);\n}}\n\n"
    sketch += f"void loop() {{\n{_turn(source, 'Serial.println')}}}\n"
    return {
        "library.properties": "".join(f"{key}={value}\n" for key, value in properties.items()),
        f"src/{name}.h": source.header,
        f"src/{name}.c": source.code,
        f"examples/{name}_loop/{name}_loop.ino": sketch,
    }


def _platformio(source: Source, test: str) -> dict[str, str]:
    name = source.name
    library = {"name": name, "version": _VERSION, "description": _SENTENCE, "frameworks": "*", "platforms": "*"}
    settings = "; pio run: compile; pio run -t upload: flash; the program is the self-test, its result goes to stdout\n"
    settings += "[env:nucleo_f446re]\nplatform = ststm32\nboard = nucleo_f446re\nframework = stm32cube\n"
    return {
        "platformio.ini": settings + "build_flags = -std=c99\n",
        f"lib/{name}/library.json": json.dumps(library, indent=2) + "\n",
        f"lib/{name}/src/{name}.h": source.header,
        f"lib/{name}/src/{name}.c": source.code,
        "src/main.c": test,
    }


def _esp_idf(source: Source, test: str) -> dict[str, str]:
    name = source.name
    component = f'idf_component_register(SRCS "{name}.c" INCLUDE_DIRS "include")\n'
    main = test.replace("int main(void)", "int app_main_test(void)")
    main += "\nvoid app_main(void)\n{\n    (void)app_main_test();\n}\n"
    return {
        "CMakeLists.txt": _lines(
            "cmake_minimum_required(VERSION 3.16)",
            "include($ENV{IDF_PATH}/tools/cmake/project.cmake)",
            f"project({name})",
        ),
        f"components/{name}/CMakeLists.txt": component,
        f"components/{name}/idf_component.yml": f'version: "{_VERSION}"\ndescription: {_SENTENCE}\n',
        f"components/{name}/include/{name}.h": source.header,
        f"components/{name}/{name}.c": source.code,
        "main/CMakeLists.txt": f'idf_component_register(SRCS "main.c" REQUIRES {name})\n',
        "main/main.c": main,
    }


def _zephyr(source: Source, test: str) -> dict[str, str]:
    name, big = source.name, source.name.upper()
    cmake = f"if(CONFIG_{big})\n  zephyr_include_directories(include)\n  zephyr_library()\n"
    kconfig = f'config {big}\n\tbool "{name}: a recurrent network in C99"\n\thelp\n\t  {_SENTENCE}\n'
    module = f"name: {name}\nbuild:\n  cmake: .\n  kconfig: Kconfig\n"
    project = _lines(
        "cmake_minimum_required(VERSION 3.20.0)",
        "set(ZEPHYR_EXTRA_MODULES ${CMAKE_CURRENT_SOURCE_DIR}/../..)",
        "find_package(Zephyr REQUIRED HINTS $ENV{ZEPHYR_BASE})",
        f"project({name}_selftest)",
        "target_sources(app PRIVATE src/main.c)",
    )
    return {
        "zephyr/module.yml": module,
        "CMakeLists.txt": f"{cmake}  zephyr_library_sources(src/{name}.c)\nendif()\n",
        "Kconfig": kconfig,
        f"include/{name}.h": source.header,
        f"src/{name}.c": source.code,
        "samples/selftest/CMakeLists.txt": project,
        "samples/selftest/prj.conf": f"CONFIG_{big}=y\n",
        "samples/selftest/src/main.c": test,
    }


def _lines(*lines: str) -> str:
    return "\n".join((*lines, ""))


def _turn(source: Source, write: str) -> str:
    """One turn of a loop, in C: from what the sensor gave to a label."""
    name, big = source.name, source.name.upper()
    if source.listens:
        shown = f"{name}_labels[label]" if source.labelled else "label"
        return (
            f"    int16_t samples[{big}_HOP] = {{0}}; /* put the microphone's next samples here, {big}_SAMPLE_RATE Hz */\n"
            f"    const int label = {name}_listen(&state, samples, {big}_HOP);\n"
            f"    if (label >= 0)\n        {write}({shown});\n"
        )
    call = "push" if source.streams else "run"
    lines = []
    for p in (*source.inputs, *source.outputs):
        size = "STEP" if p.timed and source.streams else "SIZE"
        lines.append(f"    static {p.type} {p.name}[{big}_{p.name.upper()}_{size}];")
    names = ", ".join(p.name for p in (*source.inputs, *source.outputs))
    what = "the next event" if source.streams else "a sequence"
    return "\n".join(lines) + f"\n    /* put {what} into the inputs */\n    {name}_{call}(&state, {names});\n"


def _filled(template: str, source: Source) -> str:
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    return Template(text).safe_substitute(name=source.name, big=source.name.upper())


PROJECTS: dict[str, Callable[[Source, str], dict[str, str]]] = {
    "make": _make,
    "qemu": _qemu,
    "arduino": _arduino,
    "platformio": _platformio,
    "esp-idf": _esp_idf,
    "zephyr": _zephyr,
}
