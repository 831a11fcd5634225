"""Compiles the functions of the fast path: without the interpreter lock, cached on disk.

Numba notices when the file of a cached function changes, but not when a constant from another file changes. A ring of
256 slots would keep that size although the source says 512. So each state of the sources has its own cache directory.
`disk_cache` reads it where it is, and finds another place for new code where the environment is read-only.
NUMBA_BOUNDSCHECK=1 finds index errors.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

from hoverboard.contract.errors import MachineError
from hoverboard.fastpath.compiled.code_cache import keep
from hoverboard.fastpath.compiled.disk_cache import CodeStore, own_places
from hoverboard.fastpath.compiled.trust import trusted

F = TypeVar("F", bound=Callable[..., Any])

# Modules of hoverboard.contract whose constants end up in compiled code; entities, errors and packets have none.
CONSTANTS_FROM = ("encapsulation", "openflow/flow", "openflow/pipeline", "openflow/tables")


def _state() -> str:
    package = Path(__file__).parents[1]
    contract = package.parent / "contract"
    digest = hashlib.sha256(os.environ.get("NUMBA_BOUNDSCHECK", "").encode())
    for source in sorted([*package.rglob("*.py"), *(contract / f"{name}.py" for name in CONSTANTS_FROM)]):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _base_of_caches() -> Path:
    """$NUMBA_CACHE_DIR, or the directory that bootstrap.sh fills.

    Raises:
        MachineError: another user can write $NUMBA_CACHE_DIR, and so choose the code that we run.
    """
    given = os.environ.get("NUMBA_CACHE_DIR")
    if not given:
        return Path(sys.prefix) / "numba-cache"
    place = Path(given).absolute()
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise MachineError(
            f"there is no place for compiled code ({error.strerror})",
            where=f"NUMBA_CACHE_DIR={given}", next_step="set it to a directory that can be written, or unset it",
        ) from error  # fmt: skip
    if not trusted(place):
        raise MachineError(
            "another user can write this directory, and so choose the code that runs",
            where=f"NUMBA_CACHE_DIR={given}", next_step=f"unset NUMBA_CACHE_DIR, or: chmod go-w {given}",
        )  # fmt: skip
    return place


store = CodeStore(_state(), _base_of_caches(), own_places())
# Functions of others that Numba caches, such as a stage's, go where ours go.
numba.config.CACHE_DIR = str(store.directory)
# Numba reads this file in the current directory, also later, each time it compiles. It could name another cache.
numba.core.config._config_fname = os.devnull


def _kept(dispatcher: F) -> F:
    keep(dispatcher, store)
    return dispatcher


def compiled(function: F) -> F:
    """`function`, compiled into its caller, with the type that its author wrote.

    Without Numba's reference counts (this code allocates nothing): each view of an array would cost two atomic
    instructions. LLVM always inlines it: an engine's memory is a tuple of some 35 arrays, and a call would pass 2 KB of
    arguments. Both together make `python -m benchmarks.engine` 4 times faster.
    """
    return _kept(numba.njit(nogil=True, forceinline=True, _nrt=False)(function))


def compiled_loop(function: F) -> F:
    """`function`, compiled as by `compiled` but with reference counts, because it holds a list."""
    return _kept(numba.njit(nogil=True)(function))


def inlined(function: F) -> F:
    """`function`, compiled as by `compiled` and inlined before types are known: for leaves that take any integer."""
    return _kept(numba.njit(nogil=True, inline="always", _nrt=False)(function))
