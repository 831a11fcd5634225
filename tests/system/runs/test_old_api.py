"""A program of a user of version 0.1 brings a testbed up, measures and takes it down, by its old imports."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest


@pytest.mark.usefixtures("state")
def test_a_program_of_version_0_1(run_name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from tests.old_api import users
    bps, offloads, state = users.flow(run_name)
    assert bps > 0
    assert isinstance(offloads, list)
    assert state == "up"


def test_a_topology_class_of_version_0_1(state: Path, run_name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from tests.old_api import users
    assert "1 received" in users.pinged(run_name)
    assert not (state / run_name).exists()


def test_a_client_of_version_0_1(state: Path, run_name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from tests.old_api import users
    with users.Testbed("two-hosts", run=run_name):
        status, vms = users.entities(f"unix:{state}/{run_name}/control/control.sock")
    assert status["model"] == "hoverboard"
    assert [vm["name"] for vm in vms["entities"]] == ["blue-1", "blue-2", "blue-3", "blue-4"]
