"""The ledger of a run: an append-only JSON-lines file that knows everything the run has made.

What is made is recorded before it is made. A process appends its own record and only then becomes
what it is meant to be; `closing` shuts that door: a process records itself first and looks for
`closing` second, a sweep makes `closing` first and reads the ledger second, so a process is either
seen by the sweep or never starts. Namespaces, links, bridges and taps live in processes' namespaces
and die with them. Nothing is ever removed by a pattern of names.
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
from typing import Any

from hoverboard.contract.errors import RunError
from topologies.processes.marks import VARIABLE, Mark
from topologies.processes.process_table import LinuxProcesses, Process, Processes
from topologies.processes.run_directory import RunDirectory

VERSION = 1
_TURNS = 5  # to kill everything but the holders of the namespaces
# Run by /bin/sh as the first thing of every process of a run; the pid stays the same through exec.
# $1 ledger, $2 closing, $3 the rest of the record as JSON, $4 the mark as NAME=VALUE, then the command.
RECORD_AND_EXEC = (
    "read -r a a a a a a a a a a a a a a a a a a a a a start a < /proc/$$/stat || exit 125;"
    """ printf '{"record":"process","pid":%d,"start":%s,%s}\\n' $$ "$start" "$3" >> "$1" || exit 125;"""
    ' [ ! -e "$2" ] || exit 125; export "$4"; shift 4; exec "$@"'
)


class LostDirectoryError(RunError):
    """A run's directory was deleted, or is another run's by now."""


@dataclass(frozen=True)
class ProcessRecord:
    """A process as the ledger knows it."""

    process: Process
    what: str
    kind: str  # "namespace" | "switch" | "host" | "control" | "nursery" | "holder" | "shell"


class Ledger:
    """Reads and appends; one per run."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self._mark: Mark | None = None  # of the run that was begun here

    def create(self, processes: Processes) -> None:
        """Begin the ledger: the run's directory is ours from here on."""
        with open(self.directory.ledger, "x", encoding="utf-8") as file:
            self._mark = Mark.of(self.directory.path)
            head = {
                "record": "run", "version": VERSION, "run": self.directory.run, "mark": str(self._mark),
                "boot": processes.boot_id(), "netns": processes.own_namespace(), "tree": str(self.directory.path),
            }  # fmt: skip
            file.write(json.dumps(head) + "\n")

    @property
    def mark(self) -> Mark | None:
        """The run's mark, which its processes and namespaces carry; None before there is a run."""
        return self._mark if self._mark is not None else self._read_mark()

    def _read_mark(self) -> Mark | None:
        try:
            with open(self.directory.ledger, encoding="utf-8") as file:
                return Mark.parse(str(json.loads(file.readline())["mark"]))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
            return None

    def is_intact(self) -> bool:
        """Whether the file still is the one that was begun here, and not gone or another run's."""
        return self._mark is not None and self._read_mark() == self._mark

    def _check_intact(self) -> None:
        if self._mark is not None and not self.is_intact():
            raise LostDirectoryError(
                f"run {self.directory.run!r} has lost its directory", where=str(self.directory.path),
                next_step="end what is left of it with: hoverboard down --orphans",
            )  # fmt: skip

    def append(self, **record: Any) -> None:
        """Append one record in one write; LostDirectoryError when the file is gone or another run's."""
        self._check_intact()
        fd = os.open(self.directory.ledger, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, json.dumps(record).encode() + b"\n")
        finally:
            os.close(fd)

    def record_process(self, process: Process, what: str, kind: str) -> None:
        """Record a process that cannot do it itself because it waits to be let go."""
        self.append(record="process", pid=process.pid, start=process.start, what=what, kind=kind)

    def command(self, argv: list[str], what: str, kind: str) -> list[str]:
        """`argv`, wrapped so that the process records itself, and is marked, before it becomes `argv`.

        Raises:
            LostDirectoryError: there is no file to record it in.
        """
        self._check_intact()
        rest = json.dumps({"what": what, "kind": kind})[1:-1]
        return [
            "/bin/sh", "-c", RECORD_AND_EXEC, "hoverboard",
            str(self.directory.ledger), str(self.directory.closing), rest, f"{VARIABLE}={self.mark or ''}", *argv,
        ]  # fmt: skip

    def records(self) -> Iterator[dict[str, Any]]:
        """All records; a last line that a crash cut short is left out."""
        for line in self.directory.ledger.read_bytes().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record

    def head(self) -> dict[str, Any]:
        """The first record: version, run, boot, and the namespace that the run was started from."""
        return next((record for record in self.records() if record.get("record") == "run"), {})

    def processes(self) -> list[ProcessRecord]:
        """All processes the run ever had."""
        found = []
        for record in self.records():
            if record.get("record") == "process":
                process = Process(int(record["pid"]), int(record["start"]))
                found.append(ProcessRecord(process, str(record.get("what", "")), str(record.get("kind", ""))))
        return found


def cgroups(ledger: Ledger) -> list[Path]:
    """Control groups that the run was about to make."""
    return [Path(record["path"]) for record in ledger.records() if record.get("record") == "cgroup"]


def live_processes(ledger: Ledger, processes: Processes) -> list[ProcessRecord]:
    """Recorded processes that still run; none when the machine was booted since."""
    if ledger.head().get("boot") != processes.boot_id():
        return []
    return [record for record in ledger.processes() if processes.alive(record.process)]


def kill_all(directory: RunDirectory, processes: Processes | None = None, timeout: float = 20.0) -> list[str]:
    """Kill whatever runs of a run and wait for its death; what was killed. The caller holds the run's lock.

    Args:
        timeout: seconds to wait for killed processes.

    Raises:
        RunError: a process outlived SIGKILL; the files stay, so that it can be tried again.
    """
    table = processes or LinuxProcesses()
    ledger = Ledger(directory)
    killed: list[str] = []
    directory.closing.touch()
    myself = os.getpid()
    # A namespace process that has not unshared yet still is in the machine's own namespace.
    foreign = {None, table.own_namespace(), ledger.head().get("netns")}
    turn = 0
    while True:
        turn += 1
        records = [r for r in live_processes(ledger, table) if r.kind != "holder" and r.process.pid != myself]
        inodes = {table.namespace(r.process) for r in records if r.kind == "namespace"} - foreign
        names = {r.process: r.what for r in records if r.kind != "namespace"}
        holders = {r.process: r.what for r in records if r.kind == "namespace"}
        # What people started inside the run's namespaces (exec, popen) would keep those alive.
        strangers = table.members({inode for inode in inodes if inode is not None}) if inodes else []
        for process in strangers:
            if process.pid != myself and process not in holders:
                names.setdefault(process, f"pid {process.pid} in a namespace of the run")
        # The holders of namespaces come last: what was forked while we looked is still found by its namespace.
        # Not for ever, though: whoever goes on starting processes in there loses the namespace too.
        if not names or turn > _TURNS:
            names |= holders
        if not names:
            return killed
        for process in names:
            table.send(process, signal.SIGKILL)
        left = table.wait_gone(names, timeout)
        if left:
            raise RunError(
                f"still alive {timeout:g} s after SIGKILL: {', '.join(f'{names[p]} (pid {p.pid})' for p in left)}",
                where=str(directory.ledger),
                next_step="wait until the kernel lets go of them and take the run down again",
            )
        killed += names.values()


def sweep(directory: RunDirectory, processes: Processes | None = None, timeout: float = 20.0) -> list[str]:
    """Undo a run by its ledger: `kill_all`, then remove its files; what was killed."""
    killed = kill_all(directory, processes, timeout)
    remove_tree(directory)
    return killed


def remove_tree(directory: RunDirectory) -> None:
    """Remove the run's directory, which the run made; ledger and lock last, so a crash can be repeated."""
    if directory.ledger.exists():
        for group in cgroups(Ledger(directory)):
            with contextlib.suppress(OSError):  # never made, or gone with its thread
                group.rmdir()
    last = {directory.ledger.name, directory.lock.name, directory.closing.name}
    for entry in list(os.scandir(directory.path)):
        if entry.name in last:
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink(missing_ok=True)
    for path in (directory.closing, directory.ledger, directory.lock):
        path.unlink(missing_ok=True)
    # Whoever waited for the lock may have begun the run anew in the same directory.
    with contextlib.suppress(OSError):
        directory.path.rmdir()
