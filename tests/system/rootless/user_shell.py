"""A shell of a user at a terminal, for tests of keys and job control."""

from __future__ import annotations

import os
import pty
import subprocess
from contextlib import suppress

from tests.ordinary_user import OrdinaryUser
from tests.waiting import until

_SECONDS = 60.0


class Shell:
    """A shell of a user at a terminal."""

    def __init__(self, user: OrdinaryUser) -> None:
        self._ours, theirs = pty.openpty()
        self._seen = ""
        bash = user.words("bash", "--norc", "--noprofile", "-i", TERM="dumb", PS1="$ ")
        self._process = subprocess.Popen(["setsid", "-c", "-w", *bash], stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def read_until(self, wanted: str, seconds: float = _SECONDS) -> None:
        """Wait until something is shown."""
        os.set_blocking(self._ours, False)

        def shown() -> bool:
            with suppress(OSError):  # nothing to read, or the last process with the terminal has ended
                self._seen += os.read(self._ours, 65536).decode(errors="replace")
            return wanted in self._seen

        until(shown, seconds, f"no {wanted!r} but {self._seen!r}")
        self._seen = self._seen.partition(wanted)[2]

    def close(self) -> None:
        """End the shell."""
        self._process.kill()
        self._process.wait()
        os.close(self._ours)
