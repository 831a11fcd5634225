"""The resolved topology: each node with its name, address and host. The rest of the package works on it.

Pure data and pure functions. A `Topology` comes from a file (`topologies.spec.schema.load`) or from a
Mininet `Topo` (`topologies.emulation.topo`). `to_entities` turns it into entities of the fabric manager (paper 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from inspect import get_annotations
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, Literal

from controllers.vmc.models import model_named
from hoverboard.contract.encapsulation import GATEWAY_LINK_LOCAL, guest_mac
from hoverboard.contract.entities import (
    VM,
    AnyEntity,
    Dataplane,
    FirewallAction,
    FirewallRule,
    Host,
    Hoverboard,
    LoadBalancer,
    Network,
    Program,
    Route,
    Scheduling,
    Subnetwork,
)
from hoverboard.contract.errors import InputError
from hoverboard.contract.generations import facts
from hoverboard.contract.links.link_properties import LinkProperties
from hoverboard.contract.models import DEFAULT_MODEL, choices
from hoverboard.contract.plugins import absolute
from topologies.references.names import Notice

Model = str  # a programming model: the name of a shipped one, or /path/file.py:Class

FABRIC = "fab"  # the fabric's node; no other node may have this name
UNDERLAY = IPv4Network("172.16.0.0/16")
_FIRST_HOVERBOARD = IPv4Address("172.16.255.1")
MAX_HOSTS = 1000
MAX_HOVERBOARDS = 64

DEFAULT_THRESHOLD = 20_000  # bit/s, the paper's section 3.3.1
MOST_EGRESS, MOST_INGRESS = 32, 128  # packets in a batch: the paper's section 4.2
DEFAULT_REPORT_INTERVAL = 1.0  # seconds; our choice: the paper gives none


def shared_fields(source: object, target: type, *, but: Iterable[str] = ()) -> dict[str, Any]:
    """The fields of `source` that `target` has by the same name, apart from those in `but`.

    So a key that nothing but the host process uses is named where it is declared and where it is used.
    """
    names = get_annotations(type(source)).keys() & get_annotations(target).keys() - set(but)
    return {name: getattr(source, name) for name in names}


def host_address(index: int) -> IPv4Address:
    """Underlay address of VM host number `index`, from 0."""
    return UNDERLAY.network_address + 1 + index


def hoverboard_address(index: int) -> IPv4Address:
    """Underlay address of Hoverboard number `index`, from 0."""
    return _FIRST_HOVERBOARD + index


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """A VM host or a Hoverboard."""

    name: str
    role: Literal["host", "hoverboard"]
    underlay_ip: IPv4Address
    dataplane: Dataplane
    region: str | None = None
    batch: tuple[int, int] = (MOST_EGRESS, MOST_INGRESS)  # most packets at a time: egress engine, ingress engine
    capacity: tuple[int | None, int | None] = (
        None,
        None,
    )  # of a Hoverboard: packets and bits per second; None: no limit
    controller: str | None = None  # of an external program: "tcp:HOST:PORT" or "unix:/PATH"
    uplink: LinkProperties = LinkProperties()  # of its link to the fabric


@dataclass(frozen=True, slots=True)
class OffloadSpec:
    """Settings of the offload policy beside the threshold (`controllers.vmc.offload.policy.OffloadSettings`)."""

    keep: int = 0  # bit/s
    min_lifetime: float = 2.0  # seconds
    idle_expiry: float = 30.0  # seconds
    budget: int = 0  # most offloads of a host; 0: no limit
    reports: Literal["hosts", "hoverboards"] = "hosts"
    policy: str | None = None  # "/path/file.py:Class"; None: the built-in policy


@dataclass(frozen=True, slots=True)
class SubnetSpec:
    """An IPv4 range of a network with its gateway, and its IPv6 range if it has one."""

    prefix: IPv4Network
    gateway: IPv4Address
    prefix6: IPv6Network | None = None

    def addresses(self) -> Iterator[IPv4Address]:
        """Addresses that a VM may have, in order."""
        return (address for address in self.prefix.hosts() if address != self.gateway)

    def holds(self, address: IPv4Address) -> bool:
        """Whether a VM may have `address`."""
        return address in self.prefix and address not in (
            self.prefix.network_address,
            self.prefix.broadcast_address,
            self.gateway,
        )

    def addresses6(self) -> Iterator[IPv6Address]:
        """IPv6 addresses for VMs, in order; as with IPv4, the first VM gets the address that ends in 2."""
        if self.prefix6 is None:
            return iter(())
        first = self.prefix6.network_address
        return (first + offset for offset in range(2, self.prefix6.num_addresses))

    def holds6(self, address: IPv6Address) -> bool:
        """Whether a VM may have `address`; the lowest address of a range belongs to its routers (RFC 4291, 2.6.1)."""
        return self.prefix6 is not None and address in self.prefix6 and address != self.prefix6.network_address


@dataclass(frozen=True, slots=True)
class VMSpec:
    """A virtual machine: its network, its host and its one NIC."""

    name: str
    network: str
    host: str
    ip: IPv4Address
    mac: str
    gateway: IPv4Address
    tags: tuple[str, ...] = ()
    ip6: IPv6Address | None = None
    rate: int | None = None  # most bit/s that it sends; None: no limit
    vni: int = 0  # of its network
    shared: tuple[IPv4Address, ...] = ()  # addresses of the load balancers that it is a backend of

    def entity(self) -> VM:
        """The VM as an entity of the fabric manager."""
        return VM(
            name=self.name, network=self.network, ip=self.ip, ip6=self.ip6, mac=self.mac, host=self.host, tags=self.tags
        )

    @property
    def gateways(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """Its gateways: the IPv4 one, and the IPv6 one if it has an IPv6 address."""
        return (self.gateway,) if self.ip6 is None else (self.gateway, GATEWAY_LINK_LOCAL)


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A virtual network with its subnets and VMs."""

    name: str
    vni: int
    subnets: tuple[SubnetSpec, ...]
    vms: tuple[VMSpec, ...] = ()
    rate: int | None = None  # bit/s of each VM that has no rate of its own
    ingress: FirewallAction = "allow"  # for packets that match no firewall rule
    egress: FirewallAction = "allow"
    policies: tuple[Route | FirewallRule | LoadBalancer, ...] = ()

    @property
    def balancers(self) -> tuple[LoadBalancer, ...]:
        """Its load balancers."""
        return tuple(entity for entity in self.policies if isinstance(entity, LoadBalancer))

    @property
    def guarded(self) -> bool:
        """Whether it has a firewall."""
        return "deny" in (self.ingress, self.egress) or any(isinstance(one, FirewallRule) for one in self.policies)

    def with_vms(self, vms: Iterable[VMSpec]) -> NetworkSpec:
        """This network with `vms` instead of its own; backends get the addresses of their load balancers."""
        shared: dict[str, tuple[IPv4Address, ...]] = {}
        for balancer in self.balancers:
            for name in balancer.backends:
                shared[name] = (*shared.get(name, ()), balancer.ip)
        return replace(self, vms=tuple(replace(vm, shared=shared.get(vm.name, ())) for vm in vms))

    def subnet_of(self, address: IPv4Address) -> SubnetSpec | None:
        """The subnet in which a VM may have `address`; None when there is no such subnet."""
        return next((subnet for subnet in self.subnets if subnet.holds(address)), None)

    def free_address(self, taken: set[IPv4Address]) -> IPv4Address | None:
        """The first address that is not `taken`, nor a load balancer's; None when the network is full."""
        taken = taken | {balancer.ip for balancer in self.balancers}
        return next((ip for subnet in self.subnets for ip in subnet.addresses() if ip not in taken), None)

    def free_address6(self, ip: IPv4Address, taken: set[IPv6Address]) -> IPv6Address | None:
        """The first IPv6 address that is not `taken`, in the subnet of `ip`; None when there is no such address."""
        subnet = self.subnet_of(ip)
        return None if subnet is None else next((ip6 for ip6 in subnet.addresses6() if ip6 not in taken), None)

    def vm(
        self, name: str, host: str, ip: IPv4Address, tags: tuple[str, ...] = (), ip6: IPv6Address | None = None
    ) -> VMSpec:
        """A VM of this network.

        Args:
            name: name of the VM.
            host: name of its host.
            ip: an address in one of the subnets.
            tags: for firewall rules.
            ip6: an address in the IPv6 range of the same subnet.

        Raises:
            ValueError: an address is not in its range.
        """
        subnet = self.subnet_of(ip)
        if subnet is None:
            raise ValueError(f"{ip} is not a VM's address in network {self.name}")
        if ip6 is not None and not subnet.holds6(ip6):
            raise ValueError(f"{ip6} is not a VM's address in {subnet.prefix6} of network {self.name}")
        return VMSpec(
            name, self.name, host, ip, guest_mac(self.vni, ip), subnet.gateway, tags, ip6, self.rate, self.vni
        )


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything a run is made of."""

    name: str
    hosts: tuple[ServerSpec, ...]
    hoverboards: tuple[ServerSpec, ...]
    networks: tuple[NetworkSpec, ...]
    model: Model = DEFAULT_MODEL
    scheduling: Scheduling = "adaptive"
    vm_priority: bool = True
    offload_threshold: int = DEFAULT_THRESHOLD  # bit/s
    report_interval: float = DEFAULT_REPORT_INTERVAL  # seconds
    offload: OffloadSpec = OffloadSpec()
    stages: tuple[dict[str, Any], ...] = ()  # rules of `hoverboard.coprocessor.stage_policy`, with absolute paths
    text: str = ""  # of the file it comes from; the run keeps it
    wan: LinkProperties | None = None  # joins the fabrics of two regions; None: one fabric
    notices: tuple[Notice, ...] = field(default=(), compare=False)  # names in its file that match nothing

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions that have a VM host, in the order of the hosts."""
        return tuple(dict.fromkeys(server.region for server in self.hosts if server.region is not None))

    def stage_regions(self) -> dict[str, str]:
        """Region of each node by underlay address, for the coprocessor stages.

        With several regions, Hoverboards are left out: the sender cannot know to which region a Hoverboard relays.
        """
        several = len(self.regions) > 1
        servers = self.hosts if several else self.servers
        return {str(server.underlay_ip): server.region for server in servers if server.region is not None}

    @property
    def servers(self) -> tuple[ServerSpec, ...]:
        """VM hosts, then Hoverboards."""
        return self.hosts + self.hoverboards

    @property
    def vms(self) -> tuple[VMSpec, ...]:
        """All VMs, in the order of the networks."""
        return tuple(vm for network in self.networks for vm in network.vms)

    @property
    def external(self) -> tuple[ServerSpec, ...]:
        """Hosts with `program: external`."""
        return tuple(host for host in self.hosts if host.controller is not None)

    def with_our_gateway(self, vms: Iterable[VMSpec]) -> list[VMSpec]:
        """The VMs in `vms` whose gateway our control plane answers for: not those on hosts with `program: external`."""
        external = {host.name for host in self.external}
        return [vm for vm in vms if vm.host not in external]

    def with_vm(self, vm: VMSpec) -> Topology:
        """This topology with one more VM."""
        return self._with_vms(vm.network, lambda vms: (*vms, vm))

    def without_vm(self, vm: VMSpec) -> Topology:
        """This topology without a VM."""
        return self._with_vms(vm.network, lambda vms: tuple(one for one in vms if one.name != vm.name))

    def _with_vms(self, name: str, change: Callable[[tuple[VMSpec, ...]], tuple[VMSpec, ...]]) -> Topology:
        networks = tuple(
            network.with_vms(change(network.vms)) if network.name == name else network for network in self.networks
        )
        return replace(self, networks=networks)

    def with_dataplane(self, dataplane: Dataplane) -> Topology:
        """This topology with one dataplane generation on each host; Hoverboards get the nearest one that relays."""
        return replace(
            self,
            hosts=tuple(replace(server, dataplane=dataplane) for server in self.hosts),
            hoverboards=tuple(replace(server, dataplane=facts(dataplane).relay) for server in self.hoverboards),
        )


def check_model(topology: Topology, model: str) -> Model:
    """The name of `model`, with an absolute path if it is FILE.py:Class.

    Raises:
        InputError: there is no such model, or the topology cannot run it.
    """
    made = model_named(absolute(model, Path()))
    if made.relays and not topology.hoverboards:
        raise InputError(
            f"model {model} needs a Hoverboard, and the topology has none",
            next_step=f"use --model with one of: {choices(relays=False)}",
        )
    return made.name


def check_enforced(topology: Topology) -> None:
    """Check that the dataplane of each host can enforce the stages and rates of the topology.

    A policy or an encryption that only some hosts apply would protect nothing.

    Raises:
        InputError: a host cannot enforce one of them.
    """
    limited = {vm.host: vm.name for vm in topology.vms if vm.rate is not None}
    for server in topology.hosts:
        if facts(server.dataplane).carrier == "engines":
            continue
        step = "use `dataplane: fastpath` on every host, or remove the key"
        if topology.stages:
            raise InputError(
                f"dataplane {server.dataplane} has no coprocessor stages", where=server.name, next_step=step
            )
        if server.name in limited:
            vm = limited[server.name]
            raise InputError(
                f"dataplane {server.dataplane} has no rate limits, and VM {vm} has one",
                where=server.name,
                next_step=step,
            )


def to_entities(topology: Topology) -> list[AnyEntity]:
    """The entities of a full update: hosts and Hoverboards, networks with their subnetworks, VMs, then policies."""
    entities: list[AnyEntity] = []
    for server in topology.servers:
        region = server.region if topology.wan is not None else None
        known: dict[str, Any] = {"name": server.name, "underlay_ip": server.underlay_ip, "region": region}
        if server.role == "host":
            program: Program = "ours" if server.controller is None else "external"
            entities.append(Host(**known, dataplane=server.dataplane, program=program))
        else:
            entities.append(Hoverboard(**known, dataplane=server.dataplane))
    for network in topology.networks:
        entities.append(Network(name=network.name, vni=network.vni, ingress=network.ingress, egress=network.egress))
        for subnet in network.subnets:
            # The prefix is the last part of the name: so no two subnetworks share a name.
            suffix = str(subnet.prefix).replace("/", "_")
            entities.append(
                Subnetwork(
                    name=f"{network.name}.{suffix}",
                    network=network.name,
                    prefix=subnet.prefix,
                    gateway=subnet.gateway,
                    prefix6=subnet.prefix6,
                )
            )
    entities.extend(vm.entity() for vm in topology.vms)
    for network in topology.networks:
        entities.extend(network.policies)
    return entities
