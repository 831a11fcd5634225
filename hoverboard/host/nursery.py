"""The parent of all host processes: it imports and compiles once, then forks one child per host.

Children share its memory pages, so that a host process costs milliseconds and a few MB. A child waits at a gate, a
pipe, until the client has recorded its pid and releases it. If the gate closes before that, the child exits and has
made nothing.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from hoverboard.contract.errors import InputError
from hoverboard.fastpath.compiled.compile_events import on_compile
from hoverboard.fastpath.engine.warm import warm
from hoverboard.host import process
from hoverboard.host.control.host_client import COMPILING, HostConfig
from hoverboard.host.generations import pre_vm_process, shared_engines
from hoverboard.host.generations.pre import VMM_SOCKET
from hoverboard.host.link import link_process
from hoverboard.rpc.answering import Methods
from hoverboard.rpc.connection import Service
from hoverboard.rpc.server import Server

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def enter_network_namespace(pid: int) -> None:
    """Move this thread into the network namespace of process `pid`; OSError if it cannot."""
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(fd, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"setns to pid {pid}: {os.strerror(number)}")
    finally:
        os.close(fd)


def _write_to(path: str) -> None:
    """Send stdout and stderr to a log file."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


class Nursery:
    """Forks processes for one client while that client is connected; then children that still wait at a gate exit.

    Args:
        path: the socket to serve.
    """

    def __init__(self, path: Path) -> None:
        self._gates: dict[int, int] = {}
        self._client_closed = False
        self._methods: Methods = {
            "spawn": self._spawn,
            "spawn_engines": self._spawn_engines,
            "spawn_vmm": self._spawn_vmm,
            "spawn_links": self._spawn_links,
            "release": self._release,
        }
        self._server = Server(
            path, lambda _: Service(self._methods, self._on_client_closed), connections=1, log="nursery.log"
        )

    def serve(self) -> None:
        """Serve until the client closes its connection."""
        while not self._client_closed:
            self._server.serve(None)
        self._server.close()

    def _on_client_closed(self) -> None:
        self._client_closed = True
        for gate in self._gates.values():
            os.close(gate)

    def _spawn(self, config: dict[str, Any], netns_pid: int) -> int:
        wanted = HostConfig(**config)

        def run() -> None:
            _write_to(f"{wanted.node_dir}/host.log")
            enter_network_namespace(netns_pid)
            process.main(wanted)

        return self._fork(f"host process of {wanted.node}", run)

    def _spawn_engines(self, path: str, log: str) -> int:
        def run() -> None:
            _write_to(log)
            shared_engines.serve(Path(path), "compacting")

        return self._fork("engines' process", run)

    def _spawn_links(self, path: str, log: str) -> int:
        def run() -> None:
            _write_to(log)
            link_process.serve(Path(path))

        return self._fork("link element", run)

    def _spawn_vmm(self, node_dir: str, vm: str, netns_pid: int) -> int:
        def run() -> None:
            _write_to(f"{node_dir}/host.log")
            enter_network_namespace(netns_pid)
            pre_vm_process.main(Path(node_dir) / VMM_SOCKET, vm)

        return self._fork(f"process of VM {vm}", run)

    def _release(self, pid: int) -> int:
        if pid not in self._gates:
            raise InputError(f"no process {pid} waits for its release")
        gate = self._gates.pop(pid)
        try:
            os.write(gate, b"g")
        finally:
            os.close(gate)
        return pid

    def _fork(self, who: str, run: Callable[[], None]) -> int:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.fork()
        except OSError:
            os.close(writer)
            os.close(reader)
            raise
        if pid == 0:
            os.close(writer)
            self._run_child(who, reader, run)
        os.close(reader)
        self._gates[pid] = writer
        return pid

    def _run_child(self, who: str, gate: int, run: Callable[[], None]) -> NoReturn:
        """Run `run` in the child process, once the gate opens. Never returns."""
        status = 1
        try:
            self._server.close_in_child()
            for other in self._gates.values():
                os.close(other)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            if os.read(gate, 1) == b"g":
                os.close(gate)
                run()
            status = 0
        except BaseException as error:
            print(f"{who} ends: {error!r}", file=sys.stderr, flush=True)
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)


def main() -> None:
    """Start the nursery: `python -m hoverboard.host.nursery --socket PATH`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--socket", required=True, type=Path)
    options = parser.parse_args()
    on_compile(lambda name: print(f"{COMPILING} {name}", file=sys.stderr, flush=True))
    warm()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    nursery = Nursery(options.socket)
    gc.freeze()  # the garbage collector leaves shared pages alone, so that they stay shared
    nursery.serve()


if __name__ == "__main__":
    main()
