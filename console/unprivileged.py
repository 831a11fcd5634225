"""Checks that run files which a topology names, without root: in a child process that has given root up.

A stage, a model and an offload policy are Python files, and the check of such a file runs it. Its author must not
become root by a check (docs/security.md). So a check by root runs no file. If it comes to one, the whole check is done
again in a child process that is the user who called `sudo`, or `nobody`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import signal
import sys
from collections.abc import Callable

import typer

from console import guard
from hoverboard import mapped_users
from hoverboard.contract.errors import InputError, MachineError
from hoverboard.contract.plugins import FileNotRunError, without_running_files
from hoverboard.safe_files import caller

_NOBODY = 65534
_DONE = b"done"  # the child's word that the check came to its end
_SECONDS = 60  # a file that runs longer when it is imported is wrong
_KEPT = ("LANG", "LC_ALL", "LC_CTYPE", "PATH", "TERM", "COLUMNS", "NO_COLOR", "HOVERBOARD_DEBUG")


def user() -> tuple[int, int]:
    """(uid, gid) of who called `sudo`; those of `nobody` if no one did, if it was root, or if they make no sense."""
    found = caller()
    return (found.uid, found.gid) if found.uid and found.gid else (_NOBODY, _NOBODY)


def checked(check: Callable[[], object], *, only_files: bool = False) -> int:
    """Run a check that may run a user's files, and return the exit code of the command.

    An ordinary user's check runs in this process, and raises its errors here. So does one in namespaces of that user:
    the process has that user's rights there, and can become no other. So does root's check, if it comes to no file.

    Args:
        check: prints what it finds, or raises it.
        only_files: return 0 without a check when it comes to no file; another place does it then.
    """
    if mapped_users.privileges() == "rootless":
        if not only_files:
            check()
        return 0
    try:
        with without_running_files():
            check()
    except FileNotRunError:
        return in_child(check, *user())
    except InputError:
        if not only_files:
            raise
    return 0


def in_child(check: Callable[[], object], uid: int, gid: int) -> int:
    """Run `check` in a child process of this user, and return its exit code; its output is the command's.

    Raises:
        MachineError: it did not end in time, or a signal ended it.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    done, at_end = os.pipe()
    with guard.ended_by_signals():
        child = os.fork()
        if child == 0:
            code = 70
            try:
                os.close(done)
                _become(uid, gid)
                code = _code_of(check)
                sys.stdout.flush()
                os.write(at_end, _DONE)
            finally:
                os._exit(code)  # nothing of the parent's ends twice
        try:
            os.close(at_end)
            ended = _wait(done)
        except BaseException:  # Ctrl-C or SIGTERM: the child has no terminal of its own
            _kill(child)
            raise
        finally:
            os.close(done)
    if ended is None:
        _kill(child)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if ended is not None else 0
    if ended != _DONE:
        raise MachineError(
            f"the check did not end within {_SECONDS} s" if ended is None else f"a file ended the check (code {code})",
            where="a file of the topology",
            next_step="a file of a stage, model or policy defines a class, and does nothing else when it is imported",
        )
    return code


def _wait(done: int) -> bytes | None:
    """The child's last word, empty if it ended without one; None: the time is over."""
    ready, _, _ = select.select([done], [], [], _SECONDS)
    return os.read(done, len(_DONE)) if ready else None


def _kill(child: int) -> None:
    """End the child and what it started in its session; a file may have switched off its own alarm."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)


def _become(uid: int, gid: int) -> None:
    """Give root up for good, with all that the environment and open terminals would give."""
    os.setsid()  # no terminal to type into (TIOCSTI)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    os.environ.clear()
    os.environ.update(kept)
    with contextlib.suppress(KeyError):
        os.environ["HOME"] = pwd.getpwuid(uid).pw_dir
    sys.dont_write_bytecode = True
    signal.alarm(_SECONDS + 5)  # if the parent is gone by then


def _code_of(check: Callable[[], object]) -> int:
    try:
        with guard.report_errors():
            check()
    except typer.Exit as end:
        return end.exit_code
    return 0
