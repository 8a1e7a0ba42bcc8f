"""What the documentation says is run: examples in docstrings, Python blocks, the options of commands, the site itself.

A ```python block runs after those above it on its page, unless the line before it says `<!-- not run: why -->`. What a page takes
for granted (a trained model, data) stands in it unseen: `<!-- run first`, lines of Python, `-->`.
"""

import configparser
import doctest
import importlib
import importlib.util
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_gates
import keras_gates.models

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^(?P<before>[^\n]*)\n+^```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
FIRST = re.compile(r"^<!-- run first\n(.*?)^-->", re.MULTILINE | re.DOTALL)
SLOW = {"story.md", "words.md", "series.md", "cortex-m.md"}  # trainings that other tests do as well
HAS_TORCH = importlib.util.find_spec("torch") is not None
MODULES = sorted(
    info.name
    for package in (keras_gates, keras_gates.models)
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not info.name.endswith(("__main__", "native._core", "native._tensorflow"))  # libraries, not modules
)


def page(path):
    return path.relative_to(ROOT).as_posix()


def blocks(path, language):
    """(line number, text) of every block that is to be run."""
    text = "\n" + path.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start("text")), match["text"])
        for match in BLOCK.finditer(text)
        if match["language"] == language and not match["before"].startswith("<!-- not run:")
    ]


def commands(path):
    text = "\n".join(text for _, text in blocks(path, "bash")).replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in text.splitlines() if line.strip() and "…" not in line]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in ("jax", "torch"):
            raise
        pytest.skip(f"{name} needs {error.name}, which is not installed")
    known = {"keras": keras, "keras_gates": keras_gates, "numpy": np, "np": np}
    if HAS_TORCH:
        known["torch"] = importlib.import_module("torch")
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    told = []
    for case in doctest.DocTestFinder().find(module, extraglobs=known):
        if HAS_TORCH or not any("torch" in example.source for example in case.examples):
            runner.run(case, out=told.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(told)


@pytest.mark.parametrize("name", keras_gates.__all__)
def test_every_public_name_is_documented(name):
    documentation = getattr(keras_gates, name).__doc__ or ""
    assert documentation.strip(), f"keras_gates.{name} has no docstring"


def marked(path):
    return pytest.param(path, marks=pytest.mark.slow) if path.name in SLOW else path


@pytest.mark.parametrize("path", [marked(path) for path in PAGES if blocks(path, "python")], ids=page)
def test_python_blocks(path, tmp_path, monkeypatch):
    import matplotlib

    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    known = {"__name__": "__main__"}
    for text in FIRST.findall(path.read_text(encoding="utf-8")):
        exec(compile(text, f"{path}, run first", "exec"), known)
    for line, text in blocks(path, "python"):
        exec(compile("\n" * line + text, str(path), "exec"), known)


@pytest.mark.parametrize("path", [path for path in PAGES if commands(path)], ids=page)
def test_commands(path):
    from keras_gates import cli
    from keras_gates.models.training import options

    for words in commands(path):
        while "=" in words[0]:
            words = words[1:]
        for joined in ("&&", "|", ">", "&"):
            words = words[: words.index(joined)] if joined in words else words
        if words[:2] == ["python", "train.py"] or words[:2] == ["keras-gates", "train"]:
            arguments = options.parser().parse_args(words[2:])
            if not (arguments.resume or arguments.list or arguments.model == "check"):
                options.configuration(arguments)
        elif words[0] == "keras-gates" and words[1] in ("export", "c99", "fit"):
            importlib.import_module(f"keras_gates.cli.{words[1]}").parser().parse_args(words[2:])
        elif words[0] == "keras-gates":
            cli.parser().parse_args(words[1:])
        elif words[0] in ("python", "pytest"):
            for word in words[1:]:
                if word.endswith(".py"):
                    assert (ROOT / word).exists(), f"{page(path)}: there is no {word}"
        elif words[:2] == ["pip", "install"]:
            config = configparser.ConfigParser()
            config.read(ROOT / "setup.cfg")
            for extra in re.findall(r"\[([\w,]+)\]", " ".join(words)):
                assert set(extra.split(",")) <= set(config["options.extras_require"]), f"{page(path)}: no extra {extra}"


def test_links_lead_somewhere():
    for path in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
            if not re.match(r"\w+:", target):
                assert (path.parent / target).exists(), f"{page(path)} links to {target}, which is not there"


def test_the_site_builds_without_a_warning(tmp_path):
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None:
        pytest.skip('the site needs pip install -e ".[docs]"')
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", tmp_path]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # the theme's announcement of its successor
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    broken = [line for line in (done.stdout + done.stderr).splitlines() if "link" in line or "anchor" in line]
    assert not broken, "links that lead nowhere are also reported as information"
    assert "GateLSTM" in (tmp_path / "api" / "layers" / "index.html").read_text(encoding="utf-8")


def test_the_tables_of_speed_are_those_of_the_results(monkeypatch):
    """Figures are never typed by hand: `python benchmarks/tables.py` puts them there."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    tables = importlib.import_module("tables")
    for path in tables.PAGES:
        text = path.read_text(encoding="utf-8")
        assert tables.PLACE.search(text)
        assert tables.filled(text) == text, f"{path.name}: run `python benchmarks/tables.py`"


def test_every_public_name_is_on_the_page_of_its_group():
    """`members:` and `:::` name objects by module; a name that moves elsewhere would vanish from the site."""
    pages = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "api").glob("*.md"))]
    listed = set(
        re.findall(r"\w+", " ".join(line for text in pages for line in re.findall(r"members: \[(.*)\]", text)))
    )
    listed |= {name.rpartition(".")[2] for text in pages for name in re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)}
    missing = {*keras_gates.__all__, *keras_gates.models.__all__} - listed
    assert not missing, f"docs/api does not show {', '.join(sorted(missing))}"
