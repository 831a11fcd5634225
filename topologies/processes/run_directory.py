"""The state directory of a run: where its files are, who holds it, which runs there are.

A run is up exactly as long as somebody holds the flock on its `lock` file, so a holder that was
killed can never look alive. Nothing here starts or stops anything.
"""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path

from hoverboard.contract.errors import InputError, RunError

DEFAULT_STATE_DIR = "/run/hoverboard"
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
# sun_path of a Unix socket is 108 bytes with its end.
_SOCKET_PATH_MAX = 107


def state_dir() -> Path:
    """`$HOVERBOARD_STATE_DIR`, or /run/hoverboard."""
    return Path(os.environ.get("HOVERBOARD_STATE_DIR") or DEFAULT_STATE_DIR)


@dataclass(frozen=True)
class RunDirectory:
    """Paths of one run."""

    run: str
    path: Path

    @classmethod
    def of(cls, run: str, state: Path | None = None) -> RunDirectory:
        """The directory of `run`; InputError when that is not a name."""
        if not _RUN_NAME.fullmatch(run):
            raise InputError(
                f"{run!r} is not a name for a run",
                where="--run",
                next_step="use letters, digits, '.', '_' and '-', at most 40, a letter or digit first",
            )
        return cls(run, (state or state_dir()) / run)

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.jsonl"

    @property
    def closing(self) -> Path:
        """Exists from the moment the run is being taken down; no process may start after that."""
        return self.path / "closing"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def socket(self) -> Path:
        return self.path / "holder.sock"

    @property
    def topology(self) -> Path:
        return self.path / "topology.yaml"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def control(self) -> Path:
        return self.path / "control"

    @property
    def secret(self) -> Path:
        """What the coprocessors of the run derive keys from."""
        return self.path / "secret"

    @property
    def nursery(self) -> Path:
        return self.path / "nursery.sock"

    @property
    def engines(self) -> Path:
        return self.path / "engines.sock"

    def node(self, name: str) -> Path:
        """The private run directory of one server's switch."""
        return self.path / "nodes" / name

    def check_socket_paths(self, names: list[str]) -> None:
        """InputError when a Unix socket of the run would have too long a path."""
        longest = max(names, key=len, default="")
        path = str(self.node(longest) / "br-int.snoop")
        if len(path) > _SOCKET_PATH_MAX:
            raise InputError(
                f"the path {path} is longer than a Unix socket's path may be ({_SOCKET_PATH_MAX})",
                next_step="use a shorter run name, server name or HOVERBOARD_STATE_DIR",
            )


class RunLock:
    """The flock on a run's lock file, held until `release`."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    def release(self) -> None:
        """Give the lock back; harmless when repeated."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def is_of(self, directory: RunDirectory) -> bool:
        """Whether this is the lock that lies in the directory now: else the directory was deleted under us."""
        try:
            return self._fd is not None and os.path.samestat(os.fstat(self._fd), os.stat(directory.lock))
        except FileNotFoundError:
            return False

    @classmethod
    def try_take(cls, directory: RunDirectory, *, create: bool) -> RunLock | None:
        """Take the lock if nobody has it. FileNotFoundError when it does not exist and `create` is False.

        With `create` the directory and the file are made. A run that is taken down removes its lock
        file while it holds it, so a lock that was won on a file that is gone is no lock: try again.
        """
        while True:
            if create:
                directory.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                fd = os.open(directory.lock, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
            except FileNotFoundError:
                if create:
                    continue
                raise
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return None
            try:
                if os.fstat(fd).st_ino == os.stat(directory.lock).st_ino:
                    return cls(fd)
            except FileNotFoundError:
                if not create:
                    os.close(fd)
                    raise
            os.close(fd)


def is_held(directory: RunDirectory) -> bool:
    """Whether somebody holds the run now."""
    try:
        lock = RunLock.try_take(directory, create=False)
    except FileNotFoundError:
        return False
    if lock is None:
        return True
    lock.release()
    return False


def run_names(state: Path | None = None) -> list[str]:
    """Names of all runs that have a directory, held or dead, sorted."""
    base = state or state_dir()
    if not base.is_dir():
        return []
    return sorted(entry.name for entry in base.iterdir() if (entry / "ledger.jsonl").exists())


def existing(run: str, state: Path | None = None) -> RunDirectory:
    """The directory of a run that exists; RunError otherwise, naming those that do."""
    directory = RunDirectory.of(run, state)
    if not directory.ledger.exists():
        names = run_names(state)
        known = f"runs here: {', '.join(names)}" if names else "there are no runs; start one with `hoverboard up`"
        raise RunError(f"there is no run {run!r}", where=str(directory.path), next_step=known)
    return directory
