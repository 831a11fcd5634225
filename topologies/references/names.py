"""Finds names that match nothing: a tag that no VM has, a prefix without an address, a rule that never decides.

Names of VMs and hosts that do not exist are errors, and the fabric manager rejects them. A tag may come later with
`vm add --tags`, so these findings are notices: a run comes up, and `up`, `apply` and `status` show them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from hoverboard.contract.checks.similar_names import listed, similar
from hoverboard.contract.entities import VM, AnyEntity, FirewallRule, Network, Route, Subnetwork

if TYPE_CHECKING:
    from hoverboard.contract.documents import Warned

Prefix = IPv4Network | IPv6Network
_NO_PACKET = ", and the rule matches no packet"


@dataclass(frozen=True, slots=True)
class Notice:
    """A part of an intent that has no effect.

    Attributes:
        where: "FirewallRule/web.targets", or "FILE:LINE: KEY" if it comes from a file.
        what: what has no effect, and why.
        next_step: how to correct it.
    """

    where: str
    what: str
    next_step: str

    def text(self) -> str:
        """The notice as a message."""
        return f"{self.where}: {self.what}\n  -> {self.next_step}"

    def document(self) -> Warned:
        """The notice as `--json` shows it."""
        return {"where": self.where, "what": self.what, "next_step": self.next_step}


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A field of an entity that matches nothing.

    Attributes:
        kind, name: of the entity.
        field: the field of the entity.
        what, next_step: see `Notice`.
    """

    kind: str
    name: str
    field: str
    what: str
    next_step: str

    def notice(self) -> Notice:
        """The notice that names the entity and the field."""
        return Notice(f"{self.kind}/{self.name}.{self.field}", self.what, self.next_step)


@dataclass(slots=True)
class _Members:
    """The names of one network that rules can match.

    Attributes:
        tags: of its VMs, in their order.
        vms: names of its VMs.
        ranges: prefixes of its subnetworks and of its routes.
    """

    tags: dict[str, None] = field(default_factory=dict)
    vms: dict[str, None] = field(default_factory=dict)
    ranges: list[Prefix] = field(default_factory=list)


class Members:
    """Tags, VMs and addresses by network."""

    def __init__(self, entities: Iterable[AnyEntity]) -> None:
        self._networks: dict[str, _Members] = {}
        for entity in entities:
            match entity:
                case Network():
                    self._of(entity.name)
                case Subnetwork():
                    self._of(entity.network).ranges.append(entity.prefix)
                    if entity.prefix6 is not None:
                        self._of(entity.network).ranges.append(entity.prefix6)
                case Route():
                    self._of(entity.network).ranges.append(entity.prefix)
                case VM():
                    members = self._of(entity.network)
                    members.vms[entity.name] = None
                    members.tags.update(dict.fromkeys(entity.tags))
                case _:
                    pass

    def _of(self, network: str) -> _Members:
        return self._networks.setdefault(network, _Members())

    @property
    def networks(self) -> list[str]:
        """Names of the networks."""
        return list(self._networks)

    @property
    def vms(self) -> list[str]:
        """Names of the VMs of all networks."""
        return [name for members in self._networks.values() for name in members.vms]

    def has_tag(self, network: str, tag: str) -> bool:
        """Whether a VM of the network has the tag."""
        return tag in self._of(network).tags

    def ranges(self, network: str | None = None) -> list[Prefix]:
        """Prefixes of subnetworks and routes, of one network or of all."""
        if network is not None:
            return self._of(network).ranges
        return [prefix for members in self._networks.values() for prefix in members.ranges]

    def tag_step(self, network: str, tag: str) -> str:
        """The next step for a tag that no VM of the network has."""
        here = self._of(network)
        known = f"tags here: {listed(here.tags)}" if here.tags else f"no VM of {network!r} has tags"
        others = [name for name, members in self._networks.items() if tag in members.tags]
        close = similar(tag, here.tags)
        if tag in here.vms:
            guess = f"did you mean the VM {tag}? give it `tags: [{tag}]`"
        elif close is not None:
            guess = f"did you mean `{close}`?"
        elif others:
            guess = f"VMs of {others[0]!r} have it, and a rule is for the VMs of its own network"
        elif (vm := similar(tag, here.vms)) is not None:
            guess = f"did you mean the VM {vm}? give it `tags:`, and name the tag"
        else:
            guess = f"give a VM `tags: [{tag}]`, or correct the name"
        return f"{known}; {guess}"


# --- names that nobody has ------------------------------------------------------------------------


def unmatched(entities: Iterable[AnyEntity]) -> list[Unmatched]:
    """The fields of firewall rules that match nothing, in the order of the entities.

    Names that the fabric manager itself rejects are not among them: next hops, backends, hosts and networks.
    """
    entities = list(entities)
    rules = [entity for entity in entities if isinstance(entity, FirewallRule)]
    if not rules:
        return []
    members = Members(entities)
    return [found for rule in rules for found in _of_rule(rule, members)]


def _of_rule(rule: FirewallRule, members: Members) -> Iterator[Unmatched]:
    network = rule.network
    wanting = [tag for tag in rule.targets if not members.has_tag(network, tag)]
    effect = _NO_PACKET if len(wanting) == len(rule.targets) else ""
    for tag in wanting:
        what = f"no VM of {network!r} has the tag {tag!r}{effect}"
        yield _found(rule, "targets", what, members.tag_step(network, tag))
    strange = [tag for tag in rule.tags if not members.has_tag(network, tag)]
    empty = [prefix for prefix in rule.prefixes if not meets(prefix, members.ranges(network))]
    nobody = len(strange) + len(empty) == len(rule.tags) + len(rule.prefixes)
    effect = _NO_PACKET if nobody else ""
    for tag in strange:
        what = f"no VM of {network!r} has the tag {tag!r}{effect}"
        yield _found(rule, "tags", what, members.tag_step(network, tag))
    for prefix in empty:
        here = listed(map(str, members.ranges(network)))
        step = f"addresses here: {here}; correct the prefix, or add a subnet or a route"
        yield _found(rule, "prefixes", f"no address of {network!r} is in {prefix}{effect}", step)
    if rule.protocol == "icmpv6" and not any(one.version == 6 for one in members.ranges(network)):
        what = f"network {network!r} has no IPv6 addresses{_NO_PACKET}"
        yield _found(rule, "protocol", what, "use `icmp`, or give the network a `subnet6`")


def _found(rule: FirewallRule | Route, where: str, what: str, step: str) -> Unmatched:
    return Unmatched(rule.TYPE, rule.name, where, what, step)


def meets(prefix: Prefix, ranges: Iterable[Prefix]) -> bool:
    """Whether an address of `prefix` is in one of the ranges."""
    return any(prefix.version == one.version and prefix.overlaps(one) for one in ranges)


# --- rules and routes that never decide -----------------------------------------------------------


def shadowed(entities: Iterable[AnyEntity]) -> list[Unmatched]:
    """Firewall rules for whose packets another rule decides otherwise, and routes that are never used.

    A rule that repeats another one does what it says, and is not among them.
    """
    rules: dict[tuple[str, str], list[FirewallRule]] = {}
    routes: dict[tuple[str, IPv4Network], list[Route]] = {}
    for entity in entities:
        if isinstance(entity, FirewallRule):
            rules.setdefault((entity.network, entity.direction), []).append(entity)
        elif isinstance(entity, Route):
            routes.setdefault((entity.network, entity.prefix), []).append(entity)
    found = []
    for together in rules.values():
        ranked = sorted(together, key=_rank)
        for at, rule in enumerate(ranked):
            first = next((one for one in ranked[:at] if one.action != rule.action and covers(one, rule)), None)
            if first is not None:
                what = f"rule {first.name!r} decides first for all its packets: {first.action}"
                step = f"give it a lower `priority` than {first.priority}, or remove it"
                found.append(_found(rule, "priority", what, step))
    for same in routes.values():
        used, *others = sorted(same, key=lambda route: route.priority)
        for route in others:
            what = f"route {used.name!r} has the same prefix and a lower `priority`, and takes all its packets"
            found.append(
                _found(route, "priority", what, f"give it a lower `priority` than {used.priority}, or remove it")
            )
    return found


def _rank(rule: FirewallRule) -> tuple[int, bool]:
    """The place of a rule in the order in which rules decide: at equal priority, deny comes first."""
    return rule.priority, rule.action == "allow"


def covers(first: FirewallRule, rule: FirewallRule) -> bool:
    """Whether `first` matches every packet that `rule` matches; both are of one network and one direction."""
    return _covers_targets(first, rule) and _covers_ends(first, rule) and _covers_packets(first, rule)


def _covers_targets(first: FirewallRule, rule: FirewallRule) -> bool:
    return not first.targets or (bool(rule.targets) and set(rule.targets) <= set(first.targets))


def _covers_ends(first: FirewallRule, rule: FirewallRule) -> bool:
    if not first.prefixes and not first.tags:
        return True
    if not rule.prefixes and not rule.tags:
        return False
    return set(rule.tags) <= set(first.tags) and all(
        any(prefix.version == one.version and prefix.subnet_of(one) for one in first.prefixes)  # type: ignore[arg-type]
        for prefix in rule.prefixes
    )


def _covers_packets(first: FirewallRule, rule: FirewallRule) -> bool:
    if first.protocol == "any":
        return True
    if first.protocol != rule.protocol:
        return False
    return not first.ports or (
        bool(rule.ports)
        and all(any(low <= begin and end <= high for low, high in first.ports) for begin, end in rule.ports)
    )
