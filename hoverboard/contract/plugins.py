"""Loads classes that users write in their own files, named as FILE.py:Class, or FILE.py if it has one such class.

The one loader of coprocessor stages, offload policies, experiments and programming models. Only this module runs such
a file; errors name the line. It reads the file, and does no other I/O.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import os
import shlex
import sys
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

from hoverboard.contract.errors import InputError

_PREFIX = "plugin_"  # of the module name of a user's file
_may_run: ContextVar[bool] = ContextVar("may_run", default=True)


class FileNotRunError(Exception):
    """A check would have run a user's file, in a place where no such file may run (`without_running_files`)."""


@contextlib.contextmanager
def without_running_files() -> Iterator[None]:
    """In this block no user's file is run: `load_class` raises FileNotRunError instead.

    For checks in a process that is root: a check must not make the file's author root.
    """
    token = _may_run.set(False)
    try:
        yield
    finally:
        _may_run.reset(token)


def file_of(reference: str) -> tuple[Path, str] | None:
    """(file, name of the class or "") of FILE.py:Class or FILE.py; None if the reference names no Python file."""
    if reference.endswith(".py"):
        return Path(reference), ""
    name, found, wanted = reference.rpartition(".py:")
    return (Path(f"{name}.py"), wanted) if found and wanted else None


def absolute(reference: str, directory: Path | None = None) -> str:
    """The reference with its file's absolute path; a relative path starts from `directory`, or the current one."""
    found = file_of(reference)
    if found is None:
        return reference
    path, wanted = found
    return f"{((directory or Path()) / path).resolve()}{':' * bool(wanted)}{wanted}"


def load_class(reference: str, base: type[Any], where: str = "", *, noun: str, next_step: str) -> type[Any]:
    """Run the file of a reference, and return the class that it names.

    Without a name, it is the only class of the file that derives from `base`: imported classes and abstract classes do
    not count. The file runs at each call.

    Args:
        reference: FILE.py:Class, or FILE.py.
        base: the class to derive from; a protocol with `runtime_checkable` works, too.
        where: the key or option that holds the reference, for the error.
        noun: the name of the kind of class: "stage", "offload policy".
        next_step: how to write and name such a class.

    Raises:
        InputError: there is no such file or class, the file cannot be run, or the class does not derive from `base`.
        FileNotRunError: no file may run here.
    """
    place = f"{where}: {reference}" if where else reference
    found = file_of(reference)
    if found is not None and not _readable(found[0]):
        raise InputError(
            f"{found[0].name}: uid {os.geteuid()} may not read it",
            where=place,
            next_step="let that user read file and folder, or type the command without sudo: root checks a file as "
            "another user (docs/security.md)",
        )
    if found is None or not found[0].is_file():
        path = found[0] if found is not None else Path(reference)
        irregular = found is not None and path.exists()
        what = f"{path.name!r} is not a regular file" if irregular else f"there is no Python file {path.name!r}"
        raise InputError(what, where=place, next_step=next_step)
    if not _may_run.get():
        raise FileNotRunError(reference)
    path, wanted = found
    with user_code(
        "the file", path, next_step=f"correct it; see the whole error with: hoverboard python {shlex.quote(str(path))}"
    ):
        module, fitting = _run(path, base)
    if wanted:
        return _named(module, wanted, fitting, place, noun, next_step)
    own = sorted(
        name
        for name, kind in fitting.items()
        if kind.__module__ == module.__name__ and name == kind.__name__ and not inspect.isabstract(kind)
    )
    if not own:
        for name, kind in fitting.items():
            if kind.__module__ == module.__name__ and inspect.isabstract(kind):
                return _named(module, name, fitting, place, noun, next_step)  # it says what the class lacks
        raise InputError(f"the file has no {noun}", where=place, next_step=next_step)
    if len(own) > 1:
        raise InputError(
            f"name one {noun}: the file has {', '.join(own)}",
            where=place,
            next_step=f"name it as {path.name}:{own[0]}",
        )
    return fitting[own[0]]


def _readable(path: Path) -> bool:
    """Whether this process may read the file, as far as it can tell: a missing file counts as readable."""
    try:
        return not path.exists() or os.access(path, os.R_OK)
    except PermissionError:
        return False


def _fits(kind: object, base: type[Any]) -> bool:
    return isinstance(kind, type) and issubclass(kind, base) and kind is not base


def _named(
    module: ModuleType, wanted: str, fitting: dict[str, type[Any]], place: str, noun: str, next_step: str
) -> type[Any]:
    if wanted not in fitting:
        is_there = wanted in vars(module)  # hasattr() would call a `__getattr__` of the file
        what = f"{wanted!r} is no {noun}" if is_there else f"there is no class {wanted!r} in the file"
        known = [] if is_there else [name for name, kind in fitting.items() if kind.__module__ == module.__name__]
        raise InputError(what, where=place, next_step=f"it has {', '.join(sorted(known))}" if known else next_step)
    kind = fitting[wanted]
    if inspect.isabstract(kind):
        lacking = ", ".join(sorted(kind.__abstractmethods__))
        raise InputError(f"class {wanted!r} lacks {lacking}", where=place, next_step=next_step)
    return kind


def _run(path: Path, base: type[Any]) -> tuple[ModuleType, dict[str, type[Any]]]:
    """Run the file as a module, and find its classes that derive from `base`.

    The name of the module depends on the path: two files of one name are two modules.
    """
    whole = path.resolve()
    name = f"{_PREFIX}{path.stem}_{hashlib.sha256(str(whole).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, whole)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look there for a class's annotations
    try:
        spec.loader.exec_module(module)
        return module, {name: kind for name, kind in vars(module).items() if _fits(kind, base)}
    except BaseException:
        del sys.modules[name]
        raise


@contextlib.contextmanager
def user_code(what: str, path: Path, *, where: str = "", next_step: str) -> Iterator[None]:
    """Run a block that calls code of a user's file; all that the code raises becomes an InputError.

    Args:
        what: the part of the file that runs: "the file", "Mine()".
        path: the file, whose last line in the traceback the error names.
        where: the place for an error without a line; default: the file.
        next_step: how to correct it.

    Raises:
        InputError: the code raised something other than KeyboardInterrupt.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        line = _line(error, str(path.resolve()))
        raise InputError(
            f"{what} raised {error_text(error)}",
            where=f"{path}:{line}" if line else where or str(path),
            next_step=next_step,
        ) from None  # the next step shows the whole error


def error_text(error: BaseException) -> str:
    """The class and the message of an exception of a user's code, whose `__str__` may raise as well."""
    try:
        message = str(error)
    except Exception:
        message = "its message cannot be made: __str__ raises"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def place_in_user_code(error: BaseException) -> tuple[str, str] | None:
    """Where code of a user's file raised an exception: ("Mine.vm_flows", "/path/mine.py:7").

    The function is the one by which the traceback enters the file, named with the class of its `self`. The line is the
    last one in that file. None: no such file is in the traceback.
    """
    frames = [
        (frame, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).startswith(_PREFIX)
    ]
    if not frames:
        return None
    entry, (last, line) = frames[0][0], frames[-1]
    owner = entry.f_locals.get("self")
    name = entry.f_code.co_qualname if owner is None else f"{type(owner).__name__}.{entry.f_code.co_name}"
    return name, f"{last.f_code.co_filename}:{line}"


def _line(error: BaseException, path: str) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == path:
        return error.lineno
    frames = reversed(traceback.extract_tb(error.__traceback__))
    return next((frame.lineno for frame in frames if frame.filename == path), None)
