"""Fixtures of the system ring: root, real Open vSwitch, everything inside namespaces of the test's own run.

Tests may run in parallel: each has a state directory and run names of its own.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.waiting import until
from topologies.client import run_client
from topologies.processes.ledger import Ledger
from topologies.processes.process_table import LinuxProcesses
from topologies.processes.run_directory import RunDirectory, run_names
from topologies.run.testbed import Testbed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the ring; without root it is skipped, and says so."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.system)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="the system ring makes namespaces, which needs root"))


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory of the test's own; whatever run is left in it is taken down at the end."""
    base = Path(tempfile.mkdtemp(prefix="hb", dir="/tmp"))
    monkeypatch.setenv("HOVERBOARD_STATE_DIR", str(base))
    yield base
    for run in run_names(base):
        run_client.down(run, state=base, missing_ok=True)
    shutil.rmtree(base)


@pytest.fixture
def new_run() -> Callable[[], str]:
    """Makes names of runs that no other test has."""
    return lambda: f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture
def run_name(new_run: Callable[[], str]) -> str:
    """A name for a run that no other test has."""
    return new_run()


@pytest.fixture
def testbed(state: Path, new_run: Callable[[], str]) -> Iterator[Callable[..., Testbed]]:
    """Brings topologies up: testbed("two-hosts", dataplane="ovs") -> a Testbed that is taken down at the end."""
    made: list[Testbed] = []

    def up(topology: object, **options: object) -> Testbed:
        bed = Testbed(topology, run=new_run(), state_dir=state, **options)  # type: ignore[arg-type]
        made.append(bed)
        bed.up()
        return bed

    yield up
    for bed in reversed(made):
        bed.down()


@pytest.fixture(scope="module")
def module_testbed() -> Iterator[Callable[..., Testbed]]:
    """As `testbed`, for tests that share a run; state directory and run last as long as the module."""
    base = Path(tempfile.mkdtemp(prefix="hb", dir="/tmp"))
    made: list[Testbed] = []

    def up(topology: object, **options: object) -> Testbed:
        bed = Testbed(topology, run=f"t{uuid.uuid4().hex[:8]}", state_dir=base, **options)  # type: ignore[arg-type]
        made.append(bed)
        bed.up()
        return bed

    yield up
    for bed in reversed(made):
        bed.down()
    shutil.rmtree(base)


def namespaces_in_use() -> set[int]:
    """Inodes of the network namespaces of all processes of the machine."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found.add(os.stat(f"/proc/{entry}/ns/net").st_ino)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
    return found


@dataclass
class Traces:
    """What a run has made, as its ledger knows it while it lives; afterwards nothing of it may be left."""

    directory: RunDirectory
    links: set[str]
    namespaces: set[int] = field(default_factory=set)
    records: list[object] = field(default_factory=list)

    def look(self) -> None:
        """Remember everything that the ledger knows now."""
        processes = LinuxProcesses()
        own = processes.own_namespace()
        for record in Ledger(self.directory).processes():
            if record.kind == "holder":
                continue
            self.records.append(record)
            inode = processes.namespace(record.process)
            if inode is not None and inode != own:
                self.namespaces.add(inode)

    def left(self) -> list[str]:
        """What is left of it."""
        processes = LinuxProcesses()
        found = [
            f"process {record.what}"  # type: ignore[attr-defined]
            for record in self.records
            if processes.alive(record.process)  # type: ignore[attr-defined]
        ]
        found += [f"namespace {inode}" for inode in self.namespaces & namespaces_in_use()]
        found += [f"link {name}" for name in set(os.listdir("/sys/class/net")) - self.links]
        if self.directory.path.exists():
            found.append(str(self.directory.path))
        return found


@pytest.fixture
def traces(state: Path) -> Callable[[str], Traces]:
    """traces(run) -> Traces; make it before the run begins."""
    links = set(os.listdir("/sys/class/net"))
    return lambda run: Traces(RunDirectory.of(run, state), links)


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool], float, str], None]:
    """eventually(condition, timeout, what): waits for a condition with a deadline, or fails with `what`."""
    return until
