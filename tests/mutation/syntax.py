"""Questions of mutation to a syntax tree: heads of statements, names, text for people. Pure."""

from __future__ import annotations

import ast

# Calls whose only effect is text for people.
LOGGERS = {"log", "logger", "logging", "LOG", "_log", "warnings"}
# Keywords whose values are text for people.
TEXTS = {"description", "help", "metavar", "next_step", "where"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def head(node: ast.stmt) -> tuple[int, int]:
    """First and last line of a statement without the block below it."""
    end = node.end_lineno or node.lineno
    for name in ("body", "cases"):
        below = getattr(node, name, None)
        if below:
            below_first = below[0].pattern.lineno if name == "cases" else below[0].lineno
            end = max(node.lineno, below_first - 1)
    return (node.lineno, end)


def bindings(node: Function) -> dict[str, int]:
    """How often each name is bound in a function, parameters included."""
    found: dict[str, int] = {}
    arguments = node.args
    names = [part.arg for part in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    names += [part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]
    for name in names:
        found[name] = found.get(name, 0) + 1
    return found


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def is_none(node: ast.expr | None) -> bool:
    return node is None or (isinstance(node, ast.Constant) and node.value is None)


def is_logging(node: ast.stmt) -> bool:
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return False
    function = node.value.func
    while isinstance(function, ast.Attribute):
        function = function.value
    return isinstance(function, ast.Name) and function.id in LOGGERS


def names(node: ast.AST) -> set[str]:
    """Names that an expression mentions."""
    plain = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return plain | {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
