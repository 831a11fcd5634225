"""Random OpenFlow programs, changes of them, and packets; the unit ring runs them in a model, the system ring in OVS.

Values are few, so that flows and packets meet often. No two flows of a table have one priority: which of two equal
flows wins is not defined.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether

from hoverboard.contract.openflow.tables import Kind, cookie
from hoverboard.contract.packets import mac_number, mac_text

TABLES = 4
MACS = ("06:07:0a:00:00:02", "06:07:0a:00:00:03", "02:00:5e:00:00:01")
COOKIES = (0, cookie(Kind.LOCAL, 7), cookie(Kind.ROUTE, 8), cookie(Kind.OFFLOAD, 7), cookie(Kind.DROP_NO_ROUTE, 5))
_WHOLE32, _WHOLE128 = (1 << 32) - 1, (1 << 128) - 1
_KINDS = {  # word of ovs-ofctl -> the fields that it stands for
    "": {},
    "ip": {"dl_type": 0x0800},
    "tcp": {"dl_type": 0x0800, "nw_proto": 6},
    "udp": {"dl_type": 0x0800, "nw_proto": 17},
    "icmp": {"dl_type": 0x0800, "nw_proto": 1},
    "arp": {"dl_type": 0x0806},
    "ipv6": {"dl_type": 0x86DD},
    "tcp6": {"dl_type": 0x86DD, "nw_proto": 6},
}


@dataclass(frozen=True)
class Field:
    """A field of a match; no mask: exact."""

    name: str
    value: int
    mask: int | None = None

    def holds(self, value: int) -> bool:
        """Whether a packet with this value matches."""
        return value == self.value if self.mask is None else value & self.mask == self.value

    def text(self) -> str:
        """The field as ovs-ofctl writes it."""
        shown = _shown(self.name)
        if self.mask is None:
            return f"{self.name}={shown(self.value)}"
        whole = {"nw": _WHOLE32, "ipv6": _WHOLE128}.get(self.name.split("_")[0], 0)
        bits = self.mask.bit_count()
        if whole and self.mask == whole & ~(whole >> bits):
            return f"{self.name}={shown(self.value)}/{bits}"
        value = shown(self.value) if whole or self.name.startswith("dl_") else f"{self.value:#x}"
        return f"{self.name}={value}/{shown(self.mask) if whole or self.name.startswith('dl_') else f'{self.mask:#x}'}"


def _shown(name: str) -> type[IPv4Address] | type[IPv6Address] | object:
    if name in ("nw_src", "nw_dst", "tun_src", "arp_spa"):
        return IPv4Address
    if name.startswith("ipv6"):
        return IPv6Address
    if name.startswith("dl_"):
        return lambda value: mac_text(value.to_bytes(6, "big"))
    return hex if name in ("metadata", "reg0", "tun_id") else str


@dataclass(frozen=True)
class Match:
    """A table and what a flow of it matches; `kind` is a word such as "tcp"."""

    table: int
    priority: int
    kind: str = ""
    fields: tuple[Field, ...] = ()

    def all_fields(self) -> tuple[Field, ...]:
        """The fields, with those that `kind` stands for."""
        return (*(Field(name, value) for name, value in _KINDS[self.kind].items()), *self.fields)

    def text(self) -> str:
        """The match alone, as ovs-ofctl writes it."""
        return ",".join(part for part in (self.kind, *(field.text() for field in self.fields)) if part)

    def spec(self, *, strict: bool = True) -> str:
        """Table, priority and match, for a command of ovs-ofctl."""
        parts = [f"table={self.table}", f"priority={self.priority}" if strict else "", self.text()]
        return ",".join(part for part in parts if part)


@dataclass(frozen=True)
class RandomFlow:
    """A flow; no actions: a drop."""

    match: Match
    actions: tuple[str, ...]
    cookie: int = 0

    def text(self) -> str:
        """The flow as ovs-ofctl reads it."""
        return f"cookie={self.cookie:#x},{self.match.spec()},actions={','.join(self.actions) or 'drop'}"


@dataclass(frozen=True)
class ProgramChange:
    """One request of a controller.

    Attributes:
        verb: "add", "mod" or "del".
        match: of the flow, or the flows that it is about.
        strict: about the flow with exactly this match and priority; else about all flows within the match.
        cookie: of a new flow; of the flows that it is about, if `by_cookie`.
        out_port: only flows that send there are deleted.
    """

    verb: str
    match: Match
    actions: tuple[str, ...] = ()
    strict: bool = False
    cookie: int = 0
    by_cookie: bool = False
    out_port: int | None = None

    def line(self) -> str:
        """The request as a line of a file that `ovs-ofctl add-flows` reads."""
        if self.verb == "add":
            return f"add {RandomFlow(self.match, self.actions, self.cookie).text()}"
        words = [self.match.spec(strict=self.strict)]
        if self.by_cookie:
            words.append(f"cookie={self.cookie:#x}/-1")
        if self.out_port is not None:
            words.append(f"out_port={self.out_port}")
        if self.verb == "mod":
            words.append(f"actions={','.join(self.actions) or 'drop'}")
        verb = {"mod": "modify", "del": "delete"}[self.verb] + ("_strict" if self.strict else "")
        return f"{verb} {','.join(words)}"


@dataclass(frozen=True)
class RandomPacket:
    """A packet.

    Attributes:
        port: 100 or 101 from a VM, 1 from the fabric, with a VNI.
        kinds: the words for flows that match it.
        fields: the other fields that a flow may match on, by name.
    """

    port: int
    vni: int
    kinds: tuple[str, ...]
    fields: tuple[tuple[str, int], ...]
    frame: bytes


def _ip(last: int) -> int:
    return int(IPv4Address("10.0.0.0")) + last


def _ip6(last: int) -> int:
    return int(IPv6Address("fd00::")) + last


_LAST = st.integers(0, 3)
_MASKS: dict[str, list[int | None]] = {
    "metadata": [None, None, 1, 0xF, 8],
    "reg0": [None, 1, 0xF],
    "tun_id": [None, None, 1, 0xFF],
    "dl_src": [None, 1, 0xFF0000000000],
    "dl_dst": [None, 3],
    "nw_src": [None, _WHOLE32 - 3, 0xFFFFFF00, 1, 2, 3, 3, 0xFF00FF01],
    "nw_dst": [None, None, None, _WHOLE32 - 3, 0xFFFFFF00, 1, 3, 0xFF00FF03],
    "ipv6_src": [None, _WHOLE128 - 1, _WHOLE128 << 64 & _WHOLE128, 1, 3, _WHOLE128 ^ 2],
    "ipv6_dst": [None, None, _WHOLE128 - 3, _WHOLE128 << 64 & _WHOLE128, 3],
    "tp_src": [None, 1, 0x1E, 0xFFFE],
    "tp_dst": [None, None, 6],
}
# Fields by which changes and entries are compared come often; those that no entry holds come seldom.
_OFTEN = {"in_port": 3, "metadata": 4, "tun_id": 2, "nw_src": 9, "nw_dst": 9, "ipv6_src": 9, "ipv6_dst": 9, "tp_src": 3}
_INNER = {"metadata": [0, 5, 7, 8], "reg0": [0, 1, 100]}  # what packets get on their way
_SETS = [
    *["set_field:0x5->metadata", "set_field:0x7->metadata", "set_field:0x8/0xf->metadata"] * 3,
    *["load:0x1->NXM_NX_REG0[]"] * 3, *["move:NXM_OF_IN_PORT[]->NXM_NX_REG0[0..15]", "set_field:0x7->tun_id"] * 2,
    "move:NXM_NX_REG0[]->OXM_OF_METADATA[0..31]", "load:0x64->NXM_OF_IN_PORT[]", "set_field:172.16.0.2->tun_dst",
    f"set_field:{MACS[1]}->eth_dst", f"set_field:{MACS[2]}->eth_src",
]  # fmt: skip
_IP_SETS = {
    "ip": ["set_field:10.0.0.1->ip_src", "set_field:10.0.0.2->ip_dst"],
    "ipv6": ["set_field:fd00::1->ipv6_src", "set_field:fd00::2->ipv6_dst"],
}
_ENDS = [("output:100",), ("output:101",), ("in_port",), (), (), ("output:100",), ("controller",),
         ("set_field:0x7->tun_id", "set_field:172.16.0.2->tun_dst", "output:1")]  # fmt: skip


# What the model does not know: a real switch does. Groups 1 and 2 have to be there.
_REAL_WAYS = [
    "ct(table={})",
    "ct(commit),goto_table:{}",
    "multipath(eth_src,0,modulo_n,2,0,NXM_NX_REG0[]),goto_table:{}",
    "push:NXM_OF_IN_PORT[],pop:NXM_NX_REG0[0..15],resubmit(,{})",
    "write_actions(output:100),goto_table:{}",
    "clone(set_field:10.0.0.3->ip_dst,resubmit(,{}))",
]
_REAL_ENDS = [
    ("group:1",), ("group:2",), ("learn(table=3,priority=9,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[])", "output:100"),
    ("push_vlan:0x8100", "output:100"), ("note:00.01", "output:101"), ("ct(commit)", "output:100"),
]  # fmt: skip


@st.composite
def packets(draw: st.DrawFn) -> RandomPacket:
    """A packet of one of the kinds that flows are about."""
    src, dst = draw(_LAST), draw(_LAST)
    macs = draw(st.sampled_from(MACS[:2])), draw(st.sampled_from(MACS[1:]))
    kind = draw(st.sampled_from(["tcp", "tcp", "udp", "icmp", "arp", "tcp6", "other"]))
    ports, number = (draw(st.integers(2, 5)), draw(st.integers(2, 5))), draw(st.integers(1, 2))
    ttl, ecn = draw(st.sampled_from([64, 64, 5])), draw(st.integers(0, 1))
    ip = IP(src=str(IPv4Address(_ip(src))), dst=str(IPv4Address(_ip(dst))), tos=ecn, ttl=ttl)
    six = IPv6(src=str(IPv6Address(_ip6(src))), dst=str(IPv6Address(_ip6(dst))))
    layers = {
        "tcp": lambda: ip / TCP(sport=ports[0], dport=ports[1]),
        "udp": lambda: ip / UDP(sport=ports[0], dport=ports[1]),
        "icmp": lambda: ip / ICMP(type=8 * (number - 1)),
        "arp": lambda: ARP(psrc=ip.src, pdst=ip.dst, op=number, hwsrc=macs[0]),
        "tcp6": lambda: six / TCP(sport=ports[0], dport=ports[1]),
        "other": lambda: IP(src=ip.src, dst=ip.dst, tos=ecn, ttl=ttl, proto=253) / b"payload",
    }
    port = draw(st.sampled_from([100, 100, 101, 1]))
    vni = draw(st.sampled_from([7, 8])) if port == 1 else 0
    fields = {"in_port": port, "tun_id": vni, "dl_src": mac_number(macs[0]), "dl_dst": mac_number(macs[1])}
    if kind == "arp":
        fields |= {"arp_spa": _ip(src), "arp_op": number}
    elif kind == "tcp6":
        fields |= {"ipv6_src": _ip6(src), "ipv6_dst": _ip6(dst)}
    else:
        fields |= {"nw_src": _ip(src), "nw_dst": _ip(dst), "nw_ttl": ttl, "nw_ecn": ecn}
    if kind in ("tcp", "udp", "tcp6"):
        fields |= {"tp_src": ports[0], "tp_dst": ports[1]}
    if kind == "icmp":
        fields["icmp_type"] = 8 * (number - 1)
    words = {"arp": ("", "arp"), "tcp6": ("", "ipv6", "tcp6"), "other": ("", "ip")}.get(kind, ("", "ip", kind))
    return RandomPacket(
        port, vni, words, tuple(fields.items()), bytes(Ether(src=macs[0], dst=macs[1]) / layers[kind]())
    )


@st.composite
def matches(draw: st.DrawFn, priority: int, found: list[RandomPacket]) -> Match:
    """A match in one of the tables, about one of the packets."""
    packet = draw(st.sampled_from(found))
    kind = draw(st.sampled_from((*packet.kinds, packet.kinds[-1])))
    known = {**dict(packet.fields), **{name: draw(st.sampled_from(values)) for name, values in _INNER.items()}}
    allowed = [name for name in known for _ in range(_OFTEN.get(name, 1)) if _is_legal(name, kind)]
    fields = []
    for name in dict.fromkeys(draw(st.lists(st.sampled_from(allowed), max_size=3))):
        value, mask = known[name], draw(st.sampled_from(_MASKS.get(name, [None])))
        value = value ^ draw(st.sampled_from([0] * 7 + [1]))  # sometimes about another packet
        fields.append(Field(name, value if mask is None else value & mask, mask))
    return Match(draw(st.sampled_from([0, 0, *range(1, TABLES)])), priority, kind, tuple(fields))


def _is_legal(name: str, kind: str) -> bool:
    """Whether a flow of this kind may match on a field."""
    kinds = {"nw": ("ip", "tcp", "udp", "icmp"), "tp": ("tcp", "udp", "tcp6"), "icmp": ("icmp",), "arp": ("arp",),
             "ipv6": ("ipv6", "tcp6")}  # fmt: skip
    return kind in kinds.get(name.split("_")[0], (kind,))


@st.composite
def actions(draw: st.DrawFn, match: Match, *, real: bool = False) -> tuple[str, ...]:
    """Actions that are legal for packets of a match; tables only follow later ones.

    Args:
        match: of the flow.
        real: for a real switch, with actions that the model does not know.
    """
    family = {"ip": "ip", "tcp": "ip", "udp": "ip", "icmp": "ip", "ipv6": "ipv6", "tcp6": "ipv6"}.get(match.kind)
    most = draw(st.sampled_from([0, 0, 1, 2]))
    sets = draw(st.lists(st.sampled_from(_SETS + (_IP_SETS[family] if family else [])), max_size=most))
    later = list(range(match.table + 1, TABLES))
    if later and draw(st.booleans()):
        table = draw(st.sampled_from(later))
        ways = ["goto_table:{}", "goto_table:{}", "resubmit(,{})", "resubmit(101,{})"]
        way = draw(st.sampled_from(ways + (_REAL_WAYS if real and family == "ip" else [])))
        return (*sets, way.format(table))
    return (*sets, *draw(st.sampled_from(_ENDS + (_REAL_ENDS if real and family == "ip" else []))))


@st.composite
def flows(draw: st.DrawFn, priority: int, found: list[RandomPacket], *, real: bool = False) -> RandomFlow:
    """A flow of a priority that no other has."""
    match = draw(matches(priority, found))
    return RandomFlow(match, draw(actions(match, real=real)), draw(st.sampled_from(COOKIES)))


@st.composite
def conjunctions(draw: st.DrawFn, found: list[RandomPacket]) -> list[RandomFlow]:
    """A flow that matches by two others (conjunctive match); a real switch has it."""
    table, ends = draw(st.integers(0, TABLES - 1)), []
    for name, clause in (("nw_src", 1), ("nw_dst", 2)):
        known = [value for packet in found for field, value in packet.fields if field == name] or [_ip(0)]
        value, mask = draw(st.sampled_from(known)), draw(st.sampled_from(_MASKS[name]))
        field = Field(name, value if mask is None else value & mask, mask)
        ends.append(RandomFlow(Match(table, 100, "ip", (field,)), (f"conjunction(1,{clause}/2)",)))
    return [*ends, RandomFlow(Match(table, 100, "ip", (Field("conj_id", 1),)), ("output:100",), COOKIES[1])]


@st.composite
def programs(draw: st.DrawFn, found: list[RandomPacket], *, real: bool = False) -> list[RandomFlow]:
    """A program; each table has some way on, so that most packets get through several tables."""
    ways = [
        RandomFlow(Match(0, 1), ("set_field:0x7->metadata", "goto_table:1")),
        RandomFlow(Match(1, 1), ("goto_table:2",), COOKIES[2]),
        RandomFlow(Match(2, 1), ("output:101",), COOKIES[1]),
    ]
    ways = [flow for flow in ways if draw(st.sampled_from([True, True, True, True, False]))]
    if real and draw(st.sampled_from([False, False, True])):
        ways += draw(conjunctions(found))
    return ways + [draw(flows(10 + 2 * number, found, real=real)) for number in range(draw(st.integers(1, 7)))]


@st.composite
def changes(
    draw: st.DrawFn, program: list[RandomFlow], found: list[RandomPacket], *, real: bool = False
) -> ProgramChange:
    """A change of a program."""
    verb = draw(st.sampled_from(["add", "add", "mod", "del"]))
    if verb == "add" and draw(st.booleans()):
        new = draw(flows(draw(st.integers(0, 15)) * 2 + 11, found, real=real))
        return ProgramChange("add", new.match, new.actions, cookie=new.cookie)
    known = draw(st.sampled_from(program))
    written = draw(actions(known.match, real=real))
    if known.actions and known.actions[0].startswith("conjunction") and verb != "del":
        written = known.actions  # other actions may not stand beside it
    if verb == "add":  # in place of the one that there is
        return ProgramChange("add", known.match, written, cookie=draw(st.sampled_from(COOKIES)))
    strict, match = draw(st.booleans()), known.match
    if not strict:
        match = replace(match, fields=match.fields[: draw(st.integers(0, len(match.fields)))])
    by_cookie = draw(st.sampled_from([False, False, True]))
    out_port = draw(st.sampled_from([None, None, 100, 101])) if verb == "del" else None
    chosen = draw(st.sampled_from([known.cookie, *COOKIES]))
    return ProgramChange(verb, match, written if verb == "mod" else (), strict, chosen, by_cookie, out_port)


@st.composite
def stories(draw: st.DrawFn, *, real: bool = False) -> tuple[list[RandomFlow], list[RandomPacket], list[ProgramChange]]:
    """A program, packets, and changes of the program, one after the other."""
    found = draw(st.lists(packets(), min_size=2, max_size=6))
    program = draw(programs(found, real=real))
    return program, found, draw(st.lists(changes(program, found, real=real), min_size=2, max_size=6))
