"""The interface of a programming model (paper section 3.3).

A model gives the flows of a network, a VM, a routed prefix and an offloaded pair, and the switches that hold them. It
keeps no state and sees only the View. The core calls it again for everything that a change affects, so the answers of
a model must depend on nothing else.
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
    """One way to distribute the forwarding state over the switches.

    A shipped model is declared as `class Mine(ProgrammingModel, shipped="mine")`, and takes its facts from the row
    "mine" of `hoverboard.contract.models`. A model from a file sets them as class attributes.

    Attributes:
        name: the name of a shipped model, or `/path/file.py:Class`.
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
        """The facts that the layers above need."""
        return ModelFacts(offloads=self.offloads, answers=self.answers, learns=self.learns, relays=self.relays)

    @abstractmethod
    def network_switches(self, view: View, network: str) -> Iterable[str]:
        """The switches that hold flows of the network itself."""

    @abstractmethod
    def network_flows(self, view: View, switch: str, network: Network) -> Iterable[Part]:
        """The flows of the network itself on one of these switches."""

    @abstractmethod
    def vm_switches(self, view: View, vm: VM) -> Iterable[str]:
        """The switches that hold flows for this VM."""

    @abstractmethod
    def vm_flows(self, view: View, switch: str, vm: VM) -> Iterable[Part]:
        """The flows for this VM on one of these switches."""

    @abstractmethod
    def route_switches(self, view: View, network: str, prefix: IPv4Network) -> Iterable[str]:
        """The switches that hold flows for the routes of this prefix; the view has at least one such route."""

    @abstractmethod
    def route_flows(self, view: View, switch: str, network: Network, prefix: IPv4Network) -> Iterable[Part]:
        """The flows for the routes of this prefix on one of these switches.

        They may depend on the winners of shorter prefixes of the network, never on longer ones.
        """

    def offload_flows(self, view: View, src: VM, dst: VM) -> Iterable[Part]:
        """The flows on the sender's host that send this pair's traffic over the direct path."""
        return ()

    def lookup_flows(
        self, view: View, host: str, network: Network, address: IPv4Address | IPv6Address
    ) -> Iterable[Part]:
        """The flows on `host` that answer its lookup of an address; a drop means that the address does not exist."""
        return ()

    def arrival(self, view: View, host: str, network: str) -> Iterable[Scope]:
        """VM and route scopes to compute again on `host` when it gets its first or loses its last VM of `network`."""
        return ()

    def gateway_change(self, view: View) -> Iterable[Scope]:
        """Scopes to compute again on all switches when the set or an address of the Hoverboards changes."""
        return ()

    def liveness_change(self, view: View) -> Iterable[Scope]:
        """Scopes to compute again on all switches when a Hoverboard dies or comes back (`view.gateways`)."""
        return ()
