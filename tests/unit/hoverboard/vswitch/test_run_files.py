"""The names of a switch's files are those that ovs-appctl and ovs-vsctl look for."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoverboard.vswitch.run_files import DATABASE_PROGRAM, control_socket, running_control_socket


def test_a_control_socket_has_the_program_and_its_pid_in_its_name() -> None:
    assert control_socket(Path("/x"), "ovs-vswitchd", 12) == Path("/x/ovs-vswitchd.12.ctl")


def test_the_socket_of_the_daemon_that_started_last_is_found_by_its_pid_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        running_control_socket(tmp_path)
    for pid in (12, 4194304):
        (tmp_path / "ovs-vswitchd.pid").write_text(f"{pid}\n")
        assert running_control_socket(tmp_path) == tmp_path / f"ovs-vswitchd.{pid}.ctl"
    (tmp_path / "ovsdb-server.pid").write_text("7\n")
    assert running_control_socket(tmp_path, DATABASE_PROGRAM) == tmp_path / "ovsdb-server.7.ctl"
