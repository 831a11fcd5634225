"""Watches a switch's OpenFlow tables, and finds the packets that a change might concern (paper section 3.2).

A flow monitor (`ovs-ofctl monitor ... watch:`) reports every change of a flow within about a millisecond. A change
concerns a flow-table entry if its match could cover the entry's packet. What is not understood here matches anything:
other fields, masks that are no prefix, other words. Then a change concerns more entries, never fewer.
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
_KNOWN_EVENT = re.compile(r"event=(?:ADDED|DELETED|MODIFIED) ").match


class Change(NamedTuple):
    """The match of a changed flow, reduced to fields of the arriving packet; None means anything.

    Attributes:
        in_port: OpenFlow port. vni: virtual network, in the metadata register. src, dst: prefixes of the inner
            addresses. tun_id: virtual network in the tunnel header; 0 for packets that come by no tunnel.
    """

    in_port: int | None = None
    vni: int | None = None
    src: IPv4Network | IPv6Network | None = None
    dst: IPv4Network | IPv6Network | None = None
    tun_id: int | None = None


def parse_event(line: str) -> Change | None:
    """The change in one line of the monitor's output; None for other lines.

    A flow's match is part of its identity, so that the flow before and after a change has the same match. One Change
    stands for an addition, a deletion and a new set of actions. An event of another kind may be about any flow.
    """
    text = line.strip()
    if not text.startswith("event=") or text.startswith("event=INITIAL"):
        return None
    if not _KNOWN_EVENT(text):
        return Change()
    match = dict(_FIELD.findall(text.partition(" actions=")[0]))
    return Change(  # tour: report 8
        _number(match.get("in_port")),
        _number(match.get("metadata")),
        _prefix(match.get("nw_src") or match.get("ipv6_src")),
        _prefix(match.get("nw_dst") or match.get("ipv6_dst")),
        _number(match.get("tun_id")),
    )


def _number(text: str | None) -> int | None:
    """An exact value; None for a port's name, or a value with a mask."""
    try:
        return int(text, 0) if text is not None else None
    except ValueError:
        return None


def _prefix(text: str | None) -> IPv4Network | IPv6Network | None:
    """An address or a prefix; None for a mask that is no prefix, such as the low bits of a load balancer's buckets."""
    if text is None:
        return None
    if _DOTTED(text):
        return IPv4Network((inet_aton(text), 32))
    address, _, mask = text.partition("/")
    try:
        # Not ip_network(text): it takes 0.0.0.3 for the mask of the *host*, which would be another match.
        return ip_network((address, int(mask)), strict=False) if mask else ip_network(address)
    except ValueError:
        return None


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
        changes = (parse_event(line.decode(errors="replace")) for line in lines)
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
