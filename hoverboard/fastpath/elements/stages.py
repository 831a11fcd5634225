"""Fast-path stages, and the way to the coprocessor stages, as the flow-table entry says (sections 4.3, 4.4).

A typical entry has none. A packet that has come back from its coprocessor passes here untouched.
"""

from __future__ import annotations

from hoverboard.fastpath.compiler import compiled
from hoverboard.fastpath.elements.divert import to_coprocessor
from hoverboard.fastpath.elements.pool import free_slot
from hoverboard.fastpath.layout import (
    ACT_VPORT,
    CHAIN_SAMPLE,
    E_ACTION,
    E_CHAIN,
    E_STAGES,
    E_TARGET,
    HOST_SAMPLE,
    P_INDEX,
    P_PORT,
    P_STAGED,
    R_COPROCESSOR,
    STAGE_COPROCESSOR,
    STAGE_SAMPLE,
    UPLINK,
    Memory,
)


@compiled
def run_stages(m: Memory, n: int) -> int:
    """Sample, and divert to the coprocessor of the packet's VM; what is diverted leaves the batch."""
    kept = 0
    for i in range(n):
        slot = m.batch[i]
        packet = m.packets[slot]
        index = packet[P_INDEX]
        stages = m.entries[index, E_STAGES]
        if stages and not packet[P_STAGED]:
            vm = packet[P_PORT]
            if vm == UPLINK and m.entries[index, E_ACTION] == ACT_VPORT:
                vm = m.entries[index, E_TARGET]
            if stages & STAGE_SAMPLE and m.stats[index, 0] % m.host[HOST_SAMPLE] == 1:
                to_coprocessor(m, slot, vm, CHAIN_SAMPLE)
            if stages & STAGE_COPROCESSOR:
                if not to_coprocessor(m, slot, vm, m.entries[index, E_CHAIN]):
                    m.drops[R_COPROCESSOR] += 1
                free_slot(m, slot)
                continue
        m.batch[kept] = slot
        kept += 1
    return kept
