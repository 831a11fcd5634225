"""Flow table lookup: 3-tuple first, then 5-tuple, then the flow-miss coprocessor (section 4.3)."""

from __future__ import annotations

from hoverboard.fastpath.compiled.atomics import prefetch
from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.elements.divert import to_control
from hoverboard.fastpath.memory import control, entries, packets, rings
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets.flow_table import find
from hoverboard.fastpath.packets.parse import FIVE_TUPLE, PARSED, mix


@compiled
def prefetch_entries(m: Memory, n: int) -> None:
    """Prefetch the cache lines that the entries of the batch need: key; entry and statistics."""
    slots = m.slots[m.ctl[control.TABLE]]
    for i in range(n):
        entry = slots[m.packets[m.batch[i], packets.HASH] & (entries.HASH_SLOTS - 1)]
        if entry:
            prefetch(m.keys, entry - 1)
            prefetch(m.entries, entry - 1)


@compiled
def look_up(m: Memory, n: int) -> int:
    """Set packets.INDEX; packets without an entry go to the control thread."""
    if n > 1:
        prefetch_entries(m, n)
    table = m.ctl[control.TABLE]
    kept = 0
    for i in range(n):
        slot = m.batch[i]
        packet = m.packets[slot]
        key = m.packet_keys[slot]
        index = find(m.slots, table, m.keys, key, 0, 0, packet[packets.HASH])
        if index < 0 and m.ctl[control.FIVE_TUPLES] and packet[packets.PARSED] == PARSED:
            ports = packet[packets.PORTS]
            index = find(m.slots, table, m.keys, key, ports, FIVE_TUPLE, mix(key, ports, FIVE_TUPLE))
        if index < 0:
            done = packet[packets.STAGED]  # tour: miss 3
            to_control(m, slot, rings.MISS_STAGED + done - packets.FIRST_DONE if done else rings.MISS_FLOW)
            continue
        packet[packets.INDEX] = index
        m.batch[kept] = slot
        kept += 1
    return kept
