"""The stages of each flow: chosen once, at its flow miss, and stored in its flow-table entry (paper 4.3.1, 4.4). Pure.

Rules come from the topology. Their order is that of egress packets: the stage nearest the fabric is
last. Ingress packets pass the same stages in reverse order, so they are decrypted before another stage reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hoverboard.contract.errors import InputError
from hoverboard.contract.packets import Address
from hoverboard.coprocessor.stage import Direction

Prefix = IPv4Network | IPv6Network
_WORDS = ("any", "internet", "other-host", "other-region")

# Prefixes that are not the Internet, by default: RFC 1918, 6598, 3927, 4193, 4291, multicast, broadcast.
INTERNAL: tuple[Prefix, ...] = tuple(
    ip_network(prefix)
    for prefix in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8",
        "224.0.0.0/4", "255.255.255.255/32", "fc00::/7", "fe80::/10", "ff00::/8", "::1/128",
    )
)  # fmt: skip


def _target(text: str) -> str:
    if text in _WORDS:
        return text
    try:
        return str(ip_network(text))
    except ValueError:
        raise ValueError(f"{text!r} is neither a prefix nor one of {', '.join(_WORDS)}") from None


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class When(_Model):
    """The flows that a rule applies to: all keys must match.

    Attributes:
        to: the other end: "any", "internet", "other-host", "other-region" or a prefix.
        vms, networks: names; empty: all.
        direction: direction of the packets.
    """

    to: Annotated[str, AfterValidator(_target)] = "any"
    vms: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    direction: Literal["egress", "ingress", "both"] = "both"


class StageRule(_Model):
    """A stage, its configuration, and the flows that it applies to.

    Attributes:
        stage: name of an entry point, or FILE.py[:Class].
        config: configuration of the stage; the stage checks it.
    """

    stage: Annotated[str, Field(min_length=1)]
    config: dict[str, Any] = {}
    when: When = When()


class StageSpec(NamedTuple):
    """A stage and its configuration as a value: flows of a VM with equal specs share one stage object."""

    stage: str
    config: str  # canonical JSON

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration, decoded."""
        read: dict[str, Any] = json.loads(self.config)
        return read


@dataclass(frozen=True, slots=True)
class FlowFacts:
    """The facts about a flow at the miss of its first packet.

    Attributes:
        vm, network: the VM of this host that has the flow, and its network.
        direction: "egress": the VM sends.
        remote: the other end's inner address: destination of egress packets, source of ingress packets.
        peer: the other host's underlay address. None: the other end is on this host.
        region, peer_region: regions of this host and of the other; None: no region.
    """

    vm: str
    network: str
    direction: Direction
    remote: Address
    peer: IPv4Address | None = None
    region: str | None = None
    peer_region: str | None = None


class StagePolicy:
    """The rules of a host, checked.

    Args:
        rules: in the order of egress packets.
        internal: prefixes that are not the Internet.
    """

    def __init__(self, rules: Sequence[StageRule], internal: Sequence[Prefix] = INTERNAL) -> None:
        self._internal = tuple(internal)
        self._rules = [
            (rule.when, StageSpec(rule.stage, json.dumps(rule.config, sort_keys=True, default=str))) for rule in rules
        ]

    @classmethod
    def read(cls, rules: Sequence[Mapping[str, Any]], *, where: str = "coprocessors") -> StagePolicy:
        """A policy from its configuration.

        Raises:
            InputError: the first fault, with the rule and the key.
        """
        read = []
        for number, rule in enumerate(rules):
            try:
                read.append(StageRule.model_validate(rule))
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                key = "".join(f".{part}" for part in first["loc"])
                what = "no such key" if first["type"] == "extra_forbidden" else first["msg"]
                raise InputError(
                    what.removeprefix("Value error, "),
                    where=f"{where}[{number}]{key}",
                    next_step="a rule is {stage, config, when: {to, vms, networks, direction}}",
                ) from None
        return cls(read)

    @property
    def stages(self) -> list[StageSpec]:
        """All stages that the rules name, once each; used to check them before the host starts."""
        return list(dict.fromkeys(spec for _, spec in self._rules))

    def chain(self, facts: FlowFacts) -> tuple[StageSpec, ...]:
        """The stages of a flow in the order in which its packets pass them; () for most flows."""
        chosen = [spec for when, spec in self._rules if self._fits(when, facts)]
        if facts.direction == "ingress":
            chosen.reverse()
        return tuple(dict.fromkeys(chosen))

    def _fits(self, when: When, facts: FlowFacts) -> bool:
        if when.direction not in ("both", facts.direction):
            return False
        if (when.vms and facts.vm not in when.vms) or (when.networks and facts.network not in when.networks):
            return False
        match when.to:
            case "any":
                return True
            case "other-host":
                return facts.peer is not None
            case "other-region":
                # A host without a region is in no region: packets to it leave the region.
                return facts.peer is not None and (facts.region is None or facts.peer_region != facts.region)
            case "internet":
                return not any(_inside(facts.remote, prefix) for prefix in self._internal)
            case prefix:
                return _inside(facts.remote, ip_network(prefix))


def _inside(address: Address, prefix: Prefix) -> bool:
    return address.version == prefix.version and address in prefix
