"""An ordinary user's programs: `hoverboard python FILE` has testbeds, other Pythons say in one line what to do."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.ordinary_user import OrdinaryUser
from tests.system.rootless.user_run import nothing_is_left
from tests.waiting import until

pytestmark = pytest.mark.timeout(400)

BED = """
import os, subprocess, sys
import numpy
from topologies import Testbed
with Testbed("two-hosts", dataplane="fastpath") as bed:
    ping = bed.node("blue-1").popen(["ping", "-c", "2", "-i", "0.1", "10.0.0.3"], stdout=subprocess.PIPE, text=True)
    print(ping.communicate()[0])
    print(*sys.argv[1:], file=open("results.txt", "w"))
    os.makedirs("made")
sys.exit(9)
"""
PLAIN = """
import numpy
from topologies import Testbed
Testbed("two-hosts", dataplane="ovs").up()
"""


def test_a_file_with_a_testbed(user: OrdinaryUser) -> None:
    done = user.hoverboard("python", user.write("bed.py", BED), "one", "two", timeout=150)
    assert done.returncode == 9, done.stderr
    assert "2 received" in done.stdout
    assert (user.home / "results.txt").read_text() == "one two\n"
    for name in ("results.txt", "made"):
        assert (user.home / name).stat().st_uid == user.uid
    nothing_is_left(user)


def test_plain_python_says_what_to_type(user: OrdinaryUser) -> None:
    done = user.run(sys.executable, "-P", "-s", user.write("plain.py", PLAIN))
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-2:]
    assert "hoverboard python FILE" in last[-1], done.stderr
    assert "namespaces" in last[0]
    nothing_is_left(user)


def test_outside_there_is_no_testbed(user: OrdinaryUser) -> None:
    done = user.hoverboard("python", "--outside", user.write("plain.py", PLAIN))
    assert done.returncode != 0
    assert "hoverboard python FILE" in done.stderr
    nothing_is_left(user)


def test_other_shells_reach_the_run_of_a_file(user: OrdinaryUser) -> None:
    text = BED.replace("sys.exit(9)", "").replace("os.makedirs", "sys.stdin.read(); os.makedirs")
    words = user.cli("python", user.write("bed.py", text))
    process = user.start(*words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    until((user.home / "results.txt").exists, 150, "nothing comes up")
    assert json.loads(user.ok("status", "--json"))["run"] == "two-hosts"
    assert "2 received" in user.ok("exec", "blue-1", "--", "ping", "-c", "2", "-i", "0.1", "10.0.0.3")
    process.stdin.close()
    assert process.wait(60) == 0
    nothing_is_left(user)


def test_pytest_enters_first(user: OrdinaryUser) -> None:
    test = "from topologies import Testbed\ndef test_a_bed():\n    with Testbed('two-hosts', dataplane='ovs'): pass\n"
    user.write("test_mine.py", test)
    words = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py")
    done = user.hoverboard(*words, TMPDIR=str(user.home), timeout=150)
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout
    nothing_is_left(user)


@pytest.mark.long
def test_an_experiment_and_the_demo(user: OrdinaryUser) -> None:
    user.ok("experiment", "run", "latency", "--quick", "--out", "results", timeout=300)
    assert (user.home / "results/report.html").stat().st_uid == user.uid
    nothing_is_left(user)
    user.ok("demo", "--out", "demo", timeout=300)
    assert all(file.stat().st_uid == user.uid for file in (user.home / "demo").rglob("*"))
    nothing_is_left(user)


def test_a_file_that_all_may_write_below_run_is_the_machine_s(user: OrdinaryUser) -> None:
    user.write("writes.py", "open('/run/lock/by-me', 'w').write('here')\n")
    user.ok("python", "writes.py")
    assert user.run("cat", "/run/lock/by-me").stdout == "here"
