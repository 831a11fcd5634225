"""The packet pool: slots that hold one received frame each, taken by receive and freed by whoever ends a packet."""

from __future__ import annotations

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.memory import control
from hoverboard.fastpath.memory.arrays import Memory


@compiled
def free_slot(m: Memory, slot: int) -> None:
    """The packet in `slot` is done with."""
    m.free[m.ctl[control.FREE]] = slot
    m.ctl[control.FREE] += 1


@compiled
def drop(m: Memory, slot: int, reason: int) -> None:
    """Count the packet in `slot` as dropped for `reason`, an index into reasons.NAMES."""
    m.drops[reason] += 1
    free_slot(m, slot)


@compiled
def release(m: Memory, n: int) -> int:
    """Free what is left of a batch; the end of every chain."""
    for i in range(n):
        free_slot(m, m.batch[i])
    return 0
