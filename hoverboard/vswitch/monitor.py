"""Watches a switch's OpenFlow tables, and finds the packets that a change might concern (paper section 3.2).

A flow monitor (`ovs-ofctl monitor ... watch:`) reports every change of a flow within about a millisecond. A change
concerns a flow-table entry if its match could cover the entry's packet. Fields that the packet does not have when it
arrives are ignored: then a change concerns more entries, never fewer.
"""

from __future__ import annotations

import os
import re
import subprocess
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from socket import inet_aton
from typing import IO, NamedTuple

# While a network is filled, thousands of changes a second arrive: only the fields of a Change are parsed.
_FIELD = re.compile(r"[ ,](in_port|metadata|tun_id|nw_src|nw_dst|ipv6_src|ipv6_dst)=([^ ,]+)")
_DOTTED = re.compile(r"[0-9.]+").fullmatch


class Change(NamedTuple):
    """The match of a changed flow, reduced to fields of the arriving packet; None means anything.

    Attributes:
        in_port: OpenFlow port. vni: virtual network. src, dst: prefixes of the inner addresses.
    """

    in_port: int | None = None
    vni: int | None = None
    src: IPv4Network | IPv6Network | None = None
    dst: IPv4Network | IPv6Network | None = None


def parse_event(line: str) -> Change | None:
    """The change in one line of the monitor's output; None for other lines.

    A flow's match is part of its identity, so that the flow before and after a change has the same match. One Change
    stands for an addition, a deletion and a new set of actions.
    """
    text = line.strip()
    if not text.startswith("event=") or text.startswith("event=INITIAL"):
        return None
    match = dict(_FIELD.findall(text.partition(" actions=")[0]))
    vni = match.get("metadata", match.get("tun_id"))
    port = match.get("in_port", "")
    return Change(  # tour: report 8
        int(port) if port.isdigit() else None,
        int(vni, 16) if vni and "/" not in vni else None,
        _prefix(match.get("nw_src") or match.get("ipv6_src")),
        _prefix(match.get("nw_dst") or match.get("ipv6_dst")),
    )


def _prefix(text: str | None) -> IPv4Network | IPv6Network | None:
    if text is None:
        return None
    return IPv4Network((inet_aton(text), 32)) if _DOTTED(text) else ip_network(text, strict=False)


class FlowMonitor:
    """A running `ovs-ofctl monitor`; the owner's loop polls its output.

    It starts with a list of all flows, which are not changes. An entry made before that list, or before the switch
    restarted, may have missed a change: its owner revalidates such entries when `begun` returns True.

    Args:
        management: the bridge's management socket, "unix:...".
        directory: where ovs-ofctl keeps its own control socket.
    """

    def __init__(self, management: str, directory: Path) -> None:
        self._process = subprocess.Popen(
            # setpriv: it ends with this process, even if this process is killed.
            ["setpriv", "--pdeathsig", "KILL", "ovs-ofctl", "-O", "OpenFlow14", "monitor", management, "watch:"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # ovs-ofctl prints the list of all flows there
            stderr=subprocess.STDOUT,  # ... and changes of flows there
            env={**os.environ, "OVS_RUNDIR": str(directory)},
        )
        self._control = directory / f"ovs-ofctl.{self._process.pid}.ctl"
        assert self._process.stdout is not None
        self._output: IO[bytes] = self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._pending = b""
        self._begun = False

    def fileno(self) -> int:
        """Descriptor for a selector: readable when changes, or the end, may have arrived."""
        return self._output.fileno()

    def begun(self) -> bool:
        """Whether the monitor has started since the last call: from here on it misses no change."""
        begun, self._begun = self._begun, False
        return begun

    @property
    def ended(self) -> bool:
        """Whether the monitor has ended, as it does when the switch goes down."""
        return self._process.poll() is not None

    def read(self) -> list[Change]:
        """Changes since the last call."""
        try:
            chunk = os.read(self.fileno(), 1 << 20)
        except BlockingIOError:
            return []
        if not chunk:
            self._end()
            return []
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        # The answer to its request has a number (xid), later reports have 0.
        self._begun |= any(line.startswith(b"OFPST_FLOW_MONITOR") and b"(xid=0x0)" not in line for line in lines)
        changes = (parse_event(line.decode()) for line in lines)
        return [change for change in changes if change is not None]

    def close(self) -> None:
        """End the monitor."""
        self._end()
        self._output.close()

    def _end(self) -> None:
        """Kill the monitor: the owner's loop does not wait for an ovs-ofctl that hangs."""
        self._process.kill()
        self._process.wait(timeout=5)
        # ovs-ofctl removes its control socket itself, unless it is killed.
        self._control.unlink(missing_ok=True)
