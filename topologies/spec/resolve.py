"""Makes a `Topology` of the keys of a topology file: default names, addresses and hosts of VMs.

Checks the parts of the file together; the keys alone are valid already (paper section 3.1: intent is checked before it
is used).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from itertools import combinations
from pathlib import Path as Directory
from typing import TYPE_CHECKING, Literal

from hoverboard.contract.checks.similar_names import name_step
from hoverboard.contract.entities import Dataplane
from hoverboard.contract.errors import InputError
from hoverboard.contract.generations import facts
from hoverboard.contract.plugins import absolute
from topologies.spec.external import check_external
from topologies.spec.faults import Fault
from topologies.spec.file_references import References
from topologies.spec.plugin_keys import find_model, find_offload, find_stages
from topologies.spec.policy_keys import PolicyReader
from topologies.spec.running_vms import RunningVMs
from topologies.spec.topology import (
    FABRIC,
    NetworkSpec,
    ServerSpec,
    SubnetSpec,
    Topology,
    VMSpec,
    check_enforced,
    host_address,
    hoverboard_address,
    shared_fields,
    to_entities,
)
from topologies.spec.wan_keys import check_regions, resolve_link, resolve_wan
from topologies.spec.yaml_reader import Path, Positions

if TYPE_CHECKING:
    from topologies.spec.keys import (
        BatchKeys,
        CapacityKeys,
        HostKeys,
        HoverboardKeys,
        NetworkKeys,
        TopologyKeys,
        VMKeys,
    )

DEFAULT_REGION = "default"
# Keys that become something else in a `Topology`; it takes the others as they are.
_RESOLVED = ("name", "hosts", "hoverboards", "networks", "model", "stages", "wan")


class _Resolver:
    def __init__(self, positions: Positions, hosts_known: bool, running: Topology | None) -> None:
        self.positions = positions
        self.hosts_known = hosts_known
        self.faults: list[Fault] = []
        self.policies = PolicyReader(positions)
        self.nodes: dict[str, Path] = {}
        self.placed = 0
        self.running_vms = RunningVMs(running)

    def fault(self, path: Path, what: str, next_step: str) -> None:
        """Add a fault."""
        self.faults.append(self.positions.fault(path, what, next_step))

    def claim(self, name: str, path: Path) -> None:
        """Check that a node name is unique over hosts, Hoverboards and VMs: `exec NAME` must mean one node."""
        if name == FABRIC:
            self.fault(path, f"{FABRIC!r} is the name of the fabric", "use another name")
        elif name in self.nodes:
            first = self.positions.line(self.nodes[name])
            self.fault(path, f"duplicate name {name!r}, first used on line {first}", "give each node its own name")
        else:
            self.nodes[name] = path

    def servers(
        self,
        given: int | list[HostKeys] | list[HoverboardKeys],
        key: Literal["hosts", "hoverboards"],
        default: Dataplane,
        batch: BatchKeys,
    ) -> tuple[ServerSpec, ...]:
        """The VM hosts, or the Hoverboards, with default names, addresses and settings."""
        host = key == "hosts"
        found = []
        for index in range(given if isinstance(given, int) else len(given)):
            keys = None if isinstance(given, int) else given[index]
            path: Path = (key,) if keys is None else (key, index)
            name, uplink = f"{'h' if host else 'hv'}{index + 1}", keys.uplink if keys is not None else None
            place: Path = (*path, "uplink")
            if keys is not None and keys.name is not None:
                name, path = keys.name, (*path, "name")
            self.claim(name, path)
            dataplane = (keys.dataplane if keys is not None else None) or default
            found.append(
                ServerSpec(
                    name,
                    "host" if host else "hoverboard",
                    host_address(index) if host else hoverboard_address(index),
                    dataplane if host else facts(dataplane).relay,
                    keys.region if keys is not None else None,
                    ((keys.batch if keys is not None else None) or batch).sizes(),
                    _capacity(getattr(keys, "capacity", None)),
                    getattr(keys, "controller", None),
                    resolve_link(uplink, place, self.fault),
                )
            )
        return tuple(found)

    def subnets(self, keys: NetworkKeys, path: Path) -> tuple[SubnetSpec, ...]:
        """The subnets of a network, each with its gateway; empty when they have a fault."""
        if keys.subnet is not None and keys.subnets is not None:
            self.fault((*path, "subnets"), "cannot stand beside `subnet`", "put all subnets into `subnets`")
            return ()
        found: dict[Path, IPv4Network] = {}
        if keys.subnet is not None:
            found[*path, "subnet"] = keys.subnet
        elif keys.subnets is not None:
            found = {(*path, "subnets", index): prefix for index, prefix in enumerate(keys.subnets)}
        else:
            self.fault((*path, "subnet"), "is missing", "add `subnet: 10.0.0.0/24`, or `subnets:` with a list")
            return ()
        prefixes = list(found.values())
        for (one, first), (two, second) in combinations(found.items(), 2):
            if first.overlaps(second):
                line = self.positions.line(one)
                self.fault(two, f"{second} overlaps {first} on line {line}", "use subnets that do not overlap")
        if keys.subnet6 is not None and len(prefixes) > 1:
            self.fault((*path, "subnet6"), "works only with one subnet", "use `subnet`, or remove it")
        gateway = None
        if keys.gateway is not None:
            where = (*path, "gateway")
            if len(prefixes) > 1:
                self.fault(
                    where, "works only with one subnet", "remove it: the first address of each subnet is its gateway"
                )
            elif not SubnetSpec(prefixes[0], prefixes[0].network_address).holds(keys.gateway):
                self.fault(where, f"{keys.gateway} is not a usable address of {prefixes[0]}", "choose one inside")
            else:
                gateway = keys.gateway
        return tuple(SubnetSpec(prefix, gateway or prefix.network_address + 1, keys.subnet6) for prefix in prefixes)

    def network(self, keys: NetworkKeys, path: Path, hosts: tuple[ServerSpec, ...]) -> NetworkSpec:
        """A network with its VMs: those without an address get the first free one."""
        network = NetworkSpec(
            keys.name, keys.vni, self.subnets(keys, path), rate=keys.rate, ingress=keys.firewall.ingress,
            egress=keys.firewall.egress, policies=self.policies.read(keys, path),
        )  # fmt: skip
        listed = keys.vms if isinstance(keys.vms, list) else None
        count = keys.vms if isinstance(keys.vms, int) else len(keys.vms)
        taken = self.given_addresses(network, listed or [], path) if network.subnets else {}
        room = sum(1 << (32 - subnet.prefix.prefixlen) for subnet in network.subnets)
        room -= 3 * len(network.subnets)  # network, broadcast, gateway
        room -= len({balancer.ip for balancer in network.balancers if network.subnet_of(balancer.ip) is not None})
        if network.subnets and count > room:
            self.fault(
                (*path, "vms"),
                f"{count} VMs, but {', '.join(str(subnet.prefix) for subnet in network.subnets)} has room for {room}",
                "use a shorter prefix, another subnet in `subnets`, or fewer VMs",
            )
        names = [
            (vm.name if vm is not None else None) or f"{network.name}-{index + 1}"
            for index, vm in enumerate(listed if listed is not None else [None] * count)
        ]
        self.running_vms.keep_addresses(network, names, taken)
        taken6 = self.given_addresses6(network, listed or [], path)
        used6 = set(taken6.values())
        kept6 = self.running_vms.kept_addresses6(network, names, used6)
        used6 |= set(kept6.values())
        free6 = (ip for subnet in network.subnets for ip in subnet.addresses6() if ip not in used6)
        used = set(taken.values()) | {balancer.ip for balancer in network.balancers}
        free = (ip for subnet in network.subnets for ip in subnet.addresses() if ip not in used)
        vms = []
        for index in range(count):
            vm = listed[index] if listed is not None else None
            spec = self.vm(network, vm, index, path, hosts, taken, free)
            if spec is None:
                continue
            if vm is None or vm.ip6 is None:
                ip6 = kept6.get(spec.name) or next(free6, None)
                if ip6 is None and keys.subnet6 is not None:
                    self.fault((*path, "subnet6"), f"{keys.subnet6} has no room for {count} VMs", "use a range of /64")
            else:
                ip6 = taken6.get(index)
            vms.append(replace(spec, ip6=ip6))
        return network.with_vms(vms)

    def given_addresses(self, network: NetworkSpec, vms: list[VMKeys], path: Path) -> dict[int, IPv4Address]:
        """Valid addresses that the file gives to VMs, by position."""
        taken: dict[int, IPv4Address] = {}
        owners: dict[IPv4Address, Path] = {}
        for index, vm in enumerate(vms):
            where = (*path, "vms", index, "ip")
            if vm.ip is None:
                continue
            if any(vm.ip == subnet.gateway for subnet in network.subnets):
                self.fault(where, f"{vm.ip} is the gateway's address", "choose another address")
            elif network.subnet_of(vm.ip) is None:
                ranges = ", ".join(str(subnet.prefix) for subnet in network.subnets)
                self.fault(where, f"{vm.ip} is not a VM's address in {ranges}", "choose one inside, or leave it out")
            elif vm.ip in owners:
                first = self.positions.line(owners[vm.ip])
                self.fault(where, f"duplicate address {vm.ip}, first used on line {first}", "give each VM its own")
            else:
                owners[vm.ip] = where
                taken[index] = vm.ip
        return taken

    def given_addresses6(self, network: NetworkSpec, vms: list[VMKeys], path: Path) -> dict[int, IPv6Address]:
        """Valid IPv6 addresses that the file gives to VMs, by position."""
        taken: dict[int, IPv6Address] = {}
        owners: dict[IPv6Address, Path] = {}
        for index, vm in enumerate(vms):
            where = (*path, "vms", index, "ip6")
            if vm.ip6 is None or vm.ip6 is False:
                continue
            # A network with an IPv6 range has one subnet; `subnets` reports a fault when it has more.
            subnet = next((subnet for subnet in network.subnets if subnet.prefix6 is not None), None)
            if subnet is None:
                self.fault(where, "the network has no IPv6 range", "add `subnet6: fd00:7::/64` to the network")
            elif not subnet.holds6(vm.ip6):
                what = f"{vm.ip6} is not a VM's address in {subnet.prefix6}"
                self.fault(where, what, "choose one inside, or leave it out")
            elif vm.ip6 in owners:
                first = self.positions.line(owners[vm.ip6])
                self.fault(where, f"duplicate address {vm.ip6}, first used on line {first}", "give each VM its own")
            else:
                owners[vm.ip6] = where
                taken[index] = vm.ip6
        return taken

    def vm(
        self,
        network: NetworkSpec,
        keys: VMKeys | None,
        index: int,
        path: Path,
        hosts: tuple[ServerSpec, ...],
        taken: dict[int, IPv4Address],
        free: Iterator[IPv4Address],
    ) -> VMSpec | None:
        """VM number `index` of a network, without its IPv6 address; None when no address is free."""
        place: Path = (*path, "vms") if keys is None else (*path, "vms", index)
        name = f"{network.name}-{index + 1}"
        if keys is not None and keys.name is not None:
            name, where = keys.name, (*place, "name")
        else:
            where = place
        self.claim(name, where)
        host = hosts[self.placed % len(hosts)].name
        if keys is not None and keys.host is not None:
            # A VM of an unknown host keeps the default host, so that its other keys are checked.
            if keys.host in {server.name for server in hosts}:
                host = keys.host
            elif self.hosts_known:
                step = name_step(keys.host, [server.name for server in hosts])
                self.fault((*place, "host"), f"there is no host {keys.host!r}", step)
        elif (there := self.running_vms.vm(network.name, name)) is not None:
            host = there.host
        else:
            self.placed += 1
        ip = taken.get(index) or next(free, None)
        if ip is None:
            return None
        spec = network.vm(name, host, ip, tuple(keys.tags) if keys is not None else ())
        return spec if keys is None or keys.rate is None else replace(spec, rate=keys.rate)

    def one_region(
        self, hosts: tuple[ServerSpec, ...], hoverboards: tuple[ServerSpec, ...]
    ) -> tuple[tuple[ServerSpec, ...], tuple[ServerSpec, ...]]:
        """Put hosts without a region into DEFAULT_REGION; with one region, put all Hoverboards into it, too."""
        hosts = tuple(replace(host, region=host.region or DEFAULT_REGION) for host in hosts)
        regions = {host.region for host in hosts}
        if len(regions) == 1:
            hoverboards = tuple(replace(one, region=hosts[0].region) for one in hoverboards)
        return hosts, hoverboards


def _capacity(keys: CapacityKeys | None) -> tuple[int | None, int | None]:
    return (None, None) if keys is None else (keys.pps, keys.bps)


def resolve(
    keys: TopologyKeys,
    positions: Positions,
    *,
    name: str,
    text: str,
    base: Directory,
    hosts_known: bool,
    running: Topology | None = None,
) -> tuple[Topology, list[Fault], list[Fault]]:
    """The topology, the faults of its parts together, and its names that match nothing.

    With faults, the topology must not be used, and the last list is empty.

    Args:
        keys: the keys of the file.
        positions: the line of each key.
        name: the topology's name when the file gives none.
        text: the text of the file.
        base: directory for relative paths of models, policies and stages.
        hosts_known: False when faulty hosts were cut out: then no fault is reported for a host that is not there.
        running: the topology of a run that is up; its VMs keep hosts and addresses that the file leaves open.
    """
    resolver = _Resolver(positions, hosts_known, running)
    hosts = resolver.servers(keys.hosts, "hosts", keys.dataplane, keys.batch)
    hoverboards = resolver.servers(keys.hoverboards, "hoverboards", keys.dataplane, keys.batch)
    hosts, hoverboards = resolver.one_region(hosts, hoverboards)
    is_up = running is not None
    model = find_model(keys.model, base, resolver.fault, is_up=is_up)
    model_facts = model.facts() if model is not None else None
    wan = resolve_wan(keys, model_facts, hosts, hoverboards, resolver.fault) if hosts_known else None
    check_external(keys, hosts, resolver.fault)
    stages = find_stages(keys.stages, base, resolver.fault, is_up=is_up)
    offload = find_offload(keys.offload_policy, base, resolver.fault, is_up=is_up)
    if model_facts is not None and model_facts.relays and not hoverboards:
        resolver.fault(
            ("hoverboards",),
            f"the {keys.model} model needs at least one Hoverboard",
            "give `hoverboards: 1`, or use `model: preprogrammed`",
        )
    names: dict[str, Path] = {}
    vnis: dict[int, Path] = {}
    networks = []
    for index, network in enumerate(keys.networks):
        path: Path = ("networks", index)
        if network.name in names:
            line = positions.line(names[network.name])
            resolver.fault(
                (*path, "name"), f"duplicate name {network.name!r}, first used on line {line}",
                "give each network its own name",
            )  # fmt: skip
        if network.vni in vnis:
            line = positions.line(vnis[network.vni])
            resolver.fault(
                (*path, "vni"), f"duplicate VNI {network.vni}, first used on line {line}",
                "give each network its own VNI: the VNI separates tenants",
            )  # fmt: skip
        names.setdefault(network.name, (*path, "name"))
        vnis.setdefault(network.vni, (*path, "vni"))
        networks.append(resolver.network(network, path, hosts))
    topology = Topology(
        name=keys.name or name,
        hosts=hosts,
        hoverboards=hoverboards,
        networks=tuple(networks),
        model=model.name if model is not None else absolute(keys.model, base),
        offload=offload,
        stages=stages,
        text=text,
        wan=wan,
        **shared_fields(keys, Topology, but=_RESOLVED),
    )
    if not resolver.faults:
        try:
            check_enforced(topology)
        except InputError as error:
            resolver.fault(("stages",) if stages else ("hosts",), error.what, error.next_step)
        policies = [entity for network in networks for entity in network.policies]
        bare = replace(topology, networks=tuple(replace(network, policies=()) for network in networks))
        resolver.policies.check(to_entities(bare), policies)
        if wan is not None and not resolver.policies.faults:
            check_regions(to_entities(topology), resolver.fault)
    faults = resolver.faults + resolver.policies.faults
    if faults:
        return topology, faults, []
    offloads = model_facts is None or model_facts.offloads  # None: its file was not run
    references = References(keys, topology, positions, resolver.policies.place, offloads=offloads)
    found = references.find(running=is_up)
    return topology, found.faults, found.notices
