"""The lines that a person typed at the prompt, kept in a file of that person for the next time.

After `sudo` the file is that of who called it. A child process with that person's rights reads and writes it, because
root must follow no link that the person put there.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoverboard.safe_files import caller

NAME = ".hoverboard_history"
MOST = 1000  # lines that are kept
_SECONDS = 5.0
_READ = 'test -f "$1" && tail -n "$2" -- "$1"'
# A new name and a rename: nobody ever sees half a file. umask 077 makes it 0600.
_WRITE = 'umask 077 && cat >"$1.new.$$" && mv -f -- "$1.new.$$" "$1"'


@dataclass(frozen=True, slots=True)
class Person:
    """The user whose history is kept: ids, and home directory."""

    uid: int
    gid: int
    home: Path


def person() -> Person | None:
    """The person at the terminal: who called sudo, or else the user of this process; None: an unknown user."""
    uid = caller().uid
    try:
        found = pwd.getpwuid(uid)
    except KeyError:
        return None
    return Person(found.pw_uid, found.pw_gid, Path.home() if uid == os.geteuid() else Path(found.pw_dir))


def read(owner: Person) -> list[str]:
    """The lines of the history, oldest first; none when there is no file that its owner can read."""
    done = _as(owner, _READ, owner.home / NAME)
    return [] if done is None else done.splitlines()


def save(owner: Person, lines: Sequence[str]) -> bool:
    """Add lines to the history, and keep its last `MOST`; return whether it is written."""
    if not lines:
        return True
    # Read again: another prompt may have written meanwhile.
    kept = [*read(owner), *lines][-MOST:]
    return _as(owner, _WRITE, owner.home / NAME, "".join(f"{line}\n" for line in kept)) is not None


def _as(owner: Person, script: str, path: Path, text: str = "") -> str | None:
    """Run a script with the rights of a user; return its output, None when it fails."""
    rights: dict[str, Any] = {}
    if owner.uid != os.geteuid():
        rights = {"user": owner.uid, "group": owner.gid, "extra_groups": []}
    command = ["sh", "-c", script, "sh", str(path), str(MOST)]
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, errors="replace", cwd="/", timeout=_SECONDS,
            check=False, start_new_session=True, **rights,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return str(done.stdout) if done.returncode == 0 else None
