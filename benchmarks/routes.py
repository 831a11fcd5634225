"""100,000 routes into the Open vSwitch of one Hoverboard: by VM controller and front end, and by `ovs-ofctl`.

The flows are those of a Hoverboard for a network of so many VMs. With our control plane the time begins with a change
of intent. A VM controller turns it into flows and a front end into OpenFlow (paper section 3.1). The time ends with the
switch's answer to the barrier behind the committed bundle.

`ovs-ofctl --bundle add-flows` installs the same flows, as text, in an equal, fresh switch. Contestants take turns; both
tables are compared after each round.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import command, report
from benchmarks.harness.bars import Bar
from benchmarks.harness.statistics import distribution, paired_ratio, turns
from console.runs import need_root
from console.show import tables
from controllers.fm.intent_store import Changes, IntentStore
from controllers.gc_pause import gc_paused
from controllers.ofe.messages import PacketIn
from controllers.ofe.switch_interface import SwitchSession
from controllers.ofe.switch_server import FrontEnd
from controllers.vmc.controller import Controller
from controllers.vmc.core import ControllerCore
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadPolicy
from controllers.vmc.view.facts import Sync
from experiments.frame.progress import Progress
from experiments.programming.ovs_bridges import Bridges, timed
from experiments.programming.scaled_cluster import Cluster
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import VM
from hoverboard.contract.errors import MeasurementError, counted

ROUTES, ROUNDS = 100_000, 5
QUICK_ROUTES, QUICK_ROUNDS = 2_000, 2
BAR = 3.0
FRONT_END, OFCTL = "front end", "ovs-ofctl --bundle"
HOVERBOARD = "hv0"
_HOSTS = 1000
_TIMEOUT = 120.0


class _Events:
    """Passes the switch's events on, and reports when the switch is connected."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.connected = asyncio.Event()

    def switch_connected(self, session: SwitchSession, ports: Mapping[str, int]) -> None:
        self._controller.switch_connected(session, ports)
        self.connected.set()

    def switch_disconnected(self, session: SwitchSession) -> None:
        self._controller.switch_disconnected(session)

    def port_changed(self, session: SwitchSession, name: str, port: int | None) -> None:
        self._controller.port_changed(session, name, port)

    def packet_in(self, session: SwitchSession, packet: PacketIn) -> None:
        """Ignore packets: none are sent here."""


async def through_front_end(cluster: Cluster, directory: Path) -> tuple[float, str]:
    """Seconds from the change of intent to the switch's confirmation, and the flows that the switch then has.

    At the start the switch is connected and has the flows of an empty network. The partition contains only the
    Hoverboard.

    Raises:
        MeasurementError: the switch does not come up, or rejects the flows.
    """
    hoverboard = cluster.hoverboard(0)
    dpid = datapath_id(hoverboard.underlay_ip)
    fabric, policy = IntentStore(), OffloadPolicy()
    core = ControllerCore(model_named("hoverboard"), policy, lambda one: one == dpid)
    controller = Controller(core)
    events = _Events(controller)
    front_end = FrontEnd(directory / "front-end.sock", events)
    await front_end.start()
    bridges = await asyncio.to_thread(Bridges, directory, directory / "front-end.sock")
    try:
        await asyncio.to_thread(bridges.make, {HOVERBOARD: (dpid, {})})
        entities = cluster.entities()
        before = [entity for entity in entities if not isinstance(entity, VM)]
        async with asyncio.timeout(_TIMEOUT):
            await events.connected.wait()
            controller.agent_hello(HOVERBOARD, {})
            await controller.changed(fabric.full_update(before), complete=True)
            await _programmed(core, dpid)
            changes = fabric.diff([entity for entity in entities if isinstance(entity, VM)], [])
            seconds = await _change(controller, changes, dpid)
        return seconds, await asyncio.to_thread(held, bridges)
    except TimeoutError as error:
        raise MeasurementError(
            f"the switch is not programmed after {_TIMEOUT:g} s", where=HOVERBOARD, next_step="see its log"
        ) from error
    finally:
        await front_end.stop()
        controller.stop()
        await asyncio.to_thread(bridges.close)


async def _change(controller: Controller, changes: Changes, dpid: int) -> float:
    gc.collect()
    with gc_paused():  # as the fabric manager does during a full update
        begun = time.monotonic()
        await controller.changed(changes, complete=True)
        await _programmed(controller.core, dpid)
        return time.monotonic() - begun


async def _programmed(core: ControllerCore, dpid: int) -> None:
    """Return when the switch has confirmed all that it was sent."""
    while True:
        switch = core.switches[dpid]
        if switch.errors:
            raise MeasurementError(
                switch.last_error, where=HOVERBOARD, next_step="rerun the benchmark; see the log of the switch"
            )
        if switch.sync is Sync.SYNCED and not switch.outstanding:
            return
        await asyncio.sleep(0.002)


def by_ofctl(flows: str, directory: Path) -> tuple[float, str]:
    """Seconds of `ovs-ofctl --bundle add-flows` for flows as text, and the flows that the switch then has.

    Raises:
        MeasurementError: the switch does not come up, or rejects the flows.
    """
    file = directory / "flows.txt"
    file.write_text(flows, encoding="utf-8")
    bridges = Bridges(directory, directory / "unused.sock")
    try:
        bridges.make({HOVERBOARD: (1, {})}, controller=False)
        bridges.ofctl("del-flows", HOVERBOARD)
        seconds = timed(lambda: bridges.ofctl("add-flows", HOVERBOARD, str(file), options=("--bundle",)))
        return seconds, held(bridges)
    finally:
        bridges.close()


def held(bridges: Bridges) -> str:
    """The flows of the switch, one a line, sorted, without counters, as `add-flows` accepts them."""
    dumped = bridges.ofctl("dump-flows", HOVERBOARD, options=("--no-stats", "--no-names"))
    return "".join(sorted(f"{line.strip()}\n" for line in dumped.splitlines() if "actions=" in line))


def measure(routes: int, rounds: int, progress: Progress) -> dict[str, Any]:
    """Measure both contestants in turns.

    Raises:
        MeasurementError: a switch rejects flows, or the two switches end with different flows.
    """
    cluster = Cluster(routes, min(_HOSTS, routes))
    seconds: dict[str, list[float]] = {FRONT_END: [], OFCTL: []}
    progress("the flows", 0.0)
    with tempfile.TemporaryDirectory(prefix="hb", dir="/tmp") as directory:
        _, flows = asyncio.run(through_front_end(cluster, Path(directory)))
    for number, order in enumerate(turns((FRONT_END, OFCTL), rounds)):
        for who in order:
            progress(f"{who}, round {number + 1} of {rounds}", (number + 0.5) / rounds)
            with tempfile.TemporaryDirectory(prefix="hb", dir="/tmp") as directory:
                if who == FRONT_END:
                    took, there = asyncio.run(through_front_end(cluster, Path(directory)))
                else:
                    took, there = by_ofctl(flows, Path(directory))
            check_same(flows, there, who)
            seconds[who].append(took)
    return figures_of(routes, flows.count("\n"), seconds)


def check_same(flows: str, there: str, who: str) -> None:
    """Raise MeasurementError unless a switch has exactly these flows."""
    if there != flows:
        wanted, found = set(flows.splitlines()), set(there.splitlines())
        differ = sorted(wanted ^ found)
        raise MeasurementError(
            f"the switch holds {counted(len(found), 'flow')} where {len(wanted)} should be; {len(differ)} differ, "
            f"the first: {differ[0] if differ else 'one is there twice'}",
            where=who,
            next_step="the contestants installed different flows: do not compare the times",
        )


def figures_of(routes: int, flows: int, seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The figures for the results file; `flows` includes the flows that each Hoverboard has without routes."""
    return {
        "routes": routes,
        "flows": flows,
        "rounds": {
            who: {"samples_s": [round(one, 4) for one in values], **distribution(values).as_dict()}
            for who, values in seconds.items()
        },
        "ratio": paired_ratio(seconds[FRONT_END], seconds[OFCTL]),
        "ratio_of_medians": statistics.median(seconds[FRONT_END]) / statistics.median(seconds[OFCTL]),
    }


def bars(figures: Mapping[str, Any]) -> list[Bar]:
    """The bar on the ratio."""
    what = f"{figures['routes']} routes into one Hoverboard's Open vSwitch: front end / {OFCTL}"
    return [Bar(what, figures["ratio"], BAR, "<", "x")]


def shown(figures: Mapping[str, Any]) -> list[Table]:
    """Seconds of both contestants."""
    rows = [
        (
            who, one["count"], *(f"{one[key]:.2f}" for key in ("minimum", "median", "maximum")),
            f"{figures['flows'] / one['median']:.0f}",
        )
        for who, one in figures["rounds"].items()
    ]  # fmt: skip
    title = f"{figures['flows']} flows into one switch, seconds"
    return [tables.table(title, ("by", "#times", "#least", "#median", "#most", "#flows a second"), rows)]


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--routes", type=int, metavar="N", help=f"routes ({ROUTES}; with --quick {QUICK_ROUTES})")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"turns ({ROUNDS}; with --quick {QUICK_ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="a first look, without the bar")
    given = parser.parse_args(argv)
    if given.routes is None:
        given.routes = QUICK_ROUTES if given.quick else ROUTES
    if given.rounds is None:
        given.rounds = QUICK_ROUNDS if given.quick else ROUNDS
    command.above_zero(parser, given, "routes", "rounds")
    return given


def main() -> int:
    """Run `python -m benchmarks.routes`."""
    given = options()

    def run(progress: Progress) -> int:
        need_root("benchmark")
        gc.set_threshold(100_000, 20, 100)  # as the control plane's process does
        figures = measure(given.routes, given.rounds, progress)
        parameters = {"routes": given.routes, "rounds": given.rounds}
        return report.finish(
            "routes",
            parameters,
            figures,
            [] if given.quick else bars(figures),
            shown(figures),
            as_json=given.json,
            out=given.out,
        )

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
