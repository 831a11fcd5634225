"""Which tests a mutant has to pass, and in which order: the module's own first, then the quick ones."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from tests.mutation.covering import Covering, file_of, in_order
from tests.mutation.mutants import Mutant, each_line

COMPILED_ROOM = "hoverboard/fastpath/"


class Choice:
    """Tests for the mutants of one module.

    Args:
        file: the module, relative to the checkout.
        tests: node ids of all tests.
        imports: test file -> modules that it imports.
    """

    def __init__(self, file: str, tests: Collection[str], covering: Covering, imports: dict[str, set[str]]) -> None:
        module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self._tests = tests
        self._covering = covering
        self._lines = covering.by_line(file)
        self._own = {test_file for test_file, names in imports.items() if module in names}
        self._compiled_too = {
            test_file
            for test_file, names in imports.items()
            if any(name.startswith("hoverboard.fastpath") for name in names)
        }

    def first(self, mutant: Mutant) -> list[str]:
        """Tests that run the changed line; for what is outside functions, all that have to do with the module.

        What Numba compiles leaves no trace of its lines: then tests of the module's own files and of the fast path.
        """
        if mutant.compiled:
            return self._in_order(test for test in self._tests if file_of(test) in self._own | self._compiled_too)
        if not mutant.function:
            related = self._related()
            return [test for test in related if file_of(test) not in self._compiled_too] or related
        return self._in_order({test for line in each_line(mutant) for test in self._lines.get(line, ())})

    def more(self, mutant: Mutant, chosen: Sequence[str]) -> list[str]:
        """Tests beside them in the same files: a shared fixture or a cache is filled by the first test alone.

        A constant of ours may end up in compiled code, which takes a minute to compile: those tests come last.
        """
        if not mutant.function:
            known = set(chosen)
            return [test for test in self._related() if test not in known]
        files, known = {file_of(test) for test in chosen}, set(chosen)
        return self._in_order(test for test in self._tests if file_of(test) in files and test not in known)

    def own(self) -> list[str]:
        """Tests of the files that import the module, without those that need compiled code."""
        return self._in_order({test for test in self._tests if file_of(test) in self._own - self._compiled_too})

    def compiles(self, mutant: Mutant, tests: Collection[str]) -> bool:
        """Whether a fresh process that runs these tests is known to compile the fast path."""
        return mutant.compiled or any(file_of(test) in self._compiled_too for test in tests)

    def _related(self) -> list[str]:
        covering = {test for tests in self._lines.values() for test in tests}
        return self._in_order({test for test in self._tests if file_of(test) in self._own} | covering)

    def within(self, tests: Sequence[str], seconds: float) -> tuple[list[str], float]:
        """The first tests that take no longer than `seconds` together (at least one), and how long they take."""
        chosen: list[str] = []
        total = 0.0
        for test in tests:
            took = self._covering.seconds(test)
            if chosen and total + took > seconds:
                continue
            chosen.append(test)
            total += took
        return chosen, total

    def _in_order(self, tests: Iterator[str] | set[str]) -> list[str]:
        return in_order(tests, self._covering, self._own)


def imports_of(files: Collection[str], checkout: Path) -> dict[str, set[str]]:
    """Test file -> dotted names of all that it imports, `from a import b` as both `a` and `a.b`."""
    found: dict[str, set[str]] = {}
    for file in files:
        names = found.setdefault(file, set())
        for node in ast.walk(ast.parse((checkout / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
                names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found
