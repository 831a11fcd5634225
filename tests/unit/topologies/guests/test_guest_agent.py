"""The guest agent gives a VM what the kernel forgot, once its link can have it; links and kernel are made up."""

from __future__ import annotations

import errno
import queue
from collections.abc import Iterator, Sequence

import pytest

from hoverboard.contract.errors import MachineError
from tests.waiting import until
from topologies.guests.guest_agent import Guest, GuestAgent
from topologies.guests.link_events import LinkEvent

ETH0, PID = 2, 77
V4, V6 = b"ipv4", b"ipv6"


class World:
    """An agent, and its made-up links and kernel.

    Attributes:
        numbers: pid -> number of its namespace.
        sent: (pid, requests) in order.
        pauses: before each time that the socket was opened again.
        closed_door: errors of the openings to come; empty: each succeeds.
        answers: an error of each send to come, or the codes that it returns; empty: each succeeds.
    """

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.sent: list[tuple[int, list[bytes]]] = []
        self.answers: list[Exception | list[int]] = []
        self.pauses: list[float] = []
        self.closed_door: list[Exception] = []
        self.gone = False
        self.closed = False
        self._queue: queue.Queue[list[LinkEvent] | Exception | None] = queue.Queue()
        self.agent = GuestAgent(self, self.send)

    def hear(self, number: int, pid: int) -> None:
        if self.gone:
            raise ProcessLookupError
        self.numbers[pid] = number

    def read(self) -> list[LinkEvent] | None:
        found = self._queue.get()
        if isinstance(found, Exception):
            raise found
        return found

    def reopen(self, pause: float) -> None:
        self.pauses.append(pause)
        if self.closed_door:
            raise self.closed_door.pop(0)

    def stop(self) -> None:
        self._queue.put(None)

    def close(self) -> None:
        self.closed = True

    def send(self, pid: int, requests: Sequence[bytes]) -> list[int]:
        self.sent.append((pid, list(requests)))
        answer = self.answers.pop(0) if self.answers else [0] * len(requests)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def event(self, pid: int = PID, *, up: bool, mtu: int = 1460, index: int = ETH0) -> None:
        self._queue.put([LinkEvent(self.numbers[pid], index, up, mtu)])

    def lose(self) -> None:
        self._queue.put(OSError(errno.ENOBUFS, "no buffer space"))

    def break_down(self) -> None:
        self._queue.put(OSError(errno.EBADF, "bad"))

    def attend(self, pid: int = PID, ipv6: bytes = V6) -> None:
        self.agent.attend(Guest(f"vm-{pid}", pid, ETH0, V4, ipv6))

    def done(self) -> list[tuple[int, list[bytes]]]:
        """All that was sent, once every event was read."""
        self.agent.close()
        return self.sent


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    made.attend()
    yield made
    if not made.closed:
        made.agent.close()


def test_a_link_that_comes_back_gets_both_families_once(world: World) -> None:
    for up in (False, True, True):
        world.event(up=up)
    assert world.done() == [(PID, [V4, V6])]


def test_a_vm_without_ipv6_gets_none(world: World) -> None:
    world.attend(78, ipv6=b"")
    for up in (False, True):
        world.event(78, up=up)
    assert world.done() == [(78, [V4])]


def test_ipv6_comes_back_with_an_mtu_that_can_carry_it(world: World) -> None:
    for mtu in (1280, 1279, 576, 1280, 9000):
        world.event(up=True, mtu=mtu)
    assert world.done() == [(PID, [V6])]


def test_a_small_link_that_comes_back_gets_ipv6_later(world: World) -> None:
    for up, mtu in ((False, 576), (True, 576), (True, 1460)):
        world.event(up=up, mtu=mtu)
    assert world.done() == [(PID, [V4]), (PID, [V6])]


def test_other_changes_of_a_link_are_the_users_wish(world: World) -> None:
    for mtu in (1400, 1460, 1300):
        world.event(up=True, mtu=mtu)
    assert world.done() == []


def test_other_links_and_vms_that_are_gone_get_nothing(world: World) -> None:
    for index in (1, 3):
        for up in (False, True):
            world.event(up=up, index=index)
    world.event(up=False)
    until(world._queue.empty)
    world.agent.leave("vm-77")
    world.event(up=True)
    assert world.done() == []


def test_when_the_kernel_dropped_events_every_vm_gets_its_addresses(world: World) -> None:
    world.attend(78, ipv6=b"")
    world.lose()
    assert world.done() == [(PID, [V4, V6]), (78, [V4])]


def test_a_link_that_went_down_unheard_gets_its_addresses_when_it_comes_up(world: World) -> None:
    world.answers = [[errno.ENETDOWN] * 2]
    world.lose()  # the event that it went down
    for mtu in (1460, 1400):
        world.event(up=True, mtu=mtu)
    assert world.done() == [(PID, [V4, V6])] * 2


def test_a_link_that_became_small_unheard_gets_ipv6_when_it_is_large_again(world: World) -> None:
    world.lose()
    for mtu in (576, 1460):
        world.event(up=True, mtu=mtu)
    assert world.done()[1:] == [(PID, [V4]), (PID, [V6])]


def test_a_vm_that_fails_does_not_keep_others_from_their_addresses(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.answers = [MachineError("gone"), [errno.EEXIST, errno.ENETDOWN], [0, errno.EPERM]]
    for pid in (78, 79):
        world.attend(pid)
    for pid in (PID, 78, 79):
        for up in (False, True):
            world.event(pid, up=up)
    assert [pid for pid, _ in world.done()] == [PID, 78, 79]
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "VM vm-79 does not get all its addresses and routes again: Operation not permitted"
    ]


def test_a_vm_whose_process_is_gone_is_not_looked_after(world: World) -> None:
    world.gone = True
    with pytest.raises(ProcessLookupError):
        world.attend(78)
    world.lose()
    assert world.done() == [(PID, [V4, V6])]


def test_an_agent_that_cannot_hear_says_so_opens_its_socket_again_and_goes_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.break_down()
    world.event(up=False)
    world.event(up=True)
    assert world.done() == [(PID, [V4, V6]), (PID, [V4, V6])]  # for what it did not hear, and for what it heard
    assert world.pauses == [0.1]
    assert "there is no news of VMs' links: [Errno 9] bad; trying again after 0.1 s" in caplog.text


def test_a_socket_that_cannot_be_opened_is_tried_at_longer_and_longer_pauses(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.closed_door = [MachineError("no namespace"), OSError(errno.EMFILE, "too many"), ValueError("odd")]
    for _ in range(9):
        world.break_down()
    world.event(up=False)
    world.break_down()
    assert len(world.done()) == 7
    assert world.pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 0.1]
    assert caplog.text.count("cannot be opened") == 3


def test_no_error_of_one_vm_ends_the_agent(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.attend(78)
    world.answers = [ValueError("odd")]
    for pid in (PID, 78):
        for up in (False, True):
            world.event(pid, up=up)
    assert [pid for pid, _ in world.done()] == [PID, 78]
    assert "VM vm-77 does not get its addresses and routes again" in caplog.text
