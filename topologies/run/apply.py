"""Applies a topology file to a run that is up: finds the difference, plans it, and makes it (paper section 3.1).

The intent is changed first, in one request that the fabric manager accepts or rejects as a whole. Then VMs are removed,
altered and built. A change that a run cannot make while it is up is rejected before anything happens.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from hoverboard.contract.entities import AnyEntity
from hoverboard.contract.errors import HoverboardError, InputError, RunError
from hoverboard.contract.links.link_properties import LinkProperties
from hoverboard.safe_files import write_own_file
from topologies.changes.link_change import link_difference, links_of, merged_links, with_link, without_links
from topologies.changes.offload_change import merged, offload_difference
from topologies.emulation.ping import wait_answers
from topologies.run.run import Run
from topologies.run.up import READY_TIMEOUT, gateway_targets
from topologies.spec.keys import fixed_keys
from topologies.spec.topology import Topology, VMSpec, check_enforced, to_entities
from topologies.spec.values import check_keep

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import Applied, VMChanges

_JOIN_TIMEOUT = 5.0
# Fields that a VM's namespace and NIC were made with: they cannot change while the VM runs.
_BUILT_WITH = ("network", "host", "ip", "ip6", "mac", "gateway")


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between a run and a topology file.

    Attributes:
        upsert, remove: entities to send to the fabric manager.
        build, drop: VMs to build and to remove.
        alter: (before, after) of VMs with another rate or other load balancer addresses.
    """

    upsert: tuple[AnyEntity, ...]
    remove: tuple[AnyEntity, ...]
    build: tuple[VMSpec, ...]
    drop: tuple[VMSpec, ...]
    alter: tuple[tuple[VMSpec, VMSpec], ...]

    def __bool__(self) -> bool:
        return bool(self.upsert or self.remove or self.build or self.drop or self.alter)

    def vms(self) -> VMChanges:
        """The changes of VMs, as a document."""
        return {
            "build": [{"name": vm.name, "network": vm.network, "host": vm.host, "ip": str(vm.ip)} for vm in self.build],
            "remove": [vm.name for vm in self.drop],
            "alter": [
                {
                    "name": after.name, "rate_bps": after.rate,
                    "shared_addresses": [str(address) for address in after.shared],
                }
                for _, after in self.alter
            ],
        }  # fmt: skip


def check_fixed_keys(given: Topology, running: Topology, wanted: Topology, source: str) -> None:
    """Check that a file changes no key that is fixed while the run is up.

    Args:
        given: the topology that the run was started with, before options of the command line changed it.
        running: the topology of the run now.
        wanted: the topology of the file.
        source: name of the file, for the message.

    Raises:
        InputError: it changes one.
    """
    for key, name, marker in fixed_keys():
        of = attrgetter(name)
        value = without_links(of(wanted))
        if value not in (without_links(of(given)), without_links(of(running))):
            raise InputError(
                f"`{key}` cannot change while the run is up", where=f"{source}: {key}", next_step=marker.step
            )


def difference(running: Topology, wanted: Topology) -> Difference:
    """The changes that turn `running` into `wanted`.

    Raises:
        InputError: a VM that runs would need another network, host or address.
    """
    before = {(entity.TYPE, entity.name): entity for entity in to_entities(running)}
    after = {(entity.TYPE, entity.name): entity for entity in to_entities(wanted)}
    old, new = {vm.name: vm for vm in running.vms}, {vm.name: vm for vm in wanted.vms}
    alter = []
    for name in old.keys() & new.keys():
        _check_same(old[name], new[name])
        if (old[name].rate, old[name].shared) != (new[name].rate, new[name].shared):
            alter.append((old[name], new[name]))
    return Difference(
        tuple(entity for key, entity in after.items() if before.get(key) != entity),
        tuple(entity for key, entity in before.items() if key not in after),
        tuple(vm for vm in new.values() if vm.name not in old),
        tuple(vm for vm in old.values() if vm.name not in new),
        tuple(sorted(alter, key=lambda pair: pair[0].name)),
    )


def _check_same(old: VMSpec, new: VMSpec) -> None:
    for field in _BUILT_WITH:
        if getattr(old, field) != getattr(new, field):
            raise InputError(
                f"VM {old.name} runs with {field} {getattr(old, field)}, and the file says {getattr(new, field)}",
                where=f"VM/{old.name}.{field}",
                next_step="apply the file without this VM, then with it; or give the VM another name in the file",
            )


def apply(run: Run, given: Topology, wanted: Topology, source: str, *, dry_run: bool) -> Applied:
    """Change `run` to `wanted`.

    Args:
        run: the run.
        given: the topology of the file that the run took last (see `check_fixed_keys`).
        wanted: the new topology.
        source: name of the file, for messages.
        dry_run: only plan.

    Returns:
        The plan, and what was done (`hoverboard.contract.change_documents.Applied`); with regions also "planes".

    Raises:
        InputError, EntityError: the change is not possible; nothing was changed.
        RunError: the control plane does not answer (nothing was changed), or a VM did not come up (the rest is done).
    """
    with run.changing():
        begun = time.monotonic()
        check_fixed_keys(given, run.topology, wanted, source)
        target = merged(replace(run.topology, networks=wanted.networks, text=wanted.text), given, wanted)
        target = merged_links(target, given, wanted)
        check_keep(target.offload.keep, target.offload_threshold)
        check_enforced(target)
        todo = difference(run.topology, target)
        plan = run.cluster.plan(todo.upsert, todo.remove)
        offload, links = offload_difference(run.topology, target), link_difference(run.topology, target)
        done: Applied = {
            "run": run.name, "applied": False, "warnings": [notice.document() for notice in wanted.notices], **plan,
            "vms": todo.vms(), "offload": offload, "links": links, "seconds": 0.0,
        }  # fmt: skip
        if not dry_run and offload:
            # First: a policy that cannot be made is rejected before anything else has changed.
            run.cluster.set_offload(target)
            run.replace_topology(
                lambda now: replace(now, offload_threshold=target.offload_threshold, offload=target.offload)
            )
        if not dry_run:
            for name in links:
                set_link(run, name, links_of(target)[name])
        if not dry_run and todo:
            done["version"] = run.cluster.change(todo.upsert, todo.remove, plan)
            _realize(run, target, todo)
        done["applied"] = not dry_run and bool(todo or offload or links)
        done["seconds"] = round(time.monotonic() - begun, 3)
        return done


def set_link(run: Run, name: str, properties: LinkProperties) -> None:
    """Set the properties of one link of a run.

    Args:
        run: the run.
        name: "wan", or the name of a node, for its uplink.
        properties: the new properties.

    Raises:
        InputError: there is no such link.
        RunError: the link element does not answer.
    """
    with run.changing():
        wanted = with_link(run.topology, name, properties)
        run.set_link(name, properties)
        run.replace_topology(lambda _: wanted)


def _realize(run: Run, target: Topology, todo: Difference) -> None:
    """Remove, alter and build VMs, after the intent was changed."""
    # A VM that is not built yet is not part of the topology: if it fails, the next `apply` of the file builds it.
    building = {vm.name for vm in todo.build}
    networks = (network.with_vms(vm for vm in network.vms if vm.name not in building) for network in target.networks)
    without = replace(target, networks=tuple(networks))
    run.replace_topology(lambda _: without)
    run.drop_vms(todo.drop)
    for before, after in todo.alter:
        run.network.alter_vm(before, after)
    _build(run, todo.build)
    run.replace_topology(lambda _: target)
    write_own_file(run.directory.path, run.directory.topology.name, target.text)
    _wait_reached(run, todo.build)


def _build(run: Run, specs: Sequence[VMSpec]) -> None:
    """Build namespaces and NICs of VMs that the intent has already; hosts work in parallel.

    Raises:
        RunError: some VMs could not be built; the others are there.
    """
    faults: dict[str, Exception] = {}

    def make(spec: VMSpec) -> None:
        try:
            run.build_vm(spec)
        except (HoverboardError, OSError) as error:
            faults[spec.name] = error

    def built(running: Topology) -> Topology:
        for spec in specs:
            if spec.name not in faults:
                running = running.with_vm(spec)
        return running

    run.each_host(make, specs)
    run.replace_topology(built)
    if faults:
        name, error = next(iter(sorted(faults.items())))
        more = f" (nor could {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise RunError(
            f"VM {name} could not be built{more}: {error}",
            where=run.name,
            next_step="all else is applied; apply the same file again to build the missing VMs",
        ) from error


def _wait_reached(run: Run, built: Sequence[VMSpec]) -> None:
    if not built:
        return
    topology = run.topology
    names, built = {vm.name for vm in topology.with_our_gateway(topology.vms)}, topology.with_our_gateway(built)
    for host in {vm.host for vm in built}:
        # A VM whose first ARP request for the gateway gets no answer waits a second before the next.
        run.cluster.wait_joined(len(names), host, _JOIN_TIMEOUT)
    silent = wait_answers(gateway_targets(run, built), READY_TIMEOUT, interval=0.02)
    if silent:
        raise RunError(
            f"the file is applied, but VMs get no answer from their gateway: {', '.join(sorted(silent)[:5])}",
            where=str(run.directory.logs),
            next_step="read the logs of the control plane and of the hosts of these VMs",
        )
