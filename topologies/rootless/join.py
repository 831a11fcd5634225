"""Runs a command in the namespaces of a run of an ordinary user.

    python -I -S join.py PID:START:PIDNS COMMAND [ARGUMENT]...

The first argument names the first process there, as the machine sees it (`first_process`). Our process stays outside
and waits: it passes signals on, and returns the exit code. If it is killed, COMMAND is killed too. Like
`first_process`, this is a program of its own that uses the standard library only.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from topologies.namespaces.kernel_calls import setns
from topologies.rootless.first_process import VARIABLE
from topologies.rootless.system_calls import (
    FORWARDED,
    Signals,
    end_with_parent,
    execute,
    exit_code,
    fail,
    start_time,
)
from topologies.rootless.terminal import Terminal

# The user namespace first: it gives the right to enter the others.
_KINDS = ("user", "mnt", "net", "uts", "ipc", "pid")


def main(first: str, command: list[str]) -> int:
    """Run a command in the namespaces that a first process keeps, and return its exit code."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [*FORWARDED, signal.SIGCHLD])
    pid, start, _ = map(int, first.split(":"))
    here = None
    with suppress(FileNotFoundError):  # it was removed
        here = os.getcwd()
    try:
        kept = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in _KINDS]
        if start_time(pid) != start:
            raise ProcessLookupError(None, "its first process has ended")
        for fd in kept:
            setns(fd, 0)
    except OSError as error:
        return fail(f"the namespaces of the run cannot be entered: {error.strerror}\n  -> see `hoverboard doctor`")
    child = os.fork()
    if child == 0:
        end_with_parent()
        with suppress(OSError):  # a folder that is hidden inside
            os.chdir(here or "/")
        execute(command, mask, {VARIABLE: first})
    terminal = Terminal()
    try:
        return _wait(child, terminal)
    finally:
        terminal.take_back()


def _wait(child: int, terminal: Terminal) -> int:
    signals = Signals([*FORWARDED, signal.SIGCHLD])
    while True:
        number, sent = signals.read()
        if number != signal.SIGCHLD:
            if sent:
                os.kill(child, number)
            continue
        pid, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
        if pid and not os.WIFSTOPPED(status):
            return exit_code(status)
        # One in our own process group was stopped together with us, by the terminal.
        if pid and (group := os.getpgid(child)) != os.getpgrp():
            terminal.stop()
            os.killpg(group, signal.SIGCONT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
