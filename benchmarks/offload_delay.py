"""The time until a flow above the threshold leaves the Hoverboard, by report interval.

The time runs from the flow's first packet until the sending host's flow table sends it from host to host. It includes
usage report, policy, OpenFlow and revalidation. The flows begin at times spread evenly over the report interval.

Bars, for the median: under 1.5 s at an interval of 1 s, under 250 ms at 100 ms. The paper gives the threshold, but no
time.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from contextlib import closing
from typing import Any

from rich.table import Table

from benchmarks.harness import command, report
from benchmarks.harness.bars import Bar
from benchmarks.harness.pauses import pause
from benchmarks.harness.statistics import distribution
from console.runs import need_root
from console.show import tables
from experiments.frame.progress import Progress
from hoverboard.contract.errors import MeasurementError
from topologies.emulation.devices import entered
from topologies.run.testbed import Testbed
from topologies.spec import schema

BARS = {1.0: 1_500.0, 0.1: 250.0}  # report interval, s -> ms
PACKET, EVERY = 1_000, 0.005  # bytes, and seconds between two: 1.6 Mbit/s, far above the threshold
_LONGEST = 10.0
_VMS = 10  # half of them on each host: 25 pairs one way


def measure(interval: float, flows: int, dataplane: str, progress: Progress, at: float) -> list[float]:
    """Milliseconds of each of `flows` flows, one after the other.

    Raises:
        HoverboardError: the testbed does not come up, or a flow is never offloaded.
    """
    keys: dict[str, Any] = {
        "hosts": 2, "hoverboards": 1, "dataplane": dataplane, "report_interval": interval,
        "networks": [{"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "vms": _VMS}],
    }  # fmt: skip
    topology = schema.from_keys(keys, name="offload-delay")
    found = []
    with Testbed(topology, run=command.run_name("offload")) as testbed:
        senders = [vm for vm in testbed.topology.vms if vm.host == "h1"]
        receivers = [vm for vm in testbed.topology.vms if vm.host == "h2"]
        pairs = [(one, other) for other in receivers for one in senders][:flows]
        for number, (sender, receiver) in enumerate(pairs):
            progress(f"interval {interval:g} s, flow {number + 1} of {flows}", at + 0.5 * number / flows)
            pause(interval * number / flows)
            found.append(_seconds_to_offload(testbed, sender.name, str(sender.ip), str(receiver.ip)) * 1e3)
    return found


def _seconds_to_offload(testbed: Testbed, sender: str, source: str, target: str) -> float:
    """Seconds from a flow's first packet until it takes the direct path."""
    with entered(testbed.pid_of(sender)):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with made as sending, closing(testbed.host_client("h1")) as host:
        sending.connect((target, 9))
        host.connect(5.0)
        begun = time.monotonic()
        following = begun
        while (now := time.monotonic()) < begun + _LONGEST:
            if now >= following:
                following += EVERY
                _send(sending)
            if any(
                one["kind"] == "offload" and one["now"] and one["src"] == source and one["dst"] == target
                for one in host.flows()
            ):
                return time.monotonic() - begun
        raise MeasurementError(
            f"{source} to {target} is not offloaded after {_LONGEST:g} s",
            where=sender,
            next_step="see hoverboard status",
        )


def _send(sending: socket.socket) -> None:
    """Send one packet; an error because no process listens at the target is ignored."""
    try:
        sending.send(bytes(PACKET))
    except ConnectionRefusedError:
        sending.send(bytes(PACKET))


def figures_of(samples: dict[float, list[float]]) -> dict[str, Any]:
    """The figures for the results file."""
    return {
        f"{interval:g}": {"samples_ms": [round(one, 1) for one in values], **distribution(values).as_dict()}
        for interval, values in samples.items()
    }


def bars(figures: dict[str, Any]) -> list[Bar]:
    """One bar for each interval."""
    return [
        Bar(f"offloaded, report interval {interval:g} s (median)", figures[f"{interval:g}"]["median"], limit, "<", "ms")
        for interval, limit in BARS.items()
        if f"{interval:g}" in figures
    ]


def shown(figures: dict[str, Any]) -> list[Table]:
    """Times by interval."""
    columns = ("minimum", "median", "p90", "maximum")
    return [
        tables.table(
            "from a flow's first packet until it takes the direct path, ms",
            ("report interval, s", "#flows", *(f"#{name}" for name in columns)),
            ((name, one["count"], *(f"{one[column]:.0f}" for column in columns)) for name, one in figures.items()),
        )
    ]


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--flows", type=int, default=12, metavar="N", help="flows at each interval (%(default)s)")
    parser.add_argument("--dataplane", choices=["fastpath", "fastpath-vmm"], default="fastpath", help="(%(default)s)")
    given = parser.parse_args(argv)
    if not 1 <= given.flows <= (_VMS // 2) ** 2:
        parser.error(f"--flows must be from 1 to {(_VMS // 2) ** 2}")
    return given


def main() -> int:
    """Run `python -m benchmarks.offload_delay`."""
    given = options()

    def run(progress: Progress) -> int:
        need_root("benchmark")
        samples = {
            interval: measure(interval, given.flows, given.dataplane, progress, at)
            for interval, at in zip(BARS, (0.0, 0.5), strict=True)
        }
        figures = figures_of(samples)
        parameters = {"flows": given.flows, "dataplane": given.dataplane, "packet_bytes": PACKET, "every_s": EVERY}
        return report.finish(
            "offload-delay", parameters, figures, bars(figures), shown(figures), as_json=given.json, out=given.out
        )

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
