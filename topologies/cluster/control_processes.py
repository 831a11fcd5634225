"""The processes of a run's control plane: one for all, or one per role (paper section 3.1).

Starts them, and gives the endpoint that programs a node. The run's supervisor restarts what dies
(`topologies.processes.supervisor`). This module knows no intent; a callback informs its owner of a restart.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from controllers.crash import crash_reason
from controllers.partitions import Owners
from controllers.roles import front_end_socket, openflow_socket
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.errors import InputError, RunError
from topologies.cluster import etcd_members
from topologies.processes.deadlines import wait_sockets
from topologies.processes.launcher import Launcher, end_of, python
from topologies.processes.process_table import Process, identified
from topologies.processes.supervisor import Supervisor, WatchedProcess

if TYPE_CHECKING:
    from hoverboard.contract.documents import ControlProcess

StoreKind = Literal["embedded", "etcd"]
ETCD_MEMBERS = 3
_MAX = {"partitions": 32, "replicas": 9, "front-ends": 32}
_START_TIMEOUT = 30.0  # seconds for a restart


@dataclass(frozen=True, slots=True)
class ControlLayout:
    """The number of processes of each role.

    Attributes:
        processes: False: all roles in one process, without a store.
        partitions: of the networks, over VM controllers.
        replicas: VM controllers of each partition: a master and standbys.
        front_ends: OpenFlow front ends.
        store: for elections and intent: embedded in the fabric manager, or etcd.
        shared_queue: one queue for the changes of all networks instead of one per network, for comparison.

    Raises:
        InputError: a number is out of range, or the store is unknown.
        MachineError: the store is etcd, and etcd is not installed.
    """

    processes: bool = False
    partitions: int = 1
    replicas: int = 3  # the paper's: a master and two standbys
    front_ends: int = 1
    store: StoreKind = "embedded"
    shared_queue: bool = False

    def __post_init__(self) -> None:
        for option, most in _MAX.items():
            number = getattr(self, option.replace("-", "_"))
            if not 1 <= number <= most:
                what = f"{number} {option} are not possible"
                raise InputError(what, where=f"--{option}", next_step=f"give a number from 1 to {most}")
        if self.store not in ("embedded", "etcd"):
            raise InputError(f"unknown store {self.store!r}", where="--store", next_step="use embedded or etcd")
        if self.store == "etcd":
            etcd_members.check_installed()

    @classmethod
    def of(cls, control_plane: str | None = None, **given: Any) -> ControlLayout:
        """The layout for options of the command line; None: the option was not given.

        Args:
            control_plane: "one-process" (default) or "processes".
            given: other attributes of the layout, by name.

        Raises:
            InputError: an option is wrong, or does not fit a control plane in one process.
        """
        if control_plane not in (None, "one-process", "processes"):
            raise InputError(
                f"unknown kind of control plane: {control_plane!r}", where="--control-plane",
                next_step="use one-process or processes",
            )  # fmt: skip
        options = {name: value for name, value in given.items() if value is not None}
        if control_plane != "processes" and options:
            name = next(iter(options)).replace("_", "-")
            raise InputError(
                "a control plane in one process has no partitions, replicas, front ends or store",
                where=f"--{name}",
                next_step="add --control-plane processes",
            )
        return cls(control_plane == "processes", **options)


@dataclass(slots=True)
class RoleProcess:
    """One process of the control plane.

    Attributes:
        name: for people, such as "vm-controller-0-1".
        command: gives the command that starts it; called at each start.
        log: its log file.
        sockets: that it serves.
        process: the running process; None before its start.
        watched: its record in the supervisor; None before `supervise`.
    """

    name: str
    command: Callable[[], list[str]]
    log: Path
    sockets: list[Path] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    watched: WatchedProcess | None = None

    @property
    def restarts(self) -> int:
        """Number of its restarts."""
        return 0 if self.watched is None else self.watched.restarts

    @property
    def state(self) -> str:
        """ "up", "down", or what else the supervisor says of it (`Watched.state`)."""
        if self.watched is not None and self.watched.state != "up":
            return self.watched.state
        return "down" if self.running() is None else "up"

    def running(self) -> Process | None:
        """The process by pid and start time; None while it does not run."""
        return None if self.process is None else identified(self.process.pid)


class ControlProcesses:
    """The processes of one control plane of a run.

    Args:
        layout: the number of processes of each role.
        directory: for their sockets and the data that they store.
        logs: directory for their logs.
        launcher: starts them.
        options: gives the arguments of `python -m controllers`, without those for roles; called at each start.
        name: of the process, when all roles are in one.
        clock: monotonic time in seconds.

    Attributes:
        layout: see above.
        roles: the processes.
        first: the process that holds the intent.
    """

    def __init__(
        self,
        layout: ControlLayout,
        directory: Path,
        logs: Path,
        launcher: Launcher,
        options: Callable[[], list[str]],
        name: str = "control plane",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self.layout = layout
        self._directory = directory
        self._logs = logs
        self._launcher = launcher
        self._options = options
        self._clock = clock
        self._owners = Owners(layout.front_ends)
        self.roles = self._processes() if layout.processes else [self._one_process()]
        # The process that serves control.sock holds the intent.
        self.first = next(role for role in self.roles if directory / "control.sock" in role.sockets)

    def _one_process(self) -> RoleProcess:
        sockets = [self._directory / "control.sock", self._directory / "of.sock"]
        log = self._logs / f"{self._name.removesuffix(' plane').replace(' ', '-')}.log"
        return RoleProcess(self._name, lambda: self._python([]), log, sockets)

    def _processes(self) -> list[RoleProcess]:
        layout, found, store = self.layout, [], "embedded"
        if layout.store == "etcd":
            members = etcd_members.members_in(self._directory / "etcd", ETCD_MEMBERS)
            store = ",".join(member.address for member in members)
            found = [self._member(member, members) for member in members]
        found.append(self._role("fabric-manager", store, [self._directory / "control.sock"]))
        for number in range(layout.front_ends):
            socket = front_end_socket(self._directory, number)
            found.append(
                self._role(f"front-end-{number}", store, [socket, openflow_socket(socket)], "--number", str(number))
            )
        for partition in range(layout.partitions):
            for replica in range(layout.replicas):
                name = f"vm-controller-{partition}-{replica}"
                place = ["--partition", str(partition), "--replica", str(replica)]
                found.append(self._role(name, store, [], *place, "--front-ends", str(layout.front_ends)))
        return found

    def _role(self, name: str, store: str, sockets: list[Path], *arguments: str) -> RoleProcess:
        role = name.rstrip("-0123456789")
        mine = ["--role", role, "--partitions", str(self.layout.partitions), "--store", store, *arguments]
        return RoleProcess(name, lambda: self._python(mine), self._logs / f"{name}.log", sockets)

    def _member(self, member: etcd_members.EtcdMember, members: list[etcd_members.EtcdMember]) -> RoleProcess:
        return RoleProcess(
            member.name, lambda: etcd_members.command(member, members), self._logs / f"{member.name}.log"
        )

    def _python(self, arguments: list[str]) -> list[str]:
        queues = ["--shared-queue"] if self.layout.shared_queue else []
        return python("controllers", "--dir", str(self._directory), *self._options(), *queues, *arguments)

    # --- endpoints ------------------------------------------------------------------------------------

    def endpoint(self, underlay: IPv4Address) -> tuple[str, Path]:
        """(gRPC address for the host agent, OpenFlow socket) of the node with this underlay address."""
        if not self.layout.processes:
            return f"unix:{self._directory / 'control.sock'}", self._directory / "of.sock"
        socket = front_end_socket(self._directory, self._owners.of(datapath_id(underlay)))
        return f"unix:{socket}", openflow_socket(socket)

    # --- start and restart ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start all processes; `wait_all_ready` waits until they serve."""
        for folder in (self._directory, *([self._directory / "etcd"] if self.layout.store == "etcd" else [])):
            folder.mkdir(exist_ok=True, parents=True, mode=0o700)
        for role in self.roles:
            self._start(role)

    def _start(self, role: RoleProcess) -> None:
        role.process = self._launcher.start(role.command(), role.name, "control", log=role.log)

    def wait_ready(self, role: RoleProcess, timeout: float) -> None:
        """Wait until one process serves its sockets.

        Raises:
            RunError: it ends, or does not serve in `timeout` seconds; the error names its log.
        """
        process = role.process
        assert process is not None
        wait_sockets(f"the {role.name}", role.sockets, lambda: process.poll() is None, timeout, role.log)

    def wait_all_ready(self, timeout: float) -> None:
        """Wait until all processes serve.

        Raises:
            RunError: one ends, or does not serve in `timeout` seconds; the error names its log.
        """
        deadline = self._clock() + timeout
        for role in self.roles:
            self.wait_ready(role, max(deadline - self._clock(), 0.0))
            assert role.process is not None
            if role.process.poll() is not None:
                raise RunError(
                    f"the {role.name} ended while it was starting", where=str(role.log),
                    next_step="read that log file",
                )  # fmt: skip

    def supervise(self, supervisor: Supervisor, on_restart: Callable[[RoleProcess], None]) -> None:
        """Restart from now on what dies.

        Args:
            supervisor: the supervisor of the run.
            on_restart: called with each process that serves after a restart. It raises RunError when the process
                cannot be used; the supervisor then kills it.
        """
        for role in self.roles:
            restart = partial(self._restart, role, on_restart)
            role.watched = supervisor.watch(role.name, None, role.running, restart, why=partial(self.why_ended, role))

    def why_ended(self, role: RoleProcess) -> str | None:
        """Why a process has ended: its exception, or the end that the kernel knows; None: it has not ended."""
        process = role.process
        if process is None or process.poll() is None:
            return None
        more = f", see {role.log.name}" if process.returncode >= 0 else ""
        return self.crashed(role, process.pid) or f"{end_of(process)}{more}"

    def crashed(self, role: RoleProcess, pid: int) -> str | None:
        """The exception that has ended process `pid` of a role; None: it has ended otherwise, or runs."""
        return crash_reason(self._directory, role.log.stem if self.layout.processes else "control", pid)

    def _restart(self, role: RoleProcess, on_restart: Callable[[RoleProcess], None]) -> None:
        if role.process is not None:
            self._launcher.forget(role.process)
        self._start(role)
        self.wait_ready(role, _START_TIMEOUT)
        on_restart(role)

    def documents(self) -> list[ControlProcess]:
        """The processes, as documents for `status`."""
        return [
            {
                "name": role.name,
                "pid": role.process.pid if role.process is not None else None,
                "restarts": role.restarts,
                "state": role.state,
            }
            for role in self.roles
        ]
