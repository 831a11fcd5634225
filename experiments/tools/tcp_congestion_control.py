"""Which congestion control measured TCP connections use: one and the same everywhere, whatever the machine's default.

The paper's guests were Linux 3.18, whose default is CUBIC. A default of BBR, which some clouds give their machines,
paces each connection by timers: one stream through the fast path then carries half of what it does with CUBIC.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

WANTED = "cubic"
_AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
_DEFAULT = Path("/proc/sys/net/ipv4/tcp_congestion_control")


@cache
def control() -> str:
    """The name to ask for: CUBIC; on a kernel without it, the machine's default ("": that cannot be told)."""
    try:
        return WANTED if WANTED in _AVAILABLE.read_text().split() else _DEFAULT.read_text().strip()
    except OSError:
        return ""
