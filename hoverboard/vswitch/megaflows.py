"""Usage by megaflow, for hosts whose packets Open vSwitch forwards (dataplane "ovs").

`dpctl/dump-flows` lists the datapath's megaflows with byte counts. The pipeline keeps a packet's destination exact
in them (contract.pipeline), so that they show the traffic of a VM pair. Parsed with regular expressions, not with
`ovs.flow`: this runs at every report interval, and needs five fields.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address

from hoverboard.contract.packets import Address

# A masked address is followed by its mask. In IPv6, a label may stand between addresses and protocol.
_MATCH = re.compile(
    r"ipv4\(src=([\d.]+)(?:/[\d.]+)?,dst=([\d.]+)(?:/[\d.]+)?(?:,proto=(\d+))?"
    r"|ipv6\(src=([\da-f:.]+)(?:/[\da-f:.]+)?,dst=([\da-f:.]+)(?:/[\da-f:.]+)?"
    r"(?:,label=[^,)]*)?(?:,proto=(\d+))?"
)
_MATCH_TUNNEL = re.compile(r"tunnel\(tun_id=(0x[0-9a-f]+),src=([\d.]+)")
_PUSH = re.compile(r"tnl_push\(.*?ipv4\(src=[\d.]+,dst=([\d.]+).*?vni=(0x[0-9a-f]+)")  # user-space datapath
_SET = re.compile(r"set\(tunnel\(tun_id=(0x[0-9a-f]+),.*?dst=([\d.]+)")  # kernel datapath
_TRANSPORT = re.compile(r"(?:tcp|udp|sctp)\((?:src=([^,)]+))?,?(?:dst=([^,)]+))?\)")
_ICMP = re.compile(r"icmp(?:v6)?\(type=([^,)]+)(?:,code=([^,)]+))?\)")
_TOS = re.compile(r"(?:tos|tclass)=([^,)]+)")
_FRAGMENT = re.compile(r"frag=(first|later)")
_COUNTS = re.compile(r"packets:(\d+), bytes:(\d+)")
_PORT = re.compile(r"(?:^|,)(\d+)$")


@dataclass(frozen=True)
class Megaflow:
    """A datapath flow that carries overlay packets of IPv4 or IPv6.

    Attributes:
        src, dst: inner addresses, both of one family.
        match: the flow's match, which identifies it among the datapath's flows.
        vni: virtual network if the flow shows it (from or to the tunnel), else None.
        from_tunnel: whether the packets come from the fabric.
        proto: IP protocol, or None if wildcarded.
        peer: underlay address to which it sends, or None.
        ports: transport ports or ICMP type that it matches, as text; None if it matches none. A part that it does not
            match is "*".
        sender: underlay address of the host that its packets come from; None if they come from a VM here.
        more: ECN bits and fragments that it matches, as text; None if it matches none.
        port: datapath port number to which it delivers, or None; with `peer` None too, a drop.
    """

    match: str
    vni: int | None
    from_tunnel: bool
    src: Address
    dst: Address
    proto: int | None
    peer: IPv4Address | None
    port: int | None
    packets: int
    bytes: int
    ports: str | None = None
    sender: str | None = None
    more: str | None = None


def _ports(head: str) -> str | None:
    """The transport ports or the ICMP type that a megaflow matches."""
    if (found := _TRANSPORT.search(head)) is not None:
        return f"{found[1] or '*'} > {found[2] or '*'}"
    if (found := _ICMP.search(head)) is not None:
        return f"type {found[1]}" + (f" code {found[2]}" if found[2] not in (None, "0") else "")
    return None


def _more(head: str) -> str | None:
    """The ECN bits, or the whole TOS field, and the fragments that a megaflow matches."""
    # The tunnel's own fields come first, with a TOS field of their own.
    inner = head[head.find("eth(") :]
    tos, fragment = _TOS.search(inner), _FRAGMENT.search(inner)
    # In user space every megaflow of the tunnel matches the ECN bits; 0 tells nothing apart from an ordinary packet.
    marked = tos is not None and int(tos[1].partition("/")[0], 0)
    parts = [f"TOS {tos[1]}" if tos and marked else "", f"{fragment[1]} fragment" if fragment else ""]
    return ", ".join(part for part in parts if part) or None


def parse_megaflows(text: str) -> list[Megaflow]:
    """The megaflows with an inner source and destination in the output of `dpctl/dump-flows`."""
    flows = []
    for line in text.splitlines():
        head, _, actions = line.partition("actions:")
        ip, counts = _MATCH.search(head), _COUNTS.search(head)
        if ip is None or counts is None or "tnl_pop" in actions:
            continue
        src, dst, proto = ip[1] or ip[4], ip[2] or ip[5], ip[3] or ip[6]
        tunnel = _MATCH_TUNNEL.search(head)
        vni = int(tunnel[1], 16) if tunnel else None
        peer = None
        if push := _PUSH.search(actions):
            peer, vni = IPv4Address(push[1]), int(push[2], 16)
        elif set_tunnel := _SET.search(actions):
            peer, vni = IPv4Address(set_tunnel[2]), int(set_tunnel[1], 16)
        port = _PORT.search(actions.strip()) if peer is None else None
        flows.append(
            Megaflow(
                match=head[: counts.start()],
                vni=vni,
                from_tunnel=tunnel is not None,
                src=ip_address(src),
                dst=ip_address(dst),
                proto=int(proto) if proto else None,
                peer=peer,
                port=int(port[1]) if port else None,
                packets=int(counts[1]),
                bytes=int(counts[2]),
                ports=_ports(head),
                sender=tunnel[2] if tunnel else None,
                more=_more(head),
            )
        )
    return flows
