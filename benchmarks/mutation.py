"""Mutation testing: does a fault in the code fail a test?

    python benchmarks/mutation.py map [tests/edge …]       # which tests run which line (needs coverage); adds to what is known
    python benchmarks/mutation.py run 100 --seed 1 --json benchmarks/results/mutation.json

Each mutant is a copy of the package in which one operator, number, comparison, condition or `not` differs, in a file of layers,
loops, conversion, edge or the export's verification. Of the tests in `TESTS` those that run the line go over the copy, the
quickest first, until one fails; a mutant that none of them fails survived. Mutants of texts (messages, docstrings) are not made.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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
MOST = 40  # tests for one mutant
_OPTIONS = ["-q", "-W", "ignore", "-n0", "-p", "no:cacheprovider", "--tb=no", "-m", "not slow"]
_ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult}
_COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip


class _Places(ast.NodeVisitor):
    """Collects the nodes that can be mutated; annotations, decorators, messages and `TYPE_CHECKING` are left out."""

    def __init__(self) -> None:
        self.nodes: list[tuple[ast.AST, str]] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        for statement in node.body:
            self.visit(statement)

    def visit_Raise(self, node: ast.Raise) -> None:
        pass  # the message

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        pass

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        pass

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            self.nodes.append((node, "arithmetic"))
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARED:
            self.nodes.append((node, "comparison"))
        elif isinstance(node, ast.BoolOp):
            self.nodes.append((node, "and/or"))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.nodes.append((node, "not"))
        elif isinstance(node, ast.If | ast.IfExp):
            self.nodes.append((node, "condition"))
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
            self.nodes.append((node, "constant"))
        super().generic_visit(node)


def mutate(tree: ast.Module, number: int) -> tuple[ast.Module, str, int]:
    """Return a copy of a module with its mutable place `number` changed, a description, and the line."""
    tree = copy.deepcopy(tree)
    places = _Places()
    places.visit(tree)
    node, kind = places.nodes[number]
    before = ast.unparse(node)
    if isinstance(node, ast.If | ast.IfExp):
        before = ast.unparse(node.test)
        node.test = ast.UnaryOp(ast.Not(), node.test)
        after = ast.unparse(node.test)
    else:
        if isinstance(node, ast.BinOp):
            node.op = _ARITHMETIC[type(node.op)]()
        elif isinstance(node, ast.Compare):
            node.ops[0] = _COMPARED[type(node.ops[0])]()
        elif isinstance(node, ast.BoolOp):
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        elif isinstance(node, ast.UnaryOp):
            node.op = ast.UAdd()
            node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
        elif isinstance(node, ast.Constant):
            node.value = not node.value if isinstance(node.value, bool) else node.value + 1
        after = ast.unparse(ast.fix_missing_locations(node))
    return ast.fix_missing_locations(tree), f"{kind}: {before} → {after}", node.lineno


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
    return sorted((test for test in set(chosen) if test in seconds), key=lambda test: seconds[test])[:MOST]


def _survives(path: str, tree: ast.Module, tests: list[str], seconds: int) -> str | None:
    """Return the first test that fails on the mutant, "" if none does, None if they did not end in time."""
    with tempfile.TemporaryDirectory() as folder:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "keras_gates", Path(folder, "keras_gates"), symlinks=True, ignore=ignored)
        shutil.copytree(ROOT / "tests", Path(folder, "tests"), ignore=ignored)
        for name in ("models", "benchmarks", "docs", "pyproject.toml", "setup.cfg", "README.md"):
            Path(folder, name).symlink_to(ROOT / name)
        Path(folder, "keras_gates", path).write_text(ast.unparse(tree), encoding="utf-8")
        output = Path(folder, "output")
        child = os.fork()
        if child == 0:
            _run_tests(folder, tests, output)
        deadline = time.time() + seconds
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.time() < deadline:
            time.sleep(0.1)
        if ended[0] == 0:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        status = os.waitstatus_to_exitcode(ended[1])
        if status == 0:
            return ""
        failed = [line for line in output.read_text().splitlines() if line.startswith(("FAILED", "ERROR"))]
        return failed[0].split(" - ")[0] if failed else f"pytest ended with {status}"


def _run_tests(folder: str, tests: list[str], output: Path) -> None:
    """Run in the child: the tests over the copy; TensorFlow was imported before the fork, which saves seconds per mutant."""
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
        sys.stdout.flush()
        os._exit(status)


def run(count: int, seed: int, under: str, seconds: int, answers: Path | None) -> None:
    """Run mutants and write what became of each.

    Args:
        count, seed: How many, chosen by which seed.
        under: Only files whose path in keras_gates/ begins with this.
        seconds: Time limit for the tests of one mutant.
        answers: Results; mutants that stand there are not run again.
    """
    package, recorded = ROOT / "keras_gates", json.loads(MAP.read_text())
    files = sorted(str(path.relative_to(package)) for path in package.rglob("*.py"))
    files = [path for path in files if path.startswith(FILES) and path.startswith(under)]
    trees = {path: ast.parse((package / path).read_text(encoding="utf-8")) for path in files}
    places = []
    for path, tree in trees.items():
        mutable = _Places()
        mutable.visit(tree)
        places += [(path, number) for number in range(len(mutable.nodes))]
    chosen = random.Random(seed).sample(places, min(count, len(places)))
    sys.modules["keras_gates"] = None  # type: ignore[assignment]  # imported after the fork, from the copy
    for name in ("tensorflow", "keras", "pytest"):
        importlib.import_module(name)
    del sys.modules["keras_gates"]
    rows = json.loads(answers.read_text()) if answers and answers.exists() else []
    done = {(row["file"], row["line"], row["mutation"]) for row in rows}
    for path, number in chosen:
        tree, mutation, line = mutate(trees[path], number)
        if (path, line, mutation) in done:
            continue
        start = time.time()
        tests = _tests_of(recorded, path, line)
        killed = _survives(path, tree, tests, seconds) if tests else ""
        rows.append({"file": path, "line": line, "mutation": mutation, "tests": len(tests), "killed_by": killed})
        word = "killed  " if killed else "UNDECIDED" if killed is None else "SURVIVED"
        print(word, f"{path}:{line}", mutation, killed, f"{len(tests)} tests, {time.time() - start:.0f} s", flush=True)
        if answers:
            answers.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    survivors = [row for row in rows if row["killed_by"] == ""]
    undecided = [row for row in rows if row["killed_by"] is None]
    killed_count = len(rows) - len(survivors) - len(undecided)
    print(
        f"{len(rows)} mutants: {killed_count} killed, {len(survivors)} survived, {len(undecided)} not decided in time"
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("map").add_argument("tests", nargs="*", default=TESTS)
    mutants = commands.add_parser("run")
    mutants.add_argument("count", type=int)
    mutants.add_argument("--seed", type=int, default=0)
    mutants.add_argument("--under", default="", help="only files whose path in keras_gates/ begins with this")
    mutants.add_argument("--seconds", type=int, default=300, help="time limit for the tests of one mutant")
    mutants.add_argument("--json", type=Path, help="results; mutants that stand there are not run again")
    options = parser.parse_args()
    if options.command == "map":
        record(options.tests)
    else:
        run(options.count, options.seed, options.under, options.seconds, options.json)


if __name__ == "__main__":
    main()
