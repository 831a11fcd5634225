"""How everything on the fast path is compiled: without the interpreter lock, cached on disk.

`boundscheck` stays off in production; set NUMBA_BOUNDSCHECK=1 to hunt an index error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """`numba.njit(nogil=True, cache=True)`, with the type that the caller wrote."""
    return cast(F, numba.njit(nogil=True, cache=True)(function))


def inlined(function: F) -> F:
    """For small leaf functions: as `compiled`, and inlined at every call so that LLVM sees through it."""
    return cast(F, numba.njit(nogil=True, cache=True, inline="always")(function))
