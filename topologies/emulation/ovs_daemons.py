"""Starts a private Open vSwitch (ovsdb-server and ovs-vswitchd) in the namespace of each node.

Each switch has its own directory for database, sockets and logs. Inside the node this directory is also at the place
where Open vSwitch's tools look. The Open vSwitch of the distribution and its database are not touched. The host process
configures the bridges and ports of the switch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Literal

from hoverboard import programs
from hoverboard.contract.entities import Dataplane
from hoverboard.contract.errors import MachineError
from hoverboard.contract.generations import facts
from hoverboard.vswitch.run_files import DATABASE_PROGRAM, DATABASE_SOCKET, SWITCH_PROGRAM, control_socket
from topologies.emulation.nodes import Server
from topologies.namespaces import mount_namespace
from topologies.processes.deadlines import wait_sockets
from topologies.processes.launcher import Launcher

DATABASE, SWITCH = DATABASE_PROGRAM, SWITCH_PROGRAM  # the daemons of a node, by name
TOOLS_PLACE = Path("/var/run/openvswitch")  # where ovs-vsctl, ovs-ofctl and ovs-appctl look for sockets
_QUIET = ("-vconsole:off", "-vsyslog:off", "-vfile:info")
PRIORITY = ("nice", "-n", "-10")  # the default of Open vSwitch's own start script; the fast path has it, too
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


def datapath_type() -> Literal["netdev", "system"]:
    """The datapath type for this machine: `system` with a kernel module openvswitch, else `netdev` (user space).

    It is enough that the module exists: the kernel loads it when ovs-vswitchd uses its netlink family.
    """
    if Path("/sys/module/openvswitch").exists():
        return "system"
    if programs.find("modprobe") is None:
        return "netdev"
    try:
        dry_run = subprocess.run(
            ["modprobe", "--dry-run", "--quiet", "openvswitch"], capture_output=True, timeout=10, check=False
        )
    except subprocess.TimeoutExpired:
        return "netdev"
    return "system" if dry_run.returncode == 0 else "netdev"


def check_generation(dataplane: Dataplane, datapath_type: Literal["netdev", "system"], *, where: str) -> None:
    """Check that this machine can run a dataplane generation.

    Args:
        dataplane: the generation.
        datapath_type: the datapath of Open vSwitch on this machine.
        where: name of the node, for the message.

    Raises:
        MachineError: it cannot.
    """
    if facts(dataplane).kernel_switch and datapath_type != "system":
        raise MachineError(
            f"dataplane {dataplane} needs Open vSwitch in the kernel, and this kernel has no openvswitch module",
            where=where,
            next_step="try `sudo modprobe openvswitch`, or use dataplane ovs (without offloads) or fastpath",
        )


def make_template(path: Path) -> None:
    """Make an empty database of Open vSwitch, which is copied for each switch."""
    if not SCHEMA.exists():
        raise MachineError("Open vSwitch is not installed", next_step="apt-get install openvswitch-switch")
    try:
        made = subprocess.run(
            ["ovsdb-tool", "create", str(path), str(SCHEMA)], capture_output=True, text=True, timeout=30, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise MachineError(
            f"ovsdb-tool does not end within {error.timeout:g} s", where=str(path),
            next_step="check the installation of openvswitch-switch",
        ) from error  # fmt: skip
    if made.returncode != 0:
        raise MachineError(
            f"ovsdb-tool cannot make a database: {made.stderr.strip()}", where=str(path),
            next_step="check the installation of openvswitch-switch, and that there is space in this directory",
        )  # fmt: skip


def start(server: Server, template: Path, launcher: Launcher) -> None:
    """Start the two daemons of `server`, a node; `wait_ready` waits until they serve."""
    directory = server.directory
    directory.mkdir(mode=0o700)
    shutil.copyfile(template, directory / "conf.db")
    show_to_tools(directory, server.pid)
    # ovs-vswitchd retries until its database serves: we need not wait for that here.
    for name in (DATABASE, SWITCH):
        start_daemon(server, name, launcher)


def show_to_tools(directory: Path, pid: int) -> None:
    """Show the directory of a switch where Open vSwitch's tools look, in the mount namespace of `pid` alone.

    Raises:
        MachineError: the kernel rejects it.
    """

    def show() -> None:
        place = Path(os.path.realpath(TOOLS_PLACE))
        if not place.is_dir():
            mount_namespace.cover(place.parent)
            place.mkdir()
        mount_namespace.bind(directory.absolute(), place)

    try:
        mount_namespace.run_inside(pid, show)
    except OSError as error:
        raise MachineError(
            f"cannot show the switch to its tools at {TOOLS_PLACE}: {error}", where=str(directory),
            next_step=f"check that {TOOLS_PLACE.parent} is a directory on this machine",
        ) from error  # fmt: skip


def start_daemon(server: Server, name: str, launcher: Launcher) -> subprocess.Popen[bytes]:
    """Start or restart one daemon of `server`: DATABASE or SWITCH."""
    if name in server.daemons:  # it was killed, and has left its socket
        _control_socket(server, name).unlink(missing_ok=True)
    start = _start_database if name == DATABASE else _start_switch
    daemon = server.daemons[name] = start(server, launcher)
    return daemon


def _environment(directory: Path) -> dict[str, str]:
    return {name: str(directory) for name in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")}


def _control_socket(server: Server, name: str) -> Path:
    return control_socket(server.directory, name, server.daemons[name].pid)


def _start_database(server: Server, launcher: Launcher) -> subprocess.Popen[bytes]:
    directory = server.directory
    return launcher.start(
        [
            DATABASE, str(directory / "conf.db"), f"--remote=punix:{directory}/{DATABASE_SOCKET}",
            "--pidfile", f"--log-file={directory}/ovsdb-server.log", "--no-chdir", *_QUIET,
        ],
        f"{DATABASE} of {server.name}", "switch", netns_pid=server.pid, env=_environment(directory),
        log=directory / f"{DATABASE}.log",
    )  # fmt: skip


def _start_switch(server: Server, launcher: Launcher) -> subprocess.Popen[bytes]:
    directory = server.directory
    return launcher.start(
        [
            *PRIORITY, SWITCH_PROGRAM, f"unix:{directory}/{DATABASE_SOCKET}", "--pidfile",
            f"--log-file={directory}/ovs-vswitchd.log", "--no-chdir", *_QUIET,
        ],
        f"{SWITCH} of {server.name}", "switch", netns_pid=server.pid, env=_environment(directory),
        log=directory / f"{SWITCH}.log",
    )  # fmt: skip


def wait_ready(server: Server, timeout: float) -> None:
    """Wait until database and switch accept connections.

    Raises:
        RunError: one ends, or does not accept connections in `timeout` seconds.
    """
    for name in (DATABASE, SWITCH):
        wait_daemon(server, name, timeout)


def wait_daemon(server: Server, name: str, timeout: float) -> None:
    """Wait until one daemon accepts connections.

    Raises:
        RunError: it ends, or does not accept connections in `timeout` seconds.
    """
    directory = server.directory
    sockets = [directory / DATABASE_SOCKET] if name == DATABASE else []
    wait_sockets(
        f"{name} of {server.name}", [_control_socket(server, name), *sockets],
        partial(_runs, server.daemons[name]), timeout, directory / f"{name}.log",
    )  # fmt: skip


def _runs(daemon: subprocess.Popen[bytes]) -> bool:
    return daemon.poll() is None
