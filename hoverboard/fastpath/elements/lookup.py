"""Flow table look-up: 3-tuple first, then 5-tuple, then the flow-miss coprocessor (section 4.3)."""

from __future__ import annotations

from hoverboard.fastpath.atomics import prefetch
from hoverboard.fastpath.compiler import compiled
from hoverboard.fastpath.elements.divert import to_control
from hoverboard.fastpath.flowtable import find
from hoverboard.fastpath.layout import (
    CTL_FIVE,
    CTL_TABLE,
    FIRST_DONE,
    HASH_SLOTS,
    MISS_FLOW,
    MISS_STAGED,
    P_HASH,
    P_INDEX,
    P_PARSED,
    P_PORTS,
    P_STAGED,
    Memory,
)
from hoverboard.fastpath.packet import FIVE, PARSED, mix


@compiled
def prefetch_entries(m: Memory, n: int) -> None:
    """Ask for all that the entries of the batch will be read and written for: key; entry and statistics."""
    slots = m.slots[m.ctl[CTL_TABLE]]
    for i in range(n):
        entry = slots[m.packets[m.batch[i], P_HASH] & (HASH_SLOTS - 1)]
        if entry:
            prefetch(m.keys, entry - 1)
            prefetch(m.entries, entry - 1)


@compiled
def look_up(m: Memory, n: int) -> int:
    """Set P_INDEX; what no entry covers goes to the control thread."""
    if n > 1:
        prefetch_entries(m, n)
    table = m.ctl[CTL_TABLE]
    kept = 0
    for i in range(n):
        slot = m.batch[i]
        packet = m.packets[slot]
        key = m.packet_keys[slot]
        index = find(m.slots, table, m.keys, key, 0, 0, packet[P_HASH])
        if index < 0 and m.ctl[CTL_FIVE] and packet[P_PARSED] == PARSED:
            ports = packet[P_PORTS]
            index = find(m.slots, table, m.keys, key, ports, FIVE, mix(key, ports, FIVE))
        if index < 0:
            done = packet[P_STAGED]
            to_control(m, slot, MISS_STAGED + done - FIRST_DONE if done else MISS_FLOW)
            continue
        packet[P_INDEX] = index
        m.batch[kept] = slot
        kept += 1
    return kept
