"""The layout of DESIGN: which packages there are, which way imports run, how long a file may be, where a newcomer looks.

Imports are read from the syntax trees, so those inside functions and under `TYPE_CHECKING` count like the others.
"""

import ast
import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "keras_gates"
MAX_LINES = 380

# What a package may import besides itself: `cli, models → inspection, exporting → conversion → layers → loops`.
# `native` is the loops' C++; `edge` runs on a device without Keras, so it stands alone and may be used by what comes after.
BELOW_LAYERS = {"loops", "native"}
BELOW_INSPECTION = {"conversion", "layers", "edge", *BELOW_LAYERS}
BELOW_EXPORTING = {"quantization", *BELOW_INSPECTION}
MAY_IMPORT = {
    "native": set(),
    "loops": {"native"},
    "layers": BELOW_LAYERS,
    "conversion": {"layers", *BELOW_LAYERS},
    "edge": set(),
    "inspection": BELOW_INSPECTION,
    "quantization": {"layers", *BELOW_LAYERS},
    "exporting": BELOW_EXPORTING,
    "models": {"inspection", "exporting", *BELOW_EXPORTING},
    "cli": {"models", "inspection", "exporting", *BELOW_EXPORTING},
}
EDGE_MAY_IMPORT = {"keras_gates._arguments", "keras_gates._errors", "keras_gates._files", "keras_gates._quiet"}
# These stand below every package and may not import one. `_registration` names the modules that it imports by strings.
PRIVATE = {"_arguments", "_compat", "_errors", "_files", "_patch", "_quiet", "_registration"}


def sources(package):
    """Every Python file of a package and of those in it, also through the link keras_gates/models."""
    for path in sorted(package.iterdir()):
        if path.is_dir():
            yield from sources(path)
        elif path.suffix == ".py":
            yield path


def module_of(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


PATHS = {module_of(path): path for path in sources(PACKAGE)}
PUBLIC = {
    name: module
    for module, name in re.findall(
        r"^from (keras_gates\.[\w.]+) import (\w+) as",
        (PACKAGE / "__init__.pyi").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
}


def imports(module):
    """The modules of keras_gates that a module imports, with the line: by statement or by a constant `import_module`."""
    tree = ast.parse(PATHS[module].read_text(encoding="utf-8"))
    package = module if PATHS[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        targets = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                origin = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], *origin.split(".")])
                origin = origin.rstrip(".")
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                if inner in PATHS:
                    targets.append(inner)
                elif origin == "keras_gates":
                    targets.append(PUBLIC.get(alias.name, origin))  # lazy: it comes from where the stub says
                else:
                    targets.append(origin)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            argument = node.args[0]
            targets = [argument.value] if isinstance(argument, ast.Constant) else []
        elif isinstance(node, ast.Attribute):  # `import keras_gates`, then keras_gates.export
            name = ast.unparse(node)
            if re.fullmatch(r"(keras_gates|kg)\.\w+", name):
                inner = name.partition(".")[2]
                targets = [PUBLIC.get(inner, f"keras_gates.{inner}")]
        for target in targets:
            if target.partition(".")[0] == "keras_gates":
                yield (target if target in PATHS else "keras_gates"), node.lineno


GRAPH = {module: sorted(set(imports(module))) for module in PATHS}


def room(module):
    """The package right under keras_gates that a module belongs to; for a file there, the file's name."""
    return ([*module.split("."), "__init__"])[1]


def cycle_in(graph):
    """The first cycle of a directed graph `{node: successors}`, as a list that ends where it began; None without one."""
    state, path = {}, []

    def visit(node):
        state[node] = "open"
        path.append(node)
        for successor in sorted(graph[node]):
            if state.get(successor) == "open":
                return [*path[path.index(successor) :], successor]
            if successor not in state and (cycle := visit(successor)):
                return cycle
        state[node] = "done"
        path.pop()
        return None

    for node in sorted(graph):
        if node not in state and (cycle := visit(node)):
            return cycle
    return None


def test_a_cycle_is_found():
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": set()}) is None
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_imports_are_read():
    """The three kinds of import that a reader overlooks are in the graph."""
    assert "keras_gates.layers.lstm" in {target for target, _ in GRAPH["keras_gates.models.digits"]}
    assert "keras_gates.edge.tflite" in {target for target, _ in GRAPH["keras_gates.edge"]}
    assert "keras_gates.cli" in {target for target, _ in GRAPH["keras_gates.__main__"]}


def test_imports_run_one_way():
    wrong = []
    for module, targets in GRAPH.items():
        own = room(module)
        for target, line in targets:
            there = room(target)
            place = f"{PATHS[module].relative_to(ROOT)}:{line} imports {target}"
            if own in ("__init__", "__main__"):
                allowed = True
            elif own in PRIVATE:
                allowed = there in PRIVATE
            elif own == "edge" and there != "edge":
                allowed = target in EDGE_MAY_IMPORT
            else:
                allowed = there in {own, "__init__", *PRIVATE, *MAY_IMPORT[own]}
            if not allowed:
                wrong.append(place)
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_through_others():
    graph = {module: {target for target, _ in targets} - {module} for module, targets in GRAPH.items()}
    graph["keras_gates"] = set()  # imports by strings, when a name is first used
    cycle = cycle_in(graph)
    assert cycle is None, " → ".join(cycle)


@pytest.mark.parametrize("package", sorted(name for name in PATHS if PATHS[name].name == "__init__.py"))
def test_no_package_imports_itself_through_others(package):
    """In each package, its members (files, and packages as wholes) import each other without a cycle."""
    depth = len(package.split("."))

    def member(module):
        parts = module.split(".")
        inside = module.startswith(package + ".") and parts[depth] not in PRIVATE
        return parts[depth] if inside else None

    graph = {member(module): set() for module in PATHS if member(module)}
    for module, targets in GRAPH.items():
        if source := member(module):
            graph[source] |= {member(target) for target, _ in targets} - {source, None}
    cycle = cycle_in(graph)
    assert cycle is None, " → ".join(cycle)


def test_no_file_is_too_long():
    long = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in PATHS.values()}
    assert not {name: lines for name, lines in long.items() if lines > MAX_LINES}


def test_the_root_of_the_package():
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert {name.partition(".")[0] for name in files} <= {"__init__", "__main__", "py", *PRIVATE}, files
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= set(MAY_IMPORT)
    assert set(MAY_IMPORT) - {"native"} <= folders


def test_tests_mirror_the_packages():
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders - {"data", "project", "support"} <= packages
    assert packages - folders <= {"native"}  # its loops are tested with the others, in tests/loops


def folders_that_exist():
    """Every package as it lies in the checkout, and the folders that stand at the top."""
    packages = {path.parent.relative_to(PACKAGE) for path in PATHS.values() if path.name == "__init__.py"} - {Path(".")}
    within = {(path if path.parts[0] == "models" else Path("keras_gates") / path).as_posix() for path in packages}
    return within | {name for name in ("benchmarks", "docs", "examples", "tests") if (ROOT / name).is_dir()}


def test_the_map_in_contributing():
    """Each row of the table under "Project layout" names a folder in backticks, `keras_gates/layers/`; no folder is missing."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = re.search(r"^## Project layout\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, 'CONTRIBUTING.md has no section "## Project layout"'
    named = set()
    for row in re.findall(r"^\|(.*?)\|", section[1], re.MULTILINE):
        named |= {name.rstrip("/") for name in re.findall(r"`([\w./]+/)`", row)}
    missing = {name for name in named if not (ROOT / name).is_dir()}
    assert not missing, f"named, but not there: {missing}"
    assert folders_that_exist() <= named, f"there, but not named: {folders_that_exist() - named}"


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("keras_gates/layers/gates.py", r"^class ForgetGate\("),
        ("keras_gates/loops/select.py", r"^def \w+\("),
        ("keras_gates/exporting/verify/calibration.py", r"^(def|class) \w+"),
        ("keras_gates/inspection/monitor.py", r"^class GateMonitor\("),
        ("models/data/sensors.py", r"^def \w+\("),
    ],
    ids=["the forget gate", "which loop runs", "int8 calibration", "GateMonitor's warnings", "a CSV of sensor data"],
)
def test_a_newcomer_finds_it_by_the_file_name(path, what):
    assert re.search(what, (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


def test_setup_lists_every_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    folders = {
        path.parent.relative_to(ROOT) for top in ("keras_gates", "models") for path in (ROOT / top).rglob("*.py")
    }
    names = {
        ".".join(folder.parts if folder.parts[0] != "models" else ("keras_gates", *folder.parts)) for folder in folders
    }
    assert set(config["options"]["packages"].split()) == names
