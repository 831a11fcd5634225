"""The source of all layers by syntax tree: modules, and what each imports. Nothing is imported here.

Imports count wherever they stand: within functions, under `TYPE_CHECKING`, relative ones, and those of a package's
`__init__`. `FACES` are the packages with public names (docs/api.md). Their `__init__` names modules as strings and
imports a module when its name is used. This does not count as an import, nor do the same names for type checkers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAYERS = ("benchmarks", "console", "experiments", "topologies", "controllers", "hoverboard")
TESTS = ("tests",)
FACES = (
    "topologies",
    "experiments",
    "controllers",
    "controllers.testing",
    "hoverboard.coprocessor",
    "hoverboard.testing",
)


@dataclass(frozen=True)
class Source:
    """One module: its text, and whether it is a package's `__init__`."""

    text: str
    package: bool = False


Tree = dict[str, Source]  # by dotted name


def source_tree(root: Path = ROOT, layers: Sequence[str] = LAYERS) -> Tree:
    """All modules of the layers."""
    found = {}
    for layer in layers:
        for path in sorted((root / layer).rglob("*.py")):
            names = path.relative_to(root).with_suffix("").parts
            package = names[-1] == "__init__"
            found[".".join(names[:-1] if package else names)] = Source(path.read_text(encoding="utf-8"), package)
    return found


def imported(module: str, source: Source) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports, wherever in it the import stands."""
    for node in ast.walk(_without_faces_types(module, ast.parse(source.text))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                above = parts[: len(parts) - node.level + source.package]
                base = ".".join([*above, base] if base else above)
            # `from a import b`: b may be a module of its own.
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            name = node.args[0]
            if called in {"import_module", "__import__"} and isinstance(name, ast.Constant):
                yield node.lineno, str(name.value)


def _without_faces_types(module: str, parsed: ast.Module) -> ast.Module:
    """Leave out what the `__init__` of a face tells type checkers."""
    if module in FACES:
        parsed.body = [node for node in parsed.body if not is_for_types(node)]
    return parsed


def is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def meant(name: str, tree: Tree) -> str:
    """The module that an imported name is of: itself, or the nearest above it that is there."""
    while name not in tree and "." in name:
        name = name.rpartition(".")[0]
    return name


def arrows(tree: Tree) -> Iterator[tuple[str, int, str]]:
    """Module, line, and module of ours that it imports."""
    for module, source in tree.items():
        for line, name in imported(module, source):
            target = meant(name, tree)
            if target.split(".")[0] in LAYERS and target != module:
                yield module, line, target


def within(name: str, above: str) -> bool:
    """Whether a dotted name is `above`, or stands below it."""
    return name == above or name.startswith(f"{above}.")
