"""The firewall of a network on one VM host, the same under every programming model (paper section 4.3.1).

All rules of a network form one scope on a switch: equal rules give one flow, which names the first of them. A rule
that names tags costs a host one flow for each pair of VMs on it that the tags select.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from controllers.vmc.view.intent import View, addresses
from hoverboard.contract.entities import VM, FirewallRule, Network
from hoverboard.contract.openflow.flow import Flow, FlowKey
from hoverboard.contract.openflow.policy import Prefix, firewall_policy_flows, firewall_rule_flows


def firewall_flows(
    view: View, switch: str, network: Network, among: Callable[[VM], bool] | None = None
) -> tuple[Flow, ...]:
    """The firewall flows on a host's switch; none if the network has no firewall, or no VM on this host.

    `switch` is the name of the VM host. With `among`, the `tags` of a rule select only VMs for which it is true.
    """
    if not view.guarded(network.name) or not view.present(switch, network.name):
        return ()
    ipv6 = view.speaks_ipv6(network.name)
    gateways = [subnetwork.gateway_address for subnetwork in view.subnetworks.get(network.name, {}).values()]
    flows: dict[FlowKey, Flow] = {}
    for flow in firewall_policy_flows(network.vni, network.ingress, network.egress, gateways, ipv6=ipv6):
        flows[flow.key] = flow
    for _, rule in sorted(view.rules.get(network.name, {}).items()):  # all controllers name the same rule
        for flow in _rule_flows(view, switch, network, rule, ipv6, among):
            flows.setdefault(flow.key, flow)
    return tuple(flows.values())


def _rule_flows(
    view: View, switch: str, network: Network, rule: FirewallRule, ipv6: bool, among: Callable[[VM], bool] | None
) -> Iterator[Flow]:
    targets = None
    if rule.targets:
        targets = [vm.mac for vm in view.tagged(network.name, rule.targets) if vm.host == switch]
    prefixes: list[Prefix] | None = None
    if rule.prefixes or rule.tags:
        prefixes = list(rule.prefixes)
        for vm in view.tagged(network.name, rule.tags):
            if among is None or among(vm):
                prefixes += [_only(address) for address in addresses(vm)]
    return firewall_rule_flows(
        rule.name, network.vni, rule.direction, rule.action, rule.priority,
        targets=targets, prefixes=prefixes, protocol=rule.protocol, ports=rule.ports, ipv6=ipv6,
    )  # fmt: skip


def _only(address: IPv4Address | IPv6Address) -> Prefix:
    return IPv4Network(address) if address.version == 4 else IPv6Network(address)
