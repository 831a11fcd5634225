"""What a run's holder serves on its socket, asked by the client of the command line."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hoverboard.contract.errors import InputError, RunError
from topologies.client.run_client import RunClient
from topologies.processes.run_directory import RunDirectory, RunLock
from topologies.run.holder_server import HolderServer

DEADLINE = 30.0


def refuse(node: str) -> None:
    raise InputError(f"no node {node!r}", where="status", next_step="see `hoverboard status`")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., HolderServer]]:
    directory = RunDirectory.of("lab", tmp_path)
    lock = RunLock.try_take(directory, create=True)
    assert lock is not None
    directory.ledger.write_text("")
    made: list[HolderServer] = []

    def start(methods: dict[str, Any]) -> HolderServer:
        made.append(HolderServer(directory.socket, methods))
        made[0].start()
        return made[0]

    yield start
    for server in made:
        server.stop()
    lock.release()


def test_a_run_is_asked_and_refuses_in_kind(serve: Callable[..., HolderServer], tmp_path: Path) -> None:
    serve({"pid_of": lambda name: len(name), "node_status": refuse})
    with RunClient("lab", state=tmp_path) as client:
        assert client.pid_of("blue-1") == 6
        with pytest.raises(InputError) as got:
            client.node_status("h9")
        assert str(got.value) == "status: no node 'h9'\n  -> see `hoverboard status`"
        with pytest.raises(InputError, match="unknown method 'status'"):
            client.status()


def test_a_run_that_is_busy_tells_its_status(serve: Callable[..., HolderServer], tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def remove(name: str) -> None:
        begun.set()
        go_on.wait(DEADLINE)

    serve({"remove_vm": remove, "status": lambda: {"state": "up"}})
    with RunClient("lab", state=tmp_path) as busy, RunClient("lab", state=tmp_path) as other:
        removing = threading.Thread(target=busy.remove_vm, args=("blue-1",))
        removing.start()
        assert begun.wait(DEADLINE)
        assert other.status() == {"state": "up"}
        go_on.set()
        removing.join()


def test_an_answer_that_is_late_is_not_that_of_the_next_request(
    serve: Callable[..., HolderServer], tmp_path: Path
) -> None:
    go_on = threading.Event()
    serve({"status": lambda: go_on.wait(DEADLINE), "offloads": lambda: [{"src": "blue-1"}]})
    with RunClient("lab", state=tmp_path, timeout=0.05) as client:
        with pytest.raises(RunError, match=r"status: no answer \(timed out\)"):
            client.status()
        client.timeout = DEADLINE
        go_on.set()
        assert client.offloads() == [{"src": "blue-1"}]


def test_a_holder_that_stops_is_gone_for_its_clients(serve: Callable[..., HolderServer], tmp_path: Path) -> None:
    server = serve({"status": lambda: {}})
    with RunClient("lab", state=tmp_path) as client:
        client.status()
        server.stop()
        server.stop()
        with pytest.raises(RunError, match="the holder closed the connection|no answer"):
            client.status()
    with pytest.raises(RunError, match="run 'lab' does not answer"):
        RunClient("lab", state=tmp_path)
