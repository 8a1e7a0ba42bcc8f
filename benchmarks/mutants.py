"""Mutants: copies of a module in which one operator, number, comparison, condition or `not` differs.

Mutants of texts (messages, docstrings) are not made. `benchmarks/mutation.py` runs the tests over them.
"""

from __future__ import annotations

import ast
import copy
import gc
from types import CodeType, FunctionType

_ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult}
_COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip


class Places(ast.NodeVisitor):
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
    places = Places()
    places.visit(tree)
    node, kind = places.nodes[number]
    before = ast.unparse(node)
    if isinstance(node, ast.If | ast.IfExp):
        before = ast.unparse(node.test)
        node.test = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)
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
            node.operand = ast.copy_location(ast.Call(ast.Name("bool", ast.Load()), [node.operand], []), node.operand)
        elif isinstance(node, ast.Constant):
            node.value = not node.value if isinstance(node.value, bool) else node.value + 1
        after = ast.unparse(ast.fix_missing_locations(node))
    return ast.fix_missing_locations(tree), f"{kind}: {before} → {after}", node.lineno


def functions_of(folder: str) -> dict[str, list[FunctionType]]:
    """Return the functions, lambdas and methods that exist now of each file in a folder."""
    functions: dict[str, list[FunctionType]] = {}
    for each in gc.get_objects():
        if type(each) is FunctionType and each.__code__.co_filename.startswith(folder):
            functions.setdefault(each.__code__.co_filename, []).append(each)
    return functions


def put_in_place(source: str, tree: ast.Module, path: str, functions: list[FunctionType]) -> int:
    """Give the functions of an imported module, wherever they are referred to, the code of its mutant.

    Args:
        source: The module's text.
        tree: The mutant.
        path: The module's file.
        functions: Its functions.

    Returns:
        How many functions changed. 0 if the mutated line runs at import only: a class body, a constant, a default.
    """
    changed: dict[tuple[str, int], list[tuple[CodeType, CodeType]]] = {}
    _differences(compile(source, path, "exec"), compile(tree, path, "exec"), changed)
    count = 0
    for function in functions:
        own = function.__code__
        for old, new in changed.get((own.co_name, own.co_firstlineno), ()):
            if old == own:
                function.__code__ = new
                count += 1
                break
    return count


def _differences(old: CodeType, new: CodeType, changed: dict[tuple[str, int], list[tuple[CodeType, CodeType]]]) -> None:
    """Collect the pairs of code, this one and those within it, that differ."""
    inner = ([each for each in code.co_consts if isinstance(each, CodeType)] for code in (old, new))
    for before, after in zip(*inner):
        _differences(before, after, changed)
    if old != new:
        changed.setdefault((old.co_name, old.co_firstlineno), []).append((old, new))
