"""The client of a host process: what that reports keeps its kind, and threads may share one."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoverboard.contract.errors import HoverboardError, InputError, SwitchError
from hoverboard.host.control.host_client import HostClient
from hoverboard.rpc.answering import TakesDescriptors
from hoverboard.rpc.descriptors import Descriptors
from hoverboard.rpc.server import Server

DEADLINE = 30.0


@contextlib.contextmanager
def host(path: Path, methods: dict[str, Any]) -> Iterator[HostClient]:
    server = Server(path, methods, where="h1", log="host.log of h1")
    server.start("host of a test")
    try:
        with HostClient(path) as client:
            yield client
    finally:
        server.close()


@pytest.mark.parametrize(
    ("fault", "exit_code"),
    [
        (InputError("VM x is not plugged in", where="h1", next_step="attach it first"), 2),
        (SwitchError("br-int does not answer", where="/run/h1", next_step="see its log"), 5),
    ],
)
def test_what_a_host_refuses_is_raised_as_what_it_is(tmp_path: Path, fault: HoverboardError, exit_code: int) -> None:
    def detach(vm: str) -> None:
        raise fault

    with host(tmp_path / "host.sock", {"detach": detach}) as client:
        with pytest.raises(HoverboardError) as got:
            client.detach("x")
        assert (type(got.value), str(got.value), got.value.exit_code) == (type(fault), str(fault), exit_code)


def test_what_a_host_did_not_foresee_names_the_host_and_its_log(tmp_path: Path) -> None:
    with host(tmp_path / "host.sock", {"flows": lambda: [][0]}) as client:
        with pytest.raises(HoverboardError) as got:
            client.flows()
        text = "h1: flows: IndexError('list index out of range')\n  -> see host.log of h1"
        assert (str(got.value), got.value.exit_code) == (text, 3)


def test_two_threads_share_one_and_get_their_own_answers_and_descriptors(tmp_path: Path) -> None:
    both = threading.Event()
    seen: dict[str, int] = {}

    def attach(given: Descriptors, vm: str, **more: Any) -> str:
        both.wait(DEADLINE)  # slow: until both threads have asked
        seen[vm] = os.fstat(given.numbers[0]).st_ino
        return f"vport of {vm}"

    faults: list[object] = []
    with host(tmp_path / "host.sock", {"attach": TakesDescriptors(attach), "status": lambda: {"node": "h1"}}) as client:

        def work(prefix: str, fd: int) -> None:
            for number in range(200):
                vm = f"{prefix}-{number}"
                if (vport := client.attach(vm, "02:00:00:00:00:01", "10.0.0.2", fd=fd)) != f"vport of {vm}":
                    faults.append((vm, vport))
                if client.status() != {"node": "h1"}:
                    faults.append(vm)

        pipes = [os.pipe() for _ in range(2)]
        threads = [threading.Thread(target=work, args=(name, pipe[0])) for name, pipe in zip("ab", pipes, strict=True)]
        for thread in threads:
            thread.start()
        both.set()
        for thread in threads:
            thread.join()
    assert faults == []
    for name, pipe in zip("ab", pipes, strict=True):
        assert {inode for vm, inode in seen.items() if vm.startswith(name)} == {os.fstat(pipe[0]).st_ino}
        for fd in pipe:
            os.close(fd)
    assert len(seen) == 400
