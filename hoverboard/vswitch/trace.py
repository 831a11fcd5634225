"""Traces a missed packet: parses vswitchd's answer about what its OpenFlow tables do (paper section 3.2). Pure.

`ofproto/trace` answers in text. It lists the tables visited with their cookies, the packet's headers after all actions
("Final flow"), and the fields on which the decision depends ("Megaflow").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address

from hoverboard.contract.openflow.pipeline import BRIDGE, TUNNEL_PORT, Kind, kind_of, vni_of
from hoverboard.contract.openflow.tables import cookie as flow_cookie
from hoverboard.contract.openflow.tables import rule_of

# Megaflow fields that a flow key holds, so that an entry for the key may depend on them. Tunnel fields are, too.
_IN_KEY = frozenset(
    [
        "recirc_id",
        "eth",
        "ip",
        "ipv6",
        "ip6",
        "tcp",
        "udp",
        "icmp",
        "arp",
        "rarp",
        "tcp6",
        "udp6",
        "icmp6",
        "sctp",
        "sctp6",
        "packet_type",
        "in_port",
        "dl_src",
        "dl_dst",
        "dl_type",
        "eth_type",
        "nw_src",
        "nw_dst",
        "ipv6_src",
        "ipv6_dst",
        "nw_proto",
        "nw_ecn",
        "nw_frag",
        "pkt_mark",
        "vlan_tci",
    ]
)
_PORTS = frozenset({"tp_src", "tp_dst", "icmp_type", "icmp_code"})
_DISCOVERY = frozenset({"nd_target", "nd_sll", "nd_tll", "nd_reserved", "nd_options_type"})
_DISCOVERY_TYPES = frozenset({"135", "136"})
_OF_TABLES = frozenset(" \t0123456789")  # with these, the lines of tables and actions begin
_STEP = re.compile(r"\s*\d+\. (.*)$")
_COOKIE = re.compile(r"cookie (0x[0-9a-f]+)")
# The line of an action, by what the answer has to know of it; one pattern, because every missed packet passes here.
_ACTION = re.compile(
    r"\s+(?:"
    # These leave the fields of a `monitor.Change` as they are.
    r"(?:goto_table:.*|set_field:\S+->(?:x{0,2}reg\d+|eth_src|eth_dst|pkt_mark|tun_(?!id)\w+)|(?:->|>>) .*|drop"
    r"|(?:meter|note):.*|output:(?!\d+\s*$).*|resubmit\(,\d+\)|move:\S+->NXM_NX_X{0,2}REG\d+\[[\d.]*\])$"
    r"|output:(?P<port>\d+)\s*$|(?P<in_port>IN_PORT)\s*$"
    r"|(?P<metadata>(?:write_metadata:|set_field:(?=\S+->metadata$))"
    r"(?P<value>0x[0-9a-f]+|\d+)(?:/(?P<mask>0x[0-9a-f]+))?)"
    r"|set_field:(?P<tun_id>0x[0-9a-f]+|\d+)->tun_id\s*$"
    # "Final flow" leaves these two fields out.
    r"|set_field:(?P<discovery>\d+->(?:nd_reserved|nd_options_type))\s*$"
    # Only flows that are not of the pipeline send packets there, except questions to the controller (Kind.PUNT).
    r"|(?P<controller>CONTROLLER:.*)$|(?P<elsewhere>CONTROLLER|FLOOD|ALL|NORMAL|LOCAL|TABLE|group:|controller\()"
    r")"
)
_CHANGE_FIELDS = frozenset({"tun_id", "discovery", "elsewhere"})  # those of the groups after which any field may differ
_NO_ONE_PORT = 0xFFFFFFFF  # OpenFlow's "any"
_ALL_BITS = (1 << 64) - 1


@dataclass(frozen=True)
class TraceResult:
    """The answer of the OpenFlow tables for one packet.

    Attributes:
        kind: purpose of the last flow; a DROP_ kind names the reason.
        vni: network of the last flow; 0 if it belongs to none.
        out_port: OpenFlow port; None for a drop; _NO_ONE_PORT if the packet goes to several ports or elsewhere.
        tun_dst: peer's underlay address when out_port is the tunnel, else None.
        tun_id: VNI in the tunnel header then.
        headers: the packet's fields after all actions, as vswitchd names them (dl_src, nw_dst, ...).
        changed: the fields among them that the actions changed.
        needs_ports: the decision depends on transport ports or ICMP type, so that the entry needs a 5-tuple key.
        cacheable: False if it depends on a field no flow key holds, or the packet does not go to exactly one port.
        matched: False if no flow matched in the last table, as in a switch without a program.
        metadata: the values of the metadata register at each lookup of a table. None: an action that is not known here
            came before a lookup, so that any field may have had any value.
        rule: number of the firewall rule that the last flow is made from; 0: from none.
    """

    kind: Kind | None
    vni: int
    out_port: int | None
    tun_dst: IPv4Address | None
    tun_id: int
    headers: dict[str, str]
    changed: frozenset[str]
    needs_ports: bool
    cacheable: bool
    matched: bool = True
    metadata: frozenset[int] | None = None
    rule: int = 0

    @property
    def cookie(self) -> int:
        """The cookie of the last flow, without its share; 0 if the flow is not of the pipeline."""
        return 0 if self.kind is None else flow_cookie(self.kind, self.vni, self.rule)


class _Walk:
    """A packet's way through the tables, from the lines of the answer: tables that are looked up, and actions."""

    __slots__ = (
        "cookie", "discovery", "in_port", "looked_up", "lost", "matched", "metadata", "out_port", "outputs", "tun_id",
        "unknown",
    )  # fmt: skip

    def __init__(self) -> None:
        self.cookie = self.tun_id = self.outputs = self.metadata = 0
        self.matched = True
        self.in_port = "0"  # where the packet came in
        self.out_port: int | None = None
        self.discovery: dict[str, str] = {}
        self.looked_up: set[int] = set()
        # After an action that is not known here, in_port, addresses or metadata may be others: so a table that is
        # looked up after it may match anything.
        self.unknown = self.lost = False

    def table(self, text: str) -> None:
        """Note that a table is looked up; `text` has the flow that matched."""
        found = _COOKIE.search(text)
        self.cookie = int(found[1], 16) if found else 0
        self.matched = not text.startswith("No match")
        self.looked_up.add(self.metadata)
        self.lost |= self.unknown

    def action(self, line: str) -> None:
        """Note the line of an action."""
        found = _ACTION.match(line)
        kind = found.lastgroup if found is not None else "unknown"
        if found is None or kind in _CHANGE_FIELDS:
            self.unknown = True
        if found is None or kind is None:
            return
        if kind == "port":
            self.out_port = int(found[kind])
            self.outputs += 1
        elif kind == "in_port":
            self.out_port = int(self.in_port)
            self.outputs += 1
        elif kind == "metadata":
            mask = int(found["mask"], 0) if found["mask"] else _ALL_BITS
            self.metadata = self.metadata & ~mask | int(found["value"], 0) & mask
        elif kind == "tun_id":
            self.tun_id = int(found[kind], 0)  # "Final flow" leaves it out where no tunnel flag is set
        elif kind == "discovery":
            value, _, name = found[kind].partition("->")
            self.discovery[name] = value
        elif kind_of(self.cookie) is not Kind.PUNT:
            self.outputs = 2


def split_fields(text: str) -> dict[str, str]:
    """ "tcp,in_port=1,nw_src=10.0.0.1" -> {"tcp": "", "in_port": "1", ...}."""
    fields = {}
    for item in text.strip().replace(", ", ",").split(","):
        name, _, value = item.partition("=")
        fields[name] = value
    return fields


def parse_trace(text: str) -> TraceResult:
    """The answer in the output of `ofproto/trace`; ValueError if the output has no answer."""
    initial: dict[str, str] = {}
    final: dict[str, str] | None = None
    megaflow: set[str] = set()  # names of fields
    ours = True
    walk = _Walk()
    for line in text.splitlines():
        if line[:1] in _OF_TABLES:
            if not ours:
                continue
            if step := _STEP.match(line):
                walk.table(step[1])
            else:
                walk.action(line)
        elif line.startswith("Flow: "):
            initial = split_fields(line[6:])
            walk.in_port = initial.get("in_port", "0")
        elif line.startswith("Final flow: "):
            final = dict(initial) if line.strip().endswith("unchanged") else split_fields(line[12:])
        elif line.startswith("Megaflow: "):
            megaflow = {item.partition("=")[0] for item in line[10:].replace(" ", "").split(",")}
        elif line.startswith("bridge("):
            ours = f'"{BRIDGE}"' in line  # the physical bridge, which the tunnel's packet passes, decides nothing
    if final is None or not megaflow:
        raise ValueError(f"no result in the answer of ofproto/trace: {text[:200]!r}")
    out_port = walk.out_port if walk.outputs < 2 else _NO_ONE_PORT
    tunnel = out_port == TUNNEL_PORT
    if tunnel and "tun_dst" not in final:  # not a flow of the pipeline: the switch itself drops such a packet
        raise ValueError("ofproto/trace sends to no host through the tunnel")
    needed = {name for name in megaflow - _IN_KEY if not name.startswith("tun_")}
    if initial.get("icmp_type") not in _DISCOVERY_TYPES and needed & _DISCOVERY:
        # The tables tested fields that only these ICMPv6 types have: the type stands for them.
        needed = needed - _DISCOVERY | {"icmp_type"}
    return TraceResult(  # tour: miss 6
        kind=kind_of(walk.cookie),
        vni=vni_of(walk.cookie),
        out_port=out_port,
        tun_dst=IPv4Address(final["tun_dst"]) if tunnel else None,
        tun_id=walk.tun_id if tunnel else 0,
        headers=final | walk.discovery if walk.discovery else final,
        changed=frozenset([
            name for name, value in final.items()
            if initial.get(name, value) != value and not name.startswith("tun_")
        ]),
        needs_ports=bool(needed & _PORTS),
        cacheable=not needed - _PORTS and walk.outputs < 2,
        matched=walk.matched,
        metadata=None if walk.lost else frozenset(walk.looked_up),
        rule=rule_of(walk.cookie),
    )  # fmt: skip
