"""The terminal of the process that waits outside of namespaces for a command inside.

A prompt or an interactive bash has a process group of its own. It takes the terminal from the group of the process
outside. It cannot give it back: inside, that group has no number. So the process outside does what a shell does for its
jobs (tcsetpgrp(3)). Like `first_process`, this module uses the standard library only.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress


class Terminal:
    """Our controlling terminal; nothing is done where there is none."""

    def __init__(self) -> None:
        try:
            self._fd = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            self._fd = -1

    def stop(self) -> None:
        """Stop our process group, as the command has stopped; once the user's shell continues us, return.

        The command gets the terminal again if it had it. In the background it cannot have it, and we stop once more.
        """
        holder = self._group()
        # No SIGSTOP: the kernel does not deliver this one where no shell would continue us.
        os.killpg(0, signal.SIGTSTP)
        if holder in (None, os.getpgrp()):
            return
        while (now := self._group()) not in (None, holder, os.getpgrp()):
            os.kill(os.getpid(), signal.SIGSTOP)
        if now == os.getpgrp() and holder is not None:
            self._give(holder)

    def take_back(self) -> None:
        """Take the terminal for our group, if a command that has ended still has it."""
        holder = self._group()
        if holder is None or holder == os.getpgrp():
            return
        try:
            os.kill(holder, 0)
        except ProcessLookupError:
            self._give(os.getpgrp())
        except PermissionError:
            pass  # another user's, who is there

    def _group(self) -> int | None:
        """The process group that has the terminal; None: there is no terminal."""
        with suppress(OSError):
            return os.tcgetpgrp(self._fd)
        return None

    def _give(self, group: int) -> None:
        kept = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
        try:
            with suppress(OSError):  # it has ended
                os.tcsetpgrp(self._fd, group)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, kept)
