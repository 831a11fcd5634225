"""Starts a private Open vSwitch (ovsdb-server and ovs-vswitchd) in the namespace of each server.

Neither the distribution's own Open vSwitch nor its database is touched: each switch has its own
directory for database, sockets and logs. What is inside the switch is the host process's business.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Literal

from hoverboard.contract.entities import Dataplane
from hoverboard.contract.errors import MachineError
from hoverboard.contract.generations import facts
from topologies.emulation.nodes import Server
from topologies.processes.deadlines import wait_sockets
from topologies.processes.launcher import Launcher

SWITCH_PROGRAM = "ovs-vswitchd"
DATABASE, SWITCH = "ovsdb-server", "ovs-vswitchd"  # the daemons of a server, by name
_SOCKETS = {DATABASE: "db.sock", SWITCH: "vswitchd.ctl"}
_QUIET = ("-vconsole:off", "-vsyslog:off", "-vfile:info")
PRIORITY = ("nice", "-n", "-10")  # as Open vSwitch's own start script has it by default, and as the fast path runs
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


def datapath_type() -> Literal["netdev", "system"]:
    """`system` where the kernel has the openvswitch module, else `netdev` (user space).

    A module that is there but not loaded yet is loaded by the kernel itself, when OVS asks for its
    netlink family; we only look whether it is there.
    """
    if Path("/sys/module/openvswitch").exists():
        return "system"
    if shutil.which("modprobe") is None:
        return "netdev"
    dry_run = subprocess.run(
        ["modprobe", "--dry-run", "--quiet", "openvswitch"], capture_output=True, timeout=10, check=False
    )
    return "system" if dry_run.returncode == 0 else "netdev"


def check_generation(dataplane: Dataplane, datapath_type: Literal["netdev", "system"], *, where: str) -> None:
    """MachineError when a dataplane generation cannot be had on this machine."""
    if facts(dataplane).kernel_switch and datapath_type != "system":
        raise MachineError(
            f"dataplane {dataplane} needs Open vSwitch in the kernel, and this kernel has no openvswitch module",
            where=where,
            next_step="sudo modprobe openvswitch where there is one; "
            "else choose dataplane ovs (without offloads) or fastpath",
        )


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
    directory.mkdir(mode=0o700)
    shutil.copyfile(template, directory / "conf.db")
    # ovs-vswitchd keeps trying to reach its database: no need to wait for it here.
    for name in (DATABASE, SWITCH):
        start_daemon(server, name, launcher)


def start_daemon(server: Server, name: str, launcher: Launcher) -> subprocess.Popen[bytes]:
    """Start DATABASE or SWITCH of `server`, for the first time or again."""
    start = _start_database if name == DATABASE else _start_switch
    daemon = server.daemons[name] = start(server, launcher)
    return daemon


def _environment(directory: Path) -> dict[str, str]:
    return {name: str(directory) for name in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")}


def _start_database(server: Server, launcher: Launcher) -> subprocess.Popen[bytes]:
    directory = server.directory
    return launcher.start(
        [
            DATABASE, str(directory / "conf.db"), f"--remote=punix:{directory}/db.sock",
            f"--unixctl={directory}/ovsdb.ctl", f"--log-file={directory}/ovsdb-server.log", "--no-chdir", *_QUIET,
        ],
        f"{DATABASE} of {server.name}", "switch", netns_pid=server.pid, env=_environment(directory),
        log=directory / "daemons.log",
    )  # fmt: skip


def _start_switch(server: Server, launcher: Launcher) -> subprocess.Popen[bytes]:
    directory = server.directory
    return launcher.start(
        [
            *PRIORITY, SWITCH_PROGRAM, f"unix:{directory}/db.sock", f"--unixctl={directory}/vswitchd.ctl",
            f"--log-file={directory}/ovs-vswitchd.log", "--no-chdir", *_QUIET,
        ],
        f"{SWITCH} of {server.name}", "switch", netns_pid=server.pid, env=_environment(directory),
        log=directory / "daemons.log",
    )  # fmt: skip


def wait_ready(server: Server, timeout: float) -> None:
    """Wait until database and switch accept connections; RunError when they end or do not."""
    for name in (DATABASE, SWITCH):
        wait_daemon(server, name, timeout)


def wait_daemon(server: Server, name: str, timeout: float) -> None:
    """Wait until one of them accepts connections; RunError when it ends or does not."""
    directory = server.directory
    wait_sockets(
        f"{name} of {server.name}", [directory / _SOCKETS[name]], partial(_runs, server.daemons[name]), timeout,
        directory / f"{name}.log",
    )  # fmt: skip


def _runs(daemon: subprocess.Popen[bytes]) -> bool:
    return daemon.poll() is None
