"""Slow, cut-off and hostile peers: a server survives them, goes on serving, and keeps no descriptor of theirs."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hoverboard.contract.errors import InputError
from hoverboard.rpc import descriptors
from hoverboard.rpc.answering import TakesDescriptors
from hoverboard.rpc.client import Client
from hoverboard.rpc.descriptors import Descriptors
from hoverboard.rpc.messages import MOST_REQUEST
from tests.unit.hoverboard.rpc.conftest import DEADLINE, Peer, Rig

LONGEST = 1 << 20
MOST = 20
PING = b'{"method": "ping"}\n'
PONG = {"result": "pong"}


class Served:
    """A server with room for few, and what its methods are to wait for."""

    def __init__(self, rig: Rig, threads: bool) -> None:
        self.threads = threads
        self.path = rig.path
        self.peer = rig.peer
        self.kept: list[int] = []
        methods: dict[str, Any] = {
            "ping": lambda: "pong",
            "much": lambda: "x" * 10_000_000,
            "take": descriptors_method(self.kept),
        }
        self._server = rig.serve(methods, threads=threads, connections=MOST, longest=LONGEST)

    def check(self) -> None:
        """It still serves."""
        with contextlib.closing(Peer(self.path)) as peer:
            assert peer.ask(PING[:-1]) == PONG

    def close(self) -> None:
        self._server.close()
        for thread in threading.enumerate():
            if thread.name == "rpc-request":  # at the answer to a peer that has closed
                thread.join()


def descriptors_method(kept: list[int]) -> Any:
    def take(given: Descriptors, count: int) -> int:
        kept.extend(given.take(count))
        return len(given)

    return TakesDescriptors(take, 1, 3)


@pytest.fixture(params=[False, True], ids=["inline", "threads"])
def served(rig: Rig, no_leaks: None, request: pytest.FixtureRequest) -> Iterator[Served]:
    made = Served(rig, request.param)
    yield made
    made.check()
    made.close()
    for fd in made.kept:
        os.close(fd)


@contextlib.contextmanager
def a_file() -> Iterator[tuple[int, int]]:
    """The ends of a pipe: the reader sees the end when no copy of the writer is left."""
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)


def send_fds(peer: Peer, data: bytes, fds: list[int]) -> None:
    socket.send_fds(peer.socket, [data], fds)


def at_end(reader: int) -> bool:
    """Wait until no copy of the writer is left; whether that came."""
    return bool(select.select([reader], [], [], DEADLINE)[0]) and os.read(reader, 1) == b""


@pytest.mark.parametrize("part", [b"", b"{", PING[:9], PING[:-1], PING + PING[:9], b"\xff"])
def test_a_peer_that_goes_away_in_the_middle_of_a_message(served: Served, part: bytes) -> None:
    peer = served.peer()
    peer.send(part)
    peer.close()
    other = served.peer()
    assert other.ask(PING[:-1]) == PONG
    other.close()


def test_a_message_byte_by_byte(served: Served) -> None:
    peer, other = served.peer(), served.peer()
    for byte in PING:
        peer.send(bytes([byte]))
        assert other.ask(PING[:-1]) == PONG
    assert peer.line() == PONG
    peer.close()
    other.close()


def test_a_peer_that_says_it_has_no_more_to_say_gets_its_answer(served: Served) -> None:
    peer = served.peer()
    peer.send(PING + b'{"method": "much"}\n')
    peer.socket.shutdown(socket.SHUT_WR)
    assert peer.line() == PONG
    assert len(peer.line()["result"]) == 10_000_000
    assert peer.line() is None
    peer.close()


def test_megabytes_without_a_newline_get_an_error_and_are_cut_off(served: Served) -> None:
    peer = served.peer()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(3 * LONGEST // 4096):
            peer.send(b"x" * 4096)
    error = peer.line()["error"]
    assert (error["kind"], error["what"]) == ("InputError", f"a message longer than {LONGEST} bytes")
    assert peer.line() is None
    peer.close()


def test_a_line_of_just_the_longest_length_and_of_one_byte_more(served: Served) -> None:
    peer = served.peer()
    peer.send(PING[:-1].rjust(LONGEST) + b"\n" + PING)
    assert [peer.line(), peer.line()] == [PONG, PONG]
    peer.send(PING[:-1].rjust(LONGEST + 1) + b"\n")
    assert peer.line()["error"]["what"] == f"a message longer than {LONGEST} bytes"
    assert peer.line() is None
    peer.close()


def test_our_client_hears_why_its_request_was_not_read(served: Served) -> None:
    with Client(served.path) as client:
        with pytest.raises(InputError, match="a message longer than"):
            client.call("ping", much="x" * (8 * LONGEST))
        assert client.call("ping") == "pong"


def test_a_request_may_be_as_long_as_a_topology_file() -> None:
    assert MOST_REQUEST == 16 * 1024 * 1024


def test_a_peer_that_closes_in_the_middle_of_an_answer(served: Served) -> None:
    peer = served.peer()
    peer.send(b'{"method": "much"}\n')
    assert peer.socket.recv(1) == b"{"
    peer.close()


def test_a_peer_that_never_reads_delays_no_other_and_is_read_no_more(served: Served) -> None:
    deaf = served.peer()
    deaf.socket.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        deaf.socket.send(b'{"method": "much"}\n')
        while sent < 100 * LONGEST:
            served.check()
            sent += deaf.socket.send(PING * 1000)
    assert sent < LONGEST  # what the kernel keeps for it, and no more
    deaf.close()


def test_what_waits_is_answered_once_a_slow_peer_reads(served: Served) -> None:
    peer = served.peer()
    peer.send(b'{"method": "much"}\n' * 2 + PING)
    assert [len(peer.line()["result"]) for _ in range(2)] == [10_000_000] * 2
    assert peer.line() == PONG
    peer.close()


def test_one_connection_too_many_gets_an_error(served: Served) -> None:
    peers = [served.peer() for _ in range(MOST)]
    for peer in peers:
        assert peer.ask(PING[:-1]) == PONG
    more = served.peer()
    assert f"more than {MOST} connections" in more.line()["error"]["what"]
    assert more.line() is None
    more.close()
    peers.pop().close()
    while True:  # the server notices the end of the other one after a while
        late = served.peer()
        late.socket.sendall(PING)
        answer = late.line()
        late.close()
        if answer == PONG:
            break
    for peer in peers:
        peer.close()


def test_connections_that_come_and_go(served: Served) -> None:
    for number in range(300):
        peer = served.peer()
        if number % 3:
            with contextlib.suppress(BrokenPipeError):
                peer.send(PING)
        if number % 3 == 2:
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
    other = served.peer()
    assert other.ask(PING[:-1]) == PONG
    other.close()


def test_when_no_descriptor_is_left_connections_are_closed_and_later_ones_served(served: Served) -> None:
    low, high = resource.getrlimit(resource.RLIMIT_NOFILE)
    first = served.peer()
    assert first.ask(PING[:-1]) == PONG
    free = os.dup(0)
    os.close(free)
    late = socket.socket(socket.AF_UNIX)
    late.settimeout(DEADLINE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (late.fileno() + 1, high))
    try:
        late.connect(str(served.path))
        assert late.recv(1) == b""
        assert first.ask(PING[:-1]) == PONG
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (low, high))
        late.close()
    first.close()


# -- descriptors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        PING,  # takes none, and speaks of none
        b'{"method": "ping", "fds": 1}\n',
        b'{"method": "nothing", "fds": 1}\n',
        b'{"method": "take", "fds": 1}\n',  # an argument is missing
        b'{"method": "take", "params": {"count": 1}}\n',
        b'{"method": "take", "params": {"count": 1}, "fds": 2}\n',  # one came
        b'{"method": "take", "params": {"count": 0}, "fds": 1}\n',  # the method leaves it
        b"rubbish\n",
        b"\n",
    ],
)
def test_descriptors_that_no_method_takes_are_closed(served: Served, line: bytes) -> None:
    peer = served.peer()
    with a_file() as (reader, writer):
        send_fds(peer, line, [writer])
        os.close(writer)
        assert peer.line() is not None
        assert at_end(reader)
    assert peer.ask(PING[:-1]) == PONG
    peer.close()


def test_descriptors_of_half_a_message_are_closed_with_the_connection(served: Served) -> None:
    peer = served.peer()
    with a_file() as (reader, writer):
        send_fds(peer, b'{"method": ', [writer])
        os.close(writer)
        peer.close()
        assert at_end(reader)


def test_each_request_gets_the_descriptors_that_came_with_it(served: Served) -> None:
    peer = served.peer()
    with a_file() as (one, first), a_file() as (two, second):
        peer.send(PING)
        send_fds(peer, b'{"method": "take", "params": {"count": 1}, "fds": 1}\n', [first])
        send_fds(peer, b'{"method": "take", "params": {"count": 2}, "fds": 2}\n' + PING, [second, second])
        assert [peer.line() for _ in range(4)] == [PONG, {"result": 0}, {"result": 0}, PONG]
        os.close(first)
        os.close(second)
        assert len(served.kept) == 3
        os.write(served.kept[0], b"1")
        os.write(served.kept[2], b"2")
        assert (os.read(one, 9), os.read(two, 9)) == (b"1", b"2")
        assert not any(os.get_inheritable(fd) for fd in served.kept)
    peer.close()


@pytest.mark.parametrize("count", [descriptors.MOST + 1, 200])
def test_too_many_descriptors_at_once(served: Served, count: int) -> None:
    peer = served.peer()
    with a_file() as (reader, writer):
        send_fds(peer, PING, [writer] * count)
        os.close(writer)
        assert peer.line()["error"]["what"].startswith(f"more than {descriptors.MOST} descriptors")
        assert peer.line() is None
        assert at_end(reader)
    peer.close()


def test_too_many_descriptors_one_by_one(served: Served) -> None:
    peer = served.peer()
    with a_file() as (reader, writer):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(descriptors.MOST + 1):
                send_fds(peer, b"x", [writer])
        os.close(writer)
        assert "descriptors that no message announced" in peer.line()["error"]["what"]
        assert at_end(reader)
    peer.close()


def test_a_peer_that_sends_something_else_than_descriptors(served: Served) -> None:
    peer = served.peer()
    credentials = struct.pack("iII", os.getpid(), os.getuid(), os.getgid())
    peer.socket.sendmsg([PING], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials)])
    assert peer.line() == PONG
    peer.close()


def test_all_bad_peers_at_once(served: Served) -> None:
    """Peers of all kinds from several threads, while others are served well."""
    faults: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                peer = Peer(served.path)
                with contextlib.closing(peer), contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    kind = (number + turn) % 4
                    if kind == 0:
                        peer.send(b'{"method": "much"}\n')
                    elif kind == 1:
                        peer.send(b"\xff" * 1000)
                    elif kind == 2:
                        reader, writer = os.pipe()
                        send_fds(peer, b'{"method": "ping", "fds": 1}\n', [reader, writer])
                        os.close(reader)
                        os.close(writer)
                    elif (answer := peer.ask(PING[:-1])) != PONG:
                        raise AssertionError(answer)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
