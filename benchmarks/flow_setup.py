"""New flows: 5-tuples a second that one host forwards for the first time, beside bare `ofproto/trace`.

The OpenFlow tables of a real switch get a flow that matches a UDP port. So each answer of ovs-vswitchd depends on
ports, and each new 5-tuple needs its own entry. Bar: 0.8 of the calls a second that one client of `ofproto/trace` makes
on the same switch, in the same run, in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from benchmarks import new_flows
from benchmarks.harness import command, report
from benchmarks.harness.bars import Bar
from benchmarks.harness.statistics import distribution, paired_ratio, turns
from benchmarks.new_flows import FIRST_PORT, LAST_PORT
from console.runs import need_root
from console.show import tables
from experiments.frame.progress import Progress
from experiments.statistics import percentile
from hoverboard.contract.encapsulation import GATEWAY_MAC
from hoverboard.contract.errors import MeasurementError, SwitchError
from hoverboard.contract.openflow.pipeline import BRIDGE, Kind, cookie
from hoverboard.contract.openflow.pipeline import Table as PipelineTable
from hoverboard.vswitch.ovs import Ovs
from hoverboard.vswitch.trace import parse_trace
from topologies.run.testbed import Testbed
from topologies.spec.topology import VMSpec

SETUP_BAR = 0.8
_PORT_THAT_IS_MATCHED = 9  # discard: no packet goes there
_ABOVE_ALL = 1000  # priority
_PROOF_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Rig:
    """One host with two VMs, and its switch."""

    testbed: Testbed
    source: VMSpec
    target: VMSpec
    switch: Ovs
    in_port: int

    def question(self, source_port: int) -> str:
        """A UDP packet from VM to VM, in the syntax of `ofproto/trace`."""
        return (
            f"in_port={self.in_port},dl_src={self.source.mac},dl_dst={GATEWAY_MAC},ip,nw_proto=17,"
            f"nw_src={self.source.ip},nw_dst={self.target.ip},nw_ttl=64,udp_src={source_port},udp_dst=7"
        )

    def flow_table(self) -> dict[str, int]:
        """Counters of the host's flow table."""
        with contextlib.closing(self.testbed.host_client(self.source.host)) as client:
            return {name: int(value) for name, value in client.status()["flow_table"].items()}


@contextlib.contextmanager
def built(progress: Progress) -> Iterator[Rig]:
    """A testbed whose first host decides by UDP ports, up inside the block.

    Raises:
        MeasurementError: the switch's answers do not depend on ports.
    """
    progress("bringing up two-hosts", 0.0)
    with Testbed("two-hosts", run=command.run_name("flows"), dataplane="fastpath") as testbed:
        vms = testbed.topology.vms
        source, target = next(
            (one, two) for one, two in itertools.combinations(vms, 2) if one.host == two.host
        )  # fmt: skip
        switch = Ovs(testbed.server(source.host).directory)
        vni = next(network.vni for network in testbed.topology.networks if network.name == source.network)
        _match_a_port(switch, vni)
        with contextlib.closing(testbed.host_client(source.host)) as client:
            in_port = next(int(row["ofport"]) for row in client.status()["vports"] if row["vm"] == source.name)
        rig = Rig(testbed, source, target, switch, in_port)
        verdict = parse_trace(switch.appctl("ofproto/trace", BRIDGE, rig.question(FIRST_PORT)))
        if not verdict.needs_ports or verdict.out_port is None:
            raise MeasurementError(
                "the switch decides without looking at UDP ports",
                where=source.host,
                next_step=f"see `ovs-appctl ofproto/trace {BRIDGE} {rig.question(FIRST_PORT)}`",
            )
        yield rig


def _match_a_port(switch: Ovs, vni: int) -> None:
    flow = (
        f"table={int(PipelineTable.ROUTE)},priority={_ABOVE_ALL},cookie={cookie(Kind.DROP_NO_ROUTE, vni):#x},"
        f"metadata={vni:#x},udp,tp_dst={_PORT_THAT_IS_MATCHED},actions=drop"
    )
    argv = ["ovs-ofctl", "-O", "OpenFlow14", "add-flow", switch.management, flow]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        raise SwitchError(
            f"ovs-ofctl: {done.stderr.strip()}", where=str(switch.directory), next_step="see ovs-vswitchd.log there"
        )


def set_up(rig: Rig, seconds: float, window: int) -> tuple[float, dict[str, Any]]:
    """New flows a second that the engine forwarded, and the changes of its flow table's counters."""
    testbed, before = rig.testbed, rig.flow_table()
    with new_flows.ends(
        testbed.pid_of(rig.source.name), rig.source.ip, testbed.pid_of(rig.target.name), rig.target.ip
    ) as ends:
        found = new_flows.drive(ends, seconds, window)
    after = rig.flow_table()
    arrived = len(found.latencies)
    return found.per_second, {
        "sent": found.sent,
        "forwarded": arrived,
        "lost": found.sent - arrived,
        "p50_ms": percentile(found.latencies, 0.5) * 1e3,
        "p99_ms": percentile(found.latencies, 0.99) * 1e3,
        **{name: after[name] - before[name] for name in before if name != "capacity"},
    }


def prove_entries(rig: Rig, window: int) -> dict[str, Any]:
    """Send a short load on a fresh host, where no entry expires yet, and check that each forwarded flow has an entry.

    Raises:
        MeasurementError: flows were forwarded without entries, so they would not count as new.
    """
    _, found = set_up(rig, _PROOF_SECONDS, window)
    if found["entries"] + found["evicted"] < 0.95 * found["forwarded"]:
        raise MeasurementError(
            f"{found['forwarded']} new flows were forwarded, but {found['entries']} entries made",
            where=rig.source.host,
            next_step="are there 5-tuple entries? see `hoverboard flows`",
        )
    return found


def trace(rig: Rig, seconds: float) -> tuple[float, dict[str, Any]]:
    """Calls of `ofproto/trace` a second, one after another, each for another 5-tuple."""
    begun = now = time.monotonic()
    calls = 0
    ports = itertools.cycle(range(FIRST_PORT, LAST_PORT + 1))
    while now - begun < seconds:
        rig.switch.appctl("ofproto/trace", BRIDGE, rig.question(next(ports)))
        calls += 1
        now = time.monotonic()
    return calls / (now - begun), {"calls": calls}


def measure(rounds: int, seconds: float, window: int, progress: Progress) -> dict[str, Any]:
    """Measure both contestants in turns.

    Raises:
        HoverboardError: the testbed does not come up, or a measurement gives no figure.
    """
    samples: dict[str, list[float]] = {"engine": [], "trace": []}
    details: dict[str, list[dict[str, Any]]] = {"engine": [], "trace": []}
    with built(progress) as rig:
        proof = prove_entries(rig, window)
        for number, order in enumerate(turns(("engine", "trace"), rounds)):
            for name in order:
                progress(f"{name}, round {number + 1} of {rounds}", number / rounds)
                value, detail = set_up(rig, seconds, window) if name == "engine" else trace(rig, seconds)
                samples[name].append(value)
                details[name].append(detail)
        capacity = rig.flow_table()["capacity"]
        progress("taking everything down", 1.0)
    return {
        "samples": samples,
        "details": details,
        "summary": {name: distribution(values).as_dict() for name, values in samples.items()},
        "engine_over_trace": paired_ratio(samples["engine"], samples["trace"]),
        "capacity": capacity,
        "proof": proof,
    }


def bars(figures: dict[str, Any]) -> list[Bar]:
    """The bar on the ratio."""
    return [Bar("new 5-tuples over calls of ofproto/trace", figures["engine_over_trace"], SETUP_BAR, ">=", "x")]


def table(figures: dict[str, Any]) -> Table:
    """Both rates, and the time that a new flow waits."""
    rows = []
    for name, what in (("engine", "new 5-tuples forwarded, 1/s"), ("trace", "ofproto/trace alone, 1/s")):
        one = figures["summary"][name]
        rows.append((what, *(f"{one[key]:.0f}" for key in ("minimum", "median", "maximum"))))
    for key, what in (("p50_ms", "p50 of a new flow's wait, ms"), ("p99_ms", "p99 of a new flow's wait, ms")):
        spread = distribution([detail[key] for detail in figures["details"]["engine"]])
        rows.append((what, f"{spread.minimum:.2f}", f"{spread.median:.2f}", f"{spread.maximum:.2f}"))
    lost = distribution([detail["lost"] for detail in figures["details"]["engine"]])
    rows.append(("lost flows of a round", *(f"{value:.0f}" for value in (lost.minimum, lost.median, lost.maximum))))
    return tables.table("flow set-up on one host", ("", "#least", "#median", "#most"), rows)


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 1 s, for a first look")
    parser.add_argument("--repeat", type=int, metavar="N", help="rounds (5)")
    parser.add_argument("--seconds", type=float, metavar="S", help="seconds of each turn (2)")
    parser.add_argument("--window", type=int, default=64, metavar="N", help="flows in flight (%(default)s)")
    given = parser.parse_args(argv)
    if given.repeat is None:
        given.repeat = 3 if given.quick else 5
    if given.seconds is None:
        given.seconds = 1.0 if given.quick else 2.0
    command.above_zero(parser, given, "repeat", "seconds", "window")
    return given


def main() -> int:
    """Run `python -m benchmarks.flow_setup`."""
    given = options()

    def run(progress: Progress) -> int:
        need_root("benchmark")
        figures = measure(given.repeat, given.seconds, given.window, progress)
        parameters = {"rounds": given.repeat, "seconds": given.seconds, "window": given.window}
        return report.finish(
            "flow_setup", parameters, figures, bars(figures), [table(figures)], as_json=given.json, out=given.out
        )

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
