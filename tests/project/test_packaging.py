"""The sdist and the wheel made of it: what they hold, and that they work outside the checkout, in a fresh environment."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # sdist, wheels and two virtual environments
ROOT = Path(__file__).parents[2]
SITE = Path(sysconfig.get_path("purelib"))
NOT_SOURCE = {".git", "build", "dist", "runs", "site", "__pycache__", ".venv", "venv"}
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2]))"
AT_THE_TOP = (
    "train.py",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "pyproject.toml",
    "constraints.txt",
    ".ci/run",
)
DEVICE = (
    "numpy",
    "ai-edge-litert",
    "backports.strenum",
    "flatbuffers",
    "tqdm",
    "typing-extensions",
    "protobuf",
    "ml_dtypes",
)
WEIGHTS = sorted(path.name for path in (ROOT / "models/weights").glob("*") if path.suffix in (".keras", ".tflite"))


def run(*command, cwd, **environment):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sources(folder, pattern="*.py"):
    return {path.relative_to(ROOT) for path in (ROOT / folder).rglob(pattern) if not NOT_SOURCE & set(path.parts)}


def installed_as(path):
    """Where a file of the checkout lies in the sdist and the wheel: keras_gates/models links to models/."""
    return ("keras_gates" / path if path.parts[0] == "models" else path).as_posix()


def data_files():
    """What a package reads besides its modules, as the wheel must hold it: templates, pages, pictures, weights."""
    return {
        installed_as(path)
        for folder in ("keras_gates", "models")
        for path in sources(folder, "*")
        if path.suffix not in ("", ".py", ".pyc", ".md", ".toml")
        and (ROOT / path).is_file()
        and path.name not in WEIGHTS
        and "native" not in path.parts
    }


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    copy = shutil.copytree(
        ROOT, folder / "checkout", symlinks=True, ignore=shutil.ignore_patterns(*NOT_SOURCE, "*.egg-info", ".*_cache")
    )
    return folder / run(sys.executable, "-c", BUILD, "sdist", folder, cwd=copy).splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Built from the unpacked sdist, as pip would where there is no wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    return folder / run(sys.executable, "-c", BUILD, "wheel", folder, cwd=unpacked).splitlines()[-1]


def environment(folder, wheel, *libraries):
    """A fresh virtual environment with the wheel and nothing else but what lies in the folders `libraries`."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    site = next(folder.glob("lib/python3*/site-packages"), folder / "Lib/site-packages")
    (site / "libraries.pth").write_text("\n".join(map(str, libraries)))
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--no-deps", wheel, cwd=folder)
    return python


@pytest.fixture(scope="module")
def weights_wheel(sdist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz") / "keras_gates/models/weights"
    return folder / run(sys.executable, "-c", BUILD, "wheel", folder, cwd=source).splitlines()[-1]


@pytest.fixture(scope="module")
def full(wheel, tmp_path_factory):
    return environment(tmp_path_factory.mktemp("full") / "venv", wheel, SITE)


@pytest.fixture(scope="module")
def device(wheel, tmp_path_factory):
    """What `pip install keras-gates[edge]` gives: NumPy, ai-edge-litert and what it requires; no Keras, no TensorFlow."""
    folder = tmp_path_factory.mktemp("device")
    libraries = folder / "libraries"
    libraries.mkdir()
    for name in DEVICE:
        for top in {path.parts[0] for path in distribution(name).files if path.parts[0] not in ("..", "__pycache__")}:
            if not (libraries / top).exists():
                (libraries / top).symlink_to(SITE / top)
    return environment(folder / "venv", wheel, libraries)


def test_the_sdist_holds_the_sources_once(sdist):
    with tarfile.open(sdist) as archive:
        held = {Path(*Path(entry.name).parts[1:]): entry for entry in archive.getmembers()}
    for folder in ("tests", "benchmarks", "examples"):
        assert sources(folder) <= set(held), sources(folder) - set(held)
    for folder in ("keras_gates", "models"):
        modules = {Path(installed_as(path)) for path in sources(folder)}
        assert modules <= set(held), modules - set(held)
    assert sources("docs", "*.md") <= set(held)
    assert {Path(name) for name in AT_THE_TOP} <= set(held)
    assert {f"keras_gates/models/weights/{name}" for name in WEIGHTS} <= {path.as_posix() for path in held}
    assert not [path for path in held if "__pycache__" in path.parts or path.parts[:1] in (("runs",), ("models",))]
    # Links do not survive on every system that unpacks an sdist.
    assert not [path for path, entry in held.items() if entry.issym() or entry.islnk()]


def test_the_wheel_holds_the_package_and_no_more(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        size = sum(entry.compress_size for entry in archive.infolist())
        information = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
    modules = {installed_as(path) for folder in ("keras_gates", "models") for path in sources(folder)}
    assert {name for name in held if name.endswith(".py")} == modules
    assert {"keras_gates/py.typed", "keras_gates/__init__.pyi", "keras_gates/models/data/sprites.png"} <= held
    assert data_files() <= held, data_files() - held
    assert size < 3e6, "a device carries no weights"
    if shutil.which("g++"):  # the kernel is compiled from what the sdist holds; its sources stay there
        assert {"keras_gates/native/_core.abi3.so", "keras_gates/native/_tensorflow.abi3.so"} <= held
    assert "Provides-Extra: edge" in information
    assert [line for line in information.splitlines() if line.startswith("Requires-Dist") and "extra" not in line] == [
        "Requires-Dist: numpy"
    ]


def test_the_wheel_of_the_weights_holds_nothing_else(weights_wheel):
    with zipfile.ZipFile(weights_wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {f"keras_gates/models/weights/{name}" for name in WEIGHTS}


def test_the_zoo_works_outside_the_checkout(full, weights_wheel, tmp_path):
    program = """
from keras_gates import models
try:
    models.load("digits")
except ValueError as error:
    assert "keras_gates_weights" in str(error), error
else:
    raise SystemExit("no error without the weights")
"""
    run(full, "-c", program, cwd=tmp_path)
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        full,
        "install",
        "-q",
        "--no-index",
        "--no-deps",
        weights_wheel,
        cwd=tmp_path,
    )
    program = """
import keras, numpy, keras_gates
from keras_gates import models
assert keras_gates.__version__ != "unknown"
assert "venv" in keras_gates.__file__ and "venv" in models.__file__, (keras_gates.__file__, models.__file__)
for name in models.names():
    models.find(name)
pictures = numpy.zeros((2, 28, 28), "float32")
assert models.build("digits", units=4)(pictures).shape == (2, 10)
for name in models.names():
    if models.card(name):
        models.load(name)
"""
    run(full, "-c", program, cwd=tmp_path)
    command = full.with_name("keras-gates")
    assert "digits" in run(command, "train", "--list", cwd=tmp_path)
    assert "--data" in run(command, "train", "--help", cwd=tmp_path)


def test_the_edge_command_line_works_without_keras(device, tmp_path):
    run(
        device,
        "-c",
        "import importlib.util as u; assert not (u.find_spec('keras') or u.find_spec('tensorflow'))",
        cwd=tmp_path,
    )
    command = device.with_name("keras-gates")
    assert "bench" in run(command, "--help", cwd=tmp_path)
    files = sorted((ROOT / "models/weights").glob("*.tflite"))
    if not files:
        pytest.skip("no .tflite is shipped yet")
    assert "input" in run(command, "info", files[0], cwd=tmp_path)
    run(command, "bench", files[0], "--runs", "3", cwd=tmp_path)


def test_the_layer_says_what_to_install_without_keras(device, tmp_path):
    program = """
import keras_gates
try:
    keras_gates.GateLSTM
except ImportError as error:
    assert "keras-gates[tensorflow]" in str(error), error
else:
    raise SystemExit("no error")
"""
    run(device, "-c", program, cwd=tmp_path)
