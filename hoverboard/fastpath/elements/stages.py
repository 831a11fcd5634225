"""Fast-path stages, and the way to the coprocessor stages, as the flow-table entry says (sections 4.3, 4.4).

A typical entry has none. What one VM of this host sends to another passes the sender's stages, then the
receiver's; a packet that has come back from a coprocessor passes those that are done untouched.
"""

from __future__ import annotations

from hoverboard.fastpath import ring
from hoverboard.fastpath.compiler import compiled
from hoverboard.fastpath.elements.divert import to_coprocessor
from hoverboard.fastpath.elements.pool import free_slot
from hoverboard.fastpath.layout import (
    ACT_VPORT,
    ALL_DONE,
    CHAIN_SAMPLE,
    CTL_DICE,
    E_ACTION,
    E_CHAIN,
    E_SAMPLE,
    E_STAGES,
    E_TARGET,
    FIRST_DONE,
    HALF,
    HALF_BITS,
    P_INDEX,
    P_PORT,
    P_STAGED,
    R_COPROCESSOR,
    SAMPLE_ROOM,
    SAMPLED,
    SAMPLES_LOST,
    SIDE_SLOTS,
    STAGE_COPROCESSOR,
    STAGE_NEXT,
    STAGE_SAMPLE,
    TO_COPROCESSOR,
    UPLINK,
    Memory,
)


@compiled
def chosen(m: Memory, every: int) -> bool:
    """Whether this packet is sampled: each with probability 1 / every, so that nobody can send between two samples."""
    if every <= 1:
        return True
    dice = m.ctl[CTL_DICE]  # xorshift64 (Marsaglia 2003)
    dice ^= dice << 13
    dice ^= dice >> 7 & 0x1FFFFFFFFFFFFFF
    dice ^= dice << 17
    m.ctl[CTL_DICE] = dice
    return (dice >> 32 & 0xFFFFFFFF) * every >> 32 == 0


@compiled
def sample(m: Memory, slot: int, vm: int, chain: int) -> None:
    """Copy the packet to the VM's coprocessor, if there is room that diverted packets will not need."""
    room = SIDE_SLOTS - ring.unread(m.side_index[vm, TO_COPROCESSOR])
    if room > SAMPLE_ROOM and to_coprocessor(m, slot, vm, CHAIN_SAMPLE - chain):
        m.samples[vm, SAMPLED] += 1
    else:
        m.samples[vm, SAMPLES_LOST] += 1


@compiled
def through(m: Memory, slot: int, vm: int, stages: int, chain: int, every: int) -> bool:
    """The stages that VM `vm` pays for; False if the packet left the batch for its coprocessor."""
    if stages & STAGE_SAMPLE and chosen(m, every):
        sample(m, slot, vm, chain)
    if stages & STAGE_COPROCESSOR:
        if not to_coprocessor(m, slot, vm, chain):
            m.drops[R_COPROCESSOR] += 1
        free_slot(m, slot)
        return False
    return True


@compiled
def goes_on(m: Memory, slot: int, stages: int) -> bool:
    """The stages of both VMs of a packet; False if it left the batch."""
    packet = m.packets[slot]
    index = packet[P_INDEX]
    chain = m.entries[index, E_CHAIN]
    every = m.entries[index, E_SAMPLE]
    target = m.entries[index, E_TARGET]
    if packet[P_STAGED] < FIRST_DONE:
        vm = packet[P_PORT]
        if vm == UPLINK and m.entries[index, E_ACTION] == ACT_VPORT:
            vm = target
        if not through(m, slot, vm, stages, chain & HALF, every & HALF):
            return False
    if packet[P_STAGED] < ALL_DONE:
        return through(m, slot, target, stages >> STAGE_NEXT, chain >> HALF_BITS & HALF, every >> HALF_BITS & HALF)
    return True


@compiled
def run_stages(m: Memory, n: int) -> int:
    """Sample, and divert to the coprocessor of the packet's VM; what is diverted leaves the batch."""
    kept = 0
    for i in range(n):
        slot = m.batch[i]
        stages = m.entries[m.packets[slot, P_INDEX], E_STAGES]
        if stages and not goes_on(m, slot, stages):
            continue
        m.batch[kept] = slot
        kept += 1
    return kept
