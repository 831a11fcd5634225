"""The ledger of a run: an append-only file of JSON lines that records all processes and control groups of the run.

A process appends its own record before it executes its program. Then it checks that the file `closing` does not exist.
`kill_all` works in the other order: it makes `closing`, then reads the ledger. So it finds every process, or the
process does not start. Namespaces, links, bridges and taps exist in namespaces of processes, and end with them. Nothing
is ever removed by a pattern of names.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hoverboard.contract.errors import RunError
from topologies.processes.marks import VARIABLE, Mark
from topologies.processes.process_table import LinuxProcesses, Process, Processes
from topologies.processes.run_directory import RunDirectory, RunLock
from topologies.rootless import namespaces
from topologies.rootless.namespaces import FirstProcess

Part = Literal["directory", "ledger", "lock"]  # of a run's directory
VERSION = 1
_NO_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_ROUNDS = 5  # of killing, before the processes that keep namespaces are killed
_MOST_ROUNDS = 25
# /bin/sh runs this first in every process of a run; the pid stays the same through exec.
# $1: ledger, $2: closing, $3: the rest of the record as JSON, $4: the mark as NAME=VALUE; then the command.
RECORD_AND_EXEC = (
    "read -r a a a a a a a a a a a a a a a a a a a a a start a < /proc/$$/stat || exit 125;"
    """ printf '{"record":"process","pid":%d,"start":%s,%s}\\n' $$ "$start" "$3" >> "$1" || exit 125;"""
    ' [ ! -e "$2" ] || exit 125; export "$4"; shift 4; exec "$@"'
)


class LostDirectoryError(RunError):
    """The directory of a run is not intact any more (`missing`)."""


def read_mark(directory: RunDirectory) -> Mark | None:
    """The mark of the run with this directory; None when there is no ledger, or it does not begin with a mark."""
    try:
        with open(directory.ledger, encoding="utf-8") as file:
            return Mark.parse(str(json.loads(file.readline())["mark"]))
    except (*_NO_FILE, ValueError, TypeError, KeyError):
        return None


def missing(directory: RunDirectory, mark: Mark | None = None) -> Part | None:
    """The part that a run has lost of its directory; None when the directory is intact.

    It is intact when it has a lock file, and a ledger that begins with the mark of the run. Supervisor, `down` and the
    search for orphans all use this definition.

    Args:
        directory: the directory of the run.
        mark: of the run; None: of any run. A directory that another run has now is missing.
    """
    if not directory.path.is_dir():
        return "directory"
    found = read_mark(directory)
    if found is None:
        return "ledger"
    if mark is not None and found != mark:
        return "directory"
    return None if directory.lock.is_file() else "lock"


@dataclass(frozen=True)
class ProcessRecord:
    """The record of a process in the ledger.

    Attributes:
        process: pid and start time.
        what: name for people.
        kind: its kind, see below.
    """

    process: Process
    what: str
    kind: str  # "namespace" | "switch" | "host" | "control" | "nursery" | "holder" | "shell"


class Ledger:
    """Reads and appends to the ledger of one run."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self._mark: Mark | None = None  # of the run, in the process that created the ledger

    def create(self, processes: Processes) -> None:
        """Create the ledger file, with the record of the run."""
        with open(self.directory.ledger, "x", encoding="utf-8") as file:
            self._mark = Mark.of(self.directory.path)
            head = {
                "record": "run", "version": VERSION, "run": self.directory.run, "mark": str(self._mark),
                "boot": processes.boot_id(), "netns": processes.own_namespace(), "uts": processes.own_host_name(),
                "mnt": processes.own_mounts(), "tree": str(self.directory.path),
                "pidns": namespaces.own_pid_namespace(),
            }  # fmt: skip
            if (first := namespaces.entered()) is not None:
                head["first"] = str(first)
            file.write(json.dumps(head) + "\n")

    @property
    def mark(self) -> Mark | None:
        """The mark of the run's processes and namespaces; None before there is a run."""
        return self._mark if self._mark is not None else read_mark(self.directory)

    def is_intact(self) -> bool:
        """Whether the directory of the run that we created is intact (`missing`)."""
        return self._mark is not None and missing(self.directory, self._mark) is None

    def _check_intact(self) -> None:
        if self._mark is not None and (what := missing(self.directory, self._mark)) is not None:
            raise LostDirectoryError(
                f"run {self.directory.run!r} has lost its {what}", where=str(self.directory.path),
                next_step="end what is left of the run with: hoverboard down --orphans",
            )  # fmt: skip

    def append(self, **record: Any) -> None:
        """Append one record in one write.

        Raises:
            LostDirectoryError: the file was deleted, or belongs to another run.
        """
        self._check_intact()
        fd = os.open(self.directory.ledger, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, json.dumps(record).encode() + b"\n")
        finally:
            os.close(fd)

    def record_process(self, process: Process, what: str, kind: str) -> None:
        """Record a process that waits to be released, and cannot record itself."""
        self.append(record="process", pid=process.pid, start=process.start, what=what, kind=kind)

    def command(self, argv: list[str], what: str, kind: str) -> list[str]:
        """The command that records its process and sets the mark, then executes `argv`.

        Raises:
            LostDirectoryError: the file was deleted, or belongs to another run.
        """
        self._check_intact()
        rest = json.dumps({"what": what, "kind": kind})[1:-1]
        return [
            "/bin/sh", "-c", RECORD_AND_EXEC, "hoverboard",
            str(self.directory.ledger), str(self.directory.closing), rest, f"{VARIABLE}={self.mark or ''}", *argv,
        ]  # fmt: skip

    def records(self) -> Iterator[dict[str, Any]]:
        """All records; a last line that is incomplete after a crash is left out. None if the file is gone."""
        try:
            lines = self.directory.ledger.read_bytes().splitlines()
        except _NO_FILE:
            return
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record

    def head(self) -> dict[str, Any]:
        """The record of the run: version, name, mark, boot, and the namespace that it was started from."""
        return next((record for record in self.records() if record.get("record") == "run"), {})

    def processes(self) -> list[ProcessRecord]:
        """All processes that the run has ever had; records without pid or start time are left out."""
        found = []
        for record in self.records():
            if record.get("record") == "process":
                try:
                    process = Process(int(record["pid"]), int(record["start"]))
                except (KeyError, TypeError, ValueError):
                    continue  # the file was changed by hand; the process is still found by the mark of the run
                found.append(ProcessRecord(process, str(record.get("what", "")), str(record.get("kind", ""))))
        return found


def cgroups(ledger: Ledger) -> list[Path]:
    """Control groups of the run; a recorded group may not have been made."""
    found = [record.get("path") for record in ledger.records() if record.get("record") == "cgroup"]
    return [Path(path) for path in found if isinstance(path, str)]


def first_process(ledger: Ledger) -> FirstProcess | None:
    """The first process of the namespaces of an ordinary user's run, seen from outside of them.

    None for other runs, and inside of these namespaces: there the pids of the ledger are valid. Outside they are
    numbers of other processes: never judge or signal by them.
    """
    found = FirstProcess.parse(str(ledger.head().get("first", "")))
    return found if is_elsewhere(ledger) else None


def is_elsewhere(ledger: Ledger) -> bool:
    """Whether the pids of a ledger are of another pid namespace than ours."""
    return ledger.head().get("pidns", namespaces.own_pid_namespace()) != namespaces.own_pid_namespace()


def keeps_run(first: FirstProcess, ledger: Ledger, processes: Processes) -> bool:
    """Whether a first process that we can see runs, and is in the pid namespace of the run: it is no other process."""
    head = ledger.head()
    return (
        head.get("boot") == processes.boot_id()
        and processes.alive(Process(first.pid, first.start))
        and namespaces.pid_namespace(first.pid) == head.get("pidns")
    )


def live_processes(ledger: Ledger, processes: Processes) -> list[ProcessRecord]:
    """Recorded processes that still run; empty if the machine has rebooted since.

    Of a run in another user's pid namespace, that is the first process there. Its end ends all others.
    """
    if ledger.head().get("boot") != processes.boot_id():
        return []
    if (first := first_process(ledger)) is not None:
        process = Process(first.pid, first.start)
        alive = not first.visible or keeps_run(first, ledger, processes)
        return [ProcessRecord(process, "all in namespaces of its own", "first")] if alive else []
    return [record for record in ledger.processes() if processes.alive(record.process)]


def kill_all(directory: RunDirectory, processes: Processes | None = None, timeout: float = 20.0) -> list[str]:
    """Kill all processes of a run but its holder, and wait for their end. The caller holds the lock of the run.

    Args:
        directory: the directory of the run.
        processes: default: those of this machine.
        timeout: seconds to wait for killed processes.

    Returns:
        The names of the processes that were killed.

    Raises:
        RunError: a process did not end after SIGKILL; the files stay, so that the caller can retry. Or another user can
            have written the ledger.
    """
    directory.check_own()
    table = processes or LinuxProcesses()
    if is_elsewhere(Ledger(directory)):
        raise RunError("the pids of this run are of other namespaces", where=str(directory.ledger))
    directory.closing.touch()
    with contextlib.ExitStack() as stack:
        return _kill_rounds(Ledger(directory), table, timeout, stack)


def _kill_rounds(ledger: Ledger, table: Processes, timeout: float, stack: contextlib.ExitStack) -> list[str]:
    """Kill, look again, and so on; the stack holds the namespaces of the run, whose inodes are known then."""
    killed: list[str] = []
    myself = os.getpid()
    # A process that has not made its namespaces yet is still in those of the machine.
    head = ledger.head()
    own = (table.own_namespace(), table.own_host_name(), table.own_mounts())
    foreign = {*own, *(head.get(key) for key in ("netns", "uts", "mnt"))}
    kept: dict[Process, set[int]] = {}
    for number in range(1, _MOST_ROUNDS + 1):
        records = [r for r in live_processes(ledger, table) if r.kind != "holder" and r.process.pid != myself]
        names = {r.process: r.what for r in records if r.kind != "namespace"}
        holders = {r.process: r.what for r in records if r.kind == "namespace"}
        for process in holders.keys() - kept.keys():
            found = table.hold(process, stack)
            # Nodes of a run that an earlier version has started may have the machine's host name and its mounts.
            kept[process] = (found if "mnt" in head else {table.namespace(process) or 0}) - foreign
        inodes = {inode for some in kept.values() for inode in some}
        # Processes that users started in the run's namespaces (exec, popen) keep those alive, and are killed as well.
        for process in table.members(inodes) if inodes else ():
            if process.pid != myself and process not in holders:
                names.setdefault(process, f"pid {process.pid} in a namespace of the run")
                table.send(process, signal.SIGKILL)
        # Processes that keep namespaces are killed last, so that no other namespace is taken for theirs. After some
        # rounds they are killed anyway: a program in there may start processes without end.
        if not names or number > _ROUNDS:
            names |= holders
        if not names:
            return killed
        for process in names:
            table.send(process, signal.SIGKILL)
        left = table.wait_gone(names, timeout)
        if left:
            raise RunError(
                f"still alive {timeout:g} s after SIGKILL: {', '.join(f'{names[p]} (pid {p.pid})' for p in left)}",
                where=str(ledger.directory.ledger),
                next_step="wait until the kernel ends them, then repeat `hoverboard down`",
            )
        killed += names.values()
    raise RunError(
        "processes of the run start others faster than they are killed", where=ledger.directory.run,
        next_step="end the program that starts them, then repeat `hoverboard down`",
    )  # fmt: skip


def sweep(directory: RunDirectory, processes: Processes | None = None, timeout: float = 20.0) -> list[str]:
    """Take a run down by its ledger: `kill_all`, then remove its files; return the names of what was killed."""
    killed = kill_all(directory, processes, timeout)
    remove_tree(directory)
    return killed


def remove_tree(directory: RunDirectory) -> None:
    """Remove the directory of a run; ledger and lock go last, so that it can be repeated after a crash."""
    for group in cgroups(Ledger(directory)):
        with contextlib.suppress(OSError):  # it was never made, or is gone already
            group.rmdir()
    last = {directory.ledger.name, directory.lock.name, directory.closing.name}
    for entry in list(os.scandir(directory.path)):
        if entry.name not in last:
            _remove(Path(entry.path))
    for path in (directory.closing, directory.ledger, directory.lock):
        _remove(path)
    # A process that waited for the lock may have started a run in the same directory.
    with contextlib.suppress(OSError):
        directory.path.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_remains(directory: RunDirectory, mark: Mark) -> None:
    """Remove what is left of the directory of a lost run, unless another run has the directory now.

    Raises:
        RunError: it has files that no run makes.
    """
    if not directory.path.is_dir():
        return
    lock = take_lock(directory)
    if lock is None:
        return  # another run starts there
    try:
        if read_mark(directory) in (None, mark):
            check_removable(directory)
            remove_tree(directory)
    finally:
        lock.release()


def take_lock(directory: RunDirectory) -> RunLock | None:
    """Take the lock of a directory that may have lost it; None when another process holds it."""
    if directory.lock.is_dir():
        _remove(directory.lock)
    return RunLock.try_take(directory, create=True)


def check_removable(directory: RunDirectory) -> None:
    """Check that a directory without a whole ledger has only files that a run makes.

    Raises:
        RunError: it has others.
    """
    if read_mark(directory) is None and (names := directory.foreign_entries()):
        raise RunError(
            f"this directory has files that no run makes: {', '.join(names[:5])}", where=str(directory.path),
            next_step="move them away, then repeat the command",
        )  # fmt: skip
