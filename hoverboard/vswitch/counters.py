"""Counters of a switch, for dataplane "ovs": drops by the pipeline's reasons, traffic by port."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping

from hoverboard.contract.errors import SwitchError
from hoverboard.contract.openflow.pipeline import drop_reason, kind_of

_FLOW = re.compile(r"cookie=(0x[0-9a-f]+),.*?n_packets=(\d+)")
_RX = re.compile(r"rx pkts=(\d+), bytes=(\d+)")
_TX = re.compile(r"tx pkts=(\d+), bytes=(\d+)")


def ofctl(command: str, management: str) -> str:
    """Run one read-only ovs-ofctl command against a bridge's management socket."""
    done = subprocess.run(
        ["ovs-ofctl", "-O", "OpenFlow14", command, management], capture_output=True, text=True, timeout=10, check=False
    )
    if done.returncode:
        raise SwitchError(f"ovs-ofctl {command}: {done.stderr.strip()}", where=management)
    return done.stdout


def parse_drops(dump_flows: str) -> dict[int, int]:
    """Packets by cookie of the flow that dropped them, in the output of `ovs-ofctl dump-flows`; without zeros."""
    drops: dict[int, int] = {}
    for found in _FLOW.finditer(dump_flows):
        cookie, packets = int(found[1], 16), int(found[2])
        kind = kind_of(cookie)
        if packets and kind is not None and drop_reason(kind) is not None:
            drops[cookie] = drops.get(cookie, 0) + packets
    return drops


def drops_by_reason(by_cookie: Mapping[int, int]) -> dict[str, int]:
    """Packets by drop reason, from packets by the cookie of a drop flow."""
    drops: dict[str, int] = {}
    for cookie, packets in by_cookie.items():
        kind = kind_of(cookie)
        if kind is not None and (reason := drop_reason(kind)) is not None:
            drops[reason] = drops.get(reason, 0) + packets
    return drops


def parse_ports(dump_ports: str) -> dict[str, int]:
    """Sums over all ports in the output of `ovs-ofctl dump-ports`."""
    rx, tx = _RX.findall(dump_ports), _TX.findall(dump_ports)
    return {
        "rx_packets": sum(int(packets) for packets, _ in rx),
        "rx_bytes": sum(int(octets) for _, octets in rx),
        "tx_packets": sum(int(packets) for packets, _ in tx),
        "tx_bytes": sum(int(octets) for _, octets in tx),
    }
