"""Where the minutes of a test run went, by room, and what failed and had a second chance: tests/run asks at its end.

A room is a directory of tests below a ring, such as `unit/controllers` or `system/dataplane`; files right below a
ring are a room of the ring's name. Read from pytest's JUnit reports (`junit_family=xunit1`, which names files) and
from `parts`: a line for each part that ran, its name, a tab, and seconds of the wall clock.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

SECOND = "second-"  # begins the names of reports of a second chance


@dataclass(frozen=True, slots=True)
class Case:
    """A test as a report tells of it.

    Attributes:
        test: as pytest takes it on its command line.
        seconds: set-up, call and tear-down.
    """

    test: str
    room: str
    seconds: float
    passed: bool


def room_of(file: str) -> str:
    """The room of a file of tests, such as `tests/unit/controllers/test_view.py`."""
    return "/".join(Path(file).parts[1:-1][:2])


def cases(report: str) -> list[Case]:
    """All tests of a JUnit report, in its order. A test whose tear-down failed may be there twice."""
    found = []
    for one in ElementTree.fromstring(report).iter("testcase"):
        file, module = one.get("file", ""), one.get("file", "").removesuffix(".py").replace("/", ".")
        classes = one.get("classname", "").removeprefix(module).split(".")
        test = "::".join([file, *filter(None, classes), one.get("name", "")])
        bad = any(child.tag in ("failure", "error") for child in one)
        found.append(Case(test, room_of(file), float(one.get("time", 0)), not bad))
    return found


def by_room(tests: Iterable[Case]) -> dict[str, float]:
    """Seconds by room, in the order of names."""
    found: defaultdict[str, float] = defaultdict(float)
    for one in tests:
        found[one.room] += one.seconds
    return dict(sorted(found.items()))


def failed(tests: Iterable[Case]) -> list[str]:
    """Tests that failed, each once."""
    return list(dict.fromkeys(one.test for one in tests if not one.passed))


def let_pass(first: Iterable[Case], second: Iterable[Case]) -> list[str]:
    """Tests that failed the first time and passed the second."""
    again = list(second)
    passed = {one.test for one in again} - set(failed(again))
    return [test for test in failed(first) if test in passed]


def told(directory: Path, set_up: Path | None) -> list[str]:
    """The report, a line each.

    Args:
        directory: has `parts` and the JUnit reports (*.xml) of one run of tests/run, or some; empty ones do not count.
        set_up: holds the seconds that bootstrap.sh took when it last ran, if it is there.
    """
    first, second = [], []
    for path in sorted(path for path in directory.glob("*.xml") if path.stat().st_size):
        (second if path.name.startswith(SECOND) else first).extend(cases(path.read_text(encoding="utf-8")))
    lines = ["== minutes and seconds by the clock"]
    if set_up is not None and set_up.is_file():
        when = time.strftime("%d %b %H:%M", time.localtime(set_up.stat().st_mtime))
        lines.append(_line(f"set-up (bootstrap.sh, {when}; not part of this run)", float(set_up.read_text())))
    parts = directory / "parts"
    for line in parts.read_text(encoding="utf-8").splitlines() if parts.is_file() else []:
        name, _, seconds = line.rpartition("\t")
        lines.append(_line(name, float(seconds)))
    if first:
        lines.append("== the same of tests, by room (where two run at a time, they take half as long by the clock)")
        lines += [_line(room, seconds) for room, seconds in by_room([*first, *second]).items()]
    if second:
        passed = let_pass(first, second)
        lines.append(f"== the second chance has let pass: {len(passed) or 'nothing'}")
        lines += [f"  {one}" for one in passed]
    return lines


def _line(name: str, seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"  {minutes:3}:{rest:02}  {name}"


def main(arguments: list[str]) -> int:
    """Print the report of a directory, or the failed tests of one JUnit report. Exit code 1: there is none."""
    parser = argparse.ArgumentParser(prog="python -m tests.minutes", description=__doc__)
    parser.add_argument("path", type=Path, help="a directory with `parts` and *.xml; with --failed: one report")
    parser.add_argument("--set-up", type=Path, help="file with the seconds that bootstrap.sh took")
    parser.add_argument("--failed", action="store_true", help="print the tests that failed, a line each")
    found = parser.parse_args(arguments)
    if found.failed and not (found.path.is_file() and found.path.stat().st_size):
        return 1
    lines = failed(cases(found.path.read_text(encoding="utf-8"))) if found.failed else told(found.path, found.set_up)
    print(*lines, sep="\n", end="\n" if lines else "")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
