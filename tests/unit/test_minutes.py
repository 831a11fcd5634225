"""What tests/run says at its end: minutes by room, and what its second chance has let pass."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests import minutes

UP, ONE = "tests/system/test_cli.py::test_up[a b]", "tests/system/dataplane/test_drops.py::TestDrops::test_one"
DEEP = "tests/system/dataplane/deep/test_deep.py::test_deep"


def report(*told: tuple[str, float, str]) -> str:
    """A report as pytest writes it of (test, seconds, what stands in its element)."""
    lines = []
    for test, seconds, inside in told:
        file, *classes, name = test.split("::")
        of = ".".join([file.removesuffix(".py").replace("/", "."), *classes])
        lines.append(f'<testcase classname="{of}" name="{name}" file="{file}" time="{seconds}">{inside}</testcase>')
    return f'<?xml version="1.0"?><testsuites><testsuite name="pytest">{"".join(lines)}</testsuite></testsuites>'


FIRST = report(
    (UP, 30.0, '<failure message="late">late</failure>'),
    (UP, 1.0, '<error message="tear-down">left</error>'),
    (ONE, 60.0, '<failure message="wrong">wrong</failure>'),
    (DEEP, 6.0, '<skipped message="no">no</skipped>'),
)
SECOND = report((UP, 29.0, ""), (ONE, 6.0, '<failure message="wrong">wrong</failure>'))


@pytest.mark.parametrize(
    ("file", "room"),
    [
        ("tests/unit/test_waiting.py", "unit"),
        ("tests/unit/controllers/test_view.py", "unit/controllers"),
        ("tests/unit/hoverboard/rpc/test_server.py", "unit/hoverboard"),
        ("tests/system/dataplane/test_looking.py", "system/dataplane"),
    ],
)
def test_the_room_of_a_file(file: str, room: str) -> None:
    assert minutes.room_of(file) == room


def test_tests_are_named_as_pytest_takes_them() -> None:
    found = minutes.cases(FIRST)
    assert [(one.test, one.seconds, one.passed) for one in found] == [
        (UP, 30.0, False),
        (UP, 1.0, False),
        (ONE, 60.0, False),
        (DEEP, 6.0, True),
    ]
    assert minutes.failed(found) == [UP, ONE]
    assert minutes.by_room(found) == {"system": 31.0, "system/dataplane": 66.0}


def test_the_second_chance_lets_pass_what_failed_only_once() -> None:
    first, second = minutes.cases(FIRST), minutes.cases(SECOND)
    assert minutes.let_pass(first, second) == [UP]
    assert minutes.let_pass(first, first) == []
    assert minutes.let_pass(second, []) == []


def test_the_whole_report(tmp_path: Path) -> None:
    (tmp_path / "system.xml").write_text(FIRST)
    (tmp_path / "second-system.xml").write_text(SECOND)
    (tmp_path / "parts").write_text("mypy\t12\nsystem ring\t600\n")
    set_up = tmp_path / "seconds"
    set_up.write_text("90\n")
    os.utime(set_up, (1_700_000_000, 1_700_000_000))
    lines = minutes.told(tmp_path, set_up)
    assert re.fullmatch(r"    1:30  set-up \(bootstrap\.sh, 1[45] Nov \d\d:\d\d; not part of this run\)", lines[1])
    assert lines[2:] == [
        "    0:12  mypy",
        "   10:00  system ring",
        "== the same of tests, by room (where two run at a time, they take half as long by the clock)",
        "    1:00  system",
        "    1:12  system/dataplane",
        "== the second chance has let pass: 1",
        f"  {UP}",
    ]


def test_without_a_second_chance_and_without_anything(tmp_path: Path) -> None:
    assert minutes.told(tmp_path, tmp_path / "absent") == ["== minutes and seconds by the clock"]
    (tmp_path / "second-system.xml").write_text(SECOND)
    assert minutes.told(tmp_path, None)[-1] == "== the second chance has let pass: nothing"


def test_failed_tests_for_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "system.xml"
    assert minutes.main(["--failed", str(report)]) == 1
    report.write_text(FIRST)
    assert minutes.main(["--failed", str(report)]) == 0
    assert capsys.readouterr().out == f"{UP}\n{ONE}\n"
    report.write_text("<testsuites />")
    assert minutes.main(["--failed", str(report)]) == 0
    assert capsys.readouterr().out == ""
    (tmp_path / "parts").write_text("mypy\t60\n")
    assert minutes.main([str(tmp_path)]) == 0
    assert "    1:00  mypy\n" in capsys.readouterr().out
