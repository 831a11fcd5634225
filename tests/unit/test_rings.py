"""tests/run as a script, with a stand-in for everything that it calls: what fails, second chances, and the report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = "tests/system/test_{name}.py"
CASE = f'<testcase classname="tests.system.test_{{name}}" name="test_it" file="{FILE}" time="6">{{inside}}</testcase>'
# Stands in for run-in: a report comes from the directory, by the name that pytest is to write, and gives the exit code.
RUN_IN = """#!/bin/sh
if [ "$1" = python ] && [ "$3" != tests.ordinary_user ]; then shift; exec {python} "$@"; fi
echo "$@" >>{here}/called
for word; do
    case "$word" in *.xml) report={here}/$(basename "$word"); [ -f "$report" ] && cp "$report" "$word" ;; esac
done
[ -z "${{report:-}}" ] || {{ [ -f "$report" ] && ! grep -q failure "$report"; }}
"""


OF_A_USER = '<testcase classname="tests.system.test_any" name="test_it" file="tests/system/test_any.py" time="1"/>'


def ran(here: Path, ring: str = "system", **reports: str) -> tuple[int, str, list[str]]:
    """Exit code, standard output and calls of a ring of tests/run whose pytest leaves these reports.

    What an ordinary user runs of the system ring passes, if it is not given.
    """
    reports = {"system_user": OF_A_USER, **reports}
    for name, text in (
        ("prefix/bin/run-in", RUN_IN.format(python=sys.executable, here=here)),
        ("id", "#!/bin/sh\necho 0\n"),
    ):
        file = here / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    for name, text in reports.items():
        (here / f"{name.replace('_', '-')}.xml").write_text(f"<testsuites>{text}</testsuites>")
    (here / "prefix" / "set-up-seconds").write_text("100\n")
    done = subprocess.run(
        [ROOT / "tests" / "run", ring], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "HOVERBOARD_PREFIX": str(here / "prefix"), "PATH": f"{here}:{os.environ['PATH']}",
             "NUMBA_CACHE_DIR": str(here)},
    )  # fmt: skip
    return done.returncode, done.stdout, (here / "called").read_text().splitlines()


def case(name: str, inside: str = "") -> str:
    return CASE.format(inside=inside, name=name)


BAD = '<failure message="late">late</failure>'


def test_a_ring_that_passes_has_no_second_chance(tmp_path: Path) -> None:
    code, said, called = ran(tmp_path, system=case("one"))
    assert (code, len(called)) == (0, 2)
    assert called[1].startswith("python -m tests.ordinary_user ")
    assert "console.cli python -m pytest" in called[1]
    assert "-m rootless and not long" in called[1]
    assert "1:40  set-up" in said
    assert "0:07  system" in said
    assert "second chance" not in said


def test_what_failed_once_is_let_pass_and_named(tmp_path: Path) -> None:
    code, said, called = ran(tmp_path, system=case("one", BAD) + case("two"), second_system=case("one"))
    assert code == 0
    assert "tests/system/test_one.py::test_it" in called[1]
    assert "test_two" not in called[1]
    assert said.splitlines()[-2:] == ["== the second chance has let pass: 1", "  tests/system/test_one.py::test_it"]


def test_what_failed_twice_has_failed(tmp_path: Path) -> None:
    code, said, _ = ran(tmp_path, system=case("one", BAD), second_system=case("one", BAD))
    assert code == 1
    assert "let pass: nothing" in said


@pytest.mark.parametrize("reports", [{}, {"system": "".join(case(name, BAD) for name in "abcde")}])
def test_more_than_a_few_and_a_pytest_that_did_not_end_have_no_second_chance(
    tmp_path: Path, reports: dict[str, str]
) -> None:
    code, _, called = ran(tmp_path, **reports)
    assert (code, len(called)) == (1, 2)


def test_what_failed_as_a_user_has_its_second_chance_as_a_user(tmp_path: Path) -> None:
    bad = case("one", BAD)
    code, said, called = ran(tmp_path, system=case("two"), system_user=bad, second_system_user=case("one"))
    assert code == 0
    assert called[2].startswith("python -m tests.ordinary_user ")
    assert "tests/system/test_one.py::test_it" in called[2]
    assert said.splitlines()[-1] == "  tests/system/test_one.py::test_it"


def test_the_ring_of_a_user_needs_a_report(tmp_path: Path) -> None:
    """The file is there before, because the user may not make it: an empty one is none."""
    assert ran(tmp_path, "rootless", rootless=case("one"))[0] == 0
    (tmp_path / "rootless.xml").unlink()
    code, said, _ = ran(tmp_path, "rootless")
    assert code == 1
    assert "second chance" not in said
