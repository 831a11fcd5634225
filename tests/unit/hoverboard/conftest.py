"""What tests of a host are given: flow misses, and commands that stand in for Open vSwitch's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hoverboard.host.misses import FlowMisses
from tests.unit.hoverboard.fake_commands import FakeCommands
from tests.unit.hoverboard.flow_miss_oracle import oracle


@pytest.fixture
def handler(tmp_path: Path) -> Iterator[FlowMisses]:
    """Flow misses of one host, with a switch that answers as the test says."""
    made = oracle(tmp_path)
    yield made
    made._datapath.stop()


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCommands:
    """Commands that stand in for Open vSwitch's own."""
    directory = tmp_path / "commands"
    directory.mkdir()
    return FakeCommands(directory, monkeypatch)
