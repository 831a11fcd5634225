"""A switch in memory: runs the programs of `tests.random_programs`, and speaks as Open vSwitch does.

It prints the lines of `ofproto/trace` and of `ovs-ofctl monitor`, which our own parsers read. Its megaflow names every
field that a flow of a visited table matches on, which is never too few.
"""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from hoverboard.contract.packets import mac_number, mac_text
from hoverboard.vswitch.trace import TraceResult, parse_trace, split_fields
from tests.random_programs import Field, Match, ProgramChange, RandomFlow

_NUMBERS = {"ip": ("dl_type", 0x0800), "ipv6": ("dl_type", 0x86DD), "arp": ("dl_type", 0x0806)}
_PORTS = {"tcp_src": "tp_src", "tcp_dst": "tp_dst", "udp_src": "tp_src", "udp_dst": "tp_dst",
          "icmpv6_type": "icmp_type", "icmpv6_code": "icmp_code"}  # fmt: skip
_SET = re.compile(r"(?:set_field|load):([^-/]+)(?:/(\w+))?->(.*)")
_MOVE = re.compile(r"move:(.*)->(.*)")
_NAMES = {"NXM_NX_REG0[]": "reg0", "NXM_OF_IN_PORT[]": "in_port", "NXM_NX_REG0[0..15]": "reg0",
          "OXM_OF_METADATA[0..31]": "metadata", "eth_dst": "dl_dst", "eth_src": "dl_src", "ip_src": "nw_src",
          "ip_dst": "nw_dst"}  # fmt: skip
_IPV4 = ("nw_src", "nw_dst", "arp_spa", "arp_tpa", "tun_src", "tun_dst")
Packet = dict[str, int]


def _number(text: str) -> int:
    if ":" in text and "::" not in text and len(text) == 17:
        return mac_number(text)
    if ":" in text:
        return int(IPv6Address(text))
    return int(IPv4Address(text)) if "." in text else int(text, 0)


def _text(name: str, value: int) -> str:
    if name in ("dl_src", "dl_dst", "arp_sha", "arp_tha"):
        return mac_text(value.to_bytes(6, "big"))
    if name.startswith("ipv6"):
        return str(IPv6Address(value))
    return str(IPv4Address(value)) if name in _IPV4 else str(value)


class ModelSwitch:
    """The flows, by table, priority and match."""

    def __init__(self, program: list[RandomFlow]) -> None:
        self._flows: dict[Match, RandomFlow] = {flow.match: flow for flow in program}

    # --- changes ---

    def apply(self, change: ProgramChange) -> list[str]:
        """Carry out a controller's request; return the monitor's events."""
        if change.verb == "add":
            new = RandomFlow(change.match, change.actions, change.cookie)
            key = next((match for match in self._flows if _same(match, change.match)), change.match)
            self._flows[key] = new
            return [_event("ADDED", new)]
        events = []
        for match, flow in list(self._flows.items()):
            if not self._is_about(change, flow):
                continue
            if change.verb == "del":
                del self._flows[match]
                events.append(_event("DELETED reason=delete", flow))
            else:
                self._flows[match] = replace(flow, actions=change.actions)
                events.append(_event("MODIFIED", self._flows[match]))
        return events

    @staticmethod
    def _is_about(change: ProgramChange, flow: RandomFlow) -> bool:
        if change.by_cookie and change.cookie != flow.cookie:
            return False
        if change.out_port is not None and f"output:{change.out_port}" not in flow.actions:
            return False
        return _same(change.match, flow.match) if change.strict else _within(flow.match, change.match)

    # --- traces ---

    def answer(self, question: str) -> TraceResult:
        """The answer for a packet, as SwitchQuestions gives it."""
        return parse_trace(self.trace(question))

    def trace(self, question: str) -> str:
        """The text of `ofproto/trace`."""
        fields = {_PORTS.get(name, name): value for name, value in split_fields(question).items()}
        packet: Packet = {"metadata": 0, "reg0": 0, "tun_id": 0}
        for name, value in fields.items():
            packet.update([_NUMBERS[name]] if name in _NUMBERS else [(name, _number(value))] if value else [])
        before = dict(packet)
        looked_at = {"in_port", "eth"}
        lines = self._table(0, packet, packet["in_port"], looked_at)
        names = [name for name in fields if name != "tun_id"]
        first = [name if name not in before else f"{name}={_text(name, before[name])}" for name in names]
        names += ["tun_dst"] if "tun_dst" in packet and "tun_dst" not in names else []
        final = [name if name not in packet else f"{name}={_text(name, packet[name])}" for name in names]
        return "\n".join(
            [f"Flow: {','.join(first)}", "", 'bridge("br-int")', "----------------", *lines, "",
             f"Final flow: {','.join(final)}", f"Megaflow: {','.join(sorted(looked_at))}", "Datapath actions: 1"]
        )  # fmt: skip

    def _table(self, table: int, packet: Packet, in_port: int, looked_at: set[str]) -> list[str]:
        here = [flow for flow in self._flows.values() if flow.match.table == table]
        looked_at.update(
            field.name for flow in here for field in flow.match.all_fields()
            if field.name not in ("metadata", "reg0") and field.name in packet
        )  # fmt: skip
        seen = {**packet, "in_port": in_port}
        found = [
            flow for flow in here
            if all(one.name in seen and one.holds(seen[one.name]) for one in flow.match.all_fields())
        ]  # fmt: skip
        if not found:
            return [f"{table:2}. No match.", "    drop"]
        flow = max(found, key=lambda one: one.match.priority)
        match = flow.match.text()
        lines = [f"{table:2}. {match + ', ' if match else ''}priority {flow.match.priority}, cookie {flow.cookie:#x}"]
        for action in flow.actions or ("drop",):
            lines += self._action(action, packet, looked_at)
        return lines

    def _action(self, action: str, packet: Packet, looked_at: set[str]) -> list[str]:
        if written := _SET.match(action):
            value, mask, name = _number(written[1]), written[2], _NAMES.get(written[3], written[3])
            packet[name] = packet.get(name, 0) & ~int(mask, 0) | value if mask else value
            shown = written[1] if name != "in_port" else str(value)
            field = written[3] if written[3] not in _NAMES or "[" not in written[3] else name
            return [f"    set_field:{shown}{'/' + mask if mask else ''}->{field}"]
        if moved := _MOVE.match(action):
            packet[_NAMES[moved[2]]] = packet[_NAMES[moved[1]]]
            return [f"    {action}", f"     -> {moved[2]} is now {packet[_NAMES[moved[2]]]:#x}"]
        if action.startswith(("goto_table:", "resubmit(")):
            port, table = re.findall(r"resubmit\((\d*),|(\d+)\)?$", action)[0][0], int(re.findall(r"\d+", action)[-1])
            return [f"    {action}", *self._table(table, packet, int(port or packet["in_port"]), looked_at)]
        return [f"    {({'in_port': 'IN_PORT', 'controller': 'CONTROLLER:65535'}).get(action, action)}"]


def _event(kind: str, flow: RandomFlow) -> str:
    event, _, reason = kind.partition(" ")
    actions = f" actions={','.join(flow.actions)}" if flow.actions else ""
    shown = [f"event={event}", reason, f"table={flow.match.table}", f"cookie={flow.cookie:#x}", flow.match.text()]
    return " " + " ".join(part for part in shown if part) + actions


def _same(one: Match, other: Match) -> bool:
    return (one.table, one.priority, set(one.all_fields())) == (other.table, other.priority, set(other.all_fields()))


def _within(flow: Match, wanted: Match) -> bool:
    """Whether every packet of a flow's match is one of the wanted ones."""
    fields = {field.name: field for field in flow.all_fields()}
    return flow.table == wanted.table and all(
        field.name in fields and _narrower(fields[field.name], field) for field in wanted.all_fields()
    )


def _narrower(field: Field, wanted: Field) -> bool:
    if wanted.mask is None:
        return field == wanted
    return (field.mask is None or not wanted.mask & ~field.mask) and wanted.holds(field.value)
