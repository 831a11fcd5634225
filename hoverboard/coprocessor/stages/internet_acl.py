"""Internet ACL: ordered rules for packets between a VM and the Internet (paper section 4.4).

The first matching rule decides; without one, the default does. Rules match the other end: the destination of egress
packets, the source of ingress packets. Answers to allowed packets are not tracked: the firewall does that.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainValidator
from typing_extensions import override

from hoverboard.coprocessor import headers
from hoverboard.coprocessor.headers import Headers
from hoverboard.coprocessor.stage import ConfiguredStage, Packet, StageConfig

DENIED, NOT_IP = "acl-denied", "acl-not-ip"
_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "sctp": 132, "icmpv6": 58}
_REMEMBERED = 8192  # decisions in the cache; it is emptied when full

Verdict = Literal["allow", "deny"]


def _ports(text: str) -> str:
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text)
    if not match or not int(match[1]) <= int(match[2] or match[1]) <= 65535:
        raise ValueError(f"{text!r} is neither a port nor a range like 8000-8080")
    return text


def _protocol(text: str) -> str:
    if text not in _PROTOCOLS and not (text.isdigit() and int(text) < 256):
        raise ValueError(f"{text!r} is not a protocol: use {', '.join(_PROTOCOLS)} or a number below 256")
    return text


def _prefix(value: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(str(value))
    except ValueError as error:
        raise ValueError(f"{error}; a prefix is like 203.0.113.0/24") from None


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Prefix = Annotated[IPv4Network | IPv6Network, PlainValidator(_prefix)]
Ports = Annotated[str, BeforeValidator(_as_text), AfterValidator(_ports)]
Protocol = Annotated[str, BeforeValidator(_as_text), AfterValidator(_protocol)]


class AclRule(StageConfig):
    """One rule; an empty list matches everything.

    Attributes:
        action: "allow" or "deny" for the packets that match.
        prefixes: prefixes of the other end's address.
        protocols: names or numbers.
        ports: destination ports, single or ranges like "8000-8080". Later fragments have no ports and do not match a
            rule with ports.
        direction: direction of the packets.
    """

    action: Verdict
    prefixes: tuple[Prefix, ...] = ()
    protocols: tuple[Protocol, ...] = ()
    ports: tuple[Ports, ...] = ()
    direction: Literal["egress", "ingress", "both"] = "both"


class AclConfig(StageConfig):
    """Rules in order, and the action for packets that match none."""

    rules: tuple[AclRule, ...] = ()
    default: Verdict = "allow"


class _Compiled:
    """A rule, converted to integers."""

    def __init__(self, rule: AclRule) -> None:
        self.allow = rule.action == "allow"
        self.direction = rule.direction
        self.prefixes = [(one.max_prefixlen // 8, int(one.network_address), int(one.netmask)) for one in rule.prefixes]
        self.protocols = {_PROTOCOLS.get(one) or int(one) for one in rule.protocols}
        bounds = [one.partition("-") for one in rule.ports]
        self.ports = [(int(low), int(high or low)) for low, _, high in bounds]

    def matches(self, direction: str, address: bytes, protocol: int, port: int, portless: bool) -> bool:
        if self.direction not in ("both", direction) or (self.protocols and protocol not in self.protocols):
            return False
        if self.prefixes:
            value, size = int.from_bytes(address, "big"), len(address)
            if not any(size == length and value & mask == network for length, network, mask in self.prefixes):
                return False
        return not self.ports or (not portless and any(low <= port <= high for low, high in self.ports))


class InternetAcl(ConfiguredStage[AclConfig]):
    """Drops the packets that the rules deny."""

    name = "internet-acl"
    Config = AclConfig

    @override
    def setup(self) -> None:
        self._rules = [_Compiled(rule) for rule in self.config.rules]
        self._default = self.config.default == "allow"
        self._decided: dict[tuple[Any, ...], bool] = {}
        self._allowed = self._denied = 0

    def statistics(self) -> dict[str, Any]:
        """Packets allowed and denied."""
        return {"allowed": self._allowed, "denied": self._denied}

    def process(self, batch: list[Packet]) -> list[Packet]:
        """The packets that the rules allow."""
        going = []
        for packet in batch:
            header = headers.read(packet.frame)
            if header is None:
                packet.drop(NOT_IP)
            elif self._allows(packet.direction, header):
                going.append(packet)
            else:
                packet.drop(DENIED)
        self._allowed += len(going)
        self._denied += len(batch) - len(going)
        return going

    def _allows(self, direction: str, header: Headers) -> bool:
        address = header.destination if direction == "egress" else header.source
        portless = header.fragment or header.protocol not in (headers.TCP, headers.UDP)
        key = (direction, address, header.protocol, header.destination_port, portless)
        verdict = self._decided.get(key)
        if verdict is None:
            if len(self._decided) >= _REMEMBERED:
                self._decided.clear()
            first = next((rule for rule in self._rules if rule.matches(*key)), None)
            verdict = self._decided[key] = first.allow if first is not None else self._default
        return verdict
