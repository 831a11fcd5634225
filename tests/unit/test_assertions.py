"""Every test can fail: it asserts something, or calls a function of the tests that does. Read from the source."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# Tests whose claim is that something does not raise, each with what they would miss otherwise.
WITHOUT: dict[str, str] = {}
# Names of functions whose call is an assertion, in pytest and in the tools the tests use.
ASSERTING = {"raises", "warns", "fail", "assert_array_equal"}


@dataclasses.dataclass(frozen=True)
class Function:
    """What a function of the tests does that matters here.

    Attributes:
        asserts: it has an `assert` of its own.
        calls: last part of the name of each function that it calls, or hands to one.
    """

    name: str
    asserts: bool
    calls: frozenset[str]


def functions(text: str) -> list[Function]:
    """All functions of a file, methods included."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts = list(ast.walk(node))
            named = [name for part in parts if isinstance(part, ast.Call) for name in (part.func, *part.args)]
            calls = {name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "") for name in named}
            found.append(Function(node.name, any(isinstance(part, ast.Assert) for part in parts), frozenset(calls)))
    return found


def silent_tests(sources: dict[str, str]) -> list[str]:
    """Tests that cannot fail but by an exception.

    Args:
        sources: name of a file -> its text; `test_*.py` hold tests, the others what tests share.
    """
    parts = {name: functions(text) for name, text in sources.items()}
    shared = [function for name, found in parts.items() if not is_test(name) for function in found]
    silent = []
    for name in filter(is_test, parts):
        asserting = set(ASSERTING)
        usable = [function for function in (*parts[name], *shared) if not function.name.startswith("test_")]
        while more := {each.name for each in usable if each.asserts or each.calls & asserting} - asserting:
            asserting |= more
        tests = [each for each in parts[name] if each.name.startswith("test_")]
        silent += [f"{name}::{each.name}" for each in tests if not (each.asserts or each.calls & asserting)]
    return silent


def is_test(name: str) -> bool:
    """Whether a file holds tests."""
    return Path(name).name.startswith("test_")


def sources() -> dict[str, str]:
    """All Python files of the tests."""
    return {str(path.relative_to(TESTS)): path.read_text(encoding="utf-8") for path in sorted(TESTS.rglob("*.py"))}


def test_every_test_asserts_something() -> None:
    assert sorted(set(silent_tests(sources())) - set(WITHOUT)) == []


def test_exceptions_are_tests_that_exist() -> None:
    assert set(WITHOUT) <= set(silent_tests(sources()))


@pytest.mark.parametrize(
    ("text", "silent"),
    [
        ("def test_a():\n    run()", True),
        ("def test_a():\n    assert run()", False),
        ("def test_a():\n    with pytest.raises(ValueError):\n        run()", False),
        ("def run():\n    return 1\ndef test_a():\n    run()", True),
        ("def run():\n    assert True\ndef go():\n    run()\ndef test_a():\n    go()", False),
        ("class TestA:\n    def test_a(self):\n        self.run()\n    def run(self):\n        assert self", False),
        ("def test_a():\n    world.check()", False),
    ],
)
def test_the_check_catches(text: str, silent: bool) -> None:
    found = silent_tests({"test_x.py": text, "world.py": "class World:\n    def check(self):\n        assert self"})
    assert found == (["test_x.py::test_a"] if silent else [])
