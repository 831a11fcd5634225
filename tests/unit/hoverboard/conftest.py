"""What tests of a host are given: flow misses, and commands that stand in for Open vSwitch's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.hoverboard.fake_commands import FakeCommands
from tests.unit.hoverboard.flow_miss_oracle import Oracle


@pytest.fixture
def handler() -> Iterator[Oracle]:
    """Flow misses of one host, with a switch that answers as the test says."""
    made = Oracle()
    yield made
    made.datapath.stop()


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCommands:
    """Commands that stand in for Open vSwitch's own."""
    directory = tmp_path / "commands"
    directory.mkdir()
    return FakeCommands(directory, monkeypatch)
