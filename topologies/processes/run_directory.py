"""The directory of a run: the paths of its files, its lock, and the names of all runs.

A run has a holder exactly as long as a process holds the flock on its `lock` file. So a holder that was killed never
looks alive. This module starts and stops nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from hoverboard import mapped_users
from hoverboard.contract.errors import InputError, MachineError, RunError
from topologies.rootless import state as users_state

DEFAULT_STATE_DIR = "/run/hoverboard"
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
# sun_path of a Unix socket has 108 bytes, with the zero at its end.
_SOCKET_PATH_MAX = 107
_LONGEST_SOCKET = "ovsdb-server.4194304.ctl"  # of a node; a pid is at most 4194304
# All that a run makes in its directory; the lock of conf.db is made by ovsdb-tool.
_ENTRIES = {
    "ledger.jsonl", "closing", "lock", "holder.sock", "topology.yaml", "logs", "control", "secret", "nursery.sock",
    "engines.sock", "links.sock", "nodes", "guests", "conf.db", ".conf.db.~lock~",
}  # fmt: skip


def state_dir() -> Path:
    """`$HOVERBOARD_STATE_DIR`, or /run/hoverboard; of an ordinary user, a directory of that user's own."""
    if given := os.environ.get("HOVERBOARD_STATE_DIR"):
        return Path(given)
    return Path(DEFAULT_STATE_DIR) if os.geteuid() == 0 else users_state.default_dir()


def state_dirs() -> list[Path]:
    """All places where runs of the caller may be; the place of new runs is first."""
    if os.environ.get("HOVERBOARD_STATE_DIR") or os.geteuid() == 0:
        return [state_dir()]
    return users_state.all_dirs()


def ready_state(*, linger: bool = False) -> Path:
    """The state directory for a new run of an ordinary user, outside of its namespaces; it is made and checked.

    Args:
        linger: below /tmp, where it outlives the login.

    Raises:
        MachineError: it cannot be made, or is refused.
    """
    given = os.environ.get("HOVERBOARD_STATE_DIR")
    folder = Path(given).absolute() if given else users_state.default_dir(linger=linger)
    users_state.make(folder)
    try:
        check_state(folder)  # here owners can be told apart
    except RunError as error:
        raise MachineError(error.what, where=error.where, next_step=error.next_step) from error
    return folder


def check_state(path: Path) -> None:
    """Check that no other user can change the state directory. It may be missing.

    Raises:
        RunError: it is not ours alone, or another user can exchange a folder above it.
    """
    _check_own(path)
    # A link above it: who owns the link, or a folder above the place where it leads, exchanges as much.
    for folder in dict.fromkeys([*path.absolute().parents, *Path(os.path.realpath(path)).parents]):
        with contextlib.suppress(FileNotFoundError):
            _check_above(path, folder)


def _check_above(path: Path, folder: Path) -> None:
    """Check that only root and we can exchange what is in a folder above the state directory `path`.

    In the namespaces of an ordinary user's run, owners look alike. They were checked before those were made.
    """
    found = folder.stat()
    for uid in (found.st_uid, folder.lstat().st_uid):
        if uid not in (0, os.geteuid()) and not mapped_users.only_one():
            raise _not_ours(path, f"{folder} belongs to user {uid}, who can exchange what is in it")
    if found.st_mode & stat.S_ISVTX:
        return
    if found.st_mode & stat.S_IWOTH:
        raise _not_ours(path, f"all users can write {folder}, and so exchange what is in it")
    if found.st_mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid()) and not mapped_users.only_one():
        raise _not_ours(path, f"group {found.st_gid} can write {folder}, and so exchange what is in it")


def _make_state(path: Path) -> None:
    """Make the state directory if it is missing: all users may list it, whatever the umask."""
    if path.is_dir():
        return
    path.mkdir(parents=True, exist_ok=True)
    # By a descriptor: a link that another user puts there now is not followed.
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_uid == os.geteuid():
            os.fchmod(fd, 0o755)
    finally:
        os.close(fd)


def _check_own(path: Path) -> None:
    """Check that a file or folder, if there is one, is our user's alone."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISLNK(found.st_mode):
        raise _not_ours(path, "this is a symbolic link")
    if found.st_uid != os.geteuid():
        raise _not_ours(path, f"this belongs to user {found.st_uid}, and we are user {os.geteuid()}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _not_ours(path, "other users can write this")


def _not_ours(path: Path, what: str) -> RunError:
    return RunError(
        what, where=str(path),
        next_step="Hoverboard takes no orders from files of others: look at it and remove it, or set another "
        "HOVERBOARD_STATE_DIR",
    )  # fmt: skip


@dataclass(frozen=True)
class RunDirectory:
    """The paths of one run.

    Attributes:
        run: its name.
        path: of its directory.
    """

    run: str
    path: Path

    @classmethod
    def of(cls, run: str, state: Path | None = None) -> RunDirectory:
        """The directory of `run`.

        Args:
            run: name of the run.
            state: the state directory; default: HOVERBOARD_STATE_DIR, or /run/hoverboard.

        Raises:
            InputError: this is not a name for a run.
        """
        if not _RUN_NAME.fullmatch(run):
            raise InputError(
                f"{run!r} is not a name for a run",
                where="--run",
                next_step="use letters, digits, '.', '_' and '-', at most 40, a letter or digit first",
            )
        return cls(run, (state or state_dir()).absolute() / run)

    @property
    def ledger(self) -> Path:
        """The ledger of the run."""
        return self.path / "ledger.jsonl"

    @property
    def closing(self) -> Path:
        """This file exists once the run is being taken down; no process of the run may start after that."""
        return self.path / "closing"

    @property
    def lock(self) -> Path:
        """The file that the holder of the run locks."""
        return self.path / "lock"

    @property
    def socket(self) -> Path:
        """The Unix socket of the holder, for requests."""
        return self.path / "holder.sock"

    @property
    def topology(self) -> Path:
        """The topology file of the run."""
        return self.path / "topology.yaml"

    @property
    def logs(self) -> Path:
        """The directory for logs of the holder and the control plane."""
        return self.path / "logs"

    @property
    def control(self) -> Path:
        """The directory of the control plane."""
        return self.path / "control"

    @property
    def secret(self) -> Path:
        """The secret from which the coprocessors of the run derive their keys."""
        return self.path / "secret"

    @property
    def nursery(self) -> Path:
        """The Unix socket of the nursery."""
        return self.path / "nursery.sock"

    @property
    def engines(self) -> Path:
        """The Unix socket of the process that runs all engines, with scheduling compacting."""
        return self.path / "engines.sock"

    @property
    def links(self) -> Path:
        """The Unix socket of the link element."""
        return self.path / "links.sock"

    @property
    def guests(self) -> Path:
        """The directory of the files that nodes see in place of the machine's /etc/hosts and its like."""
        return self.path / "guests"

    def node(self, name: str) -> Path:
        """The directory of one node: sockets, database and logs of its switch, and its host process."""
        return self.path / "nodes" / name

    def make(self) -> None:
        """Make the directory if it does not exist, and the state directory, whatever the umask.

        Raises:
            RunError: a file is in its place, or other users can change the state directory.
        """
        state = self.path.parent
        try:
            check_state(state)  # first: root makes no folder in one of another user
            _make_state(state)
            check_state(state)
            self.path.mkdir(exist_ok=True, mode=0o700)
        except (FileExistsError, NotADirectoryError) as error:
            raise self.not_a_directory() from error

    def check_own(self) -> None:
        """Check that no other user can have made the run: its ledger says which processes we kill.

        Raises:
            RunError: the state directory, the directory or the ledger is not ours alone.
        """
        check_state(self.path.parent)
        _check_own(self.path)
        _check_own(self.ledger)

    def not_a_directory(self) -> RunError:
        """The error for a file that is where the directory should be."""
        return RunError(
            f"there is a file where the directory of run {self.run!r} should be", where=str(self.path),
            next_step="move that file away, use another run name, or another HOVERBOARD_STATE_DIR",
        )  # fmt: skip

    def foreign_entries(self) -> list[str]:
        """Names of files in the directory that no run makes, sorted; empty if there is no directory."""
        try:
            return sorted(set(os.listdir(self.path)) - _ENTRIES)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def check_socket_paths(self, names: list[str], *, etcd: bool = False) -> None:
        """Check that the paths of all Unix sockets of the run are short enough.

        Args:
            names: of the nodes.
            etcd: the run has members of etcd.

        Raises:
            InputError: one is too long.
        """
        longest = max(names, key=len, default="")
        paths = [self.node(longest) / _LONGEST_SOCKET, *([self.control / "etcd/etcd-0.client:0"] if etcd else [])]
        path = max(map(str, paths), key=len)
        if len(path) > _SOCKET_PATH_MAX:
            raise InputError(
                f"the path {path} is longer than a Unix socket's path may be ({_SOCKET_PATH_MAX})",
                next_step="use a shorter run name, node name or HOVERBOARD_STATE_DIR",
            )


class RunLock:
    """The flock on the lock file of a run, held until `release`."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    def release(self) -> None:
        """Release the lock; harmless when repeated."""
        if self._fd is not None:
            fd, self._fd = self._fd, None  # first: a signal between the two would close another file of this number
            os.close(fd)

    def is_of(self, directory: RunDirectory) -> bool:
        """Whether this lock is on the file that is in the directory now; if not, the directory was deleted."""
        try:
            return self._fd is not None and os.path.samestat(os.fstat(self._fd), os.stat(directory.lock))
        except FileNotFoundError:
            return False

    @classmethod
    def try_take(cls, directory: RunDirectory, *, create: bool) -> RunLock | None:
        """Take the lock; None when another process holds it.

        The holder removes the lock file while it holds the lock. So a lock on a file that is gone does not count, and
        the function retries.

        Args:
            directory: the directory of the run.
            create: make the directory and the file if they do not exist.

        Raises:
            FileNotFoundError: there is no lock file, and `create` is False.
            RunError: the directory or the lock file cannot be made, and `create` is True; or other users can have
                made them.
        """
        while True:
            if create:
                directory.make()
            directory.check_own()
            try:
                fd = os.open(directory.lock, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
            except (FileNotFoundError, NotADirectoryError) as error:
                if create:
                    continue
                raise FileNotFoundError(f"there is no lock {directory.lock}") from error
            except IsADirectoryError as error:
                if not create:
                    raise FileNotFoundError(f"{directory.lock} is a directory, not a lock") from error
                raise RunError(
                    f"{directory.lock} is a directory, not the lock of a run", where=str(directory.path),
                    next_step=f"remove what is left of the run with: hoverboard down --run {directory.run}",
                ) from error  # fmt: skip
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
    """Whether the run has a holder."""
    try:
        lock = RunLock.try_take(directory, create=False)
    except FileNotFoundError:
        return False
    if lock is None:
        return True
    lock.release()
    return False


def run_names(state: Path | None = None) -> list[str]:
    """Names of all runs with a directory, with or without a holder, sorted.

    Raises:
        RunError: other users can change the state directory.
    """
    base = state or state_dir()
    check_state(base)
    if not base.is_dir():
        return []
    return sorted(entry.name for entry in base.iterdir() if (entry / "ledger.jsonl").is_file())


def existing(run: str, state: Path | None = None) -> RunDirectory:
    """The directory of a run that exists.

    Raises:
        RunError: there is no such run, it has lost its ledger, or another user can have made it. The error names the
            runs that exist.
    """
    directory = RunDirectory.of(run, state)
    if directory.path.exists() and not directory.path.is_dir():
        raise directory.not_a_directory()
    directory.check_own()
    if not directory.ledger.is_file():
        if directory.lock.exists():
            raise RunError(
                f"run {run!r} has lost its ledger", where=str(directory.ledger),
                next_step=f"take down what is left of it with: hoverboard down --run {run}",
            )  # fmt: skip
        names = run_names(state)
        known = f"runs here: {', '.join(names)}" if names else "there are no runs; start one with `hoverboard up`"
        raise RunError(f"there is no run {run!r}", where=str(directory.path), next_step=known)
    return directory
