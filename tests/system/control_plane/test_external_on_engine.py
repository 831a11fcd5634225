"""A host that an OpenFlow controller of one's own programs, on an engine generation: what becomes an entry works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from hoverboard.contract.node_documents import HostStatus
from tests.system.control_plane.external_rig import ADDRESS, TOPOLOGY, controller, pings, reaches, start
from tests.waiting import until
from topologies.client import run_client
from topologies.client.run_client import RunClient

_UP_SECONDS = 150.0


@pytest.fixture(scope="module")
def said_and_run() -> Iterator[tuple[str, RunClient]]:
    """The standard error of `hoverboard up`, and the run. The switch of h2 has no program yet."""
    base, name = Path(tempfile.mkdtemp(prefix="hb", dir="/tmp")), f"t{uuid.uuid4().hex[:8]}"
    words = ["up", str(TOPOLOGY), "--run", name, "--dataplane", "fastpath", "--detach"]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "console.cli", *words], env={**os.environ, "HOVERBOARD_STATE_DIR": str(base)},
            capture_output=True, text=True, timeout=_UP_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        with RunClient(name, state=base) as run:
            yield done.stderr, run
    finally:
        run_client.down(name, state=base, missing_ok=True)
        shutil.rmtree(base)


@pytest.fixture(scope="module")
def run(said_and_run: tuple[str, RunClient]) -> Iterator[RunClient]:
    """The run, with h2 programmed: VM `one` is known to its controller, `two` is not."""
    _, run = said_and_run
    ports = {row["vm"]: row["ofport"] for row in h2(run)["vports"]}
    program = Path(__file__).with_name("static_router.py")
    with controller(run, run.directory.logs / "external.log", str(program), f"{ADDRESS['one']}={ports['one']}"):
        yield run


def h2(run: RunClient) -> HostStatus:
    return cast("HostStatus", run.node_status("h2"))


def uncacheable(run: RunClient) -> int:
    return h2(run)["counters"]["drops"].get("uncacheable", 0)


def test_up_says_once_what_works_less(said_and_run: tuple[str, RunClient]) -> None:
    said, _ = said_and_run
    assert said.count("note: ") == said.count("note: host h2 is programmed by tcp:127.0.0.1:6653") == 1
    assert "uncacheable" in said


def test_what_can_become_an_entry_works(run: RunClient) -> None:
    reaches(run, "far", "one")
    reaches(run, "one", "far")
    entries = run.flows("h2")["entries"]
    assert {("10.0.0.2", "10.0.0.3"), ("10.0.0.3", "10.0.0.2")} <= {(row["src"], row["dst"]) for row in entries}


def test_what_the_switch_answers_itself_works(run: RunClient) -> None:
    """`one` has no neighbour but the gateway, whose MAC a flow of its controller gives."""
    with start(run, "one", "ip", "neigh", stdout=subprocess.PIPE, text=True) as shown:
        assert "02:00:5e:00:00:01" in shown.communicate(timeout=20)[0]


def test_the_rest_is_dropped_and_counted(run: RunClient) -> None:
    before = uncacheable(run)
    assert not pings(run, "two", "far")  # its question for the gateway's MAC would go to the controller
    until(lambda: uncacheable(run) > before, 10.0, "no packet of two is counted as uncacheable")
    before = uncacheable(run)
    assert not pings(run, "far", "two")  # as would a packet for a VM that has not been learned
    until(lambda: uncacheable(run) > before, 10.0, "no packet for two is counted as uncacheable")
    assert all(f"nw_dst={ADDRESS['two']}" not in line for line in run.flows("h2")["openflow"])
    reaches(run, "far", "one")
