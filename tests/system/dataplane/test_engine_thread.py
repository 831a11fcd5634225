"""The engines' thread: what it tells its engines before a batch."""

from __future__ import annotations

import select
import socket
import time

from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.fastpath.engine.threads import EngineThread
from hoverboard.fastpath.memory import control, packets
from hoverboard.fastpath.memory.arrays import allocate
from hoverboard.fastpath.packets import ring

PORT, OFPORT = 2, 100
ARP = bytes(12) + b"\x08\x06" + bytes(46)  # for which there is no entry
DEADLINE = 60  # seconds: the engines may have to be compiled first


def test_all_engines_know_the_time_when_they_are_woken() -> None:
    thread, memories = EngineThread(), allocate()
    thread.add_host(memories)
    before = time.monotonic_ns()
    thread.run_once()
    after = time.monotonic_ns()
    assert all(before <= m.ctl[control.NOW] <= after for m in memories)
    thread.close()


def test_an_engine_knows_the_time_of_a_batch() -> None:
    datapath = Datapath()
    guest, tap = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    datapath.start()
    datapath.set_port(PORT, tap.fileno(), OFPORT)
    datapath.set_batch(32, 128)  # past it, nobody has woken them for something else
    datapath.egress.ctl[control.NOW] = 0
    guest.send(bytes(packets.VNET_BYTES) + ARP)
    assert select.select([datapath.control_eventfd], [], [], DEADLINE)[0]
    assert ring.waiting(datapath.egress.miss_index) == 1
    assert 0 < datapath.egress.ctl[control.NOW] <= time.monotonic_ns()
    datapath.stop()
    guest.close()
    tap.close()
