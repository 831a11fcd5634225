"""Changes of links from the kernel itself: a socket that was opened again hears the namespaces that had a number."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.waiting import until
from topologies.guests.link_events import LinkEvent, LinkEvents
from topologies.namespaces import netns

FIRST, LO = 1 << 20, 1


@pytest.fixture
def namespaces() -> Iterator[tuple[int, int]]:
    """Pids of two processes, each in a network namespace of its own."""
    with ExitStack() as stack:
        pids = []
        for _ in range(2):
            child = stack.enter_context(subprocess.Popen(["mnexec", "-np", "sleep", "600"], stdout=subprocess.PIPE))
            stack.callback(child.kill)
            assert child.stdout is not None
            child.stdout.readline()  # the namespace exists
            pids.append(child.pid)
        yield pids[0], pids[1]


def change(pid: int, state: str) -> None:
    with netns.entered(pid):
        subprocess.run(["ip", "link", "set", "lo", state], check=True, timeout=30)


def heard(events: LinkEvents) -> list[LinkEvent]:
    found: list[LinkEvent] = []
    until(lambda: found.extend(events.read() or []) or found)  # type: ignore[func-returns-value]
    return found


def test_a_socket_that_was_opened_again_hears_the_same_links(namespaces: tuple[int, int]) -> None:
    fabric, vm = namespaces
    events = LinkEvents(fabric)
    try:
        events.hear(FIRST, vm)
        change(vm, "up")
        assert [(one.number, one.link, one.up) for one in heard(events)] == [(FIRST, LO, True)]
        events._events.close()
        with pytest.raises((OSError, ValueError)):
            events.read()
        events.reopen(0.0)
        change(vm, "down")
        assert [(one.number, one.link, one.up) for one in heard(events)] == [(FIRST, LO, False)]
        events.stop()
        events.reopen(60.0)  # at once
        assert events.read() is None
    finally:
        events.close()
