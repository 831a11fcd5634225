"""Mininet node classes of the testbed: namespaces held by a tiny process; the shell starts when asked.

Stands for the fabric, VM hosts, Hoverboards and VMs of the paper's figure 1. A node makes its
namespace and nothing else; links make devices, `topologies.emulation.ovs_daemons` starts switches.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from hoverboard.contract.errors import MachineError
from hoverboard.contract.generations import facts
from hoverboard.host.control.host_client import HostClient
from topologies.emulation.mininet_classes import Node
from topologies.processes import netns
from topologies.processes.launcher import Launcher
from topologies.processes.process_table import Process
from topologies.spec.topology import FABRIC, ServerSpec, VMSpec


class NamespaceNode(Node):
    """A Mininet node whose namespace is held by `sleep`; bash starts with the first `cmd`."""

    def __init__(self, name: str, launcher: Launcher, **params: Any) -> None:
        self.launcher = launcher
        self.holder: subprocess.Popen[bytes] | None = None
        super().__init__(name, **params)

    @classmethod
    def setup(cls) -> None:
        """Mininet asks for ifconfig as well; we never use it."""
        from shutil import which

        if which("mnexec") is None:
            raise MachineError("mnexec is not installed", next_step="apt-get install mininet")

    def startShell(self, mnopts: str | None = None) -> None:
        """Make the namespace; Mininet would start bash here."""
        self.holder = self.launcher.namespace(self.name)
        self.pid = self.holder.pid
        netns.write_mark(self.pid, str(self.launcher.ledger.mark or ""))

    def start_bash(self) -> None:
        """Start Mininet's own shell in the namespace."""
        pid = self.pid
        # Mininet adds "n", a new namespace, for a node that is in one.
        self.inNamespace = False
        try:
            super().startShell(mnopts=f"-cda{pid}")
        finally:
            self.inNamespace = True
            self.pid = pid

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen[bytes]:
        if not self.inNamespace:  # bash of start_bash
            cmd = self.launcher.ledger.command(cmd, f"shell of {self.name}", "shell")
        return super()._popen(cmd, **params)

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:
        """Mininet's, in a shell that starts when it is first needed."""
        if self.shell is None:
            self.start_bash()
        super().sendCmd(*args, **kwargs)

    def cmd(self, *args: Any, **kwargs: Any) -> str:
        """Mininet's, in a shell that starts when it is first needed."""
        if self.shell is None:
            self.start_bash()
        return str(super().cmd(*args, **kwargs))

    def config(self, **_params: Any) -> dict[str, Any]:
        """Nothing: links configure devices when they make them."""
        return {}

    def close(self) -> None:
        """Give back the shell's terminal after a sweep has ended everything."""
        self.cleanup()

    def terminate(self) -> None:
        """End the shell and the namespace."""
        super().terminate()
        if self.holder is not None:
            self.holder.kill()
            self.launcher.forget(self.holder)
            self.holder = None


class Fabric(NamespaceNode):
    """The physical network between servers: a namespace with one Linux bridge."""

    def __init__(self, launcher: Launcher, name: str = FABRIC, **params: Any) -> None:
        super().__init__(name, launcher, **params)


class Server(NamespaceNode):
    """A machine with a switch and a host process: a VM host or a Hoverboard.

    Attributes:
        directory: private run directory of its switch.
        uplink_device: name of its uplink in its own namespace, None where that is a descriptor.
        client: RPC to its host process.
    """

    def __init__(self, spec: ServerSpec, launcher: Launcher, directory: Path, **params: Any) -> None:
        self.spec = spec
        self.directory = directory
        self.client = HostClient(directory / "host.sock")
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.host_process: Process | None = None
        super().__init__(spec.name, launcher, **params)

    @property
    def host_pid(self) -> int | None:
        """Pid of its host process; None before there is one."""
        return None if self.host_process is None else self.host_process.pid

    @property
    def uplink_device(self) -> str | None:
        """Name of its uplink in its own namespace; None where that is a descriptor."""
        return "uplink" if facts(self.spec.dataplane).uplink == "device" else None


class VMHost(Server):
    """A server that runs VMs."""


class HoverboardNode(Server):
    """A gateway without VMs that knows the routes of every virtual network (paper 3.3.1)."""


class VirtualMachine(NamespaceNode):
    """A VM: a namespace with one NIC."""

    def __init__(self, spec: VMSpec, launcher: Launcher, **params: Any) -> None:
        self.spec = spec
        super().__init__(spec.name, launcher, **params)

    def IP(self, intf: Any = None) -> str:
        """The VM's address in its virtual network."""
        return str(self.spec.ip) if intf is None else str(super().IP(intf))
