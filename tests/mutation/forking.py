"""One process for each mutant, forked from one that has everything loaded, with an end to its time and memory."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.mutation.sealing import CRASHED, UNSEALED, sealed

# Of one mutant, bytes. Tests stay far below.
MEMORY = 4 << 30


def in_child(work: Callable[[], int], seconds: float, seal: Path | None = None) -> int | None:
    """Run `work` in a forked process that prints nothing.

    Args:
        seal: this checkout stays as it is, and so do all processes that `work` did not begin (see `sealing`).

    Returns:
        Its exit code, below 0 for a signal (it is killed when it takes too much memory); None when it was ended
        after `seconds`.

    Raises:
        RuntimeError: the kernel gives no namespaces.
    """
    child = os.fork()
    if child == 0:
        code = CRASHED
        try:
            os.setsid()
            silent = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(silent, descriptor)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            code = UNSEALED if seal else CRASHED
            code = sealed(work, seal) if seal else work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    watch = os.pidfd_open(child)
    try:
        ready = _wait(child, watch, seconds)
        # The whole session: a test's own children, too.
        for kill in (os.killpg, os.kill):
            try:
                kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
        _, status = os.waitpid(child, 0)
    finally:
        os.close(watch)
    code = os.waitstatus_to_exitcode(status)
    if ready and seal and code == UNSEALED:
        raise RuntimeError("a process in namespaces of its own could not be made (see tests/mutation/sealing.py)")
    return code if ready else None


def _wait(child: int, watch: int, seconds: float) -> bool:
    """Whether the child came to its end within its time: by itself, or because it filled the memory.

    No limit of the kernel serves: an engine maps gigabytes that it never touches.
    """
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([watch], [], [], min(left, 0.25))[0]:
            return True
        if any(_resident(process) > MEMORY for process in _with_children(child)):
            return True
    return False


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _with_children(process: int) -> list[int]:
    """A process and all below it."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        children = []
    return [process, *(below for child in children for below in _with_children(int(child)))]


def flush() -> None:
    """Before a fork, so that nothing is printed twice."""
    sys.stdout.flush()
    sys.stderr.flush()
