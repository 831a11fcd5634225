"""Sends first packets: each VM sends to one new destination after another, at a given rate, with real sockets."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator, Sequence

from topologies.emulation.devices import entered
from topologies.run.testbed import Testbed

_PORT = 9  # discard
_BYTES = 100


class Flood:
    """A running flood. `sent`: the number of packets so far."""

    def __init__(self) -> None:
        self.sent = 0


@contextlib.contextmanager
def flooding(testbed: Testbed, vms: Sequence[str], destinations: Sequence[str], per_second: float) -> Iterator[Flood]:
    """Run a flood beside the block: each of `vms` sends to `per_second` new destinations a second.

    Each VM gets its own part of `destinations`, and repeats it only after it has used all of it.
    """
    flood, ended = Flood(), threading.Event()
    with contextlib.ExitStack() as stack:
        turns = []
        for number, name in enumerate(vms):
            with entered(testbed.pid_of(name)):
                made = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            made.setblocking(False)
            turns.append((made, itertools.cycle(destinations[number :: len(vms)])))
        sender = threading.Thread(target=_send, args=(flood, turns, per_second * len(vms), ended), name="flood")
        sender.start()
        try:
            yield flood
        finally:
            ended.set()
            sender.join()


def _send(
    flood: Flood, turns: Sequence[tuple[socket.socket, Iterator[str]]], per_second: float, ended: threading.Event
) -> None:
    due = time.monotonic()
    for made, destinations in itertools.cycle(turns) if turns and per_second > 0 else ():
        due += 1 / per_second
        if (wait := due - time.monotonic()) > 0 and ended.wait(wait):
            return
        if ended.is_set():
            return
        with contextlib.suppress(OSError):  # the queue is full: try the next packet
            made.sendto(bytes(_BYTES), (next(destinations), _PORT))
            flood.sent += 1
