"""Puts a mutant's code in place of the code that is loaded, in a process that was forked for that one mutant."""

from __future__ import annotations

import gc
import types
from collections.abc import Iterator
from pathlib import Path

from tests.mutation.mutants import Mutant

Key = tuple[int, str]


class Loaded:
    """All functions that are loaded, found once before processes are forked."""

    def __init__(self) -> None:
        self._functions: dict[str, dict[Key, list[types.FunctionType]]] = {}
        for thing in gc.get_objects():
            if isinstance(thing, types.FunctionType):
                code = thing.__code__
                of_file = self._functions.setdefault(code.co_filename, {})
                of_file.setdefault((code.co_firstlineno, code.co_qualname), []).append(thing)

    def patch(self, path: Path, mutant: Mutant, source: str) -> bool:
        """Give the functions that a mutant changes their new code; False: none is loaded, or it does not fit."""
        functions = self._functions.get(str(path), {}).get((mutant.first, mutant.function), [])
        changed = compile(mutant.apply(source), str(path), "exec", dont_inherit=True)
        codes = [
            code
            for code in _codes(changed)
            if (code.co_firstlineno, code.co_qualname) == (mutant.first, mutant.function)
        ]
        if not functions or len(codes) != 1:
            return False
        try:
            for function in functions:
                function.__code__ = codes[0]
        except ValueError:  # It closes over other variables than before.
            return False
        return True


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Code of functions at module and class level, not of those inside functions."""
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            if constant.co_flags & 0x2:  # CO_NEWLOCALS: a function, no class body.
                yield constant
            else:
                yield from _codes(constant)
