"""A terminal and descriptors of its own for a command that root starts, and that is not to be root.

A program that has root's terminal open can type into it, as root (TIOCSTI of ioctl_tty(2)), also as another user. So
the command gets a session without that terminal. If it is to have one, it gets a pseudo-terminal (pty(7)), and a
process of root copies what is typed and printed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator

_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
_CHUNK = 65536


def take() -> None:
    """Go on in a child with a session, a terminal and descriptors of its own. We wait, and end with its code.

    What is no terminal among standard input, output and error stays as it is. All other descriptors are closed.
    """
    terminals = [fd for fd in range(3) if _is_terminal(fd)]
    master, slave = pty.openpty() if terminals else (-1, -1)
    if terminals:
        _copy_size(terminals[0], master)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    child = os.fork()
    if child:
        if terminals:
            os.close(slave)
        os._exit(_wait(child, master, terminals))
    os.setsid()
    if terminals:
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in terminals:
            os.dup2(slave, fd)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(int(name))


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _copy_size(source: int, target: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.ioctl(target, termios.TIOCSWINSZ, fcntl.ioctl(source, termios.TIOCGWINSZ, bytes(8)))


def _wait(child: int, master: int, terminals: list[int]) -> int:
    """Copy between our terminal and the child's until the child has ended; return its exit code."""

    def forward(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in _FORWARDED:
        signal.signal(number, forward)
    if terminals:
        signal.signal(signal.SIGWINCH, lambda *_: _copy_size(terminals[0], master))
        with _raw(terminals):
            _copy(master, terminals, os.pidfd_open(child))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return 128 - code if code < 0 else code


@contextlib.contextmanager
def _raw(terminals: list[int]) -> Iterator[None]:
    """Keys reach the child's terminal as they are typed, if we read them."""
    if 0 not in terminals:
        yield
        return
    kept = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, kept)


def _copy(master: int, terminals: list[int], child: int) -> None:
    """Copy until the child has ended and its output is shown, also if it left a program in the background."""
    output = next(fd for fd in (1, 2, 0) if fd in terminals)
    waiting = select.poll()  # root may have more descriptors open than select(2) takes
    for fd in (master, child, *([0] if 0 in terminals else [])):
        waiting.register(fd, select.POLLIN)
    ended = False
    while True:
        ready = {fd for fd, _ in waiting.poll(0 if ended else None)}
        if 0 in ready:
            if typed := os.read(0, _CHUNK):
                os.write(master, typed)
            else:
                waiting.unregister(0)
        if master in ready:
            try:
                os.write(output, os.read(master, _CHUNK))
            except OSError:  # EIO: no process has the other side open
                return
        elif ended:
            return
        if child in ready and not ended:
            ended = True
            waiting.unregister(child)
