"""What a run looks like now: `hoverboard status --json`, and the flows of a node.

Asks all servers at once; a host process that does not answer is reported as unreachable, never waited for.
"""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hoverboard.contract.errors import HoverboardError, SwitchError
from hoverboard.contract.pipeline import BRIDGE
from hoverboard.host.client import HostClient
from topologies.guest_cpu import guest_seconds
from topologies.nodes import Server
from topologies.run import Run
from topologies.topology import FABRIC, VMSpec

_ANSWER_TIMEOUT = 2.0
_OFCTL_TIMEOUT = 10.0


def _client(run: Run, name: str) -> HostClient:
    """A connection of its own: the server's is for one request at a time."""
    return HostClient(run.network.server(name).directory / "host.sock")


def _ask(run: Run, name: str) -> dict[str, Any]:
    client = _client(run, name)
    try:
        client.connect(0.2)
        return dict(client.call("status", timeout=_ANSWER_TIMEOUT))
    except (HoverboardError, OSError) as error:
        return {"unreachable": str(error)}
    finally:
        client.close()


def addresses(vm: VMSpec) -> dict[str, str]:
    """The addresses of a VM as documents show them; `ip6` only where there is one."""
    return {"ip": str(vm.ip)} if vm.ip6 is None else {"ip": str(vm.ip), "ip6": str(vm.ip6)}


def vm_document(vm: VMSpec) -> dict[str, Any]:
    """A VM that was added, for people and programs."""
    return {"name": vm.name, "network": vm.network, **addresses(vm), "host": vm.host, "mac": vm.mac}


def node_status(run: Run, name: str) -> dict[str, Any]:
    """Status of one server's host process, or of a VM's place; `state` is "up" or "unreachable"."""
    node = run.network.node(name)
    vm = next((vm for vm in run.topology.vms if vm.name == name), None)
    if vm is not None:
        return {
            "node": name, "role": "vm", "state": "up", "network": vm.network, "host": vm.host,
            **addresses(vm), "mac": vm.mac, "gateway": str(vm.gateway), "pid": node.pid,
        }  # fmt: skip
    if name == FABRIC:
        return {"node": name, "role": "fabric", "state": "up", "pid": node.pid}
    spec = run.network.server(name).spec
    answer = _ask(run, name)
    if "unreachable" in answer:
        return {
            "node": name, "role": spec.role, "dataplane": spec.dataplane, "datapath_type": run.datapath_type,
            "state": "unreachable", "error": answer["unreachable"],
        }  # fmt: skip
    guests = _guests(run, [vm.name for vm in run.topology.vms if vm.host == name])
    for vm_name, facts in answer.get("vms", {}).items():
        facts["guest_seconds"] = guests.get(vm_name)
    return {"state": "up", **answer}


def _guests(run: Run, names: list[str]) -> dict[str, float]:
    return guest_seconds({name: int(run.network.node(name).pid) for name in names})


def _cpu(run: Run, answers: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """By VM: CPU seconds on the fast path, in its VMM, in its coprocessor, in the guest; None where nobody knows."""
    topology = run.topology
    guests = _guests(run, [vm.name for vm in topology.vms]) if answers else {}
    rows = []
    for vm in topology.vms:
        facts = answers.get(vm.host, {}).get("vms", {}).get(vm.name, {})
        coprocessor = facts.get("coprocessor")
        rows.append(
            {
                "vm": vm.name,
                "host": vm.host,
                "fastpath_seconds": facts.get("fastpath_seconds"),
                "vmm_seconds": facts.get("vmm_seconds"),
                "coprocessor_seconds": coprocessor["cpu_seconds"] if coprocessor else None,
                "account": coprocessor["account"] if coprocessor else None,
                "guest_seconds": guests.get(vm.name),
            }
        )
    return rows


def add_counters(counters: list[dict[str, Any]]) -> dict[str, Any]:
    """Sum of the counters of several servers; nested ones, such as drops by reason, likewise."""
    total: dict[str, Any] = {}
    for one in counters:
        for key, value in one.items():
            if isinstance(value, dict):
                total[key] = add_counters([total.get(key, {}), value])
            elif isinstance(value, (int, float)):
                total[key] = total.get(key, 0) + value
    return total


def status(run: Run) -> dict[str, Any]:
    """The whole run: {run, model, state, hosts, hoverboards, networks, cpu, counters, supervision, phases, control}."""
    topology = run.topology
    names = [server.name for server in topology.servers] if run.state == "up" else []
    with ThreadPoolExecutor(16, thread_name_prefix="status") as pool:
        answers = dict(zip(names, pool.map(lambda name: _ask(run, name), names), strict=True))
    vms_of: dict[str, list[str]] = {server.name: [] for server in topology.servers}
    for vm in topology.vms:
        vms_of[vm.host].append(vm.name)

    def row(name: str, dataplane: str) -> dict[str, Any]:
        answer = answers.get(name, {})
        state = run.state if name not in answers else "unreachable" if "unreachable" in answer else "up"
        found = {"name": name, "dataplane": dataplane, "datapath_type": run.datapath_type, "state": state}
        if "unreachable" in answer:
            found["error"] = answer["unreachable"]
        return found

    return {
        "run": run.name,
        "topology": topology.name,
        "model": topology.model,
        "state": run.state,
        "hosts": [{**row(s.name, s.dataplane), "vms": vms_of[s.name]} for s in topology.hosts],
        "hoverboards": [row(s.name, s.dataplane) for s in topology.hoverboards],
        "networks": [
            {
                "name": network.name,
                "vni": network.vni,
                "subnet": str(network.subnets[0].prefix),
                "subnets": [str(subnet.prefix) for subnet in network.subnets],
                **({"subnet6": str(prefix6)} if (prefix6 := network.subnets[0].prefix6) is not None else {}),
                "vms": [{"name": vm.name, **addresses(vm), "host": vm.host} for vm in network.vms],
            }
            for network in topology.networks
        ],
        "cpu": _cpu(run, answers),
        "counters": add_counters([answer.get("counters", {}) for answer in answers.values()]),
        "supervision": run.supervisor.status() if names else {},
        "phases": dict(run.phases.seconds),
        "control": control(run),
        **_wan(run),
    }


def control(run: Run) -> dict[str, Any]:
    """The control plane: its status, pid and restarts; `state` is "unreachable" when it does not answer."""
    if run.state != "up":
        return {"state": run.state}
    cluster = run.cluster
    facts: dict[str, Any] = {"pid": cluster.pid, "restarts": cluster.restarts}
    if cluster.processes.layout.processes:
        facts["processes"] = cluster.processes.documents()
    try:
        return {"state": "up", **facts, **cluster.status()}
    except HoverboardError as error:
        return {"state": "unreachable", **facts, "error": str(error)}


def _wan(run: Run) -> dict[str, Any]:
    """{"wan": the link between two regions, and what of it this kernel cannot do}; empty where there is none."""
    return {} if run.network.wan is None else {"wan": run.network.wan.document()}


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


def flows(run: Run, name: str) -> dict[str, Any]:
    """{"node", "openflow": lines of the switch, "entries": the dataplane's own flow table}."""
    server = run.network.server(name)
    client = _client(run, name)
    try:
        entries = client.flows()
    finally:
        client.close()
    return {"node": name, "openflow": openflow(server), "entries": entries}
