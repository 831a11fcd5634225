"""Gives the prompt of an ordinary user's run a process group of its own.

In a pid namespace our group may be one of the machine's, and has no number there: getpgrp(2) returns 0. A shell that
the prompt starts takes the terminal for a group of its own. It cannot give it back to a group without a number, and our
next read would stop us. The process that waits outside gets the terminal back when we end
(`topologies.rootless.terminal`).
"""

from __future__ import annotations

import os
import signal
import sys
import termios
from contextlib import suppress


def take_terminal() -> None:
    """Make a process group for this process, and give it the terminal; only if our group has no number here."""
    if os.getpgrp() != 0 or not sys.stdin.isatty():
        return
    fd = sys.stdin.fileno()
    with suppress(termios.error, OSError):  # nobody would continue us: it is not our terminal
        # A change of the terminal stops a group in the background, until the user brings it to the foreground.
        termios.tcsetattr(fd, termios.TCSANOW, termios.tcgetattr(fd))
        os.setpgid(0, 0)
        kept = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
        try:
            os.tcsetpgrp(fd, os.getpgrp())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, kept)
