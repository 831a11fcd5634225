"""The nursery: forks for one client, releases children on request, and ends with that client, as its children do."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hoverboard.contract.errors import InputError, RunError
from hoverboard.host.control.host_client import NurseryClient
from tests.unit.hoverboard.rpc.conftest import DEADLINE, Peer

# As hoverboard.host.nursery.main, without the compiled fast path.
PROGRAM = """
import signal, sys
from pathlib import Path
from hoverboard.host.nursery import Nursery
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
Nursery(Path(sys.argv[1])).serve()
"""
NO_PROCESS = 1 << 22  # more than any pid


@contextlib.contextmanager
def started(path: Path) -> Iterator[tuple[subprocess.Popen[bytes], NurseryClient]]:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)])
    client = NurseryClient(path)
    try:
        client.connect(DEADLINE)
        yield process, client
    finally:
        client.close()
        process.wait(DEADLINE)


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[bytes], NurseryClient]]:
    """One for all: it takes seconds to start."""
    with started(tmp_path_factory.mktemp("nursery") / "nursery.sock") as made:
        yield made


def ended(pidfd: int) -> bool:
    """Whether that process ends; waits for it."""
    return bool(select.select([pidfd], [], [], DEADLINE)[0])


def test_a_child_that_is_never_let_go_ends_with_the_client(tmp_path: Path) -> None:
    with started(tmp_path / "nursery.sock") as (process, client):
        children = [os.pidfd_open(client.spawn_vmm(tmp_path, vm, NO_PROCESS)) for vm in ("blue-1", "blue-2")]
        assert select.select(children, [], [], 0)[0] == []
        client.close()
        assert process.wait(DEADLINE) == 0
    for child in children:
        assert ended(child)
        os.close(child)
    assert not (tmp_path / "host.log").exists()  # it had made nothing


def test_a_child_that_is_let_go_runs_and_its_end_is_in_its_log(
    nursery: tuple[subprocess.Popen[bytes], NurseryClient], tmp_path: Path
) -> None:
    _, client = nursery
    pid = client.spawn_vmm(tmp_path, "blue-1", NO_PROCESS)
    child = os.pidfd_open(pid)
    client.release(pid)
    assert ended(child)
    os.close(child)
    log = (tmp_path / "host.log").read_text()
    assert log.startswith("process of VM blue-1 ends: FileNotFoundError")
    assert f"/proc/{NO_PROCESS}/ns/net" in log
    with pytest.raises(InputError, match=f"no process {pid} waits"):
        client.release(pid)


def test_what_is_wrong_is_refused_and_it_forks_on(
    nursery: tuple[subprocess.Popen[bytes], NurseryClient], tmp_path: Path
) -> None:
    process, client = nursery
    with pytest.raises(InputError, match="no process 1 waits"):
        client.release(1)
    with pytest.raises(InputError, match="unknown method 'kill'"):
        client.call("kill")
    with pytest.raises(RunError, match="unexpected keyword argument"):
        client.call("spawn", config={"color": "red"}, netns_pid=1)
    pid = client.spawn_vmm(tmp_path, "blue-1", NO_PROCESS)
    child = os.pidfd_open(pid)
    os.kill(pid, 9)
    assert ended(child)
    os.close(child)
    with pytest.raises(RunError, match="Broken pipe"):
        client.release(pid)
    client.release(client.spawn_vmm(tmp_path, "blue-2", NO_PROCESS))
    assert process.poll() is None


def test_it_is_one_clients_alone(nursery: tuple[subprocess.Popen[bytes], NurseryClient], tmp_path: Path) -> None:
    process, client = nursery
    for words in (b"", b"rubbish\n", b"x" * 1000):
        with contextlib.closing(Peer(Path(client.path))) as other:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                other.send(words)
            assert "more than 1 connections" in other.line()["error"]["what"]
    client.spawn_vmm(tmp_path, "blue-1", NO_PROCESS)
    assert process.poll() is None


def test_a_child_keeps_nothing_of_the_nurserys(
    nursery: tuple[subprocess.Popen[bytes], NurseryClient], tmp_path: Path
) -> None:
    _, client = nursery
    client.spawn_vmm(tmp_path, "blue-1", NO_PROCESS)
    pid = client.spawn_vmm(tmp_path, "blue-2", NO_PROCESS)
    kept: list[str] = []
    while len(kept) != 1:  # until it has come to its gate
        kept = [
            target
            for number, target in descriptors_of(pid)
            if number > 2 and target.startswith(("socket:", "pipe:", "anon_inode:"))
        ]
    assert kept[0].startswith("pipe:")


def descriptors_of(pid: int) -> Iterator[tuple[int, str]]:
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            yield int(name), os.readlink(f"/proc/{pid}/fd/{name}")
