"""The congestion control of measured TCP connections: the same on every machine, whatever its default is.

The paper's guests ran Linux 3.18, whose default is CUBIC. Some clouds set BBR as the default, which paces each
connection by timers. One stream through the fast path then carries half as much as with CUBIC.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

WANTED = "cubic"
_AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
_DEFAULT = Path("/proc/sys/net/ipv4/tcp_congestion_control")


@cache
def control() -> str:
    """CUBIC; on a kernel without it, the machine's default; "" if the kernel does not show its default."""
    try:
        return WANTED if WANTED in _AVAILABLE.read_text().split() else _DEFAULT.read_text().strip()
    except OSError:
        return ""
