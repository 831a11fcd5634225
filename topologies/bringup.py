"""The phases that bring a run up once its namespaces and links are there, in their order, each in parallel.

Switches, host processes, the control plane; then it waits until every switch is programmed and every VM
reaches its gateway (paper section 3.1). What goes wrong is raised; undoing it is the testbed's business.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from typing import TYPE_CHECKING

from hoverboard.contract.errors import MachineError, RunError
from hoverboard.contract.generations import facts
from hoverboard.contract.packets import Address
from topologies import switches
from topologies.nodes import Server
from topologies.reachability import wait_answers
from topologies.topology import VMSpec
from topologies.waiting import wait_for

if TYPE_CHECKING:
    from topologies.testbed import Testbed

_SWITCH_TIMEOUT = 60.0
_PROGRAM_TIMEOUT = 60.0
READY_TIMEOUT = 30.0
_TOOLS = ("mnexec", "ovsdb-server", "ovs-vswitchd", "ovsdb-tool", "ovs-ofctl")


def check_machine() -> None:
    """MachineError when a testbed cannot be had here."""
    if os.geteuid() != 0:
        raise MachineError("the testbed makes network namespaces, which needs root", next_step="use sudo")
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise MachineError(
            f"not installed: {', '.join(missing)}", next_step="apt-get install mininet openvswitch-switch"
        )


def start_switches(testbed: Testbed) -> None:
    """Open vSwitch of every server, serving."""
    parts = testbed.parts
    servers = parts.plant.servers()
    with testbed.clock.phase("switches", len(servers)) as step:
        (testbed.directory.path / "nodes").mkdir(mode=0o700)
        template = testbed.directory.path / "conf.db"
        switches.make_template(template)

        def bring_up(server: Server) -> None:
            switches.start(server, template, parts.launcher)
            switches.wait_ready(server, _SWITCH_TIMEOUT)
            step()

        parts.workers.each(bring_up, servers)


def start_hosts(testbed: Testbed) -> None:
    """The host process of every server, its uplink and its VMs plugged in."""
    parts = testbed.parts
    servers = parts.plant.servers()
    with testbed.clock.phase("hosts", len(servers) + len(parts.plant.nics)) as step:
        parts.hosts.wait_nursery()
        if testbed.topology.stages:
            parts.hosts.make_secret()
        if any(facts(server.spec.dataplane).carrier == "engines" for server in servers):
            parts.hosts.start_engines()

        def bring_up(server: Server) -> None:
            parts.hosts.start(server, parts.cluster.doors_of(server.spec))
            parts.plant.uplinks[server.name].plug()
            step()
            for nic in parts.plant.nics_of(server):
                parts.plug(nic)
                step()

        parts.workers.each(bring_up, servers)


def start_control_plane(testbed: Testbed) -> None:
    """The control plane, told everything there should be."""
    with testbed.clock.phase("control plane", 1):
        testbed.parts.cluster.wait_ready()
        testbed.parts.cluster.full_update()


def wait_programmed(testbed: Testbed) -> None:
    """Wait until every switch has its program and every VM's vport is known."""
    with testbed.clock.phase("program", len(testbed.topology.servers)) as step:
        waiting = [server.name for server in testbed.topology.servers]

        def programmed() -> bool:
            state = testbed.parts.cluster.program_state()
            for name in state.programmed.intersection(waiting):
                waiting.remove(name)
                step()
            return not waiting and state.joined >= state.intended

        def missing() -> str:
            more = ", ..." if len(waiting) > 5 else ""
            return f"not programmed: {', '.join(waiting[:5]) or 'a vport of a VM'}{more}"

        wait_for(programmed, _PROGRAM_TIMEOUT, missing, where=str(testbed.directory.logs))


def gateway_targets(vm: VMSpec, pid: int) -> dict[str, tuple[int, Address]]:
    """For `wait_answers`: the gateways of a VM whose namespace `pid` is in, by what people read."""
    return {vm.name if gateway.version == 4 else f"{vm.name} (IPv6)": (pid, gateway) for gateway in vm.gateways}


def wait_ready(testbed: Testbed, vms: Iterable[VMSpec]) -> None:
    """Wait until VMs reach their gateways."""
    targets = {target: place for vm in vms for target, place in gateway_targets(vm, testbed.pid_of(vm.name)).items()}
    with testbed.clock.phase("ready", len(targets)) as step:
        silent = wait_answers(targets, READY_TIMEOUT, lambda name: step())
    if silent:
        raise RunError(
            f"no answer from the gateway after {READY_TIMEOUT:g} s: {', '.join(sorted(silent)[:5])}",
            where=str(testbed.directory.logs),
            next_step="see the logs of the control plane and of the VMs' hosts",
        )
