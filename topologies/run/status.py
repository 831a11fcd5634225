"""The status of a run (`hoverboard status --json`), of its nodes, and the flows of a node.

All hosts and Hoverboards are asked at once. A host process or control plane that does not answer in 2 s is
"unreachable".
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

from hoverboard import mapped_users
from hoverboard.contract.errors import HoverboardError, SwitchError
from hoverboard.contract.generations import facts
from hoverboard.contract.openflow.flow_names import FlowNames, cause, purpose
from hoverboard.contract.openflow.pipeline import BRIDGE, drop_reason, kind_of
from hoverboard.host.control.host_client import HostClient
from topologies.cluster.cluster_management import STATUS_TIMEOUT
from topologies.emulation.nodes import Server
from topologies.guests.guest_cpu import guest_seconds
from topologies.rootless import lacking
from topologies.run.notices import notices
from topologies.run.run import Run
from topologies.spec.topology import FABRIC, NetworkSpec, ServerSpec, VMSpec

if TYPE_CHECKING:
    from hoverboard.contract import documents
    from hoverboard.contract.change_documents import AddedVM
    from hoverboard.contract.node_documents import Flows, HostStatus, Node
    from hoverboard.host.link.link_client import ServedLink
    from topologies.emulation.emulated_links import EmulatedLinks


_ANSWER_TIMEOUT = 2.0  # seconds; much shorter than what a client waits for the holder
_OFCTL_TIMEOUT = 10.0
_COOKIE = re.compile(r"cookie=(0x[0-9a-f]+)")


def _client(run: Run, name: str) -> HostClient:
    """A new connection to a host process: the run's own takes one request at a time, and may be busy."""
    return HostClient(run.network.server(name).directory / "host.sock")


def _ask(run: Run, name: str) -> HostStatus | str:
    """The status of a host process, or the reason why it does not answer."""
    client = _client(run, name)
    try:
        client.connect(0.2)
        return cast("HostStatus", client.call("status", timeout=_ANSWER_TIMEOUT))
    except (HoverboardError, OSError) as error:
        return str(error)
    finally:
        client.close()


def addresses(vm: VMSpec) -> documents.Addresses:
    """The addresses of a VM, as a document; `ip6` only if it has one."""
    return {"ip": str(vm.ip)} if vm.ip6 is None else {"ip": str(vm.ip), "ip6": str(vm.ip6)}


def vm_document(vm: VMSpec) -> AddedVM:
    """A VM that was added, as a document."""
    return {
        "name": vm.name, "network": vm.network, **addresses(vm), "host": vm.host, "mac": vm.mac, "tags": list(vm.tags),
        "rate_bps": vm.rate,
    }  # fmt: skip


def node_status(run: Run, name: str) -> Node:
    """The status of a node: the answer of a host process, or host and addresses of a VM.

    `state` is "up", or "unreachable" when the host process does not answer.
    """
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
    if isinstance(answer, str):
        return {
            "node": name, "role": spec.role, "dataplane": spec.dataplane, "datapath_type": run.datapath_type,
            "state": "unreachable", "error": answer,
        }  # fmt: skip
    guests = _guests(run, [vm.name for vm in run.topology.vms if vm.host == name])
    for vm_name, vm_facts in answer["vms"].items():
        vm_facts["guest_seconds"] = guests.get(vm_name)
    dropped_by = _dropped_by(answer["counters"], lambda: flow_names(run))
    return {"state": "up", **answer, "dropped_by": dropped_by}


def flow_names(run: Run) -> FlowNames:
    """The names of the run's networks and firewall rules, for cookies in words."""
    vnis = {network.name: network.vni for network in run.topology.networks}
    rules = run.cluster.firewall_rules(_ANSWER_TIMEOUT)
    return FlowNames(
        {vni: name for name, vni in vnis.items()},
        [(vnis[network], name) for network, name in rules if network in vnis],
    )


def _dropped_by(counters: Mapping[str, Any], names: Callable[[], FlowNames]) -> list[documents.DroppedBy]:
    """`drops_by_flow` of some counters in words, the most packets first; asks for names only if there are drops."""
    by_flow: dict[str, int] = counters.get("drops_by_flow", {})
    if not by_flow:
        return []
    known = names()
    found: dict[tuple[str, str], int] = {}
    for text, packets in by_flow.items():
        cookie = int(text, 16)
        kind = kind_of(cookie)
        reason = drop_reason(kind) if kind is not None else None
        one = (reason or "", cause(cookie, known))
        found[one] = found.get(one, 0) + packets
    rows = sorted(found.items(), key=lambda row: (-row[1], row[0]))
    return [{"reason": reason, "cause": words, "packets": packets} for (reason, words), packets in rows]


def _program(server: ServerSpec) -> documents.ExternalProgram:
    """The external program of a host; empty when our control plane programs it."""
    return {} if server.controller is None else {"program": "external", "controller": server.controller}


def _guests(run: Run, names: list[str]) -> dict[str, float]:
    return guest_seconds({name: int(run.network.node(name).pid) for name in names})


def _cpu(run: Run, answers: Mapping[str, HostStatus]) -> list[documents.VMCpu]:
    """CPU seconds of each VM: on the fast path, its VMM, its coprocessor, its own processes; None: not known."""
    topology = run.topology
    guests = _guests(run, [vm.name for vm in topology.vms]) if answers else {}
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
        "vms": [
            {"name": vm.name, **addresses(vm), "host": vm.host, "tags": list(vm.tags), "rate_bps": vm.rate}
            for vm in network.vms
        ],
    }
    if (prefix6 := network.subnets[0].prefix6) is not None:
        found["subnet6"] = str(prefix6)
    return found


def add_counters(counters: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of the counters of several nodes; nested counters, such as drops by reason, are summed, too."""
    total: dict[str, Any] = {}
    for one in counters:
        for key, value in one.items():
            if isinstance(value, dict):
                total[key] = add_counters([total.get(key, {}), value])
            elif isinstance(value, (int, float)):
                total[key] = total.get(key, 0) + value
    return total


def status(run: Run) -> documents.Status:
    """The status of the whole run, as `hoverboard.contract.documents.Status` describes it."""
    topology = run.topology
    names = [server.name for server in topology.servers] if run.state == "up" else []
    with ThreadPoolExecutor(16, thread_name_prefix="status") as pool:
        asked = dict(zip(names, pool.map(lambda name: _ask(run, name), names), strict=True))
    answers = {name: answer for name, answer in asked.items() if not isinstance(answer, str)}
    silent = {name: answer for name, answer in asked.items() if isinstance(answer, str)}
    vms_of: dict[str, list[str]] = {server.name: [] for server in topology.servers}
    for vm in topology.vms:
        vms_of[vm.host].append(vm.name)

    links = run.network.links
    served = links.served() if links is not None else {}

    def row(name: str, dataplane: str) -> documents.Server:
        state = "unreachable" if name in silent else "up" if name in answers else run.state
        found: documents.Server = {
            "name": name, "dataplane": dataplane, "datapath_type": run.datapath_type, "state": state
        }  # fmt: skip
        if name in silent:
            found["error"] = silent[name]
        if links is not None and (uplink := links.uplink(name, served)) is not None:
            found["uplink"] = uplink
        return found

    counters = cast("documents.Counters", add_counters(answer["counters"] for answer in answers.values()))
    return {
        "run": run.name,
        "privileges": mapped_users.privileges(),
        "without": [
            {"what": one.what, "why": one.why, "consequence": one.consequence} for one in lacking.of_this_process()
        ],
        "topology": topology.name,
        "model": topology.model,
        "state": run.state,
        "hosts": [{**row(s.name, s.dataplane), **_program(s), "vms": vms_of[s.name]} for s in topology.hosts],
        "hoverboards": [row(s.name, s.dataplane) for s in topology.hoverboards],
        "networks": [_network(network) for network in topology.networks],
        "cpu": _cpu(run, answers),
        "counters": counters,
        "dropped_by": _dropped_by(counters, lambda: flow_names(run)),
        "supervision": run.supervisor.status() if names else {},
        "phases": dict(run.phases.seconds),
        "control": control(run, _ANSWER_TIMEOUT),
        "warnings": [one.document() for one in notices(run)],
        **_wan(links, served),
    }


def control(run: Run, timeout: float = STATUS_TIMEOUT) -> documents.Control:
    """Status, pid and restarts of the control plane.

    `state` is "unreachable" when it does not answer in `timeout` seconds.
    """
    if run.state != "up":
        return {"state": run.state}
    cluster = run.cluster
    facts: documents.ControlFacts = {"pid": cluster.pid, "restarts": cluster.restarts}
    if cluster.processes.layout.processes:
        facts["processes"] = cluster.processes.documents()
    try:
        return {"state": "up", **facts, **cluster.status(timeout)}
    except HoverboardError as error:
        return {"state": "unreachable", **facts, "error": str(error)}


def _wan(links: EmulatedLinks | None, served: Mapping[str, ServedLink]) -> documents.WanStatus:
    """{"wan": the link between two regions}; empty when there is no WAN."""
    found = links.wan(served) if links is not None else None
    return {} if found is None else {"wan": found}


def openflow(server: Server) -> list[str]:
    """The OpenFlow flows of a node's switch, as lines of ovs-ofctl.

    Raises:
        SwitchError: the switch does not answer.
    """
    target = f"unix:{server.directory / f'{BRIDGE}.mgmt'}"
    try:
        dump = subprocess.run(
            ["ovs-ofctl", "-O", "OpenFlow14", "--no-names", "dump-flows", target],
            capture_output=True, text=True, timeout=_OFCTL_TIMEOUT, check=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise SwitchError(
            f"the switch does not answer within {_OFCTL_TIMEOUT:g} s", where=server.name,
            next_step="see `hoverboard status`, and ovs-vswitchd.log in the directory of the node",
        ) from error  # fmt: skip
    except subprocess.CalledProcessError as error:
        raise SwitchError(
            error.stderr.strip(), where=server.name, next_step="see ovs-vswitchd.log in the directory of the node"
        ) from error
    return [line.strip() for line in dump.stdout.splitlines() if "actions=" in line]


def flows(run: Run, name: str) -> Flows:
    """The flows of a node: lines of ovs-ofctl, the flow table of the dataplane, and both in words."""
    server = run.network.server(name)
    client = _client(run, name)
    try:
        entries = client.flows()
    finally:
        client.close()
    lines, names = openflow(server), flow_names(run)
    for entry in entries:
        if entry["cookie"] is not None and (words := cause(int(entry["cookie"], 16), names)):
            entry["cause"] = words
    return {
        "node": name,
        "openflow": lines,
        "purposes": [purpose(_cookie(line), names) for line in lines],
        "openflow_counts": facts(server.spec.dataplane).carrier == "switch",
        "entries": entries,
    }


def _cookie(line: str) -> int:
    """The cookie in a line of ovs-ofctl."""
    found = _COOKIE.search(line)
    return int(found[1], 16) if found is not None else 0
