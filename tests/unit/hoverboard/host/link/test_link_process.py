"""The process of a run's links and its client: links that are served, changed and ended, and what is refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hoverboard.contract.errors import InputError, RunError
from hoverboard.contract.links.link_properties import LinkProperties
from hoverboard.host.link.link_client import LinkClient
from hoverboard.host.link.link_process import LinkProcess
from hoverboard.rpc.server import Server
from tests.unit.hoverboard.rpc.conftest import more_than, open_descriptors
from tests.waiting import until

PACKET = bytes(12) + b"frame".ljust(60)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[LinkClient]:
    links = LinkProcess()
    server = Server(tmp_path / "links.sock", links.methods)
    server.start("links of a test")
    with LinkClient(tmp_path / "links.sock") as made:
        yield made
    server.close()
    links.close()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, ...]]:
    """(near, its inner end, far, its inner end)."""
    made = [one for _ in range(2) for one in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)]
    for one in made:
        one.settimeout(10.0)
    yield tuple(made)
    for one in made:
        one.close()


def test_a_link_is_served_changed_and_ended(client: LinkClient, ends: tuple[socket.socket, ...]) -> None:
    near, inner_near, far, inner_far = ends
    client.serve("h1", inner_near.fileno(), inner_far.fileno(), LinkProperties(delay=0.001))
    near.send(PACKET)
    assert far.recv(100) == PACKET
    client.change("h1", LinkProperties(loss=1.0))
    near.send(PACKET)
    until(lambda: client.links()["h1"]["out"]["lost"] == 1, 10.0, "the packet is not lost")
    assert client.links()["h1"]["back"]["packets"] == 0
    client.end("h1")
    client.end("h1")  # harmless
    assert client.links() == {}


def test_a_link_that_is_served_again_takes_the_new_descriptors(
    client: LinkClient, ends: tuple[socket.socket, ...]
) -> None:
    near, inner_near, far, inner_far = ends
    client.connect(10.0)
    client.serve("wan", inner_near.fileno(), inner_far.fileno(), LinkProperties())
    before = open_descriptors()
    client.serve("wan", inner_far.fileno(), inner_near.fileno(), LinkProperties())
    assert more_than(before) == []
    far.send(PACKET)
    assert near.recv(100) == PACKET
    assert client.links()["wan"]["out"]["sent"] == 1


def test_what_is_no_link_is_refused(client: LinkClient, ends: tuple[socket.socket, ...], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="link 'h2' is not served"):
        client.change("h2", LinkProperties())
    with pytest.raises(InputError, match="takes 2 descriptors, not 1"):
        client.call("serve", fds=(ends[0].fileno(),), name="h2", properties={})
    with pytest.raises(InputError, match="parameter properties"):
        client.call("change", name="h2", properties={"delay": "soon"})
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    before = open_descriptors()
    with pytest.raises(InputError, match="link h2: the descriptor cannot be polled"):
        client.serve("h2", file, ends[1].fileno(), LinkProperties())
    assert more_than(before) == []
    os.close(file)
    assert client.links() == {}


def test_no_answer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        LinkClient(tmp_path / "none.sock").links(timeout=0.1)
