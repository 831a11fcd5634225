"""The status of a run whose processes do not answer: what is known is shown, and soon."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from controllers.fm.fabric_client import FabricClient
from tests.unit.topologies.run.made_up_run import World
from topologies.cluster.manager import ClusterManager
from topologies.run import status


@pytest.fixture
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="hb") as state:
        made = World(Path(state))
        network = cast("Any", made.run.network)
        network.server, network.links = lambda name: SimpleNamespace(directory=Path(state) / name), None
        yield made
        made.run.take_down()


@pytest.fixture
def silent(world: World) -> Iterator[FabricClient]:
    """A control plane that has stopped: it takes connections, and answers nothing."""
    with socket.socket(socket.AF_UNIX) as listener:
        path = world.directory.path / "control.sock"
        listener.bind(str(path))
        listener.listen()
        client = FabricClient(f"unix:{path}")
        yield client
        client.close()


def cluster_of(client: FabricClient) -> Any:
    manager = ClusterManager.__new__(ClusterManager)
    manager.client = client
    manager._entities = {}
    manager.processes = cast(
        "Any",
        SimpleNamespace(first=SimpleNamespace(process=None), roles=[], layout=SimpleNamespace(processes=False)),
    )
    return manager


def test_a_control_plane_that_does_not_answer_is_unreachable_after_the_deadline(
    world: World, silent: FabricClient
) -> None:
    world.run.cluster = cluster_of(silent)
    found = status.control(world.run, 0.05)
    assert (found["state"], found["pid"], found["restarts"]) == ("unreachable", None, 0)
    assert "does not answer" in found["error"]


def test_the_status_of_a_run_waits_for_its_control_plane_no_longer_than_for_its_hosts(
    world: World, silent: FabricClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = cluster_of(silent)
    asked: list[float] = []
    monkeypatch.setattr(cluster.client, "status", lambda timeout: asked.append(timeout) or {"model": "hoverboard"})
    world.run.cluster = cluster
    found = status.status(world.run)
    assert asked == [2.0]
    assert found["control"]["state"] == "up"
    assert [row["state"] for row in found["hosts"]] == ["unreachable", "unreachable"]
