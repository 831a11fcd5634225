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

# Of one mutant, bytes. Tests stay far below.
MEMORY = 4 << 30
CRASHED = 70


def in_child(work: Callable[[], int], seconds: float) -> int | None:
    """Run `work` in a forked process that prints nothing.

    Returns:
        Its exit code, below 0 for a signal (it is killed when it takes too much memory); None when it was ended
        after `seconds`.
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
            code = work()
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
    return os.waitstatus_to_exitcode(status) if ready else None


def _wait(child: int, watch: int, seconds: float) -> bool:
    """Whether the child came to its end within its time: by itself, or because it filled the memory.

    No limit of the kernel serves: an engine maps gigabytes that it never touches.
    """
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([watch], [], [], min(left, 0.25))[0]:
            return True
        try:
            with open(f"/proc/{child}/statm") as file:
                resident = int(file.read().split()[1]) * resource.getpagesize()
        except (OSError, IndexError):
            continue
        if resident > MEMORY:
            return True
    return False


def flush() -> None:
    """Before a fork, so that nothing is printed twice."""
    sys.stdout.flush()
    sys.stderr.flush()
