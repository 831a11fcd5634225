"""Mininet node classes of the testbed: the fabric, VM hosts, Hoverboards and VMs (paper figure 1).

A node only makes its namespace, which a small process keeps. Its shell starts when it is first used. Links make
devices, and `topologies.emulation.ovs_daemons` starts switches.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hoverboard import programs
from hoverboard.contract.errors import HoverboardError, MachineError, RunError
from hoverboard.contract.generations import facts
from hoverboard.host.control.host_client import HostClient
from topologies.emulation import switch_commands
from topologies.emulation.mininet_classes import Node, mininet_error, replacing_decoder
from topologies.namespaces import netns
from topologies.namespaces.entering import entering, entering_uts
from topologies.processes.launcher import PRIVATE_UMASK, Launcher
from topologies.processes.node_end import end_processes
from topologies.processes.process_table import Process
from topologies.spec.topology import FABRIC, ServerSpec, VMSpec


class NamespaceNode(Node):
    """A Mininet node; a `sleep` process keeps its namespace, and bash starts with the first `cmd`."""

    def __init__(self, name: str, launcher: Launcher, **params: Any) -> None:
        self.launcher = launcher
        self.holder: subprocess.Popen[bytes] | None = None
        super().__init__(name, **params)
        # A byte that is no UTF-8 becomes a replacement character, and the node goes on.
        self.decoder = replacing_decoder()

    @classmethod
    def setup(cls) -> None:
        """Check that mnexec is installed; Mininet would require ifconfig, too."""
        if programs.find("mnexec") is None:
            raise MachineError("mnexec is not installed", next_step="apt-get install mininet")

    def startShell(self, mnopts: str | None = None) -> None:
        """Make the namespace, without starting bash."""
        self.holder = self.launcher.namespace(self.name)
        self.pid = self.holder.pid
        netns.write_mark(self.pid, str(self.launcher.ledger.mark or ""))

    def start_bash(self) -> None:
        """Start Mininet's own shell in the namespace."""
        pid = self.pid
        # With inNamespace, Mininet would add the option "n": a new namespace.
        self.inNamespace = False
        try:
            super().startShell(mnopts=f"-cda{pid}")
        finally:
            self.inNamespace = True
            self.pid = pid

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen[bytes]:
        if not self.inNamespace:  # bash of start_bash, with mnexec before it
            cmd = self.launcher.ledger.command([*entering_uts(self.pid), *cmd], f"shell of {self.name}", "shell")
            params["umask"] = PRIVATE_UMASK
        return super()._popen(cmd, **params)

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:
        """Run a command as Mininet does; start the shell if it does not run yet.

        Raises:
            RunError: the shell still runs another command.
        """
        if self.shell is None:
            self.start_bash()
        if self.waiting:
            raise RunError(
                f"{self.name} still runs: {self.lastCmd}", where=self.name,
                next_step="wait for its end with waitOutput(), or use popen() for a second command",
            )  # fmt: skip
        super().sendCmd(*args, **kwargs)

    def cmd(self, *args: Any, **kwargs: Any) -> str:
        """Run a command as Mininet does; start the shell if it does not run yet.

        Ctrl-C ends the command, and the shell can run the next one.
        """
        if self.shell is None:
            self.start_bash()
        try:
            return str(super().cmd(*args, **kwargs))
        except KeyboardInterrupt:
            self.sendInt()
            self.waitOutput()
            raise

    def popen(self, *args: Any, **kwargs: Any) -> subprocess.Popen[Any]:
        """Start a command as Mininet does, in all namespaces of the node.

        Text has a replacement character for what is no UTF-8.
        """
        if kwargs.get("text") or kwargs.get("universal_newlines") or kwargs.get("encoding"):
            kwargs.setdefault("errors", "replace")
        return super().popen(*args, **{"mncmd": entering(self.pid, detached=True), **kwargs})

    def pexec(self, *args: Any, **kwargs: Any) -> tuple[str, str, int]:
        """Run a command to its end; return its output, its error output and its exit code."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        process = self.popen(*args, **{**kwargs, **pipes, "text": True})
        output, errors = process.communicate()
        return output, errors, process.returncode

    def config(self, **_params: Any) -> dict[str, Any]:
        """Do nothing: links configure the devices that they make."""
        return {}

    def close(self) -> None:
        """Close the terminal of the shell. Its process has ended before."""
        self.cleanup()

    def terminate(self) -> None:
        """End the namespaces, with all processes in them.

        Raises:
            RunError: some processes still run.
        """
        end_nodes([self])


def end_nodes(nodes: Sequence[NamespaceNode]) -> None:
    """End the namespaces of nodes, with all processes in them; one look at the machine's processes serves for all.

    Raises:
        RunError: some processes still run.
    """
    holders = [node.holder for node in nodes if node.holder is not None]
    for node in nodes:
        Node.terminate(node)  # its shell
    try:
        end_processes(holder.pid for holder in holders)
    finally:
        for node in nodes:
            if node.holder is not None:
                node.holder.kill()
                node.launcher.forget(node.holder)
                node.holder = None


class Fabric(NamespaceNode):
    """The physical network: a namespace with one Linux bridge, or with one bridge per region if there is a WAN."""

    def __init__(self, launcher: Launcher, name: str = FABRIC, **params: Any) -> None:
        super().__init__(name, launcher, **params)

    def dpctl(self, *_words: str) -> str:
        """Say that the fabric has no OpenFlow: Mininet's `dpctl` asks all switches."""
        return f"{self.name} is a Linux bridge, without OpenFlow\n"

    def start(self, _controllers: Any = None) -> None:
        """Print that the fabric is started with its run."""
        mininet_error(f"{self.name} is started with its run\n")

    def stop(self, deleteIntfs: bool = False) -> None:
        """Print that the fabric is not stopped by hand."""
        mininet_error(f"{self.name} is stopped with its run; take a link down instead: link NODE {self.name} down\n")


class Server(NamespaceNode):
    """A host or a Hoverboard: a namespace with a switch and a host process.

    Attributes:
        directory: for sockets, database and logs of its switch, and its host process.
        client: RPC to its host process; one request at a time.
        daemons: the processes of Open vSwitch, by name.
        host_process: its host process; None before its start.
    """

    def __init__(self, spec: ServerSpec, launcher: Launcher, directory: Path, **params: Any) -> None:
        self.spec = spec
        self.directory = directory
        self.client = HostClient(directory / "host.sock")
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.host_process: Process | None = None
        super().__init__(spec.name, launcher, **params)

    def dpctl(self, *words: str) -> str:
        """The output of an `ovs-ofctl` command on the node's bridge, as Mininet's switches have it, or its error."""
        try:
            return switch_commands.dpctl(self.directory, words, where=self.name)
        except HoverboardError as error:
            return f"{error}\n"

    def start(self, _controllers: Any = None) -> None:
        """Print that a switch of a run is not started by hand."""
        mininet_error(f"{self.name} is started and restarted by its run\n")

    def stop(self, deleteIntfs: bool = False) -> None:
        """Print that a switch of a run is not stopped by hand."""
        mininet_error(f"{self.name} is stopped by its run; to see it fail, end a process of it: docs/failure.md\n")

    @property
    def host_pid(self) -> int | None:
        """Pid of its host process; None before its start."""
        return None if self.host_process is None else self.host_process.pid

    @property
    def uplink_device(self) -> str | None:
        """Name of its uplink in its own namespace; None when the uplink is a descriptor."""
        return "uplink" if facts(self.spec.dataplane).uplink == "device" else None


class VMHost(Server):
    """A host: it runs VMs."""


class HoverboardNode(Server):
    """A gateway without VMs that has the routes of all virtual networks (paper section 3.3.1)."""


class VirtualMachine(NamespaceNode):
    """A VM: a namespace with one NIC."""

    def __init__(self, spec: VMSpec, launcher: Launcher, **params: Any) -> None:
        self.spec = spec
        super().__init__(spec.name, launcher, **params)

    def IP(self, intf: Any = None) -> str:
        """The VM's address in its virtual network."""
        return str(self.spec.ip) if intf is None else str(super().IP(intf))
