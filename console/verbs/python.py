"""`hoverboard python`: runs a Python file with the environment's Python, which finds Hoverboard and its libraries."""

from __future__ import annotations

import os
import stat
import sys
from typing import Annotated

import typer

from console import guard, python_runner, rootless
from console.verbs.options import Rootless
from hoverboard.contract.errors import InputError


def python(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE|-m MODULE", help="A Python file, or a module of Hoverboard.")
    ] = None,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="ARGUMENT", help="Its arguments.")] = None,
    outside: Annotated[
        bool,
        typer.Option("--outside", help="As an ordinary user: no namespaces, so no testbed, but the machine's network."),
    ] = False,
    rootless_: Rootless = False,
) -> None:
    """Run a Python file with the Python of Hoverboard's environment.

    The file's own folder comes first on sys.path. The current directory is not on it.

    The exit code is that of the file.
    """
    if not file:
        raise InputError(
            "there is no file to run", where="python", next_step="give one: hoverboard python FILE [ARGUMENT]..."
        )
    if file != "-m":
        _check_readable(file)
    elif not arguments or not arguments[0]:
        raise InputError("-m needs a module", where="python", next_step="name one: hoverboard python -m MODULE")
    environment = dict(os.environ)
    if "PYTHONPATH" in environment:
        # An empty or relative entry stands for the current directory, or for a place below it.
        entries = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(filter(os.path.isabs, entries))
    if not outside:
        rootless.enter_new()
    command = [sys.executable, "-P", "-s", python_runner.__file__, file, *(arguments or ())]
    guard.restore_umask()
    os.execve(sys.executable, command, environment)


def _check_readable(file: str) -> None:
    """Check that a file can be run: InputError says why it cannot."""
    try:
        kind = os.stat(file).st_mode
        # What is read from a pipe or a terminal is gone: only the program itself may open it.
        if not stat.S_ISFIFO(kind) and not stat.S_ISCHR(kind):
            with open(file, "rb"):
                pass
    except FileNotFoundError:
        if file == "-":
            step = "give the path of a Python file; standard input is /dev/stdin"
            raise InputError("'-' is not a file", where="python", next_step=step) from None
        reason = "there is no such file"
    except OSError as error:
        reason = f"it cannot be read: {(error.strerror or 'unknown reason').lower()}"
    else:
        return
    raise InputError(reason, where=file, next_step="give the path of a Python file")
