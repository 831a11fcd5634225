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
_STEP = re.compile(r"^\s*(\d+)\. (.*)$")
_COOKIE = re.compile(r"cookie (0x[0-9a-f]+)")
_SET_TUNNEL_ID = re.compile(r"^\s+set_field:(0x[0-9a-f]+|\d+)->tun_id\s*$")
# "Final flow" leaves these two fields out.
_SET_DISCOVERY = re.compile(r"^\s+set_field:(\d+)->(nd_reserved|nd_options_type)\s*$")
_OUTPUT = re.compile(r"^\s+(?:output:(\d+)|IN_PORT)\s*$")
# Only flows that are not of the pipeline send packets there, except questions to the controller (Kind.PUNT).
_ELSEWHERE = re.compile(r"^\s+(?:CONTROLLER|FLOOD|ALL|NORMAL|LOCAL|TABLE|group:|controller\()")
_NO_ONE_PORT = 0xFFFFFFFF  # OpenFlow's "any"
_METADATA = re.compile(r"^\s+(?:write_metadata:|set_field:(?=\S+->metadata$))(0x[0-9a-f]+|\d+)(?:/(0x[0-9a-f]+))?")
# Lines of actions that leave the fields of a `monitor.Change` as they are. After any other action, in_port, addresses
# or metadata may be others: so a table that is looked up after it may match anything.
_HARMLESS = re.compile(
    r"^\s+(?:(?:->|>>) .*|(?:goto_table|output|meter|note|CONTROLLER):.*|resubmit\(,\d+\)|IN_PORT|drop"
    r"|set_field:\S+->(?:x{0,2}reg\d+|eth_src|eth_dst|pkt_mark|tun_(?!id)\w+)"
    r"|move:\S+->NXM_NX_X{0,2}REG\d+\[[\d.]*\])$"
)


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


class _Register:
    """The metadata register on the packet's way through the tables, from the lines of the actions."""

    def __init__(self) -> None:
        self._now = 0
        self._looked_up: set[int] = set()
        self._unknown = self._lost = False

    def table(self) -> None:
        """Note that a table is looked up."""
        self._looked_up.add(self._now)
        self._lost |= self._unknown

    def action(self, line: str) -> None:
        """Note the line of an action."""
        if written := _METADATA.match(line):
            mask = int(written[2], 0) if written[2] else (1 << 64) - 1
            self._now = self._now & ~mask | int(written[1], 0) & mask
        elif line[:1].isspace() and not _HARMLESS.match(line):
            self._unknown = True

    def values(self) -> frozenset[int] | None:
        """See `TraceResult.metadata`."""
        return None if self._lost else frozenset(self._looked_up)


def split_fields(text: str) -> dict[str, str]:
    """ "tcp,in_port=1,nw_src=10.0.0.1" -> {"tcp": "", "in_port": "1", ...}."""
    fields = {}
    for item in text.strip().split(","):
        name, _, value = item.partition("=")
        fields[name.strip()] = value
    return fields


def parse_trace(text: str) -> TraceResult:
    """The answer in the output of `ofproto/trace`; ValueError if the output has no answer."""
    initial: dict[str, str] = {}
    final: dict[str, str] | None = None
    megaflow: dict[str, str] = {}
    out_port: int | None = None
    cookie = 0
    tun_id = 0
    discovery: dict[str, str] = {}
    matched = ours = True
    outputs = 0
    register = _Register()
    for line in text.splitlines():
        if line.startswith("Flow: "):
            initial = split_fields(line[6:])
        elif line.startswith("Final flow: "):
            final = dict(initial) if line.strip().endswith("unchanged") else split_fields(line[12:])
        elif line.startswith("Megaflow: "):
            megaflow = split_fields(line[10:])
        elif line.startswith("bridge("):
            ours = f'"{BRIDGE}"' in line  # the physical bridge, which the tunnel's packet passes, decides nothing
        elif not ours:
            continue
        elif step := _STEP.match(line):
            found = _COOKIE.search(step[2])
            cookie = int(found[1], 16) if found else 0
            matched = not step[2].startswith("No match")
            register.table()
            continue
        register.action(line)
        if set_id := _SET_TUNNEL_ID.match(line):
            tun_id = int(set_id[1], 0)  # "Final flow" leaves it out where no tunnel flag is set
        elif set_discovery := _SET_DISCOVERY.match(line):
            discovery[set_discovery[2]] = set_discovery[1]
        elif output := _OUTPUT.match(line):
            out_port = int(output[1]) if output[1] else int(initial.get("in_port", "0"))
            outputs += 1
        elif _ELSEWHERE.match(line) and kind_of(cookie) is not Kind.PUNT:
            outputs = 2
    if final is None or not megaflow:
        raise ValueError(f"no result in the answer of ofproto/trace: {text[:200]!r}")
    if outputs > 1:
        out_port = _NO_ONE_PORT
    tunnel = out_port == TUNNEL_PORT
    if tunnel and "tun_dst" not in final:  # not a flow of the pipeline: the switch itself drops such a packet
        raise ValueError("ofproto/trace sends to no host through the tunnel")
    needed = {name for name in megaflow if name not in _IN_KEY and not name.startswith("tun_")}
    if initial.get("icmp_type") not in _DISCOVERY_TYPES and needed & _DISCOVERY:
        # The tables tested fields that only these ICMPv6 types have: the type stands for them.
        needed = needed - _DISCOVERY | {"icmp_type"}
    return TraceResult(  # tour: miss 6
        kind=kind_of(cookie),
        vni=vni_of(cookie),
        out_port=out_port,
        tun_dst=IPv4Address(final["tun_dst"]) if tunnel else None,
        tun_id=tun_id if tunnel else 0,
        headers=final | discovery,
        changed=frozenset(
            name for name, value in final.items() if name in initial and not name.startswith("tun_")
            and initial[name] != value
        ),
        needs_ports=bool(needed & _PORTS),
        cacheable=not needed - _PORTS and outputs < 2,
        matched=matched,
        metadata=register.values(),
        rule=rule_of(cookie),
    )  # fmt: skip
