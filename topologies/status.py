"""What a run looks like now: `hoverboard status --json`, and the flows of a node.

Asks all servers at once; a host process that does not answer is reported as unreachable, never waited for.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

from hoverboard.contract.errors import HoverboardError, SwitchError
from hoverboard.contract.pipeline import BRIDGE
from topologies.guest_cpu import guest_seconds

if TYPE_CHECKING:
    from hoverboard.contract import documents
    from hoverboard.contract.node_documents import Flows, HostStatus, Node
    from topologies.nodes import Server
    from topologies.testbed import Testbed
    from topologies.topology import NetworkSpec, ServerSpec, VMSpec

_ANSWER_TIMEOUT = 2.0
_OFCTL_TIMEOUT = 10.0


def _ask(testbed: Testbed, name: str) -> HostStatus | str:
    """What a host process says, or why it says nothing."""
    client = testbed.host_client(name)
    try:
        client.connect(0.2)
        return cast("HostStatus", client.call("status", timeout=_ANSWER_TIMEOUT))
    except (HoverboardError, OSError) as error:
        return str(error)
    finally:
        client.close()


def addresses(vm: VMSpec) -> documents.Addresses:
    """The addresses of a VM as documents show them; `ip6` only where there is one."""
    return {"ip": str(vm.ip)} if vm.ip6 is None else {"ip": str(vm.ip), "ip6": str(vm.ip6)}


def node_status(testbed: Testbed, name: str) -> Node:
    """Status of one server's host process, or of a VM's place; `state` is "up" or "unreachable"."""
    node = testbed.node(name)
    vm = next((vm for vm in testbed.topology.vms if vm.name == name), None)
    if vm is not None:
        return {
            "node": name, "role": "vm", "state": "up", "network": vm.network, "host": vm.host,
            **addresses(vm), "mac": vm.mac, "gateway": str(vm.gateway), "pid": node.pid,
        }  # fmt: skip
    if name == testbed.fabric_name:
        return {"node": name, "role": "fabric", "state": "up", "pid": node.pid}
    spec = testbed.server(name).spec
    answer = _ask(testbed, name)
    if isinstance(answer, str):
        return {
            "node": name, "role": spec.role, "dataplane": spec.dataplane, "datapath_type": testbed.datapath_type,
            "state": "unreachable", "error": answer,
        }  # fmt: skip
    guests = _guests(testbed, [vm.name for vm in testbed.topology.vms if vm.host == name])
    for vm_name, facts in answer["vms"].items():
        facts["guest_seconds"] = guests.get(vm_name)
    return {"state": "up", **answer}


def _program(server: ServerSpec) -> documents.ExternalProgram:
    """Who programs a host, where that is not the control plane."""
    return {} if server.controller is None else {"program": "external", "controller": server.controller}


def _guests(testbed: Testbed, names: list[str]) -> dict[str, float]:
    return guest_seconds({name: testbed.pid_of(name) for name in names})


def _cpu(testbed: Testbed, answers: Mapping[str, HostStatus]) -> list[documents.VMCpu]:
    """By VM: CPU seconds on the fast path, in its VMM, in its coprocessor, in the guest; None where nobody knows."""
    topology = testbed.topology
    guests = _guests(testbed, [vm.name for vm in topology.vms]) if testbed.state == "up" else {}
    rows: list[documents.VMCpu] = []
    for vm in topology.vms:
        host = answers.get(vm.host)
        facts = host["vms"].get(vm.name) if host is not None else None
        coprocessor = facts["coprocessor"] if facts is not None else None
        rows.append(
            {
                "vm": vm.name,
                "host": vm.host,
                "fastpath_seconds": facts["fastpath_seconds"] if facts is not None else None,
                "vmm_seconds": facts["vmm_seconds"] if facts is not None else None,
                "coprocessor_seconds": coprocessor["cpu_seconds"] if coprocessor else None,
                "account": coprocessor["account"] if coprocessor else None,
                "guest_seconds": guests.get(vm.name),
            }
        )
    return rows


def _network(network: NetworkSpec) -> documents.Network:
    found: documents.Network = {
        "name": network.name,
        "vni": network.vni,
        "subnet": str(network.subnets[0].prefix),
        "subnets": [str(subnet.prefix) for subnet in network.subnets],
        "vms": [{"name": vm.name, **addresses(vm), "host": vm.host} for vm in network.vms],
    }
    if (prefix6 := network.subnets[0].prefix6) is not None:
        found["subnet6"] = str(prefix6)
    return found


def add_counters(counters: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum of the counters of several servers; nested ones, such as drops by reason, likewise."""
    total: dict[str, Any] = {}
    for one in counters:
        for key, value in one.items():
            if isinstance(value, dict):
                total[key] = add_counters([total.get(key, {}), value])
            elif isinstance(value, (int, float)):
                total[key] = total.get(key, 0) + value
    return total


def status(testbed: Testbed) -> documents.Status:
    """The whole run: {run, model, state, hosts, hoverboards, networks, cpu, counters, supervision, phases, control}."""
    topology = testbed.topology
    names = [server.name for server in topology.servers] if testbed.state == "up" else []
    with ThreadPoolExecutor(16, thread_name_prefix="status") as pool:
        asked = dict(zip(names, pool.map(lambda name: _ask(testbed, name), names), strict=True))
    answers = {name: answer for name, answer in asked.items() if not isinstance(answer, str)}
    silent = {name: answer for name, answer in asked.items() if isinstance(answer, str)}
    vms_of: dict[str, list[str]] = {server.name: [] for server in topology.servers}
    for vm in topology.vms:
        vms_of[vm.host].append(vm.name)

    def row(name: str, dataplane: str) -> documents.Server:
        state = "unreachable" if name in silent else "up" if name in answers else testbed.state
        found: documents.Server = {
            "name": name, "dataplane": dataplane, "datapath_type": testbed.datapath_type, "state": state
        }  # fmt: skip
        if name in silent:
            found["error"] = silent[name]
        return found

    return {
        "run": testbed.run,
        "topology": topology.name,
        "model": topology.model,
        "state": testbed.state,
        "hosts": [{**row(s.name, s.dataplane), **_program(s), "vms": vms_of[s.name]} for s in topology.hosts],
        "hoverboards": [row(s.name, s.dataplane) for s in topology.hoverboards],
        "networks": [_network(network) for network in topology.networks],
        "cpu": _cpu(testbed, answers),
        "counters": cast("documents.Counters", add_counters(answer["counters"] for answer in answers.values())),
        "supervision": testbed.parts.supervisor.status() if names else {},
        "phases": dict(testbed.clock.seconds),
        "control": testbed.control_status(),
        **testbed.wan_status(),
    }


def openflow(server: Server) -> list[str]:
    """The OpenFlow flows of a server's switch, as ovs-ofctl prints them, without its preamble."""
    target = f"unix:{server.directory / f'{BRIDGE}.mgmt'}"
    try:
        dump = subprocess.run(
            ["ovs-ofctl", "-O", "OpenFlow14", "--no-names", "dump-flows", target],
            capture_output=True, text=True, timeout=_OFCTL_TIMEOUT, check=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise SwitchError(f"no answer in {_OFCTL_TIMEOUT:g} s", where=server.name) from error
    except subprocess.CalledProcessError as error:
        raise SwitchError(error.stderr.strip(), where=server.name, next_step="see ovs-vswitchd.log there") from error
    return [line.strip() for line in dump.stdout.splitlines() if "actions=" in line]


def flows(testbed: Testbed, name: str) -> Flows:
    """{"node", "openflow": lines of the switch, "entries": the dataplane's own flow table}."""
    server = testbed.server(name)
    client = testbed.host_client(name)
    try:
        entries = client.flows()
    finally:
        client.close()
    return {"node": name, "openflow": openflow(server), "entries": entries}
