"""The native kernel: optional extensions, left out with a warning where no C++ compiler is found. All else is in setup.cfg."""

import sys

from setuptools import Extension, setup

FLAGS = ["-std=c++17", "-O3", "-g0", "-ffp-contract=fast", "-pthread"]
HEADERS = ["lstm.h", "arrays.h", "internal.h", "tensorflow_c.h", "xla_c.h"]
HEADERS += [f"{part}.inc" for part in ("variant", "vectors", "matmul", "shape", "forward", "backward")]


def extension(name, sources, libraries=()):
    folder = "keras_gates/native"
    return Extension(
        f"keras_gates.native.{name}",
        [f"{folder}/{source}.cpp" for source in sources],
        depends=[f"{folder}/{header}" for header in HEADERS],
        extra_compile_args=FLAGS,
        extra_link_args=["-pthread"],
        libraries=list(libraries),
        language="c++",
        optional=True,
        py_limited_api=True,  # nothing of Python is used: one wheel serves every version
    )


# GCC's vector extension is what the kernel is written in: not for Microsoft's compiler
setup(
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
    ext_modules=[]
    if sys.platform == "win32"
    else [
        extension("_core", ["baseline", "avx2", "avx512", "dispatch", "memory", "xla_call"]),
        extension("_tensorflow", ["tensorflow_op"], ["dl"] if sys.platform.startswith("linux") else []),
    ],
)
