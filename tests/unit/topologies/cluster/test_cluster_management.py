"""The port in front of control planes: what it does itself, and that no adapter leaves a part of it out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from topologies.cluster.cluster_management import ClusterManagement, ProgramState
from topologies.cluster.manager import ClusterManager
from topologies.cluster.regional import RegionalClusterManager


class Joining(ClusterManagement):
    """Control planes that have come one step further at each look."""

    def __init__(self, *states: ProgramState) -> None:
        self._states: Iterator[ProgramState] = iter(states)

    def program_state(self) -> ProgramState:
        return next(self._states)


Joining.__abstractmethods__ = frozenset()


def state(joined: int, *programmed: str) -> ProgramState:
    return ProgramState(frozenset(programmed), 2, joined)


def test_vms_have_joined_when_there_are_enough_and_their_host_has_its_program() -> None:
    cluster = Joining(state(1, "h1"), state(2), state(2, "h1"))
    assert cluster.wait_joined(2, "h1", 30.0)


def test_vms_that_do_not_join_in_time_are_reported() -> None:
    assert not Joining(state(1, "h1")).wait_joined(2, "h1", -1.0)


@pytest.mark.parametrize("adapter", [ClusterManager, RegionalClusterManager])
def test_an_adapter_has_all_of_the_port(adapter: type[ClusterManagement]) -> None:
    assert not adapter.__abstractmethods__
    assert "program_state" in ClusterManagement.__abstractmethods__
