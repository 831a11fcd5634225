"""Rate limiter of a virtual NIC: a token bucket in front of receive (figure 6; section 6.1: to line rate).

A VM over its rate is not read, so its packets wait in its own queue, where its own kernel feels it: nothing
is dropped. The bucket may go below zero by one batch.
"""

from __future__ import annotations

from hoverboard.fastpath.compiler import compiled
from hoverboard.fastpath.layout import (
    CTL_DUE,
    P_LENGTH,
    PORT_BURST,
    PORT_FILLED,
    PORT_RATE,
    PORT_TOKENS,
    Memory,
)
from hoverboard.fastpath.packet import Words
from hoverboard.fastpath.syscalls import now_ns

LONG_NS = 100_000_000
HOUR_NS = 3_600_000_000_000


@compiled
def refill(port: Words, now: int) -> int:
    """Tokens (bytes) in the bucket of a row of ports[] at `now` (ns)."""
    elapsed = now - port[PORT_FILLED]
    if elapsed < LONG_NS:
        gained = elapsed * port[PORT_RATE] // 1_000_000_000
    else:
        # In ms, and no more than an hour: a VM that was idle for a minute must not overflow 64 bits.
        gained = min(elapsed, HOUR_NS) // 1_000_000 * port[PORT_RATE] // 1_000
    if gained > 0 or elapsed < 0:
        port[PORT_TOKENS] = min(port[PORT_BURST], port[PORT_TOKENS] + max(gained, 0))
        port[PORT_FILLED] = now
    return port[PORT_TOKENS]


@compiled
def allowed(m: Memory, port: int) -> bool:
    """Whether the VM may send now; if not, ctl[CTL_DUE] is when."""
    row = m.ports[port]
    m.ctl[CTL_DUE] = 0
    if row[PORT_RATE] == 0:
        return True
    now = now_ns(m.cpu[0])
    tokens = refill(row, now)
    if tokens > 0:
        return True
    m.ctl[CTL_DUE] = now + (1 - tokens) * 1_000_000_000 // row[PORT_RATE] + 1
    return False


@compiled
def charge(m: Memory, port: int, n: int) -> None:
    """Take the batch just received out of the bucket."""
    if m.ports[port, PORT_RATE]:
        total = 0
        for i in range(n):
            total += m.packets[m.batch[i], P_LENGTH]
        m.ports[port, PORT_TOKENS] -= total
