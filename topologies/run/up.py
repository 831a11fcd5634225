"""Brings a run up in phases: nodes, links, switches, hosts, control plane, program, ready.

A phase works in parallel. The last two wait until every switch is programmed, every VM reaches its gateway, and hosts
reach each other (paper section 3.1). A failure is raised; the caller takes the run down.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from hoverboard import programs
from hoverboard.contract.errors import MachineError, RunError
from hoverboard.contract.generations import facts
from hoverboard.contract.packets import Address
from topologies.emulation import ovs_daemons
from topologies.emulation.nodes import Server
from topologies.emulation.ping import wait_answers
from topologies.processes import ledger
from topologies.processes.deadlines import wait_for
from topologies.processes.run_directory import RunDirectory, RunLock
from topologies.run import host_pairs
from topologies.run.run import Run
from topologies.spec.topology import VMSpec

_SWITCH_TIMEOUT = 60.0
_PROGRAM_TIMEOUT = 60.0
READY_TIMEOUT = 30.0
_TOOLS = ("mnexec", "ovsdb-server", "ovs-vswitchd", "ovsdb-tool", "ovs-ofctl")


def check_machine() -> None:
    """Check that this machine can hold a testbed.

    Raises:
        MachineError: we are not root, or a tool is not installed.
    """
    if os.geteuid() != 0:
        raise MachineError(
            "a testbed of an ordinary user is in namespaces, which this Python has not entered",
            next_step="start the program with: hoverboard python FILE",
        )
    missing = [tool for tool in _TOOLS if programs.find(tool) is None]
    if missing:
        raise MachineError(
            f"not installed: {', '.join(missing)}", next_step="apt-get install mininet openvswitch-switch"
        )


def take_lock(directory: RunDirectory) -> RunLock:
    """Take the lock of a new run; the caller releases it.

    Raises:
        RunError: the run is up, something of an earlier one is left, or the directory has other files.
    """
    step = f"use another name with --run, or take it down: hoverboard down --run {directory.run}"
    left = RunError(f"the holder of run {directory.run!r} died, and parts of the run are left", next_step=step)
    ledger.check_removable(directory)
    if directory.ledger.exists() and not directory.lock.exists():
        raise left  # a new lock would hide that the run has lost its own
    lock = RunLock.try_take(directory, create=True)
    if lock is None:
        raise RunError(f"run {directory.run!r} is already up, or is being started or taken down", next_step=step)
    if os.listdir(directory.path) != [directory.lock.name]:
        lock.release()
        raise left
    return lock


def build(run: Run) -> None:
    """Make namespaces, links and devices."""
    run.network.make_nodes(run.topology, run.workers, run.phases)
    run.network.make_links(run.topology, run.workers, run.phases)


def start(run: Run) -> None:
    """Start all processes, in order; return when every VM reaches its gateway, and hosts reach each other."""
    start_switches(run)
    start_hosts(run)
    start_control_plane(run)
    wait_programmed(run)
    wait_ready(run)
    run.supervise()
    run.finish_start()


def start_switches(run: Run) -> None:
    """Start Open vSwitch of every node, and wait until it serves."""
    servers = run.network.servers()
    with run.phases.phase("switches", len(servers)) as step:
        (run.directory.path / "nodes").mkdir(mode=0o700)
        template = run.directory.path / "conf.db"
        ovs_daemons.make_template(template)

        def bring_up(server: Server) -> None:
            ovs_daemons.start(server, template, run.launcher)
            ovs_daemons.wait_ready(server, _SWITCH_TIMEOUT)
            step()

        run.workers.each(bring_up, servers)


def start_hosts(run: Run) -> None:
    """Start the host process of every node, and plug in its uplink and its VMs."""
    servers = run.network.servers()
    with run.phases.phase("hosts", len(servers) + len(run.network.nics)) as step:
        run.hosts.wait_nursery(run.phases.note)
        if run.network.links is not None and run.network.links.need_element:
            run.start_links()
        if run.topology.stages:
            run.hosts.make_secret()
        if any(facts(server.spec.dataplane).carrier == "engines" for server in servers):
            run.hosts.start_engines()

        def bring_up(server: Server) -> None:
            run.hosts.start(server, run.cluster.endpoints(server.spec))
            run.network.uplinks[server.name].plug()
            step()
            for nic in run.network.nics_of(server):
                run.plug_vm(nic.vm.name)
                step()

        run.workers.each(bring_up, servers)


def start_control_plane(run: Run) -> None:
    """Wait for the control plane, and send it the whole intent."""
    with run.phases.phase("control plane", 1):
        run.cluster.wait_ready()
        run.cluster.full_update()


def wait_programmed(run: Run) -> None:
    """Wait until every switch has its program, and the control plane knows the vport of every VM."""
    with run.phases.phase("program", len(run.topology.servers)) as step:
        waiting = [server.name for server in run.topology.servers]

        def programmed() -> bool:
            state = run.cluster.program_state()
            for name in state.programmed.intersection(waiting):
                waiting.remove(name)
                step()
            return not waiting and state.joined >= state.intended

        def missing() -> str:
            more = ", ..." if len(waiting) > 5 else ""
            if not waiting:
                return "the control plane does not know the vports of all VMs"
            return f"switches are not programmed: {', '.join(waiting[:5])}{more}"

        wait_for(programmed, _PROGRAM_TIMEOUT, missing, where=str(run.directory.logs))


def gateway_targets(run: Run, vms: Iterable[VMSpec]) -> dict[str, tuple[int, Address]]:
    """The gateways of VMs, as targets for `wait_answers`; the names are for messages."""
    return {
        vm.name if gateway.version == 4 else f"{vm.name} (IPv6)": (int(run.network.node(vm.name).pid), gateway)
        for vm in vms
        for gateway in vm.gateways
    }


def wait_ready(run: Run) -> None:
    """Wait until each VM reaches its gateway, and hosts reach each other (`topologies.run.host_pairs`).

    Raises:
        RunError: a ping gets no answer in READY_TIMEOUT seconds.
    """
    targets = gateway_targets(run, run.topology.with_our_gateway(run.topology.vms))
    between = {f"{one.name} -> {other.name}": (one, other) for one, other in host_pairs.pairs(run.topology)}
    targets |= {name: (int(run.network.node(one.name).pid), other.ip) for name, (one, other) in between.items()}
    with run.phases.phase("ready", len(targets)) as step:
        silent = wait_answers(targets, READY_TIMEOUT, lambda name: step())
    if without := sorted(silent - between.keys()):
        raise RunError(
            f"VMs get no answer from their gateway after {READY_TIMEOUT:g} s: {', '.join(without[:5])}",
            where=str(run.directory.logs),
            next_step="read the logs of the control plane and of the hosts of these VMs",
        )
    if silent:
        one, other = between[min(silent)]
        more = f" (and {len(silent) - 1} more pairs of hosts)" if len(silent) > 1 else ""
        raise RunError(
            f"hosts do not reach each other after {READY_TIMEOUT:g} s: VM {one.name} on {one.host} gets no answer "
            f"from VM {other.name} on {other.host}{more}",
            where=str(run.directory.logs),
            next_step=f"read the logs of the control plane, of {one.host}, of {other.host} and of the Hoverboards",
        )
