"""A master VM controller dies: the time until its standby has programmed the next change (paper sections 3.1, 3.5).

The time runs from the SIGKILL until the new flow is in the real switch's table. The change is requested right after the
signal. A second case is a master that hangs (SIGSTOP), which the standby notices only when its lease ends. Bars for the
killed master, longest of all rounds: under 0.5 s with the embedded store, under 2 s with etcd.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from typing import Any

from rich.table import Table

from benchmarks.harness import command, report
from benchmarks.harness.bars import Bar
from benchmarks.harness.statistics import distribution
from console.runs import need_root
from console.show import tables
from controllers.fm.fabric_client import FabricClient
from controllers.partitions import Owners
from experiments.frame.progress import Progress
from hoverboard import programs
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import VM
from hoverboard.contract.errors import MeasurementError
from topologies.cluster import etcd_members
from topologies.cluster.control_processes import ControlLayout, StoreKind
from topologies.processes.deadlines import wait_for
from topologies.run import status
from topologies.run.testbed import Testbed
from topologies.spec import schema

BARS: dict[str, float] = {"embedded": 500.0, "etcd": 2_000.0}  # store -> ms
WAYS = {"killed": signal.SIGKILL, "hangs": signal.SIGSTOP}
PARTITIONS, REPLICAS = 2, 2
_LONGEST = 15.0  # seconds
_ALL_UP_SECONDS = 30.0
_FIRST_ENTITY = 100  # last byte of the address of the first VM that is intent only


def measure(store: StoreKind, rounds: dict[str, int], progress: Callable[[float], None]) -> dict[str, list[float]]:
    """Milliseconds by case, for so many rounds each.

    Raises:
        HoverboardError: the testbed does not come up, no standby takes over, or a controller does not come back.
    """
    keys: dict[str, Any] = {
        "hosts": 2, "hoverboards": 1, "networks": [{"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "vms": 4}],
    }  # fmt: skip
    layout = ControlLayout(True, partitions=PARTITIONS, replicas=REPLICAS, store=store)
    found: dict[str, list[float]] = {way: [] for way in rounds}
    done = 0
    with Testbed(schema.from_keys(keys, name="failover"), run=command.run_name("failover"), control=layout) as testbed:
        for way, count in rounds.items():
            for _ in range(count):
                progress(done / sum(rounds.values()))
                found[way].append(_seconds_to_takeover(testbed, WAYS[way], _FIRST_ENTITY + done) * 1e3)
                done += 1
    return found


def _seconds_to_takeover(testbed: Testbed, number: signal.Signals, last: int) -> float:
    """Seconds from the signal until the Hoverboard has the flow of a VM that was requested right after it."""
    master = _master(testbed)
    network, server = testbed.topology.networks[0], testbed.server("hv1")
    address = IPv4Address(f"10.0.0.{last}")
    added: VM = network.vm(f"intent-{last}", "h1", address).entity()
    flow = re.compile(rf"nw_dst={re.escape(str(address))}(?![.\d])")
    client = FabricClient(testbed.intent_address)
    asking = threading.Thread(target=lambda: client.diff(upsert=[added]))
    try:
        begun = time.monotonic()
        os.kill(master, number)
        asking.start()
        while not any(flow.search(line) for line in status.openflow(server)):
            if time.monotonic() > begun + _LONGEST:
                raise MeasurementError(
                    f"no standby has programmed the change after {_LONGEST:g} s", where="vm-controller",
                    next_step="see the logs in the run's directory",
                )  # fmt: skip
        took = time.monotonic() - begun
        asking.join()
    finally:
        if number is not signal.SIGKILL:
            os.kill(master, signal.SIGKILL)
        client.close()
    if _master(testbed) == master:
        raise MeasurementError(
            "the old master programmed the change", where="vm-controller", next_step="check whether it was killed"
        )
    return took


def _master(testbed: Testbed) -> int:
    """Pid of the master of the Hoverboard's partition, when all controllers are up and have the whole intent."""
    partition = Owners(PARTITIONS).of(datapath_id(testbed.server("hv1").spec.underlay_ip))
    found: list[int] = []

    def all_up() -> bool:
        control = testbed.control_status()
        rows = [row for row in control.get("controllers", ()) if row["state"] == "up" and row["version"]]
        found[:] = [row["pid"] for row in rows if row["partition"] == partition and row["master"]]
        synced = all(switch["programmed"] for switch in control.get("switches", {}).values())
        return len(rows) == PARTITIONS * REPLICAS and len(found) == 1 and synced

    wait_for(all_up, _ALL_UP_SECONDS, lambda: "a VM controller does not come back", where=str(testbed.directory.logs))
    return found[0]


def figures_of(samples: Mapping[str, dict[str, list[float]]]) -> dict[str, Any]:
    """The figures for the results file: store -> case -> samples and order statistics."""
    return {
        store: {
            way: {"samples_ms": [round(one, 1) for one in values], **distribution(values).as_dict()}
            for way, values in ways.items()
            if values
        }
        for store, ways in samples.items()
    }


def bars(figures: dict[str, Any]) -> list[Bar]:
    """One bar for each store."""
    return [
        Bar(f"master killed, {store} store (longest)", figures[store]["killed"]["maximum"], limit, "<", "ms")
        for store, limit in BARS.items()
        if store in figures
    ]


def shown(figures: dict[str, Any]) -> list[Table]:
    """Times by store and case."""
    columns = ("minimum", "median", "p90", "maximum")
    return [
        tables.table(
            "from the master's end until the standby has programmed the next change, ms",
            ("store", "master", "#rounds", *(f"#{name}" for name in columns)),
            (
                (store, way, one["count"], *(f"{one[column]:.0f}" for column in columns))
                for store, ways in figures.items()
                for way, one in ways.items()
            ),
        )
    ]


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument(
        "--rounds", type=int, default=10, metavar="N", help="masters killed, for each store (%(default)s)"
    )
    parser.add_argument("--hangs", type=int, default=3, metavar="N", help="masters that hang (%(default)s)")
    parser.add_argument("--store", choices=list(BARS), help="only this one; default: both, etcd where it is installed")
    given = parser.parse_args(argv)
    if not (1 <= given.rounds <= 100 and 0 <= given.hangs <= 50):
        parser.error("--rounds must be from 1 to 100, --hangs from 0 to 50")
    return given


def main() -> int:
    """Run `python -m benchmarks.failover`."""
    given = options()

    def run(progress: Progress) -> int:
        need_root("benchmark")
        stores: list[StoreKind] = [given.store] if given.store else ["embedded", "etcd"]
        if not given.store and programs.find(etcd_members.PROGRAM) is None:
            print("etcd is not installed (bootstrap.sh --ha): the embedded store only", file=sys.stderr)
            stores.remove("etcd")
        rounds = {"killed": given.rounds, "hangs": given.hangs}
        samples: dict[str, dict[str, list[float]]] = {}
        for at, store in enumerate(stores):

            def step(part: float, at: int = at, store: str = store) -> None:
                progress(f"{store} store", (at + part) / len(stores))

            samples[store] = measure(store, rounds, step)
        figures = figures_of(samples)
        parameters = {"rounds": rounds, "partitions": PARTITIONS, "replicas": REPLICAS}
        return report.finish(
            "failover", parameters, figures, bars(figures), shown(figures), as_json=given.json, out=given.out
        )

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
