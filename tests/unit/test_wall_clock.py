"""No behaviour rests on the wall clock, which people and NTP set: only what is shown may read it.

Waiting, ages and numbers that must not repeat go by CLOCK_MONOTONIC, or by CLOCK_BOOTTIME where the time counts that a
machine slept.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.unit.source_tree import source_tree

SHOWN = {
    "benchmarks.harness.report": "the date in a report",
    "console.show.tables": "the age of an offload, from two times of now",
    "console.verbs.experiment_run": "the name of a new folder",
    "controllers.vmc.controller": "`since` of an offload, from two times of now",
    "experiments.demo.demo_report": "the name of a new folder",
    "experiments.observe.flow_path": "the age of an offload, from two times of now",
    "experiments.observe.provenance": "the date of a sample",
    "hoverboard.host.telemetry.capture": "the times of packets in a file for Wireshark",
    "topologies.processes.supervisor": "when a process died",
}
_OF_TIME = {"time", "time_ns", "localtime", "gmtime", "ctime", "asctime", "strftime", "CLOCK_REALTIME"}
_OF_DATES = {"now", "utcnow", "today"}
_OF_FILES = {"st_mtime", "st_ctime", "st_atime", "getmtime", "getctime", "getatime", "st_mtime_ns"}


def wall_clock_reads(text: str) -> Iterator[str]:
    """Names by which a module reads the wall clock, or a file's time, which comes from it."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Attribute(value=ast.Name(id="time"), attr=attr) if attr in _OF_TIME:
                yield f"time.{attr}"
            case ast.Attribute(value=ast.Name(id="datetime" | "date"), attr=attr) if attr in _OF_DATES:
                yield f"datetime.{attr}"
            case ast.Attribute(attr=attr) if attr in _OF_FILES:
                yield attr
            case ast.ImportFrom(module="time", names=names):
                yield from (f"time.{name.name}" for name in names if name.name in _OF_TIME)


def test_only_what_is_shown_reads_the_wall_clock() -> None:
    found = {name: list(wall_clock_reads(source.text)) for name, source in source_tree().items()}
    assert {name: reads for name, reads in found.items() if reads and name not in SHOWN} == {}
    assert {name for name, reads in found.items() if reads} == SHOWN.keys()


def test_reads_are_found_however_they_are_written() -> None:
    text = """
import time
from time import time_ns
from datetime import datetime
def f(clock=time.time):
    datetime.now(); path.stat().st_mtime; time.clock_gettime(time.CLOCK_REALTIME); time.strftime("%H")
    time.monotonic(); time.clock_gettime_ns(time.CLOCK_BOOTTIME); self.now(); loop.time()
"""
    assert sorted(wall_clock_reads(text)) == [
        "datetime.now", "st_mtime", "time.CLOCK_REALTIME", "time.strftime", "time.time", "time.time_ns",
    ]  # fmt: skip
