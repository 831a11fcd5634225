"""Public names of a package (docs/api.md), resolved when they are used; and old paths of version 0.1.

A package's `__init__` has a table of strings, name -> module. Nothing is imported before a name is used (PEP 562), so
that `hoverboard --help` loads none of them. Old paths stay for one version, and warn with the import to write instead.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType, ModuleType
from typing import Any

Getter = Callable[[str], Any]
Lister = Callable[[], list[str]]
_NONE: Mapping[str, str] = MappingProxyType({})


def look_up(module: str, name: str) -> Any:
    """The result of `from module import name`: an attribute of a module, or a module of a package."""
    return getattr(__import__(module, fromlist=(name,)), name)


def public_names(package: str, names: Mapping[str, str], old_paths: Mapping[str, str] = _NONE) -> tuple[Getter, Lister]:
    """The functions `__getattr__` and `__dir__` of a package.

    Args:
        package: its `__name__`.
        names: public name -> module that has it.
        old_paths: module of version 0.1, dotted, below the package -> module that has its names now.
    """
    for old, new in old_paths.items():
        sys.modules.setdefault(old, OldPath(old, new, package, names))

    def get(name: str) -> Any:
        if name in names:
            return look_up(names[name], name)
        if (old := f"{package}.{name}") in old_paths:
            return sys.modules[old]
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names})

    return get, listed


class OldPath(ModuleType):
    """A module of version 0.1 whose names are in another module now.

    Args:
        old: its old path, dotted.
        new: module that has its names now.
        package, names: public names, which the warning prefers.
    """

    def __init__(self, old: str, new: str, package: str, names: Mapping[str, str]) -> None:
        super().__init__(old, f"Old path of {new}, for one version.")
        self._new, self._package, self._names = new, package, names

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python looks these up by itself: no use of the module
            raise AttributeError(name)
        value = look_up(self._new, name)
        _warn(f"{self.__name__}.{name}", self._instead(name))
        return value

    def _instead(self, name: str) -> str:
        """The import to write instead."""
        room, _, module = self._new.rpartition(".")
        if self._names.get(name) == self._new:
            return f"from {self._package} import {name}"
        if self._names.get(module) == room:
            return f"from {self._package} import {module}` and `{module}.{name}"
        return f"from {self._new} import {name}"


def old_names(module: str, names: Mapping[str, str]) -> Getter:
    """The function `__getattr__` of a module that lost some names.

    Args:
        module: its `__name__`.
        names: old name -> the import to write instead, "from MODULE import NAME".
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _, where, _, new = names[name].split()
        value = look_up(where, new)
        _warn(f"{module}.{name}", names[name])
        return value

    return get


def _warn(old: str, instead: str) -> None:
    warnings.warn(
        f"{old} is a path of version 0.1 and goes with the next version: write `{instead}`",
        DeprecationWarning,
        stacklevel=3,
    )
