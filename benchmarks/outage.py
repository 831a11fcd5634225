"""Kills processes while packets flow: how long known flows stop, and how many packets are lost (paper 3.5).

Two VMs on two hosts send each other numbered datagrams over the direct path. Then parts of one host, the control plane,
or all of them get a SIGKILL, and the testbed's supervisor restarts them. The gap is the longest time between two
datagrams that arrive.

Bars: only the death of the host process itself stops the fast path, for less than a second.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from benchmarks.harness import command, report
from benchmarks.harness.bars import Bar
from benchmarks.harness.pauses import pause
from benchmarks.harness.statistics import distribution
from console.runs import need_root
from console.show import tables
from experiments.frame.progress import Progress
from hoverboard.contract.entities import Dataplane
from hoverboard.contract.errors import RunError
from topologies.emulation.devices import entered
from topologies.processes.deadlines import wait_for
from topologies.run.testbed import Testbed
from topologies.spec import schema

DATABASE, SWITCH, HOST, CONTROL = "ovsdb-server", "ovs-vswitchd", "host process", "control plane"
CASES: dict[str, tuple[str, ...]] = {
    CONTROL: (CONTROL,), DATABASE: (DATABASE,), SWITCH: (SWITCH,), HOST: (HOST,),
    "everything": (CONTROL, DATABASE, SWITCH, HOST),
}  # fmt: skip
DATAPLANES: tuple[Dataplane, ...] = ("fastpath", "ovs")
LONGEST_GAP = 1_000.0  # ms: the bar for a host process that continues from its checkpoint
_RATE = 1_000  # datagrams a second, each way
_WAIT = 30.0
_CALM = 1.2  # seconds between rounds, and after a return: longer than a report interval


@dataclass
class WatchedFlow:
    """Numbered datagrams in one direction.

    Attributes:
        arrived: number and time of each datagram that arrived.
    """

    sender: socket.socket
    receiver: socket.socket
    sent: int = 0
    arrived: list[tuple[int, float]] = field(default_factory=list)

    def send(self, ended: threading.Event) -> None:
        """Send at a steady rate until `ended`."""
        begin, target = time.monotonic(), self.receiver.getsockname()
        while not ended.is_set():
            wait = begin + self.sent / _RATE - time.monotonic()
            if wait > 0:
                ended.wait(wait)
            self.sender.sendto(struct.pack("!Q", self.sent).ljust(64), target)
            self.sent += 1

    def receive(self, ended: threading.Event) -> None:
        """Receive until `ended`, and then the datagrams that are still in flight."""
        while select.select([self.receiver], [], [], 0.3)[0] or not ended.is_set():
            if select.select([self.receiver], [], [], 0)[0]:
                number = struct.unpack_from("!Q", self.receiver.recv(2048))[0]
                self.arrived.append((number, time.monotonic()))

    def outage(self, since: int) -> tuple[float, int]:
        """(longest gap in ms, lost datagrams) of the datagrams from number `since` on."""
        came = [(number, when) for number, when in self.arrived if number >= since]
        times = [when for _, when in came]
        gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
        return 1e3 * max(gaps, default=_WAIT), self.sent - since - len({number for number, _ in came})


@dataclass(frozen=True, slots=True)
class Outage:
    """One round of a case: values of the worse direction, and seconds until all parts were up again."""

    gap_ms: float
    lost: int
    back_s: float


def measure(dataplane: Dataplane, cases: list[str], rounds: int, progress: Progress) -> dict[str, list[Outage]]:
    """Outages by case.

    Raises:
        HoverboardError: the testbed does not come up, or a process does not come back.
    """
    keys: dict[str, Any] = {
        "hosts": 2, "hoverboards": 1, "dataplane": dataplane,
        "networks": [{"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "vms": 2}],
    }  # fmt: skip
    found: dict[str, list[Outage]] = {case: [] for case in cases}
    topology = schema.from_keys(keys, name="outage")
    for number in range(rounds):
        # A testbed for each round: a process that dies too often is restarted only after a pause.
        with Testbed(topology, run=command.run_name("outage")) as testbed:
            for step, case in enumerate(cases):
                progress(case, (number * len(cases) + step) / (rounds * len(cases)))
                found[case].append(_one_outage(testbed, CASES[case]))
    return found


def _one_outage(testbed: Testbed, parts: tuple[str, ...]) -> Outage:
    with _flows(testbed) as (there, back):
        wait_for(lambda: len(testbed.offloads()) == 2, _WAIT, lambda: "the flows do not take the direct path")
        pause(_CALM)
        marks = [(flow, flow.arrived[-1][0]) for flow in (there, back)]
        pids, lives = _pids(testbed, parts), _restarts(testbed)
        begun = time.monotonic()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_for(
            lambda: _restarts(testbed) >= lives + len(pids) and _all_up(testbed),
            _WAIT,
            lambda: "a process does not come back",
        )
        took = time.monotonic() - begun
        pause(_CALM)
    outages = [flow.outage(mark) for flow, mark in marks]
    return Outage(max(gap for gap, _ in outages), max(lost for _, lost in outages), took)


@contextmanager
def _flows(testbed: Testbed) -> Iterator[tuple[WatchedFlow, WatchedFlow]]:
    """Traffic between both VMs, as long as the block lasts."""
    one, two = testbed.topology.vms
    ended = threading.Event()
    with ExitStack() as stack:
        made = [[stack.enter_context(_socket(testbed, vm.name, str(vm.ip))) for _ in "sr"] for vm in (one, two)]
        flows = WatchedFlow(made[0][0], made[1][1]), WatchedFlow(made[1][0], made[0][1])
        works = [work for flow in flows for work in (flow.receive, flow.send)]
        threads = [threading.Thread(target=work, args=(ended,), daemon=True) for work in works]
        for thread in threads:
            thread.start()
        try:
            yield flows
        finally:
            ended.set()
            for thread in threads:
                thread.join(_WAIT)


def _socket(testbed: Testbed, vm: str, address: str) -> socket.socket:
    with entered(testbed.pid_of(vm)):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    made.bind((address, 0))
    return made


def _pids(testbed: Testbed, parts: tuple[str, ...]) -> list[int]:
    server = testbed.server("h1")
    known = {
        CONTROL: testbed.control_status()["pid"], HOST: server.host_pid,
        **{name: daemon.pid for name, daemon in server.daemons.items()},
    }  # fmt: skip
    pids = [pid for part in parts if (pid := known[part]) is not None]
    if len(pids) < len(parts):
        raise RunError("a process is not up", where="h1", next_step="read the logs of the run, and measure again")
    return pids


def _restarts(testbed: Testbed) -> int:
    return int(testbed.supervision()["restarts"])


def _all_up(testbed: Testbed) -> bool:
    control = testbed.control_status()
    return (
        not testbed.supervision()["down"]
        and control["state"] == "up"
        and len(control["switches"]) == len(testbed.topology.servers)
        and all(one["programmed"] and one["agent"] for one in control["switches"].values())
    )


def figures_of(found: dict[str, dict[str, list[Outage]]]) -> dict[str, Any]:
    """The figures for the results file: by dataplane and case."""
    return {
        dataplane: {
            case: {
                "gap_ms": distribution([one.gap_ms for one in outages]).as_dict(),
                "lost": distribution([float(one.lost) for one in outages]).as_dict(),
                "back_s": distribution([one.back_s for one in outages]).as_dict(),
            }
            for case, outages in cases.items()
        }
        for dataplane, cases in found.items()
    }


def bars(figures: dict[str, Any]) -> list[Bar]:
    """Bars of the fast path: no packet is lost while its host process lives; otherwise the longest gap."""
    made = []
    for case, figure in figures.get("fastpath", {}).items():
        if HOST in CASES[case]:
            made.append(Bar(f"{case} killed: longest gap", figure["gap_ms"]["maximum"], LONGEST_GAP, "<", "ms"))
        else:
            made.append(Bar(f"{case} killed: most packets lost", figure["lost"]["maximum"], 0, "<=", "packets"))
    return made


def shown(figures: dict[str, Any]) -> list[Table]:
    """One table for each dataplane."""
    return [
        tables.table(
            f"{dataplane}: known flows at {_RATE:,} packets a second each way, killed at one host",
            ("killed", "#rounds", "#gap, ms: median", "#longest", "#lost: median", "#most", "#all back, s: median"),
            (
                (
                    case, one["gap_ms"]["count"], f"{one['gap_ms']['median']:.0f}", f"{one['gap_ms']['maximum']:.0f}",
                    f"{one['lost']['median']:.0f}", f"{one['lost']['maximum']:.0f}", f"{one['back_s']['median']:.2f}",
                )
                for case, one in cases.items()
            ),
        )
        for dataplane, cases in figures.items()
    ]  # fmt: skip


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of each case (%(default)s)")
    parser.add_argument("--dataplane", choices=DATAPLANES, action="append", help="default: all")
    parser.add_argument("--case", choices=list(CASES), action="append", help="default: all")
    given = parser.parse_args(argv)
    command.above_zero(parser, given, "rounds")
    return given


def main() -> int:
    """Run `python -m benchmarks.outage`."""
    given = options()

    def run(progress: Progress) -> int:
        need_root("benchmark")
        dataplanes, cases = given.dataplane or list(DATAPLANES), given.case or list(CASES)
        found = {}
        for number, dataplane in enumerate(dataplanes):

            def case_progress(case: str, share: float, dataplane: str = dataplane, number: int = number) -> None:
                progress(f"{dataplane}: {case} is killed", (number + share) / len(dataplanes))

            found[dataplane] = measure(dataplane, cases, given.rounds, case_progress)
        figures = figures_of(found)
        parameters = {"rounds": given.rounds, "dataplanes": dataplanes, "cases": cases, "rate": _RATE}
        return report.finish(
            "outage", parameters, figures, bars(figures), shown(figures), as_json=given.json, out=given.out
        )

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
