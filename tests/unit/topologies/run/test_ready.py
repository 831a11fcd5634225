"""A run is ready when VMs reach their gateways and hosts reach each other; what does not answer is named."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hoverboard.contract.errors import RunError
from tests.unit.topologies.run.made_up_run import World
from topologies.run import up


@pytest.fixture
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="hb") as state:
        made = World(Path(state))
        yield made
        made.run.take_down()


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is pinged, and names of those that do not answer."""
    seen: dict[str, Any] = {"silent": set()}

    def answers(targets: Mapping[str, Any], *_: object) -> set[str]:
        seen["targets"] = {name: (pid, str(address)) for name, (pid, address) in targets.items()}
        return set(seen["silent"])

    monkeypatch.setattr(up, "wait_answers", answers)
    return seen


def test_gateways_and_a_pair_for_each_two_hosts_are_pinged_together(world: World, silent: dict[str, Any]) -> None:
    up.wait_ready(world.run)
    pid = len("blue-1")
    assert silent["targets"] == {
        "blue-1": (pid, "10.0.0.1"), "blue-2": (pid, "10.0.0.1"), "blue-1 -> blue-2": (pid, "10.0.0.3"),
    }  # fmt: skip


def test_a_gateway_that_is_silent_is_told_before_a_pair(world: World, silent: dict[str, Any]) -> None:
    silent["silent"] = {"blue-1 -> blue-2", "blue-1"}
    with pytest.raises(RunError) as raised:
        up.wait_ready(world.run)
    assert raised.value.what == "VMs get no answer from their gateway after 30 s: blue-1"


def test_a_pair_that_is_silent_is_told_with_its_hosts(world: World, silent: dict[str, Any]) -> None:
    silent["silent"] = {"blue-1 -> blue-2"}
    with pytest.raises(RunError) as raised:
        up.wait_ready(world.run)
    told = "hosts do not reach each other after 30 s: VM blue-1 on h1 gets no answer from VM blue-2 on h2"
    assert raised.value.what == told
    assert raised.value.where == str(world.directory.logs)
    assert "of h1, of h2 and of the Hoverboards" in str(raised.value.next_step)
