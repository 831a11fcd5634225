"""The warmed parent of all host processes: imports and compiled code once, then a fork per host.

Forked children share those pages, so that a host process costs milliseconds and a few MB. A child
waits at a gate until its pid has been recorded by whoever asked for it; a child whose gate closes
unopened exits without having made anything.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from hoverboard.fastpath.warm import warm
from hoverboard.host import engines, process, vmm_process
from hoverboard.host.client import HostConfig, receive_line
from hoverboard.host.pre_plane import LOBBY

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


def _child(request: dict[str, Any], gate: int, close: list[int]) -> None:
    for fd in close:
        os.close(fd)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    if os.read(gate, 1) != b"g":
        os._exit(0)
    os.close(gate)
    if request["method"] == "spawn_engines":
        _write_to(request["log"])
        engines.serve(Path(request["path"]), "compacting")
        return
    if request["method"] == "spawn_vmm":
        _write_to(f"{request['node_dir']}/host.log")
        enter_network_namespace(request["netns_pid"])
        vmm_process.main(Path(request["node_dir"]) / LOBBY, request["vm"])
        return
    config = HostConfig(**request["config"])
    _write_to(f"{config.node_dir}/host.log")
    enter_network_namespace(request["netns_pid"])
    process.main(config)


def _write_to(path: str) -> None:
    """Have stdout and stderr go to a log file."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def serve(listener: socket.socket) -> None:
    """Serve one client until it closes; then release nobody and return."""
    connection, _ = listener.accept()
    gates: dict[int, int] = {}
    pending = bytearray()
    while line := receive_line(connection, pending):
        request = json.loads(line)
        if request["method"] in ("spawn", "spawn_engines", "spawn_vmm"):
            reader, writer = os.pipe2(os.O_CLOEXEC)
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    close = [writer, listener.fileno(), connection.fileno(), *gates.values()]
                    _child(request, reader, close)
                    status = 0
                except BaseException as error:
                    who = f"host process of {request['config']['node']}" if "config" in request else "engines' process"
                    print(f"{who} ends: {error!r}", file=sys.stderr, flush=True)
                    sys.excepthook(*sys.exc_info())
                finally:
                    os._exit(status)
            os.close(reader)
            gates[pid] = writer
            result = pid
        else:
            result = request["pid"]
            gate = gates.pop(result)
            os.write(gate, b"g")
            os.close(gate)
        connection.sendall(json.dumps({"result": result}).encode() + b"\n")
    for gate in gates.values():
        os.close(gate)


def main() -> None:
    """`python -m hoverboard.host.nursery --socket PATH`"""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--socket", required=True, type=Path)
    options = parser.parse_args()
    warm()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    options.socket.unlink(missing_ok=True)  # of a nursery that was killed
    listener.bind(str(options.socket))
    os.chmod(options.socket, 0o600)
    listener.listen(1)
    gc.freeze()  # the collector leaves shared pages alone, so that they stay shared
    serve(listener)


if __name__ == "__main__":
    main()
