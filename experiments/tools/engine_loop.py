"""The egress engine without I/O: memory ports, a full flow table, and a compiled loop that feeds the engine.

The loop feeds 64-byte packets of many flows in a given order, and times the engine's passes alone. The engine
receives each packet from a ring, parses it, and looks it up by 3-tuple. It counts the packet, encapsulates it in
Geneve, and sends it into a ring.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoverboard.fastpath.compiled.compiler import compiled_loop
from hoverboard.fastpath.compiled.syscalls import now_ns
from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.fastpath.memory import entries, host, packets, ports, rings
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets import geneve, ring
from hoverboard.fastpath.packets.flow_table import Entry, FlowTable
from hoverboard.fastpath.packets.parse import parse, put32

FRAME_BYTES = 64
_OFPORT = 5
_VNI = 7
DESTINATION = packets.VNET_BYTES + 30  # of the IPv4 address in a frame
FIRST = int(IPv4Address("10.16.0.0"))
_LOCAL = IPv4Address("172.16.0.1")


def frame() -> NDArray[np.uint8]:
    """A UDP frame of one VM, shape (VNET_BYTES + FRAME_BYTES,), uint8; virtio-net header first. Set its destination."""
    header = bytes(packets.VNET_BYTES) + bytes.fromhex("0200000000010200000000020800")
    ip = bytes.fromhex("4500003200004000401100000a000002") + bytes(4)
    udp = bytes.fromhex("30390035001e0000")
    return np.frombuffer(bytearray((header + ip + udp).ljust(packets.VNET_BYTES + FRAME_BYTES, b"\0")), np.uint8)


def prepare(flows: int) -> Datapath:
    """A datapath whose ports are rings, with an entry for each of `flows` destinations."""
    datapath = Datapath()
    m = datapath.egress
    for port in (ports.UPLINK, ports.FIRST_TAP):
        m.ports[port, ports.KIND] = ports.KIND_RING
    m.ports[ports.FIRST_TAP, ports.OFPORT] = _OFPORT
    m.host[host.PORTS] = ports.FIRST_TAP + 1
    one = frame()
    table = FlowTable(datapath.memories, datapath.switch_table)
    key, row = np.zeros(entries.KEY_WORDS, np.int64), np.zeros(packets.WORDS, np.int64)
    made = []
    for number in range(flows):
        put32(one, DESTINATION, FIRST + number)
        parse(one, packets.VNET_BYTES, FRAME_BYTES, _OFPORT, 0, key, row)
        outer, checksum = geneve.template(_LOCAL, _LOCAL + 1 + number % 1000, _VNI)
        made.append((tuple(int(word) for word in key), Entry(entries.ACT_TUNNEL, 1, b"", outer, checksum)))
    table.update(add=made)
    return datapath


def driver(engines: ModuleType) -> Any:
    """The compiled loop that feeds an engine and times its passes alone.

    The loop empties the rings of sent and captured packets outside the timed part.
    """
    serve = engines.serve

    @compiled_loop
    def drive(m: Memory, one: NDArray[np.uint8], order: NDArray[np.int64], clock: NDArray[np.int64]) -> int:
        index = m.side_index[ports.FIRST_TAP, rings.FROM_VMM]
        meta = m.side_meta[ports.FIRST_TAP, rings.FROM_VMM]
        data = m.side_data[ports.FIRST_TAP, rings.FROM_VMM]
        out = m.side_index[ports.UPLINK, rings.TO_VMM]
        spent = 0
        at = 0
        while at + rings.SIDE_SLOTS <= order.shape[0]:
            for i in range(rings.SIDE_SLOTS):
                # One frame is changed in place: frames of all flows would push the tables out of the cache.
                put32(one, DESTINATION, FIRST + order[at + i])
                ring.push(
                    index,
                    meta,
                    data,
                    0,
                    packets.HEADROOM - packets.VNET_BYTES,
                    0,
                    0,
                    one,
                    0,
                    packets.VNET_BYTES + FRAME_BYTES,
                )
            at += rings.SIDE_SLOTS
            begin = now_ns(clock)
            while ring.waiting(index):
                serve(m, ports.FIRST_TAP)
            spent += now_ns(clock) - begin
            out[ring.CONSUMED] = out[ring.PRODUCED]
            m.capture_index[ring.CONSUMED] = m.capture_index[ring.PRODUCED]
        return spent

    return drive
