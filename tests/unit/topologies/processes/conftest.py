"""A supervisor with real processes and a fake clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.topologies.processes.supervised_world import World
from tests.unit.topologies.real_processes import Children


@pytest.fixture
def world() -> Iterator[World]:
    with Children() as children:
        made = World(children)
        yield made
        made.supervisor.stop()
        made.supervisor.join()
