"""The interface of a programming model (paper section 3.3).

A model says which flows a switch holds for a network, a VM, a routed prefix and an offloaded pair, and which
switches those are. It keeps no state and sees only the View; the controller core asks again for
what a change touches, so a model's answers must depend on nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from controllers.program import Part
from controllers.vmc.view.flow_scopes import Scope
from controllers.vmc.view.intent import View
from hoverboard.contract.entities import VM, Network
from hoverboard.contract.models import MODELS, ModelFacts


class ProgrammingModel(ABC):
    """One way to give switches their share of the forwarding state.

    A shipped model is declared as `class Mine(ProgrammingModel, shipped="mine")` and has its facts from the row "mine"
    of `hoverboard.contract.models`; one from a file sets them as class attributes.

    Attributes:
        name: what people call it: a shipped one's name, or `/path/file.py:Class`.
        offloads, answers, learns, relays: see `ModelFacts`.
    """

    name: str = ""
    offloads: bool = False
    answers: bool = False
    learns: bool = False
    relays: bool = False

    def __init_subclass__(cls, *, shipped: str | None = None) -> None:
        if shipped is not None:
            facts = MODELS[shipped]
            cls.name = shipped
            cls.offloads, cls.answers, cls.learns, cls.relays = (
                facts.offloads,
                facts.answers,
                facts.learns,
                facts.relays,
            )

    def facts(self) -> ModelFacts:
        """What the layers above have to know of it."""
        return ModelFacts(offloads=self.offloads, answers=self.answers, learns=self.learns, relays=self.relays)

    @abstractmethod
    def network_switches(self, view: View, network: str) -> Iterable[str]:
        """Switches that hold flows of the network as such."""

    @abstractmethod
    def network_flows(self, view: View, switch: str, network: Network) -> Iterable[Part]:
        """The flows of the network as such on one of these switches."""

    @abstractmethod
    def vm_switches(self, view: View, vm: VM) -> Iterable[str]:
        """Switches that hold flows because of this VM."""

    @abstractmethod
    def vm_flows(self, view: View, switch: str, vm: VM) -> Iterable[Part]:
        """The flows because of this VM on one of these switches."""

    @abstractmethod
    def route_switches(self, view: View, network: str, prefix: IPv4Network) -> Iterable[str]:
        """Switches that hold flows because of the routes of this prefix, of which the view has one or more."""

    @abstractmethod
    def route_flows(self, view: View, switch: str, network: Network, prefix: IPv4Network) -> Iterable[Part]:
        """The flows because of the routes of this prefix on one of these switches.

        They may depend on the winners of shorter prefixes of the network, never on longer ones.
        """

    def offload_flows(self, view: View, src: VM, dst: VM) -> Iterable[Part]:
        """The flows on the sender's host that take this pair host to host."""
        return ()

    def lookup_flows(
        self, view: View, host: str, network: Network, address: IPv4Address | IPv6Address
    ) -> Iterable[Part]:
        """The flows on `host` that answer its question about an address; a drop says that nothing is there."""
        return ()

    def arrival(self, view: View, host: str, network: str) -> Iterable[Scope]:
        """VM and route scopes to look at again on `host` when it gets its first or loses its last VM of `network`."""
        return ()

    def gateway_change(self, view: View) -> Iterable[Scope]:
        """Scopes to look at again everywhere when the set or an address of the Hoverboards changed."""
        return ()

    def liveness_change(self, view: View) -> Iterable[Scope]:
        """Scopes to look at again everywhere when a Hoverboard died or came back (`view.gateways`)."""
        return ()
