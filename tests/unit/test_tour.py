"""docs/tour.md and the marks in the code (`# tour: miss 3`) name the same stops, in the same files and functions."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess

import pytest

from tests.prose.collection import ROOT, modules

WALKS = {"miss", "vm", "report"}
_MARK = re.compile(r"# tour: (.*)$")
_CALLED = re.compile(r"`(?:\w+\.)*(\w+)\(\)`")
# Heading; file and function; text; a value that a run printed.
_STOP = re.compile(r"^### (\w+ \d+): [^\n]+\n\n`(\S+\.py)`, `([\w.]+)`\n\n[^#\n].*?\n\n```text\n.+?^```$", re.M | re.S)


def tour() -> str:
    """The text of the tour."""
    return (ROOT / "docs/tour.md").read_text(encoding="utf-8")


def functions(tree: ast.AST, name: str = "") -> dict[str, tuple[int, int]]:
    """Functions by qualified name, with their first and last line."""
    found: dict[str, tuple[int, int]] = {}
    for node in ast.iter_child_nodes(tree):
        inner = name
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{name}.{node.name}".lstrip(".")
            if not isinstance(node, ast.ClassDef):
                found[inner] = (node.lineno, node.end_lineno or node.lineno)
        found |= functions(node, inner)
    return found


def marks_in(text: str) -> list[tuple[str, str]]:
    """(stop, function) of each mark in a module; of functions within each other the outermost."""
    found = []
    spans = functions(ast.parse(text)) if "# tour: " in text else {}
    for number, line in enumerate(text.splitlines(), 1):
        if match := _MARK.search(line):
            around = [name for name, (first, last) in spans.items() if first <= number <= last]
            assert around, f"outside a function: {match[1]}"
            found.append((match[1], min(around, key=len)))
    return found


def marks() -> list[tuple[str, str, str]]:
    """(stop, file, function) of each mark in the code."""
    return [
        (stop, path.relative_to(ROOT).as_posix(), function)
        for path in modules()
        for stop, function in marks_in(path.read_text(encoding="utf-8"))
    ]


def called_in_stops(text: str) -> list[tuple[str, str]]:
    """(file, function) of each `function()` in the text of a stop."""
    return [(stop[2], name) for stop in _STOP.finditer(text) for name in _CALLED.findall(stop[0])]


def names_in(text: str) -> set[str]:
    """The functions and classes that a module defines, and all names that it uses."""
    nodes = list(ast.walk(ast.parse(text)))
    defined = {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)}
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    return defined | used | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def test_each_stop_is_a_mark_in_the_code() -> None:
    stops = _STOP.findall(tour())
    assert sorted(stops) == sorted(marks())
    assert len({stop for stop, *_ in stops}) == len(stops)


def test_each_stop_has_its_file_and_function_its_text_and_its_value() -> None:
    headings = re.findall(r"^### (\w+ \d+):", tour(), re.M)
    assert [stop for stop, *_ in _STOP.findall(tour())] == headings
    assert tour().count("\n### ") == len(headings)


def test_each_walk_counts_its_stops() -> None:
    numbers: dict[str, list[int]] = {}
    for stop, *_ in _STOP.findall(tour()):
        walk, number = stop.split()
        numbers.setdefault(walk, []).append(int(number))
    assert set(numbers) == WALKS
    assert all(of_walk == list(range(1, len(of_walk) + 1)) for of_walk in numbers.values())
    assert all(len(of_walk) > 5 for of_walk in numbers.values())


def test_a_stop_calls_what_its_file_has() -> None:
    called = called_in_stops(tour())
    assert called
    for file, name in called:
        assert name in names_in((ROOT / file).read_text(encoding="utf-8")), f"{file}: {name}()"


def test_a_function_that_is_gone_is_found() -> None:
    stop = "### miss 1: A stop\n\n`a/b.py`, `f`\n\n`to_control()` copies; `A.g()` waits.\n\n```text\n1\n```\n"
    assert called_in_stops(stop) == [("a/b.py", "to_control"), ("a/b.py", "g")]
    module = 'def f() -> None:\n    """Not to_control()."""\n    a.g()  # to_control\n'
    assert names_in(module) >= {"f", "g"}
    assert "to_control" not in names_in(module)


def test_the_command_that_finds_the_stops_finds_them_only() -> None:
    (command,) = re.findall(r"^git grep (.*)$", tour(), re.M)
    # A copy of the checkout, as in a virtual machine, has no index.
    git = ["git", "grep", "--no-index", *shlex.split(command)]
    printed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    found = [line.split(":")[0] for line in printed.splitlines()]
    assert sorted(found) == sorted(file for stop, file, _ in marks() if stop.startswith("miss "))


def test_a_mark_that_is_no_stop_is_found() -> None:
    assert marks_in("def f():\n    return 1  # tour: miss3, here\n") == [("miss3, here", "f")]


def test_a_mark_names_the_outermost_function_around_it() -> None:
    module = "class A:\n    def f(self):\n        def g():\n            return 1  # tour: miss 1\n"
    assert marks_in(module) == [("miss 1", "A.f")]


def test_a_mark_outside_a_function_is_an_error() -> None:
    with pytest.raises(AssertionError, match="outside a function: miss 1"):
        marks_in("x = 1  # tour: miss 1\n")
