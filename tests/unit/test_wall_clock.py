"""No behaviour rests on the wall clock, which people and NTP set: only what is shown, and certificates, may read it.

Waiting, ages and numbers that must not repeat go by CLOCK_MONOTONIC, or by CLOCK_BOOTTIME where the time counts that a
machine slept.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.unit.source_tree import source_tree

ALLOWED = {
    "benchmarks.harness.report": "the date in a report",
    "console.show.tables": "the age of an offload, from two times of now",
    "console.verbs.experiment_run": "the name of a new folder",
    "controllers.vmc.controller": "`since` of an offload, from two times of now",
    "experiments.demo.demo_report": "the name of a new folder",
    "experiments.observe.flow_path": "the age of an offload, from two times of now",
    "experiments.observe.provenance": "the date of a sample",
    "experiments.sweeps.cluster_keys": "the validity of certificates: TLS compares it with the peers' wall clocks",
    "hoverboard.host.telemetry.capture": "the times of packets in a file for Wireshark",
    "topologies.processes.supervisor": "when a process died",
}
_OF_TIME = {"time", "time_ns", "localtime", "gmtime", "ctime", "asctime", "strftime", "CLOCK_REALTIME"}
_OF_DATES = {"now", "utcnow", "today"}
_OF_FILES = {"st_mtime", "st_ctime", "st_atime", "getmtime", "getctime", "getatime", "st_mtime_ns"}


def wall_clock_reads(text: str) -> Iterator[str]:
    """Names by which a module reads the wall clock, or a file's time, which comes from it.

    A name counts as what it was imported as: `import time as t` makes `t.time` one, and `from time import time as now`
    is one where it is imported.
    """
    tree = ast.parse(text)
    known = dict(_imported(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=attr) if attr in _OF_FILES:
                yield attr
            case ast.Attribute():
                yield from _of_clock(_full(node, known))
            case ast.ImportFrom(module="time" | "datetime" | "os.path"):
                for name in node.names:
                    yield from _of_clock(f"{node.module}.{name.name}")
                    if name.name in _OF_FILES:
                        yield name.name


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Each name that an import gives a module, and the full name of what it is, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (first, first)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _full(node: ast.expr, known: dict[str, str]) -> str:
    """The full name of `a.b.c` where `a` is imported; "" for another expression."""
    if isinstance(node, ast.Attribute):
        above = _full(node.value, known)
        return f"{above}.{node.attr}" if above else ""
    return known.get(node.id, "") if isinstance(node, ast.Name) else ""


def _of_clock(name: str) -> Iterator[str]:
    module, _, last = name.rpartition(".")
    if last in {"time": _OF_TIME | {"*"}, "datetime.datetime": _OF_DATES, "datetime.date": _OF_DATES}.get(
        module, set()
    ):
        yield name


def test_only_what_is_allowed_reads_the_wall_clock() -> None:
    found = {name: list(wall_clock_reads(source.text)) for name, source in source_tree().items()}
    assert {name: reads for name, reads in found.items() if reads and name not in ALLOWED} == {}
    assert {name for name, reads in found.items() if reads} == ALLOWED.keys()


@pytest.mark.parametrize(("text", "wanted"), [
    ("import time\ndef f(clock=time.time): time.strftime('%H')", ["time.strftime", "time.time"]),
    ("import time\ntime.clock_gettime(time.CLOCK_REALTIME)", ["time.CLOCK_REALTIME"]),
    ("import time as t\nt.time()", ["time.time"]),
    ("def f():\n    import time as t\n    return t.time_ns()", ["time.time_ns"]),
    ("from time import time_ns", ["time.time_ns"]),
    ("from time import time as monotonic", ["time.time"]),
    ("from time import *", ["time.*"]),
    ("from datetime import datetime\ndatetime.now()", ["datetime.datetime.now"]),
    ("from datetime import datetime as d, date\nd.utcnow(); date.today()",
     ["datetime.date.today", "datetime.datetime.utcnow"]),
    ("import datetime\ndatetime.datetime.now(datetime.UTC)", ["datetime.datetime.now"]),
    ("import datetime as dt\ndt.date.today()", ["datetime.date.today"]),
    ("path.stat().st_mtime", ["st_mtime"]),
    ("import os.path\nos.path.getmtime('x')", ["getmtime"]),
    ("from os.path import getmtime as age", ["getmtime"]),
    ("import time\ntime.monotonic(); time.clock_gettime_ns(time.CLOCK_BOOTTIME); self.now(); loop.time()", []),
    ("import datetime\ndatetime.timedelta(days=1); datetime.UTC; time.time()", []),
])  # fmt: skip
def test_reads_are_found_however_they_are_written(text: str, wanted: list[str]) -> None:
    assert sorted(wall_clock_reads(text)) == wanted
