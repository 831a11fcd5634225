"""Load balancers under every programming model: where a backend is chosen, and where it receives (paper 3.1, 3.2).

The node with the routes chooses the backend: a Hoverboard if the model relays, else the sender's host. Backends answer
directly. The backend of a bucket depends on names only, so all switches agree. When a backend is added or removed, only
its own buckets move.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Network

from controllers.program import Part, block
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.view.intent import View
from hoverboard.contract.entities import LoadBalancer
from hoverboard.contract.openflow.pipeline import source_prefix_flows
from hoverboard.contract.openflow.policy import ADDRESS_ONLY_BUCKETS, BUCKETS, backend_flows, balanced_flows

Buckets = tuple[tuple[str, ...], tuple[str, ...]]


@lru_cache(maxsize=4096)
def buckets(name: str, backends: frozenset[str]) -> Buckets:
    """The backend of each bucket, with ports and without: the one with the highest random weight."""
    return _chosen(f"{name}|flow", backends, BUCKETS), _chosen(f"{name}|address", backends, ADDRESS_ONLY_BUCKETS)


def _chosen(salt: str, backends: Iterable[str], count: int) -> tuple[str, ...]:
    def weight(bucket: int, backend: str) -> tuple[bytes, str]:
        return blake2b(f"{salt}|{bucket}|{backend}".encode(), digest_size=8).digest(), backend

    return tuple(max(backends, key=lambda backend: weight(bucket, backend)) for bucket in range(count))


def balancer_switches(view: View, model: ProgrammingModel, balancer: LoadBalancer) -> set[str]:
    """The switches that hold flows for a load balancer."""
    if not model.relays:
        return set(view.hosts_of(balancer.network))
    return {view.vms[name].host for name in balancer.backends} | view.hoverboards.keys()


def balancer_flows(view: View, model: ProgrammingModel, switch: str, balancer: LoadBalancer) -> Iterator[Part]:
    """The flows for a load balancer on one of these switches."""
    vni = view.networks[balancer.network].vni
    chosen = buckets(balancer.name, frozenset(balancer.backends))
    backends = [view.vms[name] for name in balancer.backends]
    gateway = switch in view.hoverboards
    if gateway or (not model.relays and view.present(switch, balancer.network)):
        yield from balanced_flows(
            vni, balancer.ip, balancer.protocol, balancer.ports, chosen,
            {vm.name: view.hosts[vm.host].underlay_ip for vm in backends},
            local=None if gateway else [vm.name for vm in backends if vm.host == switch],
        )  # fmt: skip
    here = {
        vm.name: (view.ports[vm.name], vm.mac) if vm.name in view.ports else None
        for vm in backends
        if vm.host == switch
    }
    if here:
        guarded = view.guarded(balancer.network)
        for plugged in here.values():
            if plugged is not None:
                yield block(source_prefix_flows, vni, *plugged, IPv4Network(balancer.ip), guarded)
        yield from backend_flows(vni, balancer.ip, balancer.protocol, chosen, here, guarded=guarded)
