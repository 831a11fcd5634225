"""A server of remote calls: what it answers, to whom, and with which rights."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from hoverboard.contract.errors import InputError, SwitchError
from hoverboard.rpc.client import Client
from hoverboard.rpc.connection import Connection, Service
from hoverboard.rpc.server import Server, listen
from tests.unit.hoverboard.rpc.conftest import DEADLINE, Rig


def add(a: int, b: int = 1) -> int:
    return a + b


def refuse() -> None:
    raise SwitchError("it does not answer", where="h1", next_step="see its log")


def break_down() -> None:
    raise ZeroDivisionError("by chance")


def lose_a_file() -> None:
    raise FileNotFoundError(2, "No such file or directory", "/x")


METHODS: dict[str, Any] = {
    "add": add, "refuse": refuse, "break_down": break_down, "lose_a_file": lose_a_file, "odd": lambda: {1, 2},
}  # fmt: skip


@pytest.fixture(params=[False, True], ids=["inline", "threads"])
def served(rig: Rig, request: pytest.FixtureRequest) -> Rig:
    rig.serve(METHODS, threads=request.param, where="h1", log="host.log")
    return rig


def test_a_method_is_called_with_its_parameters(served: Rig) -> None:
    with Client(served.path) as client:
        assert client.call("add", a=2, b=3) == 5
        assert client.call("add", a=2) == 3


@pytest.mark.parametrize(
    ("line", "kind", "text"),
    [
        (b'{"method": "sub"}', "InputError", "unknown method 'sub'"),
        (b'{"method": ["add"]}', "InputError", "unknown method ['add']"),
        (b"{}", "InputError", "unknown method None"),
        (b'{"method": "add"}', "InputError", "add: missing a required argument: 'a'"),
        (b'{"method": "add", "params": {"a": 1, "c": 2}}', "InputError", "add: got an unexpected keyword argument 'c'"),
        (b'{"method": "add", "params": [1]}', "InputError", "add: its parameters are a list, not an object"),
        (b'{"method": "add", "params": {"a": 1}, "fds": 1}', "InputError", "1 descriptors, and 0 came"),
        (b'{"method": "add", "params": {"a": 1}, "fds": -1}', "InputError", "-1 descriptors, and 0 came"),
        (b'{"method": "add", "params": {"a": 1}, "fds": "x"}', "InputError", "'x' descriptors, and 0 came"),
        (b'{"method": "refuse"}', "SwitchError", "it does not answer"),
        (b'{"method": "add", "params": {"a": "x"}}', "InputError", 'add: parameter a cannot be "x": '),
        (b'{"method": "add", "params": {"a": [1]}}', "InputError", "add: parameter a cannot be [1]: "),
        (b'{"method": "add", "params": {"a": true}}', "InputError", "add: parameter a cannot be true: "),
        (b'{"method": "break_down"}', "RunError", "break_down: ZeroDivisionError('by chance')"),
        (b'{"method": "lose_a_file"}', "RunError", "lose_a_file: [Errno 2] No such file or directory: '/x'"),
        (b'{"method": "odd"}', "RunError", "odd: TypeError("),
        (b"add", "InputError", "this is not a line of JSON"),
        (b"", "InputError", "this is not a line of JSON"),
        (b'"add"', "InputError", "this is JSON, but not an object: a str"),
        (b"\xff\xfe", "InputError", "this is not a line of JSON: 'utf-8' codec can't decode"),
        ('{"method": "add"}'.encode("utf-16"), "InputError", "this is not a line of JSON"),
        (b"[" * 100_000, "InputError", "this is not a line of JSON: maximum recursion depth"),
        (b"1" * 100_000, "InputError", "this is not a line of JSON"),
    ],
)
def test_each_wrong_request_gets_an_error_and_the_connection_goes_on(
    served: Rig, line: bytes, kind: str, text: str
) -> None:
    peer = served.peer()
    error = peer.ask(line)["error"]
    assert error["kind"] == kind
    assert text in error["what"]
    assert error["where"] == "h1"
    assert peer.ask(b'{"method": "add", "params": {"a": 1}}') == {"result": 2}


def test_an_unexpected_error_is_written_to_the_log_with_its_trace(
    served: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    error = served.peer().ask(b'{"method": "break_down"}')["error"]
    assert error["next_step"] == "see host.log"
    (record,) = caplog.records
    assert record.message == "break_down failed"
    assert record.exc_info is not None
    caplog.clear()
    served.peer().ask(b'{"method": "refuse"}')
    assert caplog.records == []


def test_requests_sent_together_are_answered_in_order(served: Rig) -> None:
    peer = served.peer()
    peer.send(b"".join(b'{"method": "add", "params": {"a": %d}}\n' % number for number in range(500)))
    assert [peer.line() for _ in range(500)] == [{"result": number + 1} for number in range(500)]


def test_a_connection_with_many_requests_lets_others_through(rig: Rig) -> None:
    server = Server(rig.path, {"add": add})
    with contextlib.closing(server):
        greedy, modest = rig.peer(), rig.peer()
        greedy.send(b'{"method": "add", "params": {"a": 1}}\n' * 100)
        modest.send(b'{"method": "add", "params": {"a": 2}}\n')
        for _ in range(4):  # two to be let in, one each
            assert select.select([server], [], [], DEADLINE)[0]
            server.serve()
        assert modest.line() == {"result": 3}
        greedy.socket.setblocking(False)
        assert greedy.socket.recv(1 << 16).count(b"\n") < 4


def test_in_threads_a_long_request_holds_up_no_other(rig: Rig) -> None:
    go_on = threading.Event()
    rig.serve({"wait": lambda: go_on.wait(DEADLINE), "add": add}, threads=True)
    slow = rig.peer()
    slow.send(b'{"method": "wait"}\n')
    assert rig.peer().ask(b'{"method": "add", "params": {"a": 1}}') == {"result": 2}
    go_on.set()
    assert slow.line() == {"result": True}


def test_no_more_threads_is_an_answer(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.serve({"add": add}, threads=True)
    peer = rig.peer()
    with monkeypatch.context() as patched:

        def start(_thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patched.setattr(threading.Thread, "start", start)
        assert peer.ask(b'{"method": "add", "params": {"a": 1}}')["error"]["what"] == "can't start new thread"
    assert peer.ask(b'{"method": "add", "params": {"a": 1}}') == {"result": 2}


def test_each_connection_can_have_its_own_methods_and_a_callback_for_its_end(rig: Rig) -> None:
    ended: list[int] = []
    all_ended = threading.Event()
    numbers = iter(range(3))

    def service(_connection: Connection) -> Service:
        number = next(numbers)

        def end() -> None:
            ended.append(number)
            if len(ended) == 3:
                all_ended.set()
            raise ValueError("of no consequence")

        return Service({"number": lambda: number}, end)

    rig.serve(service)
    peers = [rig.peer() for _ in range(3)]
    for number, peer in enumerate(peers):
        assert peer.ask(b'{"method": "number"}') == {"result": number}
    for peer in reversed(peers):
        peer.close()
    assert all_ended.wait(DEADLINE)
    assert sorted(ended) == [0, 1, 2]


def test_the_socket_never_has_more_rights_than_it_is_to_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    chmod = os.chmod
    monkeypatch.setattr(os, "chmod", lambda *given: seen.append(1) or chmod(*given))
    before = os.umask(0)
    try:
        with listen(tmp_path / "a"), listen(tmp_path / "b", 0o660):
            rights = [stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in "ab"]
    finally:
        os.umask(before)
    assert (rights, seen) == ([0o600, 0o660], [])


def test_the_socket_of_a_dead_process_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listen(path).close()
    with listen(path), socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
    path.unlink()
    path.write_text("another program's")
    with pytest.raises(OSError, match="Address already in use"):
        listen(path)
    assert path.read_text() == "another program's"


def test_close_ends_connections_and_answers_what_is_being_carried_out(rig: Rig, no_leaks: None) -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def wait() -> str:
        begun.set()
        go_on.wait(DEADLINE)
        return "x" * 1_000_000

    def service(_connection: Connection) -> Service:
        return Service({"wait": wait}, ended.set if busy else lambda: None)

    busy = False
    server = rig.serve(service, threads=True)
    idle = rig.peer()
    assert "error" in idle.ask(b"?")
    busy = True
    peer = rig.peer()
    peer.send(b'{"method": "wait"}\n')
    assert begun.wait(DEADLINE)
    server.close()
    server.close()
    assert idle.line() is None
    with pytest.raises(ConnectionRefusedError):
        rig.peer()
    go_on.set()
    assert peer.line() == {"result": "x" * 1_000_000}
    assert peer.line() is None
    assert ended.wait(DEADLINE)
    for one in (peer, idle):
        one.close()


def test_a_request_may_close_its_server(rig: Rig, no_leaks: None) -> None:
    made: list[Server] = []
    made.append(rig.serve({"close": lambda: made[0].close()}, threads=True))
    with Client(rig.path) as client:
        assert client.call("close") is None


FORKS = """
import os, socket, sys
from hoverboard.rpc.server import Server
from tests.unit.hoverboard.rpc.conftest import more_than, open_descriptors
before = open_descriptors()
server = Server(sys.argv[1], {"ping": lambda: "pong"})
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
server.serve(30)
pid = os.fork()
if pid == 0:
    server.close_in_child()
    peer.close()
    print("kept by the child:", more_than(before), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
peer.sendall(b'{"method": "ping"}\\n')
server.serve(30)
print(peer.recv(99))
peer.close()
server.close()
print("kept:", more_than(before))
"""


def test_a_forked_child_keeps_nothing_and_the_server_serves_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS, str(tmp_path / "s")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["kept by the child: []", r"""b'{"result": "pong"}\n'""", "kept: []"]


def test_a_method_can_take_the_connection_over(rig: Rig) -> None:
    taken = []

    def service(connection: Connection) -> Service:
        def join(name: str) -> None:
            if name != "vm1":
                raise InputError("no such VM")
            taken.append(connection.take())

        return Service({"join": join})

    server = Server(rig.path, service)
    refused, welcome = rig.peer(), rig.peer()
    refused.send(b'{"method": "join", "params": {"name": "vm2"}}\n')
    welcome.send(b'{"method": "join", "params": {"name": "vm1"}}\n')
    while not taken:
        server.serve(DEADLINE)
    server.close()
    (channel,) = taken
    channel.send({"method": "carry"})
    assert welcome.line() == {"method": "carry"}
    channel.close()
    assert welcome.line() is None
