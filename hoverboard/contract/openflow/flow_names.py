"""Words for flows and drops: the only place that turns a cookie, or a drop reason with its cookie, into a sentence.

A cookie has a VNI and the number of a firewall rule. `FlowNames` has the names that belong to them. The number is a
hash of the rule's name. So all controllers give a rule the same number, now and after a restart, without a table. Two
names of one network with the same number are rare; then both are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

# pydantic cannot read typing's own TypedDict before Python 3.12.
from typing_extensions import TypedDict

from hoverboard.contract.openflow.shares import GLOBAL
from hoverboard.contract.openflow.tables import MAX_RULE_NUMBER, Kind, drop_reason, kind_of, rule_of, vni_of

_PURPOSES = {
    Kind.PLUMBING: "goes on to the next table",
    Kind.VPORT: "what a VM may send as",
    Kind.ARP_ANSWER: "the gateway's answer to ARP",
    Kind.PING_ANSWER: "the gateway's answer to ping",
    Kind.ND_ANSWER: "the gateway's answer to neighbour discovery",
    Kind.LOCAL: "delivery to a VM of this host",
    Kind.ROUTE: "route to another host",
    Kind.OFFLOAD: "offload of a VM pair",
    Kind.TO_HOVERBOARD: "default route to a Hoverboard",
    Kind.LEARN: "default route to a Hoverboard that answers questions for direct routes",
    Kind.LEARNED: "route that this host has learned",
    Kind.RELAY: "relay to the VM's host",
    Kind.PUNT: "question to the controller",
    Kind.BALANCE: "load balancer",
}
_DROPS = {
    Kind.DROP_UNKNOWN_PORT: "no VM is plugged in at that port",
    Kind.DROP_SPOOFED: "the source MAC or address is not the VM's own",
    Kind.DROP_NO_IPV6: "the VM has no IPv6 address",
    Kind.DROP_UNKNOWN_VNI: "no network with that VNI is here",
    Kind.DROP_ARP_NOT_GATEWAY: "only the gateway answers ARP",
    Kind.DROP_NO_ROUTE: "no route to the destination",
    Kind.DROP_NO_SUCH_VM: "the VM is not plugged in here",
    Kind.DROP_VLAN: "a VLAN tag",
    Kind.DROP_MULTICAST: "IPv6 multicast",
    Kind.DROP_LINK_LOCAL: "a link-local address is not routed",
    Kind.DROP_ND_NOT_GATEWAY: "only the gateway answers neighbour discovery",
    Kind.DROP_UNKNOWN_DESTINATION: "the controller knows no such VM",
}
_FIREWALL = {
    Kind.FIREWALL: ("allowed", "firewall"),
    Kind.DROP_FIREWALL_EGRESS: ("denied", "egress policy"),
    Kind.DROP_FIREWALL_INGRESS: ("denied", "ingress policy"),
}


def rule_number(name: str) -> int:
    """The number of a firewall rule in the cookies of its flows: 1 to MAX_RULE_NUMBER, from its name alone."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") % MAX_RULE_NUMBER + 1


class NamesDocument(TypedDict):
    """`FlowNames` as JSON: name of each network by its VNI as text, and the names of its firewall rules."""

    networks: dict[str, str]
    rules: dict[str, list[str]]


class FlowNames:
    """The names of networks and firewall rules.

    Args:
        networks: name of each network, by VNI.
        rules: (VNI, name) of each firewall rule.
    """

    def __init__(self, networks: Mapping[int, str], rules: Iterable[tuple[int, str]] = ()) -> None:
        self.networks = dict(networks)
        self._rules: dict[tuple[int, int], list[str]] = {}
        for vni, name in sorted(rules):
            self._rules.setdefault((vni, rule_number(name)), []).append(name)

    @classmethod
    def read(cls, document: NamesDocument) -> FlowNames:
        """The names in a document that `document` made."""
        rules = [(int(vni), name) for vni, names in document["rules"].items() for name in names]
        return cls({int(vni): name for vni, name in document["networks"].items()}, rules)

    def document(self) -> NamesDocument:
        """The names as JSON."""
        rules: dict[str, list[str]] = {}
        for (vni, _number), names in self._rules.items():
            rules.setdefault(str(vni), []).extend(names)
        return {"networks": {str(vni): name for vni, name in self.networks.items()}, "rules": rules}

    def network(self, vni: int) -> str:
        """The name of a network; "VNI 7" if it is not known."""
        return self.networks.get(vni, f"VNI {vni}")

    def rules(self, cookie: int) -> list[str]:
        """The names of the firewall rules with the number in a cookie: mostly one; none if there is no such rule."""
        return self._rules.get((vni_of(cookie), rule_of(cookie)), [])


NO_NAMES = FlowNames({})


def _firewall(kind: Kind, cookie: int, names: FlowNames) -> str:
    done, policy = _FIREWALL[kind]
    network = names.network(vni_of(cookie))
    if not rule_of(cookie):
        return f"{done} by the {policy} of {network}"
    rules = names.rules(cookie)
    if not rules:
        return f"{done} by a rule of {network} that is not known (any more)"
    return f"{done} by rule {' or '.join(rules)} of {network}"


def purpose(cookie: int, names: FlowNames = NO_NAMES) -> str:
    """The purpose of a flow in words: "allowed by rule http of blue", "offload of a VM pair (blue)"."""
    kind = kind_of(cookie)
    if kind is None:
        return "not a flow of the pipeline"
    if kind in _FIREWALL:
        words = _firewall(kind, cookie, names)
    else:
        vni = vni_of(cookie)
        of = f" ({names.network(vni)})" if vni else ""
        words = f"drop: {_DROPS[kind]}{of}" if kind in _DROPS else f"{_PURPOSES[kind]}{of}"
    return f"{words}; from a global control plane" if cookie & GLOBAL.cookie else words


def cause(cookie: int, names: FlowNames = NO_NAMES) -> str:
    """Why a drop flow drops, in words: "denied by rule http of blue"; "" for another flow."""
    kind = kind_of(cookie)
    if kind is None or drop_reason(kind) is None:
        return ""
    if kind in _FIREWALL:
        return _firewall(kind, cookie, names)
    return _DROPS[kind]


def dropped(reason: str, cookie: int = 0, names: FlowNames = NO_NAMES) -> str:
    """A drop in words: "firewall-ingress (denied by rule http of blue)".

    Args:
        reason: the drop reason, as `status` counts it.
        cookie: of the OpenFlow flow that dropped; 0: no flow did.
        names: the names to use.
    """
    kind = kind_of(cookie)
    if kind is None or drop_reason(kind) != reason:
        return reason  # the engine's own reason: no flow decided it
    return f"{reason} ({cause(cookie, names)})"
