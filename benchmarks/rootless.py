"""A testbed of an ordinary user beside one of root: the start of a rack, and the datapath of two hosts.

Root starts it. Each side is a program of its own, `hoverboard python` with and without `--rootless`. They take turns.
With `--busy` every turn is done once more while a process of root keeps one core busy. Root's switch and fast path then
have an advantage: a higher priority (nice -10).

Bars, on a machine without other load: the start takes at most 1.1 times as long, and rates are at least 0.97 of root's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Literal

from rich.table import Table

from benchmarks.datapath import cases, contestants
from benchmarks.harness import command, report
from benchmarks.harness.bars import Bar
from benchmarks.harness.statistics import distribution, paired_ratio
from console.show import tables
from experiments.frame.progress import Progress
from hoverboard import mapped_users
from hoverboard.contract.errors import MachineError, RunError
from topologies.client import run_client

_SIDES = {"root": (), "rootless": ("--rootless",)}
_TIMEOUT = 300.0  # seconds for one turn of a side
# Value -> (words, unit, whether a higher one is better).
_VALUES = {
    "rack_s": ("rack up", "s", False),
    "tcp_bps": ("TCP, 1 stream", "bit/s", True),
    "round_trip_us": ("round trip (TCP_RR)", "us", False),
    "packets_pps": ("64-byte UDP", "packets/s", True),
}
_LIMITS: dict[str, tuple[float, Literal["<=", ">="]]] = {
    "rack_s": (1.1, "<="), "tcp_bps": (0.97, ">="), "round_trip_us": (0.97, ">="), "packets_pps": (0.97, ">="),
}  # fmt: skip


def side(seconds: int) -> dict[str, float]:
    """Measure once, as the user that we are; the values by the names of `_VALUES`."""
    found = {"rack_s": _rack_seconds()}
    plan = cases.Plan(rounds=1, latency_rounds=1, seconds=seconds, omit=1, pings=1, round_trip_seconds=seconds)
    with contestants.generation("fastpath") as one:
        one.prepare("two hosts")
        for name, measure in (
            ("tcp_bps", cases.tcp(1)),
            ("round_trip_us", cases.transactions),
            ("packets_pps", cases.packets),
        ):
            # Unit and direction of a case are for its table; ours has its own.
            found[name] = measure(one, cases.Case(name, "two hosts", "us", "less", measure), plan).value
    return found


def _rack_seconds() -> float:
    run, begun = command.run_name("rack"), time.monotonic()
    try:
        run_client.start_detached("rack", run=run)
        return time.monotonic() - begun
    finally:
        run_client.down(run, missing_ok=True)


def measure(rounds: int, seconds: int, busy: bool, progress: Progress) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Let the sides take turns; the samples by load ("quiet", "busy") and side.

    Raises:
        RunError: a side failed.
    """
    loads = ("quiet", "busy") if busy else ("quiet",)
    found: dict[str, dict[str, list[dict[str, float]]]] = {load: {one: [] for one in _SIDES} for load in loads}
    turns = [
        (number, load, name)
        for number in range(rounds)
        for load in loads
        for name in (_SIDES if number % 2 else reversed(_SIDES))
    ]
    for done, (number, load, name) in enumerate(turns):
        progress(f"{name}, {load}, {number + 1} of {rounds}", done / len(turns))
        with _busy_core() if load == "busy" else contextlib.nullcontext():
            found[load][name].append(_turn(name, seconds))
    return found


def _turn(name: str, seconds: int) -> dict[str, float]:
    words = [*_SIDES[name], "python", "-m", "benchmarks.rootless", "--side", "--seconds", str(seconds)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "console.cli", *words],
        capture_output=True, text=True, timeout=_TIMEOUT, check=False,
        cwd=tempfile.gettempdir(),  # where both sides may write
    )  # fmt: skip
    if done.returncode:
        last = done.stderr.strip() or f"exit code {done.returncode}"
        raise RunError(f"{name}: {last}", next_step="see `hoverboard --rootless doctor`")
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextlib.contextmanager
def _busy_core() -> Iterator[None]:
    """Keep one core busy with a process of normal priority."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def ratios(samples: dict[str, list[dict[str, float]]]) -> dict[str, float]:
    """Median of the rounds' ratios, rootless over root; of the reciprocals where less is better, but for the start."""
    found = {}
    for name, (_, _, more) in _VALUES.items():
        user, root = ([one[name] for one in samples[who]] for who in ("rootless", "root"))
        found[name] = paired_ratio(user, root) if more or name == "rack_s" else paired_ratio(root, user)
    return found


def bars(figures: dict[str, Any]) -> list[Bar]:
    """The start and three rates, of the quiet rounds; beside a busy core nothing is promised."""
    found = figures["ratios"]["quiet"]
    return [
        Bar(f"{_VALUES[name][0]}: rootless over root", value, limit, sense, "x")
        for name, value in found.items()
        for limit, sense in [_LIMITS[name]]
    ]


def shown(figures: dict[str, Any]) -> list[Table]:
    """Medians of both sides, and the ratio, for each load."""
    return [
        tables.table(
            "nothing else runs" if load == "quiet" else "beside a busy core",
            ("what", "#root", "#rootless", "#ratio"),
            (
                (
                    f"{words}, {unit}",
                    *(f"{distribution([one[name] for one in samples[who]]).median:,.6g}" for who in _SIDES),
                    f"{figures['ratios'][load][name]:.2f}",
                )
                for name, (words, unit, _) in _VALUES.items()
            ),
        )
        for load, samples in figures["samples"].items()
    ]


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="rounds (%(default)s)")
    parser.add_argument("--seconds", type=int, default=3, metavar="S", help="of each measurement (%(default)s)")
    parser.add_argument("--busy", action="store_true", help="also beside a busy core")
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    command.above_zero(parser, given, "repeat", "seconds")
    return given


def main() -> int:
    """Run `python -m benchmarks.rootless`."""
    given = options()
    if given.side:
        print(json.dumps(side(given.seconds)))
        return 0

    def run(progress: Progress) -> int:
        if mapped_users.privileges() != "root":
            raise MachineError("this benchmark compares root with an ordinary user", next_step="start it with: sudo")
        samples = measure(given.repeat, given.seconds, given.busy, progress)
        figures = {"samples": samples, "ratios": {load: ratios(found) for load, found in samples.items()}}
        parameters = {"rounds": given.repeat, "seconds": given.seconds}
        return report.finish(
            "rootless", parameters, figures, bars(figures), shown(figures), as_json=given.json, out=given.out
        )

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
