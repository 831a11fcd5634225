"""What a VM controller knows: the intent it was given and the VMs it could place on a vport.

Plain indices, updated in the time of the change; the programming models read it and nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

from hoverboard.contract.entities import VM, AnyEntity, Host, Hoverboard, Network, Subnetwork


class Scope(NamedTuple):
    """What a group of flows belongs to: ("base"), ("network", name), ("vm", name), ("offload", src, dst)."""

    kind: str
    name: str = ""
    other: str = ""


BASE = Scope("base")


class View:
    """Intent by every key the models ask for, and `ports`: VM name -> OpenFlow port, joined VMs only."""

    def __init__(self) -> None:
        self.networks: dict[str, Network] = {}
        self.network_by_vni: dict[int, str] = {}
        self.subnetworks: dict[str, dict[str, Subnetwork]] = {}
        self.vms: dict[str, VM] = {}
        self.hosts: dict[str, Host] = {}
        self.hoverboards: dict[str, Hoverboard] = {}
        self.ports: dict[str, int] = {}
        self.vms_of_network: dict[str, set[str]] = {}
        self._vms_on: dict[tuple[str, str], set[str]] = {}
        self._hosts_of: dict[str, set[str]] = {}
        self._networks_on: dict[str, set[str]] = {}
        self._vm_at: dict[tuple[str, int], str] = {}

    def present(self, host: str, network: str) -> bool:
        """Whether a VM of `network` should run on `host`."""
        return (host, network) in self._vms_on

    def hosts_of(self, network: str) -> set[str]:
        """Hosts that have a VM of `network`; not to be modified."""
        return self._hosts_of.get(network, set())

    def networks_on(self, host: str) -> set[str]:
        """Networks that have a VM on `host`; not to be modified."""
        return self._networks_on.get(host, set())

    def vms_on(self, host: str) -> list[str]:
        """VMs that should run on `host`."""
        return [vm for network in self.networks_on(host) for vm in self._vms_on[host, network]]

    def vm_at(self, vni: int, address: int) -> VM | None:
        """The VM with this address in the network of this VNI, or None."""
        network = self.network_by_vni.get(vni)
        name = self._vm_at.get((network, address)) if network is not None else None
        return self.vms[name] if name is not None else None

    def add(self, entity: AnyEntity) -> None:
        """Take in a (validated) entity that is not in."""
        match entity:
            case Network():
                self.networks[entity.name] = entity
                self.network_by_vni[entity.vni] = entity.name
            case Subnetwork():
                self.subnetworks.setdefault(entity.network, {})[entity.name] = entity
            case Host():
                self.hosts[entity.name] = entity
            case Hoverboard():
                self.hoverboards[entity.name] = entity
            case VM():
                self.vms[entity.name] = entity
                self._vm_at[entity.network, int(entity.ip)] = entity.name
                self.vms_of_network.setdefault(entity.network, set()).add(entity.name)
                self._vms_on.setdefault((entity.host, entity.network), set()).add(entity.name)
                self._hosts_of.setdefault(entity.network, set()).add(entity.host)
                self._networks_on.setdefault(entity.host, set()).add(entity.network)
            case _:
                pass

    def remove(self, entity: AnyEntity) -> None:
        """Take out an entity that is in."""
        match entity:
            case Network():
                del self.networks[entity.name]
                del self.network_by_vni[entity.vni]
            case Subnetwork():
                del self.subnetworks[entity.network][entity.name]
                _prune(self.subnetworks, entity.network)
            case Host():
                del self.hosts[entity.name]
            case Hoverboard():
                del self.hoverboards[entity.name]
            case VM():
                self._remove_vm(entity)
            case _:
                pass

    def _remove_vm(self, vm: VM) -> None:
        del self.vms[vm.name]
        del self._vm_at[vm.network, int(vm.ip)]
        self.vms_of_network[vm.network].discard(vm.name)
        _prune(self.vms_of_network, vm.network)
        place = (vm.host, vm.network)
        self._vms_on[place].discard(vm.name)
        if not self._vms_on[place]:
            del self._vms_on[place]
            self._hosts_of[vm.network].discard(vm.host)
            _prune(self._hosts_of, vm.network)
            self._networks_on[vm.host].discard(vm.network)
            _prune(self._networks_on, vm.host)


def _prune(index: dict[str, set[str]] | dict[str, dict[str, Subnetwork]], key: str) -> None:
    if not index[key]:
        del index[key]
