"""The packet pool: slots for one received frame each. Receive takes a slot; the last element of a packet frees it."""

from __future__ import annotations

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.memory import control
from hoverboard.fastpath.memory.arrays import Memory


@compiled
def free_slot(m: Memory, slot: int) -> None:
    """Free the slot: the packet in it is complete."""
    m.free[m.ctl[control.FREE]] = slot
    m.ctl[control.FREE] += 1


@compiled
def drop(m: Memory, slot: int, reason: int) -> None:
    """Count the packet in `slot` as dropped for `reason`, an index into reasons.NAMES, and free the slot."""
    m.drops[reason] += 1
    free_slot(m, slot)


@compiled
def release(m: Memory, n: int) -> int:
    """Free the rest of a batch; returns 0, the new length."""
    for i in range(n):
        free_slot(m, m.batch[i])
    return 0
