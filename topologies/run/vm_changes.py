"""VMs that come and go while a run is up: intent, namespace, NIC and vport, all of them or none (paper section 3.1).

Whatever goes wrong on the way, what was made is removed again, also while the control plane is away.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import wait

from hoverboard.contract.errors import InputError, RunError
from topologies.emulation.ping import wait_answers
from topologies.run.run import Run
from topologies.run.up import READY_TIMEOUT, gateway_targets
from topologies.spec import placement
from topologies.spec.topology import Topology, VMSpec

_JOIN_TIMEOUT = 2.0


def add_vm(run: Run, network: str, name: str | None = None, host: str | None = None) -> VMSpec:
    """Add a VM and wait until its gateway answers.

    Args:
        name, host: default: the next number, and the host with the fewest VMs.

    Raises:
        InputError: there is no room, or no such network or host.
        RunError: the control plane is away, or the VM does not get through; nothing of it is left.
    """
    with run.changing():
        cluster = run.cluster
        spec = placement.plan_vm(run.topology, network, name, host)
        joined = cluster.program_state().joined
        pinged = run.topology.with_our_gateway([spec])
        sent = run.workers.submit(lambda: cluster.upsert(spec.entity()))
        try:
            run.build_vm(spec)
            sent.result()
            # A guest that asks for its gateway too early asks again only a second later.
            cluster.wait_joined(joined + len(pinged), spec.host, _JOIN_TIMEOUT)
            if wait_answers(gateway_targets(run, pinged), READY_TIMEOUT, interval=0.02):
                raise RunError(f"the gateway does not answer {spec.name}", where=spec.host)
        except BaseException:
            wait([sent])
            cluster.withdraw(spec.entity())
            run.drop_vm(spec.name)
            raise
        run.replace_topology(lambda present: present.with_vm(spec))
        return spec


def remove_vm(run: Run, name: str) -> None:
    """Remove a VM.

    Raises:
        InputError: there is none with that name, or it is needed: the next hop of a route.
        RunError: the control plane is away; the VM stays as it is.
    """
    with run.changing():
        spec = next((vm for vm in run.topology.vms if vm.name == name), None)
        if spec is None:
            raise InputError(f"there is no VM {name!r} in run {run.name!r}", next_step="see `hoverboard vm list`")
        run.cluster.remove(spec.entity())
        # From here on nobody wants it any more: it is gone, even if a part of it resists.
        run.replace_topology(lambda present: present.without_vm(spec))
        run.drop_vm(name)


def prebuild_vms(run: Run, network: str, count: int) -> list[VMSpec]:
    """Build VMs with namespace and NIC that the fabric manager has not heard of; it is told by the caller.

    Raises:
        InputError: there is no room, or no such network.
        RunError, MachineError: one cannot be built; none is there then.
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
    """Remove VMs of `prebuild_vms`, and take them out of the intent."""
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
    run.each_host(lambda spec: run.drop_vm(spec.name), specs)
