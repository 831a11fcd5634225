"""The policy of a network in a topology file: firewall, load balancers and routes (paper section 3.1).

The keys become entities of the fabric manager; `hoverboard.contract.entities` declares what they mean. The fabric
manager's own store checks them together, so that a file and a request follow the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hoverboard.contract.entities import (
    MAX_BACKENDS,
    MAX_PREFIXES,
    MAX_RULE_PRIORITY,
    AnyEntity,
    Entity,
    FirewallAction,
    FirewallRule,
    Ip4,
    LoadBalancer,
    Name,
    Ports,
    Route,
    RoutedPrefix,
    Tags,
)
from hoverboard.contract.errors import EntityError
from topologies.spec.faults import Fault, explain
from topologies.spec.yaml_reader import Path, Positions

Policy = Route | FirewallRule | LoadBalancer


# An empty list would read as "nobody" and mean "everybody".
_SomeTags = Annotated[Tags, Field(min_length=1)]
_SomePorts = Annotated[Ports, Field(min_length=1)]


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RuleKeys(_Keys):
    """A firewall rule. The matching rule with the lowest priority decides; at equal priority, deny wins."""

    name: Name
    direction: Literal["ingress", "egress"] = Field(
        description="ingress: packets to the VMs of the rule; egress: packets from them"
    )
    action: FirewallAction
    priority: Annotated[int, Field(ge=0, le=MAX_RULE_PRIORITY, strict=True)] = Field(
        1000, description="the matching rule with the lowest number decides"
    )
    targets: _SomeTags = Field(
        (), description="tags: the rule is for VMs of the network that have one of them; default: for all its VMs"
    )
    prefixes: Annotated[tuple[IPv4Network | IPv6Network, ...], Field(min_length=1, max_length=MAX_PREFIXES)] = Field(
        (), description="the other end is an address in one of these; neither prefixes nor tags: anywhere"
    )
    tags: _SomeTags = Field((), description="or the other end is a VM of the network that has one of these tags")
    protocol: Literal["any", "tcp", "udp", "icmp", "icmpv6"] = "any"
    ports: _SomePorts = Field((), description="destination ports such as 22 or 8000-8099; default: any")


class FirewallKeys(_Keys):
    """The firewall of a network: for packets to its VMs (ingress) and from its VMs (egress)."""

    ingress: FirewallAction = Field("allow", description="for packets to a VM that match no rule")
    egress: FirewallAction = Field("allow", description="for packets from a VM that match no rule")
    rules: list[RuleKeys] = Field(default_factory=list)


class BalancerKeys(_Keys):
    """A load balancer: an address that several VMs share. Each flow goes to one of them."""

    name: Name
    ip: Ip4 = Field(description="an address of the network that no VM has")
    backends: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_BACKENDS)] = Field(
        description="names of VMs of the network"
    )
    protocol: Literal["any", "tcp", "udp"] = "any"
    ports: _SomePorts = Field((), description="destination ports such as 80 or 8000-8099; default: all")


class RouteKeys(_Keys):
    """A route: the VM `next_hop` forwards packets for the addresses of `prefix`."""

    name: Name | None = Field(None, description="default: NETWORK.PREFIX")
    prefix: RoutedPrefix
    next_hop: Name = Field(description="name of a VM of the network")
    priority: Annotated[int, Field(ge=0, le=65535, strict=True)] = Field(
        1000, description="of routes with equal prefixes, the one with the lowest number is used"
    )


class NetworkPolicy(Protocol):
    """The keys of a network that are about its policy."""

    name: str
    firewall: FirewallKeys
    load_balancers: list[BalancerKeys]
    routes: list[RouteKeys]


def policy(network: NetworkPolicy, path: Path) -> Iterator[tuple[Path, type[Entity], dict[str, Any]]]:
    """(path, entity type, parameters) of each route, firewall rule and load balancer of a network."""
    for index, route in enumerate(network.routes):
        name = route.name or f"{network.name}.{str(route.prefix).replace('/', '_')}"
        yield (*path, "routes", index), Route, {**dict(route), "name": name}
    for index, rule in enumerate(network.firewall.rules):
        yield (*path, "firewall", "rules", index), FirewallRule, dict(rule)
    for index, balancer in enumerate(network.load_balancers):
        yield (*path, "load_balancers", index), LoadBalancer, dict(balancer)


class PolicyReader:
    """Makes entities of the policies of a file, and remembers the path of each.

    Attributes:
        faults: found so far.
    """

    def __init__(self, positions: Positions) -> None:
        self.faults: list[Fault] = []
        self._positions = positions
        self._places: dict[tuple[str, str], Path] = {}

    def read(self, network: NetworkPolicy, path: Path) -> tuple[Policy, ...]:
        """The policy entities of one network; an invalid one is left out and becomes a fault."""
        found: list[Policy] = []
        for place, kind, parameters in policy(network, path):
            try:
                entity = kind.model_validate({**parameters, "network": network.name})
            except ValidationError as error:
                for item in error.errors(include_url=False):
                    self._fault((*place, *item["loc"]), *explain(item))
                continue
            assert isinstance(entity, Route | FirewallRule | LoadBalancer)
            first = self._places.setdefault((entity.TYPE, entity.name), place)
            if first != place:
                line = self._positions.line(first)
                self._fault(
                    (*place, "name"), f"duplicate name {entity.name!r}, first used on line {line}",
                    f"give each {entity.TYPE} its own name, also in different networks",
                )  # fmt: skip
                continue
            found.append(entity)
        return tuple(found)

    def check(self, others: Iterable[AnyEntity], policies: Iterable[Policy]) -> None:
        """Add a fault for each policy that the fabric manager would reject.

        Args:
            others: all entities that are not policies.
            policies: in the order of the file.
        """
        wanted = list(policies)
        if not wanted:
            return
        from controllers.fm.intent_store import IntentStore  # imports gRPC: only files with a policy pay for that

        fabric = IntentStore()
        fabric.full_update(list(others))
        for entity in wanted:
            try:
                fabric.diff([entity], [])
            except EntityError as refused:
                field = (refused.where or "").rpartition(".")[2]
                place = self._places[entity.TYPE, entity.name]
                self._fault((*place, field), refused.what, refused.next_step or "correct the value")

    def place(self, kind: str, name: str) -> Path:
        """The path of a policy in the file."""
        return self._places[kind, name]

    def _fault(self, path: Path, what: str, next_step: str) -> None:
        self.faults.append(self._positions.fault(path, what, next_step))
