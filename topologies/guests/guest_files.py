"""The names that a node knows: files that stand in place of /etc/hosts and its like in the node's mount namespace.

VMs of one network know each other and no others, as with GCE's internal DNS. Hosts and Hoverboards know each other. All
nodes of a network see the same file, so a VM that comes or goes is one write. A name that is not in it is unknown at
once: no program asks a DNS server, because no VM can reach one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from topologies.namespaces import entering
from topologies.spec.topology import NetworkSpec, ServerSpec, Topology

HOSTS, HOSTNAME = Path("/etc/hosts"), Path("/etc/hostname")
RESOLV_CONF, NSSWITCH = Path("/etc/resolv.conf"), Path("/etc/nsswitch.conf")
NSCD = Path("/run/nscd")  # a cache of the machine answers there, if it runs one; it does not know a node's names
_LOCALHOST = "127.0.0.1 localhost\n"
_LOCALHOST6 = "::1 localhost ip6-localhost ip6-loopback\n"
# Programs that ask DNS without the C library get "refused" from an address where nobody listens, and at once.
_RESOLVER = "# No DNS server: /etc/hosts has the names of this network.\nnameserver 127.0.0.1\noptions attempts:1\n"
_UNDERLAY = "underlay"  # not the name of a network's folder: those are in `networks`


def network_hosts(network: NetworkSpec) -> str:
    """/etc/hosts of the VMs of a network: its load balancers, then its VMs with all their addresses.

    A load balancer with the name of a VM is left out.
    """
    names = {vm.name for vm in network.vms}
    lines = [_LOCALHOST]
    if any(subnet.prefix6 is not None for subnet in network.subnets):
        lines.append(_LOCALHOST6)
    lines += [f"{balancer.ip} {balancer.name}\n" for balancer in network.balancers if balancer.name not in names]
    # A new VM is the last line: a program that reads the file meanwhile sees all others where they were.
    for vm in network.vms:
        lines.append(f"{vm.ip} {vm.name}\n")
        if vm.ip6 is not None:
            lines.append(f"{vm.ip6} {vm.name}\n")
    return "".join(lines)


def underlay_hosts(servers: Iterable[ServerSpec]) -> str:
    """/etc/hosts of hosts, Hoverboards and the fabric: the underlay addresses. The fabric has none."""
    return "".join([_LOCALHOST, *(f"{server.underlay_ip} {server.name}\n" for server in servers)])


def nsswitch(machine: str) -> str:
    """/etc/nsswitch.conf of a node: the machine's, but names of hosts come from /etc/hosts alone."""
    others = [line for line in machine.splitlines() if line.split(":")[0].strip() != "hosts"]
    return "\n".join([*others, "hosts: files", ""])


class GuestFiles:
    """The files of a run.

    Args:
        directory: for the files; it is made with the first of them.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._written: dict[str, NetworkSpec] = {}

    def make(self, topology: Topology) -> None:
        """Write the files that all nodes share, and those of each network."""
        for folder in ("networks", "names", "empty"):
            (self._directory / folder).mkdir(parents=True, exist_ok=True)
        _write(self._directory / RESOLV_CONF.name, _RESOLVER)
        machine = ""
        with contextlib.suppress(OSError):
            machine = NSSWITCH.read_text(encoding="utf-8", errors="surrogateescape")
        _write(self._directory / NSSWITCH.name, nsswitch(machine))
        _write(self._directory / _UNDERLAY, underlay_hosts(topology.servers))
        self.follow(topology)

    def follow(self, topology: Topology) -> None:
        """Write the file of each network that is new or has changed, and remove those of networks that are gone."""
        present = {network.name: network for network in topology.networks}
        for name, network in present.items():
            if self._written.get(name) is not network:
                _write(self._network(name), network_hosts(network))
        for name in self._written.keys() - present.keys():
            self._network(name).unlink(missing_ok=True)
        self._written = present

    def give(self, pid: int, name: str, network: str | None) -> None:
        """Show a node its files.

        Args:
            pid: the process that keeps the namespaces of the node.
            name: the node's name.
            network: the name of a VM's network; None: the node is of the underlay.

        Raises:
            MachineError: a file cannot be mounted.
        """
        own = self._directory / "names" / name
        _write(own, f"{name}\n")
        hosts = self._directory / _UNDERLAY if network is None else self._network(network)
        try:
            entering.bind_files(pid, self._binds(hosts, own))
        finally:
            own.unlink()  # the node keeps it

    def _binds(self, hosts: Path, own: Path) -> Mapping[Path, Path]:
        shared = {place: self._directory / place.name for place in (RESOLV_CONF, NSSWITCH)}
        return {HOSTS: hosts, HOSTNAME: own, **shared, NSCD: self._directory / "empty"}

    def _network(self, name: str) -> Path:
        return self._directory / "networks" / name


def _write(path: Path, text: str) -> None:
    """Write a file that nodes see: the same file stays, because they have mounted it, and every user may read it."""
    data = text.encode("utf-8", errors="surrogateescape")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644), "wb") as file:
        os.fchmod(file.fileno(), 0o644)  # the umask of a run may let only root read
        file.write(data)
        file.truncate()
