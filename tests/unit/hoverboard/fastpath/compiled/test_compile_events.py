"""The names of functions that are compiled, and not those that are loaded."""

from __future__ import annotations

import numba

from hoverboard.fastpath.compiled import compile_events


def test_each_function_is_named_when_its_compilation_begins() -> None:
    seen: list[str] = []
    compile_events.on_compile(seen.append)

    @numba.njit  # type: ignore[untyped-decorator]
    def twice(number: int) -> int:
        return number * 2

    assert seen == []
    twice(1)
    twice(2)
    assert [name.rpartition(".")[2] for name in seen] == ["twice"]
