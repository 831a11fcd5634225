"""Adds and removes VMs while a run is up: intent, namespace, NIC and vport, all parts or no part (paper section 3.1).

On a failure, all that was made is removed, even while the control plane does not answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import wait

from typing_extensions import Unpack

from hoverboard.contract.errors import InputError, RunError
from topologies.changes import placement
from topologies.changes.placement import VMValues
from topologies.emulation.ping import wait_answers
from topologies.references.names import Notice
from topologies.run import notices
from topologies.run.run import Run
from topologies.run.up import READY_TIMEOUT, gateway_targets
from topologies.spec.topology import Topology, VMSpec

_JOIN_TIMEOUT = 2.0


def add_vm(
    run: Run, network: str, name: str | None = None, host: str | None = None, **values: Unpack[VMValues]
) -> VMSpec:
    """Add a VM; return when its gateway answers.

    Args:
        run: the run.
        network: name of the network.
        name: default: the network's name with the next number.
        host: default: the host with the fewest VMs.
        values: its addresses, tags and rate.

    Raises:
        InputError: the network is full, there is no such network or host, or a value is wrong or taken.
        RunError: the control plane does not answer, or the VM gets no answer from its gateway; nothing of it is left.
    """
    with run.changing():
        cluster = run.cluster
        spec = placement.plan_vm(run.topology, network, name, host, **values)  # tour: vm 2
        joined = cluster.program_state().joined
        pinged = run.topology.with_our_gateway([spec])
        sent = run.workers.submit(lambda: cluster.upsert(spec.entity()))
        try:
            run.build_vm(spec)
            sent.result()
            # A VM whose first ARP request for the gateway gets no answer waits a second before the next.
            cluster.wait_joined(joined + len(pinged), spec.host, _JOIN_TIMEOUT)
            if wait_answers(gateway_targets(run, pinged), READY_TIMEOUT, interval=0.02):
                raise RunError(
                    f"VM {spec.name} gets no answer from its gateway, and is removed",
                    where=spec.host,
                    next_step="read the logs of the control plane and of this host",
                )
        except BaseException:
            wait([sent])
            cluster.withdraw(spec.entity())
            run.drop_vm(spec.name)
            raise
        run.replace_topology(lambda present: present.with_vm(spec))
        return spec


def remove_vm(run: Run, name: str) -> list[Notice]:
    """Remove a VM; return the names that match nothing because of that.

    Raises:
        InputError: there is no such VM.
        EntityError: another entity needs it, such as a route with this next hop.
        RunError: the control plane does not answer; the VM stays.
    """
    with run.changing():
        spec = next((vm for vm in run.topology.vms if vm.name == name), None)
        if spec is None:
            raise InputError(f"there is no VM {name!r} in run {run.name!r}", next_step="see `hoverboard vm list`")
        before = notices.notices(run)
        run.cluster.remove(spec.entity())
        # The intent has it no more: it is gone, even if a part of it cannot be removed.
        run.replace_topology(lambda present: present.without_vm(spec))
        run.drop_vm(name)
        return notices.since(run, before)


def prebuild_vms(run: Run, network: str, count: int) -> list[VMSpec]:
    """Build namespaces and NICs of VMs that are not in the intent; the caller adds them to it.

    Raises:
        InputError: the network is full, or there is no such network.
        RunError, MachineError: a VM cannot be built; those that were built are removed.
    """
    with run.changing():
        wanted, specs = run.topology, []
        for _ in range(count):
            specs.append(placement.plan_vm(wanted, network))
            wanted = wanted.with_vm(specs[-1])
        run.replace_topology(lambda _: wanted)
        try:
            run.each_host(run.build_vm, specs)
        except BaseException:
            _drop(run, specs)
            raise
        return specs


def discard_vms(run: Run, specs: Sequence[VMSpec]) -> None:
    """Remove VMs of `prebuild_vms`, from the run and from the intent."""
    with run.changing():
        try:
            run.cluster.client.diff(remove=[spec.entity() for spec in specs])
        finally:
            _drop(run, specs)


def _drop(run: Run, specs: Sequence[VMSpec]) -> None:
    def without(present: Topology) -> Topology:
        for spec in specs:
            present = present.without_vm(spec)
        return present

    run.replace_topology(without)
    run.drop_vms(specs)
