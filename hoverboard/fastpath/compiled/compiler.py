"""How everything on the fast path is compiled: without the interpreter lock, cached on disk.

Numba notices when the file of a cached function changes, but not when a constant does that it took
from another file: a ring of 256 slots would go on living after its size became 512. So the cache
has a directory for each state of the sources. NUMBA_BOUNDSCHECK=1 hunts index errors.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

# Modules of hoverboard.contract whose constants end up in compiled code; entities, errors and packets have none.
CONSTANTS_FROM = ("encapsulation", "openflow/flow", "openflow/pipeline", "openflow/tables")


def _cache_directory() -> str:
    package = Path(__file__).parents[1]
    contract = package.parent / "contract"
    digest = hashlib.sha256(os.environ.get("NUMBA_BOUNDSCHECK", "").encode())
    for source in sorted([*package.rglob("*.py"), *(contract / f"{name}.py" for name in CONSTANTS_FROM)]):
        digest.update(source.read_bytes())
    base = os.environ.get("NUMBA_CACHE_DIR") or str(Path(sys.prefix) / "numba-cache")
    return str(Path(base) / digest.hexdigest()[:16])


numba.config.CACHE_DIR = _cache_directory()


def compiled(function: F) -> F:
    """Compiled into its caller, with the type that its author wrote.

    Without Numba's reference counts (nothing is allocated here): each view of an array would cost two
    atomic instructions. And always inlined by LLVM: an engine's memory is a tuple of some 35 arrays, which a
    call would pass as 2 KB of arguments. Together 4 times on `python -m benchmarks.engine`.
    """
    return cast(F, numba.njit(nogil=True, cache=True, forceinline=True, _nrt=False)(function))


def compiled_loop(function: F) -> F:
    """As `compiled`, for functions that hold a list, which is counted."""
    return cast(F, numba.njit(nogil=True, cache=True)(function))


def inlined(function: F) -> F:
    """As `compiled`, and inlined before types are known: for leaves that take any integer."""
    return cast(F, numba.njit(nogil=True, cache=True, inline="always", _nrt=False)(function))
