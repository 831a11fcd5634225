"""Rate limiter of a virtual NIC: a token bucket in front of receive (figure 6; section 6.1: to line rate).

The engine does not read a VM that is over its rate. Its packets wait in the VM's own queue, where its kernel notices
the delay, and none is dropped. The bucket may go below zero by one batch.
"""

from __future__ import annotations

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.memory import control, packets, ports
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets.parse import Words

LONG_NS = 100_000_000
HOUR_NS = 3_600_000_000_000


@compiled
def refill(port: Words, now: int) -> int:
    """Add tokens to the bucket of a row of ports[]; returns its tokens (bytes) at `now` (ns)."""
    elapsed = now - port[ports.FILLED]
    if elapsed < LONG_NS:
        gained = elapsed * port[ports.RATE] // 1_000_000_000
    else:
        # In ms, and no more than an hour: a VM that was idle for a minute must not overflow 64 bits.
        gained = min(elapsed, HOUR_NS) // 1_000_000 * port[ports.RATE] // 1_000
    if gained > 0 or elapsed < 0:
        port[ports.TOKENS] = min(port[ports.BURST], port[ports.TOKENS] + max(gained, 0))
        port[ports.FILLED] = now
    return port[ports.TOKENS]


@compiled
def allowed(m: Memory, port: int) -> bool:
    """Whether the VM may send now; if not, ctl[control.DUE] is the time when it may (monotonic ns).

    The time now is ctl[control.NOW]. The scheduler compares DUE with the same clock.
    """
    row = m.ports[port]
    m.ctl[control.DUE] = 0
    if row[ports.RATE] == 0:
        return True
    now = m.ctl[control.NOW]
    tokens = refill(row, now)
    if tokens > 0:
        return True
    m.ctl[control.DUE] = now + (1 - tokens) * 1_000_000_000 // row[ports.RATE] + 1
    return False


@compiled
def charge(m: Memory, port: int, n: int) -> None:
    """Take the tokens of the received batch out of the bucket."""
    if m.ports[port, ports.RATE]:
        total = 0
        for i in range(n):
            total += m.packets[m.batch[i], packets.LENGTH]
        m.ports[port, ports.TOKENS] -= total
