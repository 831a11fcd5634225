"""The list of engines that a thread runs, made and changed by compiled functions that Numba's cache keeps.

Python code could use a typed list directly, but Numba never caches what it compiles for that. Each start of a process
would take two seconds more.
"""

from __future__ import annotations

from numba.typed import List

from hoverboard.fastpath.compiled.compiler import compiled_loop
from hoverboard.fastpath.memory.arrays import Memory


@compiled_loop
def begin(first: Memory) -> List:
    """A list with one engine's memory."""
    engines = List()
    engines.append(first)
    return engines


@compiled_loop
def add(engines: List, one: Memory) -> None:
    """Append one engine."""
    engines.append(one)


@compiled_loop
def put(engines: List, index: int, one: Memory) -> None:
    """Replace the engine at `index`."""
    engines[index] = one


@compiled_loop
def clear(engines: List) -> None:
    """Remove all engines."""
    engines.clear()
