"""Numba's cache of one function over the files of `disk_cache`.

Numba's own files are an index and numbered data files. Two processes that compile at once can leave an index that
leads to the code of another signature. A file that was cut short ends the start, and Numba writes where it only has to
read. Here each signature has a file of its own, with the key in its name and inside: code of another key is not loaded.
"""

# mypy: disable-error-code="no-untyped-def,import-untyped"

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import caching
from numba.core.serialize import dumps

from hoverboard.fastpath.compiled.disk_cache import CodeStore

_PACKAGE = Path(__file__).parents[1]
COMPOSED = "<hoverboard.fastpath>/composed"  # the folder of engines that are composed in memory


def place_of(source: str) -> str | None:
    """The name of a source's directory in the cache, from its place in the package; None for a source of others."""
    if source.startswith(f"{COMPOSED}/"):
        return "composed"
    directory = Path(source).absolute().parent
    if not directory.is_relative_to(_PACKAGE):
        return None
    return "_".join(("fastpath", *directory.relative_to(_PACKAGE).parts))


class _Locator(caching._CacheLocator):
    """Where a function's files are. It looks at no disk: `CodeStore` does."""

    def __init__(self, function: Any, source: str) -> None:
        self._py_file = source
        self._line = function.__code__.co_firstlineno

    def ensure_cache_path(self) -> None:
        pass

    def get_cache_path(self) -> str:
        return place_of(self._py_file) or "other"

    def get_source_stamp(self) -> str:
        return ""  # the directory's name has it

    def get_disambiguator(self) -> str:
        return str(self._line)


class _Overloads:
    """The files of one function, a signature each; has the methods of Numba's IndexDataCacheFile."""

    def __init__(self, store: CodeStore, base: str) -> None:
        self._store = store
        self._base = base

    def flush(self) -> None:
        """Numba calls this before it compiles all functions again: saving replaces their files."""

    def save(self, key: Any, data: Any) -> None:
        """Keep compiled code for later processes, if a place takes it."""
        key = _with_versions(key)
        self._store.write(self._name(key), dumps((key, data)))

    def load(self, key: Any) -> Any:
        """The compiled code, or None."""
        key = _with_versions(key)
        content = self._store.read(self._name(key))
        if content is None:
            return None
        found, data = pickle.loads(content)
        return data if found == key else None

    def _name(self, key: Any) -> str:
        return f"{self._base}.{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.nbc"


def _with_versions(key: Any) -> Any:
    return numba.__version__, llvmlite.__version__, key


class _Implementation(caching.CompileResultCacheImpl):
    def __init__(self, function: Any) -> None:
        source = function.__code__.co_filename
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Locator(function, source)
        self._filename_base = self.get_filename_base(f"{Path(source).stem}.{function.__qualname__}", "")


class FunctionCache(caching.FunctionCache):
    """Numba's cache of a function, over `store`."""

    _impl_class = _Implementation

    def __init__(self, function: Any, store: CodeStore) -> None:
        super().__init__(function)
        self._cache_file = _Overloads(store, f"{self._cache_path}/{self._impl.filename_base}")


def keep(dispatcher: Any, store: CodeStore) -> None:
    """Let a function that Numba compiles keep its code in `store`, and load it from there."""
    if hasattr(dispatcher, "py_func"):  # NUMBA_DISABLE_JIT leaves plain functions
        dispatcher._cache = FunctionCache(dispatcher.py_func, store)
