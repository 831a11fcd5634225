"""What changes while packets flow: tables, offloads, the control plane, VMs; and who sleeps when nothing does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hoverboard.contract.encapsulation import GATEWAY_MAC
from hoverboard.contract.openflow.pipeline import BRIDGE
from tests.system.dataplane.dataplane_rig import (
    Stream,
    drops,
    flow_events,
    node_flows,
    node_status,
    ofctl,
    offloaded,
    ping,
    program,
    udp,
    vm_of,
    wires,
)
from tests.system.dataplane.frames import ethernet, ipv4
from tests.waiting import until
from topologies.cluster import control_processes
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(120)

IDLE_EXPIRY = 2  # seconds, instead of 30: how long an offload outlives its traffic
FIRST_PROTOCOL = 140  # from here on IP protocol numbers are unassigned: each is a flow of its own


@pytest.fixture(scope="module")
def demo(module_testbed: Callable[..., Testbed]) -> Iterator[Testbed]:
    """blue-N and red-N on hN, all on the fast path; offloads expire soon."""
    python = control_processes.python
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control_processes, "python", lambda *words: python(*words, "--idle-expiry", str(IDLE_EXPIRY)))
        yield module_testbed("demo", dataplane="fastpath")


def measured(text: str) -> None:
    """A figure for whoever runs `pytest -s`; nothing is asserted on it."""
    print(f"\nmeasured: {text}")


class TestTables:
    def test_entries_follow_a_changed_flow_and_others_are_left_alone(self, demo: Testbed) -> None:
        match = "table=30,priority=500,metadata=0x7,ip,nw_dst=10.0.0.3"
        with (
            Stream(demo, "blue-1", "blue-2", rate=100) as changed,
            Stream(demo, "blue-1", "blue-3", rate=100) as other,
        ):
            changed.flows()
            other.flows()
            until(lambda: offloaded(demo, "blue-1", "blue-2") and offloaded(demo, "blue-1", "blue-3"), 10, "offloads")
            changed.flows()
            before = node_status(demo, "h1")["flow_table"]
            entries = [flow for flow in node_flows(demo, "h1") if flow["now"]]
            concerned = sum(flow["dst"] == "10.0.0.3" and flow["vni"] in (0, 7) for flow in entries)
            begin = time.monotonic()
            ofctl(demo, "h1", "add-flow", f"{match},actions=drop")
            until(lambda: changed.last < time.monotonic() - 0.1, 1, "the stream to stop")
            blocked = changed.last - begin
            table = node_status(demo, "h1")["flow_table"]
            assert table["revalidations"] - before["revalidations"] == concerned
            assert table["traces"] - before["traces"] == concerned, "an unrelated entry was traced again"
            count = len(changed.received)
            begin = time.monotonic()
            _delete(demo, "h1", match)
            until(lambda: len(changed.received) > count, 1, "the stream to go on")
            unblocked = changed.received[count][1] - begin
            assert drops(demo, "h1")["unnamed-flow"] >= 5
        measured(
            f"a changed flow takes effect after {blocked * 1e3:.0f} ms, its removal after {unblocked * 1e3:.0f} ms"
        )
        assert max(blocked, unblocked) < 1
        assert other.lost == 0

    def test_a_flood_of_new_flows_does_not_hold_up_a_change(self, demo: Testbed) -> None:
        match = "table=30,priority=500,metadata=0x8,ip,nw_dst=10.0.0.3"
        source = vm_of(demo, "blue-1")
        flood = [
            ethernet(GATEWAY_MAC, source.mac, 0x0800, ipv4(source.ip, f"10.9.{i >> 8}.{i & 255}", 253, b"flood"))
            for i in range(3000)
        ]
        with wires(demo, "blue-1") as wire, Stream(demo, "red-1", "red-2", rate=100) as stream:
            stream.flows()
            frames = iter(flood)

            def more() -> None:
                for _, frame in zip(range(20), frames, strict=False):
                    wire["blue-1"].send(frame)

            more()
            begin = time.monotonic()
            ofctl(demo, "h1", "add-flow", f"{match},actions=drop")

            def stopped() -> bool:
                more()
                return stream.last < time.monotonic() - 0.1

            until(stopped, 3, "the stream to stop")
            blocked = stream.last - begin
            _delete(demo, "h1", match)
            stream.flows()
        measured(f"under a flood of new flows a change takes effect after {blocked * 1e3:.0f} ms")
        assert blocked < 1


def _delete(bed: Testbed, node: str, match: str) -> None:
    """Remove exactly one flow."""
    management = f"unix:{bed.server(node).directory}/{BRIDGE}.mgmt"
    subprocess.run(
        ["ovs-ofctl", "-O", "OpenFlow14", "--strict", "del-flows", management, match],
        check=True, capture_output=True, timeout=10,
    )  # fmt: skip


class TestNothingIsLost:
    def test_at_a_burst_of_first_packets(self, demo: Testbed) -> None:
        """As many new flows at once as one VM may have waiting, through three flow tables that know none of them."""
        source, target = vm_of(demo, "blue-1"), vm_of(demo, "blue-3")
        marker = uuid.uuid4().bytes
        with wires(demo, "blue-1", "blue-3") as wire:
            for number in range(60):
                packet = ipv4(source.ip, target.ip, FIRST_PROTOCOL + number, marker)
                wire["blue-1"].send(ethernet(GATEWAY_MAC, source.mac, 0x0800, packet))
            heard = 0

            def all_came() -> bool:
                nonlocal heard
                heard += wire["blue-3"].heard(marker)
                return heard == 60

            until(all_came, 5, "60 packets of 60 flows")

    def test_beyond_the_queue_every_loss_is_counted(self, demo: Testbed) -> None:
        source = vm_of(demo, "red-1")
        before = {name: drops(demo, name) for name in ("h1", "hv1")}
        sent = 600
        with wires(demo, "red-1") as wire:
            for number in range(sent):
                packet = ipv4(source.ip, f"10.8.{number >> 8}.{number & 255}", 253, b"nobody")
                wire["red-1"].send(ethernet(GATEWAY_MAC, source.mac, 0x0800, packet))

        def accounted() -> bool:
            now = {name: drops(demo, name) for name in before}
            counts = (("h1", "miss-queue-full"), ("hv1", "miss-queue-full"), ("hv1", "no-route"))
            return sum(now[node].get(reason, 0) - before[node].get(reason, 0) for node, reason in counts) == sent

        until(accounted, 10, "every packet in a counter")

    def test_at_the_offload_and_when_it_is_taken_back(self, demo: Testbed) -> None:
        until(lambda: not offloaded(demo, "red-1", "red-3"), 10, "a pair that is not offloaded")
        with Stream(demo, "red-1", "red-3", rate=1000, size=200) as stream:
            stream.flows()  # whose offload may come as soon as this, where the next report is near
            until(lambda: offloaded(demo, "red-1", "red-3"), 10, "the offload")
            until(
                lambda: any(
                    flow["kind"] == "offload" and flow["proto"] == 17 and flow["dst"] == "10.0.0.4" and flow["vni"] == 8
                    for flow in node_flows(demo, "h1")
                ),
                2, "the offload in the flow table",
            )  # fmt: skip
            mark = stream.sent
            until(lambda: stream.sent > mark + 300, 5, "more of the stream")
        measured(f"{stream.sent} datagrams through the offload: {stream.lost} lost, {stream.reordered} reordered")
        assert stream.lost == 0
        with Stream(demo, "red-1", "red-3", rate=10, size=64) as slow:  # keeps it: anything sent does
            slow.flows()
            assert offloaded(demo, "red-1", "red-3")
        until(lambda: not offloaded(demo, "red-1", "red-3"), IDLE_EXPIRY + 5, "the end of the idle offload")
        assert ping(demo, "red-1", "10.0.0.4").received >= 3


class TestControlPlane:
    def test_its_death_touches_no_flow_and_loses_no_packet(self, demo: Testbed) -> None:
        with (
            Stream(demo, "blue-1", "blue-2", rate=500, size=100) as direct,
            Stream(demo, "red-2", "red-3", rate=20) as relayed,
        ):
            until(lambda: offloaded(demo, "blue-1", "blue-2"), 10, "the offload")
            direct.flows()
            state = demo.control_status()
            nodes = [server.name for server in demo.topology.servers]
            tables = {node: program(demo, node) for node in nodes}
            with flow_events(demo, "h1") as events:
                count = len(events())
                os.kill(state["pid"], signal.SIGKILL)

                def back() -> bool:
                    now = demo.control_status()
                    return (
                        now["state"] == "up" and now["restarts"] == state["restarts"] + 1
                        and len(now["switches"]) == len(nodes)
                        and all(one["programmed"] and one["agent"] for one in now["switches"].values())
                        and now["vms"]["joined"] == now["vms"]["intended"] == len(demo.topology.vms)
                    )  # fmt: skip

                begin = time.monotonic()
                until(back, 20, "the control plane")
                measured(f"the control plane was back and in step after {time.monotonic() - begin:.1f} s")
                assert offloaded(demo, "blue-1", "blue-2")
                direct.flows()
                assert events()[count:] == []
            assert {node: program(demo, node) for node in nodes} == tables
            added = demo.add_vm("red", host="h2")
            assert ping(demo, "red-1", added.ip).received >= 3
            demo.remove_vm(added.name)
        assert (direct.lost, relayed.lost) == (0, 0)


class TestVMs:
    def test_one_that_moves_is_found_and_its_old_place_gets_nothing(self, demo: Testbed) -> None:
        with Stream(demo, "blue-1", "blue-2", rate=200) as elsewhere:
            first = demo.add_vm("blue", name="mover", host="h2")
            with Stream(demo, "blue-1", "mover", rate=50) as stream:
                stream.flows()
            demo.remove_vm("mover")
            # The next VM on h2 gets the freed port of the fast path; it has the same address, in the other network.
            stranger = demo.add_vm("red", name="stranger", host="h2")
            assert stranger.ip == first.ip
            marker = uuid.uuid4().bytes
            with wires(demo, "stranger") as wire, udp(demo, "blue-1") as sender:
                for _ in range(20):
                    sender.sendto(marker, (str(first.ip), 9))
                again = demo.add_vm("blue", name="mover", host="h3")
                assert (again.ip, again.host) == (first.ip, "h3")
                with Stream(demo, "blue-1", "mover", rate=50) as stream:
                    stream.flows()
                assert wire["stranger"].heard(marker) == 0
            demo.remove_vm("mover")
            demo.remove_vm("stranger")
        assert elsewhere.lost == 0


class TestUsage:
    def test_only_senders_report_and_only_what_they_sent(self, demo: Testbed) -> None:
        def counters() -> dict[str, int]:
            return dict(demo.control_status()["counters"])

        def silent() -> bool:
            """Nothing for two report intervals; what was sent just before this test is still reported once."""
            before, begin = counters().get("usage_reports", 0), time.monotonic()
            until(lambda: time.monotonic() > begin + 2.2, 5, "two report intervals")
            return bool(counters().get("usage_reports", 0) == before)

        until(silent, 12, "idle hosts to send no report")
        quiet = counters()
        with udp(demo, "blue-3") as sender:
            sender.sendto(b"one", ("10.0.0.2", 9))
        until(lambda: counters().get("usage_reports", 0) > quiet.get("usage_reports", 0), 5, "a report")
        now = counters()
        for never in ("usage_reports_from_hoverboards", "usage_flows_not_sent_by_reporter"):
            # Since the quiet: what a VM sent just before it moved, in a test before, was not its new host's.
            assert now.get(never, 0) == quiet.get(never, 0)

    def test_the_threshold_separates(self, demo: Testbed) -> None:
        """20 kb/s: 25 datagrams of 60 bytes with their headers are about 20 % of it, 250 twice as much."""
        with (
            Stream(demo, "blue-3", "blue-2", rate=5, size=60) as below,
            Stream(demo, "red-3", "red-2", rate=50, size=60) as above,
        ):
            until(lambda: offloaded(demo, "red-3", "red-2"), 10, "the busy pair's offload")
            mark = below.sent
            until(lambda: below.sent > mark + 8, 10, "more of the slow stream")
            assert not offloaded(demo, "blue-3", "blue-2")
            assert not offloaded(demo, "red-2", "red-3"), "the silent direction was offloaded"
        assert (below.lost, above.lost) == (0, 0)


class TestIdle:
    def test_host_processes_sleep(self, demo: Testbed) -> None:
        pids = [node_status(demo, server.name)["pid"] for server in demo.topology.servers]

        def spent() -> tuple[float, int]:
            ticks = switches = 0
            for pid in pids:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.M)
                    switches += int(found[1]) if found else 0
            return ticks / os.sysconf("SC_CLK_TCK"), switches

        cpu, switches = spent()
        begin = time.monotonic()
        until(lambda: time.monotonic() > begin + 2, 5, "two seconds")
        seconds = time.monotonic() - begin
        cpu, switches = spent()[0] - cpu, spent()[1] - switches
        measured(f"{len(pids)} idle host processes: {cpu / seconds:.2%} of a core, {switches / seconds:.0f} switches/s")
        assert cpu / seconds < 0.05 * len(pids)
        assert switches / seconds < 50 * len(pids)
