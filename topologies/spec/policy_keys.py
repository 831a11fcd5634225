"""The policy of a network in a topology file: its firewall, its load balancers and its routes (paper section 3.1).

Keys only: what each means is said where the fabric manager's entities are declared, which these become.
What does not fit together is found by asking a fabric manager's store, so that a file and a request are
judged alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Network
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
    LoadBalancer,
    Name,
    Ports,
    Route,
    Tags,
)
from hoverboard.contract.errors import EntityError
from topologies.spec.faults import Fault
from topologies.spec.yaml_reader import Path, Positions

Policy = Route | FirewallRule | LoadBalancer


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RuleKeys(_Keys):
    """A firewall rule: of those that are about a packet the lowest priority decides, at equal ones a denial."""

    name: Name
    direction: Literal["ingress", "egress"] = Field(description="packets to, or from, the VMs that it is for")
    action: FirewallAction
    priority: Annotated[int, Field(ge=0, le=MAX_RULE_PRIORITY, strict=True)] = 1000
    targets: Tags = Field((), description="tags of the VMs that it is for; default: all of the network")
    prefixes: Annotated[tuple[IPv4Network | IPv6Network, ...], Field(max_length=MAX_PREFIXES)] = Field(
        (), description="the other ends; default: anywhere"
    )
    tags: Tags = Field((), description="the other ends: VMs with these tags")
    protocol: Literal["any", "tcp", "udp", "icmp", "icmpv6"] = "any"
    ports: Ports = Field((), description="destination ports such as 22 or 8000-8099; default: any")


class FirewallKeys(_Keys):
    """What a network's hosts do with packets to (ingress) and from (egress) its VMs."""

    ingress: FirewallAction = Field("allow", description="where no rule is about the packet")
    egress: FirewallAction = Field("allow", description="where no rule is about the packet")
    rules: list[RuleKeys] = Field(default_factory=list)


class BalancerKeys(_Keys):
    """An address that several VMs share: each flow goes to one of them."""

    name: Name
    ip: IPv4Address = Field(description="a free address of the network")
    backends: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_BACKENDS)] = Field(
        description="VMs of the network"
    )
    protocol: Literal["any", "tcp", "udp"] = "any"
    ports: Ports = Field((), description="destination ports that are served; default: all")


class RouteKeys(_Keys):
    """Addresses behind a VM."""

    name: Name | None = Field(None, description="default: NETWORK.PREFIX")
    prefix: IPv4Network
    next_hop: Name = Field(description="a VM of the network")
    priority: Annotated[int, Field(ge=0, le=65535, strict=True)] = 1000


class NetworkPolicy(Protocol):
    """What the keys of a network say about its policy."""

    name: str
    firewall: FirewallKeys
    load_balancers: list[BalancerKeys]
    routes: list[RouteKeys]


def policy(network: NetworkPolicy, path: Path) -> Iterator[tuple[Path, type[Entity], dict[str, Any]]]:
    """(place, type, parameters) of what a network's keys say."""
    for index, route in enumerate(network.routes):
        name = route.name or f"{network.name}.{str(route.prefix).replace('/', '_')}"
        yield (*path, "routes", index), Route, {**dict(route), "name": name}
    for index, rule in enumerate(network.firewall.rules):
        yield (*path, "firewall", "rules", index), FirewallRule, dict(rule)
    for index, balancer in enumerate(network.load_balancers):
        yield (*path, "load_balancers", index), LoadBalancer, dict(balancer)


class PolicyReader:
    """Makes the entities of a file's policies and remembers where each stands."""

    def __init__(self, positions: Positions) -> None:
        self.faults: list[Fault] = []
        self._positions = positions
        self._places: dict[tuple[str, str], Path] = {}

    def read(self, network: NetworkPolicy, path: Path) -> tuple[Policy, ...]:
        """The entities of one network; what each alone gets wrong is a fault."""
        found: list[Policy] = []
        for place, kind, parameters in policy(network, path):
            try:
                entity = kind.model_validate({**parameters, "network": network.name})
            except ValidationError as error:
                for item in error.errors(include_url=False):
                    what = str(item["msg"]).removeprefix("Value error, ")
                    self._fault((*place, *item["loc"]), what[0].lower() + what[1:], "correct the value")
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
        """What the fabric manager would refuse is a fault where it stands."""
        wanted = list(policies)
        if not wanted:
            return
        from controllers.fm.intent_store import (
            IntentStore,  # gRPC's messages come with it: only files with a policy pay
        )

        fabric = IntentStore()
        fabric.full_update(list(others))
        for entity in wanted:
            try:
                fabric.diff([entity], [])
            except EntityError as refused:
                field = (refused.where or "").rpartition(".")[2]
                place = self._places[entity.TYPE, entity.name]
                self._fault((*place, field), refused.what, refused.next_step or "correct the value")

    def _fault(self, path: Path, what: str, next_step: str) -> None:
        self.faults.append(self._positions.fault(path, what, next_step))
