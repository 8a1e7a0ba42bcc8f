"""Mutation testing: does a fault in the code fail a test?

    python benchmarks/mutation.py 60 --seed 1 --json benchmarks/results/mutation.json

Each mutant is a copy of the package in which one operator, number, comparison, `not` or return value differs, in a file of
layers, loops, conversion, edge or the export's verification. The tests listed for its file run over the copy until one fails;
a mutant that none of them fails survived. Mutants of texts (messages, docstrings) are not made.
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

ROOT = Path(__file__).resolve().parents[1]
# The tests that are to notice a fault in the files whose path begins with the key; the longest key counts.
TESTS = {
    "layers/": ["tests/layers/test_cell.py", "tests/layers/test_lstm.py", "tests/layers"],
    "loops/": ["tests/loops", "tests/layers/test_lstm.py"],
    "conversion/": ["tests/conversion"],
    "edge/": ["tests/edge", "tests/project/test_fuzz.py"],
    "edge/times.py": ["tests/edge/test_times.py"],
    "edge/tables.py": ["tests/edge/test_tables.py"],
    "edge/sound.py": ["tests/edge/test_sound.py"],
    "edge/recordings.py": ["tests/edge/test_sound.py", "tests/cli"],
    "edge/bench.py": ["tests/edge", "tests/cli"],
    "edge/examples.py": ["tests/edge", "tests/cli"],
    "edge/series.py": ["tests/edge", "tests/cli"],
    "exporting/verify/": ["tests/exporting/test_verification.py", "tests/exporting/test_faults.py"],
    "exporting/tflite/": ["tests/exporting/test_passes.py", "tests/exporting/test_export.py"],
    "exporting/lowering/": ["tests/exporting/test_stream_layers.py", "tests/exporting/test_export.py"],
}
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


def _tests_of(path: str) -> list[str]:
    return TESTS[max((key for key in TESTS if path.startswith(key)), key=len)]


def _survives(path: str, tree: ast.Module, seconds: int) -> str:
    """Return the first test that fails on the mutant, or ""."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("keras_gates", "models", "tests", "benchmarks", "docs", "examples"):
            shutil.copytree(
                ROOT / name, Path(folder, name), symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        for name in ("pyproject.toml", "setup.cfg", "setup.py", "README.md", "train.py"):
            shutil.copy(ROOT / name, Path(folder, name))
        Path(folder, "keras_gates", path).write_text(ast.unparse(tree), encoding="utf-8")
        output = Path(folder, "output")
        child = os.fork()
        if child == 0:
            _run_tests(folder, _tests_of(path), output)
        deadline = time.time() + seconds
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.time() < deadline:
            time.sleep(0.2)
        if ended[0] == 0:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "time limit"
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
    sys.path.insert(0, folder)
    import pytest

    arguments = ["-x", "-q", "-W", "ignore", "-n0", "-p", "no:cacheprovider", "--tb=no"]
    status = 1
    try:
        status = int(pytest.main([*arguments, *tests]))
    finally:
        sys.stdout.flush()
        os._exit(status)


def main() -> None:
    """Run mutants and write what became of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--under", default="", help="only files whose path in keras_gates/ begins with this")
    parser.add_argument("--seconds", type=int, default=600, help="time limit for the tests of one mutant")
    parser.add_argument("--json", type=Path, help="results; mutants that stand there are not run again")
    options = parser.parse_args()
    package = ROOT / "keras_gates"
    files = sorted(str(path.relative_to(package)) for path in package.rglob("*.py"))
    files = [path for path in files if any(path.startswith(key) for key in TESTS) and path.startswith(options.under)]
    trees = {path: ast.parse((package / path).read_text(encoding="utf-8")) for path in files}
    places = []
    for path, tree in trees.items():
        found = _Places()
        found.visit(tree)
        places += [(path, number) for number in range(len(found.nodes))]
    chosen = random.Random(options.seed).sample(places, min(options.count, len(places)))
    importlib.import_module("tensorflow")  # keras_gates itself must not be imported before the fork
    rows = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    done = {(row["file"], row["line"], row["mutation"]) for row in rows}
    for path, number in chosen:
        tree, mutation, line = mutate(trees[path], number)
        if (path, line, mutation) in done:
            continue
        start = time.time()
        killed = _survives(path, tree, options.seconds)
        rows.append({"file": path, "line": line, "mutation": mutation, "killed_by": killed})
        print(
            "killed  " if killed else "SURVIVED",
            f"{path}:{line}",
            mutation,
            killed,
            f"{time.time() - start:.0f} s",
            flush=True,
        )
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    survivors = [row for row in rows if not row["killed_by"]]
    print(f"{len(rows)} mutants, {len(rows) - len(survivors)} killed")


if __name__ == "__main__":
    main()
