"""Mutation testing: does a fault in the code fail a test?

    python benchmarks/mutation.py map [tests/edge …]       # which tests run which line (needs coverage); adds to what is known
    python benchmarks/mutation.py run 100 --seed 1 --json benchmarks/results/mutation.json

Mutants (`mutants.py`) are made of the files of layers, loops, conversion, edge and the export's verification. Of the tests in
`TESTS` those that run the line go over the mutant, the quickest first, until one fails; a mutant that none of them fails
survived.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import gc
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from mutants import Places, functions_of, mutate, put_in_place

ROOT = Path(__file__).resolve().parents[1]
TESTS = [
    *(
        "tests/layers/" + name
        for name in ("test_cell.py", "test_gates.py", "test_lstm.py", "test_errors.py", "test_config.py")
    ),
    *(
        "tests/layers/" + name
        for name in ("test_variants.py", "test_initializers.py", "test_zoneout_and_projection.py")
    ),
    "tests/loops",
    "tests/conversion",
    *(
        "tests/edge/" + name
        for name in ("test_edge.py", "test_frontends.py", "test_sound.py", "test_tables.py", "test_times.py")
    ),
    "tests/exporting/test_verification.py",
    "tests/exporting/test_quantization.py",
]
FILES = ("layers/", "loops/", "conversion/", "edge/", "exporting/verify/")
MAP = ROOT / "runs" / "mutation_map.json"
EXPORTED = (
    ROOT / "runs" / "mutation_exported"
)  # files that many tests of the device side run; no mutant exports them again
RESULTS = ROOT / "benchmarks/results/mutation.json"
MOST, LONGEST = 40, 8.0  # tests for one mutant, and seconds of one, apart from a line's quickest
_AT_IMPORT = "at import"
_OPTIONS = ["-q", "-W", "ignore", "-n0", "-p", "no:cacheprovider", "--tb=no", "-m", "not slow"]


@dataclass(frozen=True)
class Mutant:
    """A mutant and the tests that decide about it.

    Attributes:
        path: file in keras_gates/.
        number: which mutable place of it.
        line, mutation: where and what.
        tests: those that run the line, the quickest first.
    """

    path: str
    number: int
    line: int
    mutation: str
    tests: tuple[str, ...]


class _Recorder:
    """A pytest plugin that notes which test runs which line, and the seconds of each test."""

    def __init__(self, coverage: Any) -> None:
        self.coverage = coverage
        self.seconds: dict[str, float] = {}

    def pytest_runtest_setup(self, item: Any) -> None:
        self.coverage.switch_context(item.nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.seconds[report.nodeid] = float("inf")  # it fails without a mutant too


def record(tests: list[str]) -> None:
    """Run tests once and add to MAP: the tests with their seconds, and per file and line the tests that run it."""
    import coverage
    import pytest

    package = ROOT / "keras_gates"
    recorded = coverage.Coverage(source=[str(package)], data_file=None, config_file=False)
    recorder = _Recorder(recorded)
    os.environ["KERAS_GATES_EXPORTED"] = str(EXPORTED)
    sys.path.insert(0, str(ROOT))
    recorded.start()
    pytest.main([*_OPTIONS, *tests], plugins=[recorder])
    recorded.stop()
    known = json.loads(MAP.read_text()) if MAP.exists() else {"seconds": {}, "lines": {}}
    seconds, lines, data = known["seconds"], known["lines"], recorded.get_data()
    for file in data.measured_files():
        own = lines.setdefault(str(Path(file).relative_to(package)), {})
        for line, contexts in data.contexts_by_lineno(file).items():
            own[str(line)] = sorted({*own.get(str(line), ()), *(test for test in contexts if test)})
    seconds |= {test: time for test, time in recorder.seconds.items() if time != float("inf")}
    MAP.parent.mkdir(exist_ok=True)
    MAP.write_text(json.dumps(known))
    print(f"{len(seconds)} tests, {len(lines)} files in {MAP}")


def _tests_of(recorded: dict[str, Any], path: str, line: int) -> list[str]:
    """Return the tests that run a line, the quickest first; for a line that runs at import, those that use the file."""
    lines = {int(number): tests for number, tests in recorded["lines"].get(path, {}).items()}
    near = [number for number in sorted(lines, reverse=True) if line - 6 <= number <= line and lines[number]]
    chosen = lines[near[0]] if near else {test for tests in lines.values() for test in tests}
    seconds = recorded["seconds"]
    quickest = sorted((test for test in set(chosen) if test in seconds), key=lambda test: seconds[test])
    return [test for place, test in enumerate(quickest[:MOST]) if not place or seconds[test] < LONGEST]


class _Mutants:
    """A pytest plugin that, instead of the collected tests, runs for each mutant the tests of its line, in a child of its own.

    A child has TensorFlow, the package and the tests imported already and gets the mutant's code in place of the functions'
    own, so it costs no more than its tests.

    Args:
        mutants: What is to be decided.
        seconds: Time limit for the tests of one mutant.
        decided: Called with every mutant, the first test that failed ("" if none did, None if they did not end in time) and
            the seconds it took; not for mutants of lines that run at import only.
    """

    def __init__(
        self, mutants: list[Mutant], seconds: int, decided: Callable[[Mutant, str | None, float], None]
    ) -> None:
        self.mutants, self.seconds, self.decided = mutants, seconds, decided
        self.failed = -1  # in a child: where it writes the test that fails

    def pytest_runtestloop(self, session: Any) -> bool:
        items = {item.nodeid: item for item in session.items}
        for path in {mutant.path for mutant in self.mutants}:  # a child would import the file as it is
            importlib.import_module(
                "keras_gates." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            )
        functions = functions_of(str(ROOT / "keras_gates"))
        gc.collect()
        gc.freeze()  # a collection in a child would copy every page
        for mutant in self.mutants:
            start = time.time()
            read, self.failed = os.pipe()
            child = os.fork()
            if child == 0:
                path = str(ROOT / "keras_gates" / mutant.path)
                self._run(mutant, functions.get(path, []), [items[test] for test in mutant.tests if test in items])
            os.close(self.failed)
            in_time = _ends(child, start + self.seconds)
            with os.fdopen(read) as pipe:
                answer = pipe.read()
            if answer != _AT_IMPORT:
                self.decided(mutant, answer if in_time else None, time.time() - start)
        return True

    def _run(self, mutant: Mutant, functions: list[FunctionType], items: list[Any]) -> None:
        os.setpgid(0, 0)
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        path = ROOT / "keras_gates" / mutant.path
        source = path.read_text(encoding="utf-8")
        if not put_in_place(source, mutate(ast.parse(source), mutant.number)[0], str(path), functions):
            self._end(_AT_IMPORT)
        for item, following in zip(items, [*items[1:], None]):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        os._exit(0)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self._end(report.nodeid)

    def _end(self, text: str) -> None:
        os.write(self.failed, text.encode())
        os._exit(0)


def _ends(child: int, deadline: float) -> bool:
    """Wait for a child, end it and its children at the deadline, and return whether that was not needed."""
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.time() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(0.02)
    return True


def _fails_on_a_copy(mutant: Mutant, tree: ast.Module, seconds: int) -> str | None:
    """Return the first test that fails over a copy of the package that is the mutant; "" if none, None if not in time.

    Unlike `_Mutants` this mutates what runs at import and in other processes, and takes as long as the imports.
    """
    with tempfile.TemporaryDirectory() as folder:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "keras_gates", Path(folder, "keras_gates"), symlinks=True, ignore=ignored)
        shutil.copytree(ROOT / "tests", Path(folder, "tests"), ignore=ignored)
        for name in ("models", "benchmarks", "docs", "pyproject.toml", "setup.cfg", "README.md"):
            Path(folder, name).symlink_to(ROOT / name)
        Path(folder, "keras_gates", mutant.path).write_text(ast.unparse(tree), encoding="utf-8")
        output = Path(folder, "output")
        child = os.fork()
        if child == 0:
            _run_tests(folder, mutant.tests, output)
        if not _ends(child, time.time() + seconds):
            return None
        failed = [line for line in output.read_text().splitlines() if line.startswith(("FAILED", "ERROR", "STATUS"))]
        return failed[0].split(" - ")[0].removeprefix("FAILED ").removesuffix("STATUS 0") if failed else "no output"


def _run_tests(folder: str, tests: tuple[str, ...], output: Path) -> None:
    """Run in the child: the tests over the copy; TensorFlow was imported before the fork."""
    os.setpgid(0, 0)
    file = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(folder)
    os.environ |= {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    sys.path[:] = [folder, *(each for each in sys.path if each != str(ROOT))]
    import pytest

    status = 1
    try:
        status = int(pytest.main(["-x", *_OPTIONS, *tests]))
    finally:
        print(f"\nSTATUS {status}", flush=True)
        os._exit(status)


def _import_what_tests_import(files: set[str]) -> None:
    """Import the modules of others that test files import, once, before any child is forked; the package itself not."""
    names = {"tensorflow", "keras", "pytest"}
    for file in files:
        for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
    sys.modules["keras_gates"] = None  # type: ignore[assignment]
    for name in sorted(names):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    del sys.modules["keras_gates"]


def _drawn(count: int, seed: int, under: str) -> list[Mutant]:
    package, recorded = ROOT / "keras_gates", json.loads(MAP.read_text())
    files = sorted(str(path.relative_to(package)) for path in package.rglob("*.py"))
    trees = {path: ast.parse((package / path).read_text(encoding="utf-8")) for path in files if path.startswith(FILES)}
    places: list[tuple[str, int]] = []
    total = 0
    for path, tree in trees.items():
        if path.startswith(under):
            mutable = Places()
            mutable.visit(tree)
            total += len(mutable.nodes)
            numbered = enumerate(mutable.nodes)
            places += [(path, number) for number, (node, _) in numbered if _tests_of(recorded, path, node.lineno)]
    print(f"of {total} places {len(places)} are run by a test of the selection; only these are mutated", flush=True)
    mutants = []
    for path, number in random.Random(seed).sample(places, min(count, len(places))):
        _, mutation, line = mutate(trees[path], number)
        mutants.append(Mutant(path, number, line, mutation, tuple(_tests_of(recorded, path, line))))
    return mutants


def run(count: int, seed: int, under: str, seconds: int, answers: Path) -> None:
    """Run mutants and write what became of each.

    Args:
        count, seed: How many, chosen by which seed.
        under: Only files whose path in keras_gates/ begins with this.
        seconds: Time limit for the tests of one mutant.
        answers: Results; mutants that stand there are not run again, apart from survivors.
    """
    rows = json.loads(answers.read_text()) if answers.exists() else []
    done = {(row["file"], row["line"], row["mutation"]) for row in rows if row["killed_by"]}
    drawn = [mutant for mutant in _drawn(count, seed, under) if (mutant.path, mutant.line, mutant.mutation) not in done]
    known = {(row["file"], row["line"], row["mutation"]): row for row in rows}

    def decided(mutant: Mutant, killed: str | None, took: float) -> None:
        key = {"file": mutant.path, "line": mutant.line, "mutation": mutant.mutation}
        known[tuple(key.values())] = {**key, "tests": len(mutant.tests), "killed_by": killed}
        word = "killed  " if killed else "UNDECIDED" if killed is None else "SURVIVED"
        place = f"{mutant.path}:{mutant.line}"
        print(word, place, mutant.mutation, killed, f"{len(mutant.tests)} tests, {took:.1f} s", flush=True)
        text = json.dumps(list(known.values()), indent=1, ensure_ascii=False)
        answers.write_text(text + "\n", encoding="utf-8")

    import pytest

    files = {test.partition("::")[0] for mutant in drawn for test in mutant.tests}
    _import_what_tests_import(files)
    child = os.fork()  # the children of this one have the package imported, those of the parent have not
    if child == 0:
        os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_GATES_EXPORTED": str(EXPORTED)}
        sys.path.insert(0, str(ROOT))
        sys.stdout.flush()
        pytest.main([*_OPTIONS, "-s", *sorted(files)], plugins=[_Mutants(drawn, seconds, decided)])
        os._exit(0)
    os.waitpid(child, 0)
    known |= {(row["file"], row["line"], row["mutation"]): row for row in json.loads(answers.read_text())}
    for mutant in drawn:
        row = known.get((mutant.path, mutant.line, mutant.mutation))
        if row is None or row["killed_by"] == "":  # it runs at import, or perhaps in other processes
            start, path = time.time(), ROOT / "keras_gates" / mutant.path
            tree = mutate(ast.parse(path.read_text(encoding="utf-8")), mutant.number)[0]
            killed = _fails_on_a_copy(mutant, tree, seconds + 60) if mutant.tests else ""
            decided(mutant, killed, time.time() - start)
    final = [row["killed_by"] for row in known.values()]
    lived, open_ = final.count(""), final.count(None)
    print(f"{len(final)} mutants: {len(final) - lived - open_} killed, {lived} survived, {open_} not decided in time")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("map").add_argument("tests", nargs="*", default=TESTS)
    mutants = commands.add_parser("run")
    mutants.add_argument("count", type=int)
    mutants.add_argument("--seed", type=int, default=0)
    mutants.add_argument("--under", default="", help="only files whose path in keras_gates/ begins with this")
    mutants.add_argument("--seconds", type=int, default=90, help="time limit for the tests of one mutant")
    mutants.add_argument("--json", type=Path, default=RESULTS, help="results; killed mutants are not run again")
    options = parser.parse_args()
    if options.command == "map":
        record(options.tests)
    else:
        run(options.count, options.seed, options.under, options.seconds, options.json)


if __name__ == "__main__":
    main()
