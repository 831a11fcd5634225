"""`experiment worker` of an ordinary user: the worker is outside, with the machine's network; its testbeds go in."""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ordinary_user import OrdinaryUser
from tests.system.rootless.user_run import nothing_is_left
from tests.waiting import until

pytest.importorskip("distributed")
pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]
MEASURING = b"experiments.sweeps.measuring_process"


@pytest.fixture
def address(user: OrdinaryUser) -> Iterator[str]:
    """The address of a scheduler of the user's, with one worker."""
    printed = user.ok("experiment", "certificates", "keys").splitlines()[-1].partition(": ")[2]
    words = ["127.0.0.4" if word == "ADDRESS" else word for word in shlex.split(printed)]
    there = user.home / "scheduler.json"
    log = (user.home / "worker.log").open("wb")
    scheduler = user.start(*words, "--port", "0", "--scheduler-file", there, stdout=log, stderr=log)
    until(lambda: there.exists() and there.read_text().strip().endswith("}"), 60, "no scheduler")
    found = json.loads(there.read_text())["address"]
    worker = user.start(*user.cli("experiment", "worker", found, "--tls", "keys"), stdout=log, stderr=log)
    until(lambda: "measures for" in Path(log.name).read_text(), 90, "no worker")
    yield found
    for process in (worker, scheduler):
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    log.close()


def measured(user: OrdinaryUser, address: str, out: str) -> list[str]:
    line = ["experiment", "run", "latency", "--quick", "--set", "generations=ovs", "--repeat", "3", "--out", out]
    return user.cli(*line, "--scheduler", address, "--tls", "keys", "--json")


def test_points_are_measured_in_namespaces_and_a_child_that_dies_costs_one(user: OrdinaryUser, address: str) -> None:
    done = user.run(*measured(user, address, "out"), timeout=200)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["failed"] == 0
    run = json.loads((user.home / "out/run.json").read_text())
    assert run["record"]["privileges"] == "rootless"
    assert [one["privileges"] for one in run["machines"].values()] == ["rootless"]
    until(lambda: not measuring(user), 60, "the child ends with the run")

    process = user.start(*measured(user, address, "again"))
    lines = user.home / "again/points.jsonl"
    until(lambda: lines.exists() and bool(lines.read_text()), 100, "no point was measured")
    os.kill(max(measuring(user)), signal.SIGKILL)  # the last that was started is the child itself
    said, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    (document,) = json.loads(said)
    assert document["failed"] == 1
    assert "the process that measured this point was ended by signal 9" in document["errors"][0]
    user.ok("down", "--orphans")  # the files of its testbed
    assert user.state.exists()
    assert list(user.state.iterdir()) == []
    compared = user.hoverboard("experiment", "compare", "out", "again")
    assert (compared.returncode, compared.stderr) == (0, "")


def measuring(user: OrdinaryUser) -> set[int]:
    """The processes that measure, and those that wait for them."""
    found = set()
    for pid in user.pids():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if MEASURING in words:
            found.add(pid)
    return found


def test_a_user_who_cannot_have_runs_is_no_worker(user: OrdinaryUser) -> None:
    line = ["experiment", "worker", "tcp://127.0.0.1:1", "--insecure"]
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    machine = ["unshare", "--user", f"--map-user={user.uid}", "--keep-caps", "sh", "-c", forbid, "sh"]
    done = user.run(*machine, *user.cli(*line))
    assert done.returncode == 4, done.stderr
    assert "no more user namespaces are allowed" in done.stderr
    nothing_is_left(user)
