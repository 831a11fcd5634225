"""A /proc of the test's own: processes with environment, user, namespace and root, as files."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

from topologies.processes.marks import VARIABLE, Machine, Mark
from topologies.processes.process_table import Process

USER, MACHINE = 1000, 1  # whose processes count; inode of the machine's own namespace


class FakeProc:
    """Files of made-up processes; also the process table that kills them.

    Attributes:
        marks: of namespaces, by inode.
        pinned: marks of namespaces that files name, by path.
        cleared: files whose namespaces were cleared.
        immortal: pids that outlive SIGKILL.
        on_kill: called with each pid that is killed.
    """

    def __init__(self, base: Path) -> None:
        self.proc, self.named = base / "proc", base / "netns"
        self.proc.mkdir()
        self.marks: dict[int, str] = {}
        self.pinned: dict[Path, str] = {}
        self.cleared: list[Path] = []
        self.immortal: set[int] = set()
        self.killed: list[int] = []
        self.on_kill: Callable[[int], object] = lambda pid: None
        self.add(1, user=0)
        (self.proc / "self").symlink_to(self.proc / "1")
        (self.proc / "net").mkdir()  # what is no process
        self.machine = Machine(self.proc, self.named, USER, self._read_mark)

    def add(
        self,
        pid: int,
        mark: Mark | str | None = None,
        *,
        namespace: int = MACHINE,
        user: int = USER,
        root: Path = Path("/"),
    ) -> Process:
        """A process; `user` is the effective one."""
        folder = self.proc / str(pid)
        (folder / "ns").mkdir(parents=True)
        (folder / "stat").write_text(f"{pid} (a (b) c) S " + " ".join(["0"] * 18) + f" {100 + pid} 0 0")
        (folder / "status").write_text(f"Name:\ta\nUid:\t7\t{user}\t7\t7\nGid:\t0\t0\t0\t0\n")
        text = "" if mark is None else f"{VARIABLE}={mark}\0"
        (folder / "environ").write_bytes(f"PATH=/bin\0NOT_{VARIABLE}=x\0{text}HOME=/\0".encode())
        (folder / "ns" / "net").symlink_to(f"net:[{namespace}]")
        (folder / "root").symlink_to(root)
        return Process(pid, 100 + pid)

    def remove(self, pid: int) -> None:
        """A process has ended."""
        folder = self.proc / str(pid)
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        folder.rmdir()

    def name(self, name: str, mark: Mark | str) -> Path:
        """A file names a namespace."""
        self.named.mkdir(exist_ok=True)
        (self.named / name).touch()
        self.pinned[self.named / name] = str(mark)
        return self.named / name

    def _read_mark(self, path: Path) -> str:
        if path.parent == self.named:
            return self.pinned.get(path, "")
        return self.marks.get(int(os.readlink(path)[5:-1]), "")

    # --- as a process table ---

    def boot_id(self) -> str:
        return "boot"

    def own_namespace(self) -> int:
        return MACHINE

    def own_host_name(self) -> int:
        return -MACHINE

    def own_mounts(self) -> int:
        return MACHINE + 10_000

    def alive(self, process: Process) -> bool:
        return self.machine.alive(process)

    def namespace(self, process: Process) -> int | None:
        raise NotImplementedError

    def hold(self, process: Process, stack: ExitStack) -> set[int]:
        raise NotImplementedError

    def members(self, namespaces: set[int]) -> list[Process]:
        raise NotImplementedError

    def send(self, process: Process, number: signal.Signals) -> None:
        assert number is signal.SIGKILL
        assert self.alive(process)
        self.killed.append(process.pid)
        if process.pid not in self.immortal:
            self.remove(process.pid)
        self.on_kill(process.pid)

    def wait_gone(self, processes: Iterable[Process], timeout: float) -> list[Process]:
        return [process for process in processes if self.alive(process)]

    def clear(self, path: Path) -> None:
        self.cleared.append(path)
