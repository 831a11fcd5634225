"""VMs that come and go while a run is up: intent, namespace, NIC and vport, all of them or none (paper section 3.1).

Whatever goes wrong on the way, what was made is removed again, also while the control plane is away.
"""

from __future__ import annotations

from concurrent.futures import wait
from typing import TYPE_CHECKING

from hoverboard.contract.errors import InputError, RunError
from topologies import placement
from topologies.bringup import READY_TIMEOUT, gateway_targets
from topologies.reachability import wait_answers
from topologies.topology import VMSpec

if TYPE_CHECKING:
    from topologies.testbed import Testbed

_JOIN_TIMEOUT = 2.0


def add_vm(testbed: Testbed, network: str, name: str | None = None, host: str | None = None) -> VMSpec:
    """Add a VM and wait until its gateway answers.

    Args:
        name, host: default: the next number, and the host with the fewest VMs.

    Raises:
        InputError: there is no room, or no such network or host.
        RunError: the control plane is away, or the VM does not get through; nothing of it is left.
    """
    parts = testbed.parts
    spec = placement.plan_vm(testbed.topology, network, name, host)
    joined = parts.cluster.program_state().joined
    answered = testbed.topology.answered([spec])
    told = parts.workers.submit(lambda: parts.cluster.upsert(spec.entity()))
    try:
        parts.plant.make_node(spec)
        parts.plug(parts.plant.make_nic(spec))
        told.result()
        # A guest that asks for its gateway too early asks again only a second later.
        parts.cluster.wait_joined(joined + len(answered), spec.host, _JOIN_TIMEOUT)
        targets = gateway_targets(spec, testbed.pid_of(spec.name)) if answered else {}
        if wait_answers(targets, READY_TIMEOUT, interval=0.02):
            raise RunError(f"the gateway does not answer {spec.name}", where=spec.host)
    except BaseException:
        wait([told])
        parts.cluster.withdraw(spec.entity())
        parts.plant.drop_vm(spec.name)
        raise
    testbed.topology = testbed.topology.with_vm(spec)
    return spec


def remove_vm(testbed: Testbed, name: str) -> None:
    """Remove a VM.

    Raises:
        InputError: there is none with that name, or it is needed: the next hop of a route.
        RunError: the control plane is away; the VM stays as it is.
    """
    parts = testbed.parts
    spec = next((vm for vm in testbed.topology.vms if vm.name == name), None)
    if spec is None:
        raise InputError(f"there is no VM {name!r} in run {testbed.run!r}", next_step="see `hoverboard vm list`")
    parts.cluster.remove(spec.entity())
    # From here on nobody wants it any more: it is gone, even if a part of it resists.
    testbed.topology = testbed.topology.without_vm(spec)
    parts.plant.drop_vm(name)
