"""The files of a running Open vSwitch, by the names that its own tools look for (ovs-appctl(8), ovs-vsctl(8)).

So `ovs-appctl` and `ovs-vsctl` find the switch without an option, and this project's code finds it by the same names.
"""

from __future__ import annotations

from pathlib import Path

DATABASE_SOCKET = "db.sock"
SWITCH_PROGRAM, DATABASE_PROGRAM = "ovs-vswitchd", "ovsdb-server"


def control_socket(directory: Path, program: str, pid: int) -> Path:
    """The control socket of a daemon with this pid."""
    return directory / f"{program}.{pid}.ctl"


def running_control_socket(directory: Path, program: str = SWITCH_PROGRAM) -> Path:
    """The control socket of the daemon that wrote its pid file last; the daemon may have died since.

    Raises:
        FileNotFoundError: no daemon has written a pid file.
    """
    return control_socket(directory, program, int((directory / f"{program}.pid").read_text()))
