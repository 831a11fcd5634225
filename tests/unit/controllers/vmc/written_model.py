"""A programming model that answers what a test has written down, so that groups of flows can be followed one by one."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import ClassVar

from controllers.vmc.view.flow_scopes import LookupScope, NetworkScope, OffloadScope, RouteScope, Scope, VmScope
from controllers.vmc.view.intent import View
from hoverboard.contract.entities import VM, Network
from hoverboard.contract.openflow.flow import Flow


def flow(number: int, cookie: int = 1) -> Flow:
    """A flow whose key is its number."""
    return Flow(30, number, (), (), cookie)


class WrittenModel:
    """Has flows where `flows` says, and names the switches of `where`, or all it has flows on.

    Attributes:
        flows: (switch, scope) -> flows.
        where: scope -> switches.
        asked: what was asked about, in order.
    """

    name: ClassVar[str] = "written"
    learns: ClassVar[bool] = False
    relays: ClassVar[bool] = True

    def __init__(self, *, offloads: bool = True, answers: bool = True) -> None:
        self.offloads, self.answers = offloads, answers
        self.flows: dict[tuple[str, Scope], tuple[Flow, ...]] = {}
        self.where: dict[Scope, tuple[str, ...]] = {}
        self.asked: list[tuple[str, Scope]] = []

    def _switches(self, scope: Scope) -> Iterable[str]:
        return self.where.get(scope, [switch for switch, known in self.flows if known == scope])

    def _flows(self, switch: str, scope: Scope) -> Iterable[Flow]:
        self.asked.append((switch, scope))
        return iter(self.flows.get((switch, scope), ()))

    def network_switches(self, view: View, network: str) -> Iterable[str]:
        return self._switches(NetworkScope(network))

    def network_flows(self, view: View, switch: str, network: Network) -> Iterable[Flow]:
        return self._flows(switch, NetworkScope(network.name))

    def vm_switches(self, view: View, vm: VM) -> Iterable[str]:
        return self._switches(VmScope(vm.name))

    def vm_flows(self, view: View, switch: str, vm: VM) -> Iterable[Flow]:
        return self._flows(switch, VmScope(vm.name))

    def route_switches(self, view: View, network: str, prefix: IPv4Network) -> Iterable[str]:
        return self._switches(RouteScope(network, prefix))

    def route_flows(self, view: View, switch: str, network: Network, prefix: IPv4Network) -> Iterable[Flow]:
        return self._flows(switch, RouteScope(network.name, prefix))

    def offload_flows(self, view: View, src: VM, dst: VM) -> Iterable[Flow]:
        return self._flows(src.host, OffloadScope(src.name, dst.name))

    def lookup_flows(
        self, view: View, host: str, network: Network, address: IPv4Address | IPv6Address
    ) -> Iterable[Flow]:
        return self._flows(host, LookupScope(host, network.name, address))

    def arrival(self, view: View, host: str, network: str) -> Iterable[Scope]:
        return ()

    def gateway_change(self, view: View) -> Iterable[Scope]:
        return ()

    def liveness_change(self, view: View) -> Iterable[Scope]:
        return ()
