"""A flow as one line of text, and files of such lines, so that a test shows what a switch is given."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from hoverboard.contract.openflow.flow import CONTROLLER, FIELDS, IN_PORT, Action, Flow, Goto, Move, Output, SetField
from hoverboard.contract.openflow.pipeline import Table, kind_of, vni_of
from hoverboard.contract.packets import mac_text

_IPV4 = frozenset({"ipv4_src", "ipv4_dst", "arp_spa", "arp_tpa", "tun_ipv4_dst"})
_IPV6 = frozenset({"ipv6_src", "ipv6_dst", "ipv6_nd_target"})
_HEXADECIMAL = frozenset({"eth_type", "vlan_vid", "nd_reserved"})
_PORTS = {IN_PORT: "IN_PORT", CONTROLLER: "CONTROLLER"}


def lines(flows: Flow | Iterable[Flow]) -> list[str]:
    """Each flow as "TABLE priority KIND vni | matches | actions"; no actions is a drop."""
    return [_line(flow) for flow in ([flows] if isinstance(flows, Flow) else flows)]


def golden(name: str) -> dict[str, list[str]]:
    """A golden file: the lines under each "# title"; a line that begins with ";" explains."""
    found: dict[str, list[str]] = {}
    for line in (Path(__file__).parent / "golden" / name).read_text().splitlines():
        if line.startswith("# "):
            under = found.setdefault(line.removeprefix("# "), [])
        elif line and not line.startswith(";"):
            under.append(line)
    return found


def _line(flow: Flow) -> str:
    kind = kind_of(flow.cookie)
    assert kind is not None
    matches = [
        f"{match.field}={_value(match.field, match.value)}{_mask(match.field, match.mask)}" for match in flow.match
    ]
    place = f"{Table(flow.table).name} {flow.priority} {kind.name} {vni_of(flow.cookie)}"
    return f"{place} | {' '.join(matches)} | {', '.join(map(_action, flow.actions)) or 'drop'}"


def _value(field: str, value: int) -> str:
    if field in _IPV4:
        return str(IPv4Address(value))
    if field in _IPV6:
        return str(IPv6Address(value))
    if FIELDS[field].bits == 48:
        return mac_text(value)
    return f"{value:#x}" if field in _HEXADECIMAL else str(value)


def _mask(field: str, mask: int | None) -> str:
    if mask is None:
        return ""
    bits = FIELDS[field].bits
    length = mask.bit_count()
    return f"/{length}" if bits >= 32 and mask == (1 << bits) - (1 << bits - length) else f"/{mask:#x}"


def _action(action: Action) -> str:
    match action:
        case SetField(field, value):
            return f"{field}={_value(field, value)}"
        case Move(src, dst):
            return f"{dst}={src}"
        case Output(port):
            return f"output {_PORTS.get(port, port)}"
        case Goto(table):
            return f"goto {Table(table).name}"
        case _:
            return f"metadata={action.value}"
