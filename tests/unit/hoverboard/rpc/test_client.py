"""The client: shared by threads, against servers that are slow, go away or answer rubbish."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hoverboard.contract.errors import EntityError, InputError, RunError, SwitchError
from hoverboard.rpc.answering import TakesDescriptors, WithDescriptors, answer_one
from hoverboard.rpc.channel import Channel, Deadline
from hoverboard.rpc.client import Client
from hoverboard.rpc.descriptors import Descriptors
from hoverboard.rpc.server import listen
from tests.unit.hoverboard.rpc.conftest import DEADLINE, Rig, more_than, open_descriptors

HEAVY = ("numpy", "numba", "grpc", "os_ken", "mininet", "matplotlib", "pydantic")


@contextlib.contextmanager
def bad_server(path: Path, *scripts: Callable[[socket.socket], object]) -> Any:
    """Serves one connection by each script, then closes it."""

    def serve() -> None:
        for script in scripts:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                script(connection)

    with listen(path) as listener:
        listener.settimeout(DEADLINE)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            thread.join()


def answers(data: bytes) -> Callable[[socket.socket], object]:
    """Takes a request and sends that."""

    def script(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(data)

    return script


def good(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b'{"result": "good"}\n')
    connection.recv(1)  # until the client closes


def test_two_threads_get_their_own_answers_from_a_slow_server(rig: Rig) -> None:
    begun, faults = threading.Event(), []

    def echo(number: int) -> int:
        begun.wait(DEADLINE)  # slow: until both have begun to ask
        return number

    rig.serve({"echo": echo})
    with Client(rig.path) as client:

        def ask(begin: int) -> None:
            for number in range(begin, begin + 500):
                if (got := client.call("echo", number=number)) != number:
                    faults.append((number, got))

        threads = [threading.Thread(target=ask, args=(begin,)) for begin in (0, 1000)]
        for thread in threads:
            thread.start()
        begun.set()
        for thread in threads:
            thread.join()
    assert faults == []


def test_a_thread_does_not_wait_longer_for_another_than_for_an_answer(rig: Rig) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> bool:
        begun.set()
        return go_on.wait(DEADLINE)

    rig.serve({"wait": wait}, threads=True)
    with Client(rig.path) as client:
        results: list[Any] = []
        other = threading.Thread(target=lambda: results.append(client.call("wait", timeout=DEADLINE)))
        other.start()
        assert begun.wait(DEADLINE)
        with pytest.raises(RunError, match="wait: no answer: the request before it has not ended"):
            client.call("wait", timeout=0.01)
        with pytest.raises(RunError, match="connect: no answer"):
            client.connect(0.01)
        go_on.set()
        other.join()
    assert results == [True]


def test_close_lets_go_of_a_thread_that_waits(rig: Rig) -> None:
    begun, go_on = threading.Event(), threading.Event()
    faults: list[RunError] = []

    def wait() -> None:
        begun.set()
        go_on.wait(DEADLINE)

    def ask() -> None:
        try:
            client.call("wait", timeout=DEADLINE)
        except RunError as error:
            faults.append(error)

    rig.serve({"wait": wait}, threads=True)
    client = Client(rig.path)
    waiting = threading.Thread(target=ask)
    waiting.start()
    assert begun.wait(DEADLINE)
    client.close()
    waiting.join()
    go_on.set()
    assert "wait: the peer closed the connection" in str(faults[0])


def test_a_late_answer_is_nobodys(tmp_path: Path) -> None:
    asked_again = threading.Event()

    def late(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        asked_again.wait(DEADLINE)
        connection.sendall(b'{"result": "of the first request"}\n')

    path = tmp_path / "s"
    with Client(path) as client, bad_server(path, late, good):
        with pytest.raises(RunError, match=r"first: no answer \(timed out\)"):
            client.call("first", timeout=0.01)
        asked_again.set()
        assert client.call("second") == "good"
        client.close()


def test_an_answer_in_drips_does_not_last_longer_than_the_timeout(tmp_path: Path) -> None:
    path, ended = tmp_path / "s", threading.Event()

    def drip(connection: socket.socket) -> None:
        while not ended.is_set():
            connection.sendall(b"x")

    with Client(path) as client, bad_server(path, drip):
        with pytest.raises(RunError, match=r"x: no answer \((timed out|.* longer than .*)\)"):
            client.call("x", timeout=0.05)
        ended.set()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "x: the peer closed the connection"),
        (b'{"result": ', "x: the peer closed the connection"),
        (b"\xff\n", "x: the peer sent something that is not an answer: this is not a line of JSON"),
        (b"[]\n", "x: the peer sent something that is not an answer: this is JSON, but not an object: a list"),
        (b"{}\n", "x: the peer answered neither a result nor an error"),
        (
            b'{"result": 1, "fds": 1}\n',
            "x: the peer sent something that is not an answer: the message announces 1 descriptors",
        ),
        (b'{"error": "text"}\n', "^text$"),
        (b'{"error": null}\n', "^None$"),
    ],
)
def test_an_answer_that_is_none_is_an_error_and_the_next_request_is_answered(
    tmp_path: Path, data: bytes, text: str
) -> None:
    path, before = tmp_path / "s", open_descriptors()
    with Client(path) as client, bad_server(path, answers(data), good):
        with pytest.raises(RunError, match=text):
            client.call("x")
        client.close()
        assert client.call("y") == "good"
        client.close()
    assert more_than(before) == []


def test_a_peer_that_never_reads_is_given_up(tmp_path: Path) -> None:
    path, ended = tmp_path / "s", threading.Event()
    with Client(path) as client, bad_server(path, lambda _connection: ended.wait(DEADLINE)):
        with pytest.raises(RunError, match=r"x: no answer \(timed out\)"):
            client.call("x", timeout=0.05, much="x" * 10_000_000)
        ended.set()


def test_an_answer_longer_than_the_longest(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with contextlib.closing(Channel(ours, most=100)) as channel, theirs:
        theirs.sendall(b"x" * 101)
        with pytest.raises(ConnectionError, match="a message longer than 100 bytes"):
            channel.receive_line(Deadline(DEADLINE))


def test_who_is_interrupted_in_an_exchange_does_not_leave_its_answer_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_channel: Channel, _deadline: Deadline | None = None) -> None:
        raise KeyboardInterrupt  # as Ctrl-C does

    path = tmp_path / "s"
    with Client(path) as client, bad_server(path, good, good):
        with monkeypatch.context() as patched:
            patched.setattr(Channel, "receive", interrupt)
            with pytest.raises(KeyboardInterrupt):
                client.call("x")
        assert client.call("y") == "good"
        client.close()


def test_no_server_listens(tmp_path: Path) -> None:
    before = open_descriptors()
    with pytest.raises(RunError, match=r"nothing listens on .*/s after 0.01 s"):
        Client(tmp_path / "s").connect(0.01)
    listen(tmp_path / "dead").close()
    with pytest.raises(RunError, match="nothing listens"):
        Client(tmp_path / "dead").call("x", timeout=0.0)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="nothing listens"):
        Client(tmp_path / "file").connect(0.0)
    with pytest.raises(RunError, match="no connection: AF_UNIX path too long"):
        Client(tmp_path / ("s" * 200)).connect(DEADLINE)
    assert more_than(before) == []


def test_connecting_waits_until_a_server_listens(tmp_path: Path) -> None:
    path = tmp_path / "s"
    client = Client(path)
    connected = threading.Thread(target=client.connect, args=(DEADLINE,))
    connected.start()
    with listen(path):
        connected.join(DEADLINE)
        assert not connected.is_alive()
    client.close()


def test_a_full_backlog_is_waited_for_but_not_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as waiting:
        listener.bind(str(path))
        listener.listen(0)
        clients = [waiting.enter_context(Client(path)) for _ in range(3)]  # a backlog of 0 takes one
        with pytest.raises(RunError, match="nothing listens"):
            [client.connect(0.01) for client in clients]


def test_the_kind_of_an_error_is_kept(rig: Rig) -> None:
    faults = [InputError("a"), EntityError("b"), SwitchError("c", where="d", next_step="e")]

    def fail(number: int) -> None:
        raise faults[number]

    rig.serve({"fail": fail})
    with Client(rig.path) as client:
        for number, fault in enumerate(faults):
            with pytest.raises(type(fault)) as got:
                client.call("fail", number=number)
            assert type(got.value) is type(fault)
            assert str(got.value) == str(fault)


def test_descriptors_go_both_ways_and_none_is_left(rig: Rig, no_leaks: None) -> None:
    def swap(given: Descriptors) -> WithDescriptors:
        os.write(given.numbers[0], b"to the client")
        return WithDescriptors("swapped", (reader,))

    reader, writer = os.pipe()
    server = rig.serve({"swap": TakesDescriptors(swap)})
    with Client(rig.path) as client:
        result, given = client.call_for_descriptors("swap", fds=(writer,))
        with given:
            (mine,) = given.numbers
            assert (result, os.read(mine, 99)) == ("swapped", b"to the client")
            assert not os.get_inheritable(mine)
        assert client.call("swap", fds=(writer,)) == "swapped"
    server.close()
    os.close(reader)
    os.close(writer)


def test_a_message_longer_than_the_kernel_takes_at_once_keeps_its_descriptors(rig: Rig) -> None:
    rig.serve({"length": TakesDescriptors(lambda given, text: (len(given), len(text)))})
    with Client(rig.path) as client:
        assert client.call("length", fds=(0,), text="x" * 5_000_000) == [1, 5_000_000]


def test_parameters_that_are_not_of_json_send_nothing(rig: Rig) -> None:
    rig.serve({"ping": lambda: "pong"})
    with Client(rig.path) as client:
        with pytest.raises(TypeError):
            client.call("ping", odd={1})
        assert client.call("ping") == "pong"


def test_two_ends_of_a_channel() -> None:
    ours, theirs = (Channel(sock) for sock in socket.socketpair())
    ours.send({"method": "double", "params": {"number": 4}})
    assert answer_one(theirs, {"double": lambda number: 2 * number})
    assert ours.receive(Deadline(DEADLINE)) is not None
    ours.send({"method": "other"})
    assert answer_one(theirs, {}, "vm1")
    answer = ours.receive(Deadline(DEADLINE))
    assert answer is not None
    assert answer[0]["error"]["where"] == "vm1"
    ours.close()
    assert not answer_one(theirs, {})
    theirs.close()


@pytest.mark.parametrize(
    "module", ["hoverboard.rpc.client", "hoverboard.host.control.host_client", "topologies.client.run_client"]
)
def test_a_command_that_asks_imports_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
