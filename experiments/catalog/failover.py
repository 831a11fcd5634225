"""Kills each role under traffic (paper section 3.5, fail static). Measures the loss and the time to the next change.

SIGKILL ends one process, the whole control plane, or all processes of a Hoverboard. Datagrams flow all the time, over
the Hoverboards and host to host. Right after the signal a new VM is requested. The change is complete when the VM's
flow is in a Hoverboard's switch. After a kill of a host's process, the new VM is on that host. It is added when the
process is back, and the change is complete when the gateway answers the VM.
"""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any, Literal

from experiments.frame.experiment import Bench, Chart, ClaimVerdict, Experiment, Point, Sample, SampleTable, Series
from experiments.frame.parameters import Parameter, Values, number, words
from experiments.workload import traffic
from experiments.workload.udp_exchange import Carried, Exchange
from hoverboard.contract.entities import VM
from hoverboard.contract.errors import HoverboardError, MeasurementError, counted
from topologies.cluster.control_processes import ControlLayout
from topologies.processes import ledger
from topologies.processes.deadlines import wait_for
from topologies.processes.process_table import LinuxProcesses
from topologies.run import status
from topologies.run.testbed import Testbed
from topologies.spec import schema

ALL_CONTROL, MEMBER = "control-plane", "etcd-member"
CONTROL = ("fabric-manager", "vm-controller", "front-end", ALL_CONTROL, MEMBER)
HOST_ROLES = ("host-process", "ovs-vswitchd", "ovsdb-server")  # the processes of h1
SERVERS = (*HOST_ROLES, "hoverboard")
ROLES = (*CONTROL, *SERVERS)
NOBODY = "nobody"
OVER, DIRECT = "over Hoverboards", "host to host"
_RATES = {OVER: 160_000.0, DIRECT: 1_600_000.0}  # bit/s of each flow; the threshold lies between
_BYTES = {OVER: 200, DIRECT: 1000}  # of a datagram: 100 and 200 a second
_THRESHOLD = "500kbit"
_SETTLED = 2.0  # seconds of traffic before the signal: time for usage reports and offloads
_LONGEST = 15.0
_REPLICAS = 3  # the paper's: a master and two standbys
_CONTROL_PROCESSES = ("fabric-manager", "front-end-", "vm-controller-")


class Failover(Experiment):
    """Loss and time to the next change when a role dies."""

    name = "failover"
    order = 150
    title = "Every role killed under traffic"
    source = "section 3.5"
    measures = (
        "Lost datagrams of the flow that lost most, the longest silence of a flow, and the time until the next change "
        "is programmed."
    )
    minutes = 4.0
    repeat = 3
    parameters = (
        Parameter(
            "roles", (NOBODY, *ROLES), "", "roles to kill", quick=(NOBODY, "vm-controller"),
            choices=(NOBODY, *ROLES),
        ),
        Parameter("after", 5.0, "s", "of traffic after the signal", quick=2.5, least=1.0, most=60),
    )  # fmt: skip

    def points(self, values: Values) -> list[Point]:
        """One point a role."""
        return [{"role": role} for role in words(values, "roles")]

    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        """Send traffic, kill the role, make a change, and send more traffic."""
        role, after = point["role"], number(values, "after")
        bring_up = bench.fresh if role == "hoverboard" else bench.testbed
        store: Literal["embedded", "etcd"] = "etcd" if role == MEMBER else "embedded"
        testbed = bring_up(topology(), control=ControlLayout(True, replicas=_REPLICAS, store=store))
        _wait_until_up(testbed)
        kinds, flows = _flows(testbed)
        due = schedule(bench.random("traffic", across=("role",)), flows, kinds, _SETTLED + after)
        with Exchange(testbed, flows) as exchange, exchange.running(due, _SETTLED + after) as running:
            running.wait(_SETTLED)
            standing = {(row["src"], row["dst"]) for row in testbed.offloads()}
            changed = _kill_and_change(testbed, role, bench.random("newcomer").randrange(100, 250))
            signalled = changed.pop("at") - running.began
            result = running.result()
        bench.raw("flows", result.record(flows))
        bench.raw("signal", {"at": signalled, "offloads": sorted(standing), **changed})
        yield Sample("next change", changed["seconds"] * 1e3, "ms", point)
        for kind in (OVER, DIRECT):
            labels = {**point, "path": kind}
            at = [number for number, its in enumerate(kinds) if its == kind]
            astray = [
                number for number in at if ((flows[number].src, flows[number].dst) in standing) != (kind == DIRECT)
            ]
            if astray:
                yield Sample(
                    "lost", None, "datagrams a flow", labels, f"{counted(len(astray), 'flow')} did not go {kind}"
                )
                continue
            mine = [result.flows[number] for number in at]
            yield Sample("lost", max(one.offered - one.arrived for one in mine), "datagrams a flow", labels)
            silence = max(longest_silence(one, signalled - 0.1, _SETTLED + after) for one in mine)
            yield Sample("silence", silence * 1e3, "ms", labels)

    def charts(self, table: SampleTable, values: Values) -> list[Chart]:
        """The silence and the time to the next change, by role."""
        roles = table.seen("role")
        return [
            Chart(
                "silence", "The longest time in which nothing of a flow arrived", "killed role", "ms",
                [_bars(table, "silence", kind, roles, path=kind) for kind in (OVER, DIRECT)], kind="bars", log_y=True,
                note="Datagrams are 10 ms apart over Hoverboards, 5 ms host to host. `nobody`: no process was killed.",
            ),
            Chart(
                "next-change", "Until the next change is programmed", "killed role", "ms",
                [_bars(table, "next change", "new VM", roles)], kind="bars", log_y=True,
            ),
        ]  # fmt: skip

    def verdicts(self, table: SampleTable, values: Values) -> list[ClaimVerdict]:
        """The verdicts on fail static, on the takeover by a standby, and on restarted data planes."""
        found = []
        lost = [value for role in CONTROL for value in table.values("lost", role=role)]
        alone = max(table.values("lost", role=NOBODY), default=0.0)
        if lost:
            found.append(
                ClaimVerdict(
                    "with its control plane gone, the network forwards as before", "no loss (fail static)",
                    f"at most {max(lost):.0f} datagrams a flow lost, {alone:.0f} with no process killed",
                    "reproduced" if max(lost) <= max(1.0, alone) else "partly" if max(lost) < 20 else "not",
                    f"Each role's process is killed in turn; {ALL_CONTROL} means all of them at once.",
                )
            )  # fmt: skip
        if (took := table.spread("next change", role="vm-controller")) is not None:
            found.append(
                ClaimVerdict(
                    "a standby takes over from a dead VM controller", "not stated",
                    f"next change after {took.median:.0f} ms (median of {took.n})",
                    "reproduced" if took.median < 2_000 else "partly",
                    "The store and all replicas are on one machine, so a lease ends with its connection.",
                )
            )  # fmt: skip
        for role, what in (("host-process", "a killed host process"), ("hoverboard", "a dead Hoverboard")):
            path = DIRECT if role == "host-process" else OVER
            if (silent := table.spread("silence", role=role, path=path)) is not None:
                found.append(
                    ClaimVerdict(
                        f"{what} costs a pause, and traffic comes back", "not stated",
                        f"{silent.median:.0f} ms of silence (median of {silent.n})",
                        "reproduced" if silent.median < number(values, "after") * 500 else "partly",
                        "It continues from its checkpoint; until then packets wait in the queues of its NICs."
                        if role == "host-process"
                        else "Hosts use the other Hoverboard when the control plane sees that the connections broke.",
                    )
                )  # fmt: skip
        return found


def topology() -> Any:
    """Two hosts, two Hoverboards, and eight VMs, so that four flows share no VM."""
    keys = {
        "hosts": 2, "hoverboards": 2, "model": "hoverboard", "report_interval": 0.25, "offload_threshold": _THRESHOLD,
        "networks": [{"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "vms": 8}],
    }  # fmt: skip
    return schema.from_keys(keys, name="failover")


def schedule(
    draw: random.Random, flows: Sequence[traffic.TrafficFlow], kinds: Sequence[str], seconds: float
) -> list[traffic.Datagram]:
    """The datagrams of all flows in order of time. The kind of a flow gives their size."""
    parts = [
        [replace(one, flow=number) for one in traffic.schedule(draw, [flow], seconds, _BYTES[kind])]
        for number, (flow, kind) in enumerate(zip(flows, kinds, strict=True))
    ]
    return sorted((one for part in parts for one in part), key=lambda one: (one.at, one.flow))


def longest_silence(carried: Carried, begin: float, end: float) -> float:
    """The longest time between `begin` and `end` without an arrival, in seconds."""
    moments = [begin, *(at for at, _ in carried.arrivals if begin < at < end), end]
    return max(later - sooner for sooner, later in zip(moments, moments[1:], strict=False))


def victims(role: str, server: str, hoverboard: str, what: Sequence[tuple[str, int]], master: int) -> list[int]:
    """The pids to kill for a role; [] for the role `nobody`.

    Args:
        role: one of ROLES, or `nobody`.
        server: the host whose processes are killed.
        hoverboard: the Hoverboard whose processes are killed.
        what: the processes of the run, as (what, pid).
        master: the pid of the master VM controller; 0: there is no such process.
    """
    names = {
        "fabric-manager": ("fabric-manager",), "front-end": ("front-end-0",), NOBODY: (),
        "host-process": (f"host process of {server}",), "ovs-vswitchd": (f"ovs-vswitchd of {server}",),
        "ovsdb-server": (f"ovsdb-server of {server}",),
        "hoverboard": tuple(f"{one} of {hoverboard}" for one in ("host process", "ovs-vswitchd", "ovsdb-server")),
    }  # fmt: skip
    if role == "vm-controller":
        return [master] if master else []
    if role == ALL_CONTROL:
        return [pid for name, pid in what if name.startswith(_CONTROL_PROCESSES)]
    if role == MEMBER:
        return [pid for name, pid in what if name.startswith("etcd")][:1]
    return [pid for name, pid in what if name in names[role]]


def _flows(testbed: Testbed) -> tuple[list[str], list[traffic.TrafficFlow]]:
    """The kinds of the flows and the flows: two of each kind, from h1 to h2."""
    here, there = ([vm.name for vm in testbed.topology.vms if vm.host == host] for host in ("h1", "h2"))
    kinds = [OVER, OVER, DIRECT, DIRECT]
    flows = [traffic.TrafficFlow(src, dst, _RATES[kind]) for src, dst, kind in zip(here, there, kinds, strict=True)]
    return kinds, flows


def _wait_until_up(testbed: Testbed) -> None:
    """Wait until all processes of the run are up, restarted ones included."""

    def whole() -> bool:
        control = testbed.control_status()
        rows = [row for row in control.get("controllers", ()) if row["state"] == "up" and row["version"]]
        synced = all(switch["programmed"] for switch in control.get("switches", {}).values())
        masters = sum(bool(row["master"]) for row in rows)
        return len(rows) == _REPLICAS and masters == 1 and synced and not testbed.supervision()["down"]

    wait_for(whole, 30.0, lambda: "not all processes of the run are up", where=str(testbed.directory.logs))


def _kill_and_change(testbed: Testbed, role: str, last: int) -> dict[str, Any]:
    """Kill a role, request a VM, and wait until its flow is installed.

    Returns:
        "at": when the role was killed (monotonic clock); "seconds": until the flow; "killed": the pids.
    """
    # The busiest Hoverboard comes first, so that the flows notice its end.
    relays = sorted((server.name for server in testbed.topology.hoverboards), key=lambda name: -_relayed(testbed, name))
    control = testbed.control_status()
    master = next((row["pid"] for row in control.get("controllers", ()) if row["master"]), 0)
    records = ledger.live_processes(ledger.Ledger(testbed.directory), LinuxProcesses())
    doomed = victims(role, "h1", relays[0], [(one.what, one.process.pid) for one in records], master)
    if not doomed and role != NOBODY:
        raise MeasurementError(
            f"no process of {role} was found", where=testbed.run, next_step="run `hoverboard status`"
        )
    if role in HOST_ROLES:
        # The switch of a host has flows for the VMs of this host only.
        return _kill_and_add_vm(testbed, doomed)
    network = testbed.topology.networks[0]
    where = testbed.server(relays[1] if role == "hoverboard" else relays[0])  # has flows of every VM
    newcomer: VM = network.vm(f"late-{last}", "h1", IPv4Address(f"10.0.0.{last}")).entity()
    if role == "hoverboard":
        testbed.suppress_restarts(relays[0])
    ended = threading.Event()
    asking = threading.Thread(target=_request_vm, args=(testbed, newcomer, ended), name="ask")
    flow = re.compile(rf"nw_dst={re.escape(str(newcomer.ip))}(?![.\d])")
    begun = time.monotonic()
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    asking.start()
    try:
        wait_for(lambda: _has_flow(where, flow), _LONGEST, lambda: f"{newcomer.name} is not programmed on {where.name}")
        took = time.monotonic() - begun
    finally:
        ended.set()
        asking.join()
    testbed.remove(newcomer)
    return {"at": begun, "seconds": took, "killed": doomed}


def _kill_and_add_vm(testbed: Testbed, doomed: Sequence[int]) -> dict[str, Any]:
    """Kill processes of h1, wait until they are back, and add a VM there. Returns as `_kill_and_change`."""
    before = testbed.supervision()["restarts"]
    begun = time.monotonic()
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        now = testbed.supervision()
        return bool(now["restarts"] >= before + len(doomed) and not now["down"])

    wait_for(back, _LONGEST, lambda: "the killed processes of h1 do not restart", where=str(testbed.directory.logs))
    spec = testbed.add_vm(testbed.topology.networks[0].name, host="h1")
    took = time.monotonic() - begun
    testbed.remove_vm(spec.name)
    return {"at": begun, "seconds": took, "killed": list(doomed)}


def _request_vm(testbed: Testbed, newcomer: VM, ended: threading.Event) -> None:
    """Request a VM until the control plane accepts it. The process that gets a request may be dead."""
    while not ended.is_set():
        try:
            testbed.upsert(newcomer)
            return
        except HoverboardError:
            ended.wait(0.01)


def _has_flow(server: Any, flow: re.Pattern[str]) -> bool:
    try:
        return any(flow.search(line) for line in status.openflow(server))
    except HoverboardError:  # the switch is down
        return False


def _relayed(testbed: Testbed, hoverboard: str) -> int:
    """The number of packets that a Hoverboard has received."""
    with closing(testbed.host_client(hoverboard)) as client:
        return int(client.status()["counters"]["rx_packets"])


def _bars(table: SampleTable, metric: str, label: str, roles: Sequence[str], **labels: str) -> Series:
    several = [(role, found) for role in roles if (found := table.spread(metric, role=role, **labels)) is not None]
    return Series(label, [role for role, _ in several], [one.median for _, one in several], [one for _, one in several])
