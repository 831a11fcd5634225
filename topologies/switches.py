"""Starts a private Open vSwitch (ovsdb-server and ovs-vswitchd) in the namespace of each server.

Neither the distribution's own Open vSwitch nor its database is touched: each switch has its own
directory for database, sockets and logs. What is inside the switch is the host process's business.
"""

from __future__ import annotations

import select
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from hoverboard.contract.errors import MachineError, RunError
from topologies.launcher import Launcher
from topologies.nodes import Server

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
_template_lock = threading.Lock()


def datapath_type() -> Literal["netdev", "system"]:
    """`system` where the kernel has the openvswitch module loaded, else `netdev` (user space)."""
    return "system" if Path("/sys/module/openvswitch").exists() else "netdev"


def wait_for(condition: Callable[[], bool], timeout: float, missing: str, *, where: str = "") -> None:
    """Wait until `condition()` holds; RunError that says what was `missing` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    pause = 0.001
    while not condition():
        if time.monotonic() > deadline:
            raise RunError(
                f"{missing} after {timeout:g} s", where=where, next_step="see the log files in the run's directory"
            )
        select.select([], [], [], pause)
        pause = min(pause * 1.5, 0.02)


def accepts(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def make_template(path: Path) -> None:
    """An empty vswitch database, to be copied for each switch."""
    if not SCHEMA.exists():
        raise MachineError("Open vSwitch is not installed", next_step="apt-get install openvswitch-switch")
    made = subprocess.run(
        ["ovsdb-tool", "create", str(path), str(SCHEMA)], capture_output=True, text=True, timeout=30, check=False
    )
    if made.returncode != 0:
        raise MachineError(f"ovsdb-tool: {made.stderr.strip()}", where=str(path))


def start(server: Server, template: Path, launcher: Launcher) -> None:
    """Start the two daemons of `server`; `wait_ready` says when they serve."""
    directory = server.directory
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.copyfile(template, directory / "conf.db")
    env = {name: str(directory) for name in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")}
    quiet = ["-vconsole:off", "-vsyslog:off", "-vfile:info"]
    database = launcher.start(
        [
            "ovsdb-server", str(directory / "conf.db"), f"--remote=punix:{directory}/db.sock",
            f"--unixctl={directory}/ovsdb.ctl", f"--log-file={directory}/ovsdb-server.log", "--no-chdir", *quiet,
        ],
        f"ovsdb-server of {server.name}", "switch", netns_pid=server.pid, env=env, log=directory / "daemons.log",
    )  # fmt: skip
    # ovs-vswitchd keeps trying to reach its database: no need to wait for it here.
    switch = launcher.start(
        [
            "ovs-vswitchd", f"unix:{directory}/db.sock", f"--unixctl={directory}/vswitchd.ctl",
            f"--log-file={directory}/ovs-vswitchd.log", "--no-chdir", *quiet,
        ],
        f"ovs-vswitchd of {server.name}", "switch", netns_pid=server.pid, env=env, log=directory / "daemons.log",
    )  # fmt: skip
    server.daemons = [database, switch]


def wait_ready(server: Server, timeout: float) -> None:
    """Wait until database and switch accept connections."""

    def ready() -> bool:
        for daemon in server.daemons:
            if daemon.poll() is not None:
                raise RunError(
                    f"{daemon.args[-1] if isinstance(daemon.args, list) else 'switch'} ended with {daemon.returncode}",
                    where=str(server.directory),
                    next_step="read ovs-vswitchd.log and daemons.log there",
                )
        return accepts(server.directory / "db.sock") and accepts(server.directory / "vswitchd.ctl")

    wait_for(ready, timeout, "Open vSwitch does not serve", where=str(server.directory))
