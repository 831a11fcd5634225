"""Waits for conditions and sockets, always with a deadline, and not for processes that are dead.

All waiting of the testbed is here.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from pathlib import Path

from hoverboard.contract.errors import RunError

_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.02  # seconds
_WORKING = 0.01  # share of a CPU that a process uses at least while it works, also on a machine with much other work


def wait_for(
    condition: Callable[[], bool], timeout: float, missing: Callable[[], str], *, where: str = "",
    work: Callable[[], float] = lambda: 0.0, longest: float = 0.0,
) -> None:  # fmt: skip
    """Wait until `condition()` is true; it may raise an exception to end the wait.

    Args:
        condition: called repeatedly, after growing pauses.
        timeout: seconds.
        missing: gives the message for the error: what is missing.
        where: for the error, such as a log file.
        work: the CPU seconds that were used to make it true. While they grow, the wait goes on behind its time-out.
        longest: seconds after which it ends all the same.

    Raises:
        RunError: it was not true for `timeout` seconds.
    """
    begun = time.monotonic()
    deadline = begun + timeout
    done = work()
    pause = _FIRST_PAUSE
    while not condition():
        now = time.monotonic()
        if now > deadline and now < begun + longest and (more := work()) - done >= timeout * _WORKING:
            done, deadline = more, now + timeout
        elif now > deadline:
            waited = round(now - begun) if longest else timeout
            raise RunError(
                f"after {waited:g} s: {missing()}",
                where=where,
                next_step="read the log files in the run's directory",
            )
        select.select([], [], [], pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def accepts(path: Path) -> bool:
    """Whether a process listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def wait_sockets(what: str, paths: list[Path], alive: Callable[[], bool], timeout: float, log: Path) -> None:
    """Wait until a process listens on all sockets of `paths`.

    Args:
        what: name of the process, for messages.
        paths: the sockets.
        alive: whether it still runs.
        timeout: seconds.
        log: its log file, for messages.

    Raises:
        RunError: it ended, or does not listen in `timeout` seconds; the error names its log.
    """

    def ready() -> bool:
        serves = all(accepts(path) for path in paths)
        if not serves and not alive():
            raise RunError(f"{what} ended while it was starting", where=str(log), next_step=_last_line(log))
        return serves

    wait_for(ready, timeout, lambda: f"{what} does not serve", where=str(log))


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except FileNotFoundError:
        lines = []
    return f"its last line: {lines[-1][:300]}" if lines else "it wrote no log; retry, and see `hoverboard doctor`"
