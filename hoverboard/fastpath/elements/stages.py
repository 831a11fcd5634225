"""Fast-path stages, and the way to the coprocessor stages; the flow-table entry selects them (sections 4.3, 4.4).

Most entries have no stages. A packet between two VMs of this host passes the sender's stages, then the receiver's. A
packet that returns from a coprocessor skips the stages that are done.
"""

from __future__ import annotations

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.elements.divert import to_coprocessor
from hoverboard.fastpath.elements.pool import free_slot
from hoverboard.fastpath.memory import control, entries, packets, ports, reasons, rings
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets import ring


@compiled
def draw_sample(m: Memory, every: int) -> bool:
    """Whether this packet is sampled: each with probability 1 / every, so that no sender can avoid the samples."""
    if every <= 1:
        return True
    dice = m.ctl[control.DICE]  # xorshift64 (Marsaglia 2003)
    dice ^= dice << 13
    dice ^= dice >> 7 & 0x1FFFFFFFFFFFFFF
    dice ^= dice << 17
    m.ctl[control.DICE] = dice
    return (dice >> 32 & 0xFFFFFFFF) * every >> 32 == 0


@compiled
def sample(m: Memory, slot: int, vm: int, chain: int) -> None:
    """Copy the packet to the VM's coprocessor, if that leaves room for diverted packets."""
    room = rings.SIDE_SLOTS - ring.unread(m.side_index[vm, rings.TO_COPROCESSOR])
    if room > rings.SAMPLE_ROOM and to_coprocessor(m, slot, vm, rings.CHAIN_SAMPLE - chain):
        m.samples[vm, rings.SAMPLED] += 1
    else:
        m.samples[vm, rings.SAMPLES_LOST] += 1


@compiled
def run_vm_stages(m: Memory, slot: int, vm: int, stages: int, chain: int, every: int) -> bool:
    """Run the stages of VM `vm`; False if the packet left the batch for its coprocessor."""
    if stages & entries.STAGE_SAMPLE and draw_sample(m, every):
        sample(m, slot, vm, chain)
    if stages & entries.STAGE_COPROCESSOR:
        if not to_coprocessor(m, slot, vm, chain):
            m.drops[reasons.COPROCESSOR] += 1
        free_slot(m, slot)
        return False
    return True


@compiled
def run_packet_stages(m: Memory, slot: int, stages: int) -> bool:
    """Run the stages of both VMs of a packet; False if it left the batch."""
    packet = m.packets[slot]
    index = packet[packets.INDEX]
    chain = m.entries[index, entries.CHAIN]
    every = m.entries[index, entries.SAMPLE]
    target = m.entries[index, entries.TARGET]
    if packet[packets.STAGED] < packets.FIRST_DONE:
        vm = packet[packets.PORT]
        if vm == ports.UPLINK and m.entries[index, entries.ACTION] == entries.ACT_VPORT:
            vm = target
        if not run_vm_stages(m, slot, vm, stages, chain & entries.HALF, every & entries.HALF):
            return False
    if packet[packets.STAGED] < packets.ALL_DONE:
        return run_vm_stages(
            m,
            slot,
            target,
            stages >> entries.STAGE_NEXT,
            chain >> entries.HALF_BITS & entries.HALF,
            every >> entries.HALF_BITS & entries.HALF,
        )
    return True


@compiled
def run_stages(m: Memory, n: int) -> int:
    """Copy samples, and divert packets to the coprocessor of their VM; diverted packets leave the batch."""
    kept = 0
    for i in range(n):
        slot = m.batch[i]
        stages = m.entries[m.packets[slot, packets.INDEX], entries.STAGES]
        if stages and not run_packet_stages(m, slot, stages):
            continue
        m.batch[kept] = slot
        kept += 1
    return kept
