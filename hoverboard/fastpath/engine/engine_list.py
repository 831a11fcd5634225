"""The list of engines that a thread runs, made and changed by compiled functions that Numba's cache keeps.

A typed list does the same from Python, but what it compiles for that is never cached: two seconds of every
start of a process.
"""

from __future__ import annotations

from numba.typed import List

from hoverboard.fastpath.compiled.compiler import compiled_loop
from hoverboard.fastpath.memory.arrays import Memory


@compiled_loop
def begin(first: Memory) -> List:
    """A list of one engine's memory."""
    engines = List()
    engines.append(first)
    return engines


@compiled_loop
def add(engines: List, one: Memory) -> None:
    """One engine more, at the end."""
    engines.append(one)


@compiled_loop
def put(engines: List, index: int, one: Memory) -> None:
    """Another engine in the place of one."""
    engines[index] = one


@compiled_loop
def clear(engines: List) -> None:
    """No engine."""
    engines.clear()
