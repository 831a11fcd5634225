"""The etcd members of a run, on free ports of the loopback: the store with `--store etcd`.

Gives their names, ports and commands; `control_processes` starts and supervises them.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hoverboard import programs
from hoverboard.contract.errors import MachineError

PROGRAM = "etcd"
# With these, a lease of one second ends after 1 to 1.5 seconds: etcd looks for expired leases twice per second, and
# allows no lease shorter than 1.5 election timeouts, rounded up to whole seconds.
_HEARTBEAT_MS, _ELECTION_MS = 50, 500


@dataclass(frozen=True, slots=True)
class EtcdMember:
    """One member of the etcd cluster; its ports are on 127.0.0.1."""

    name: str
    client_port: int
    peer_port: int

    @property
    def address(self) -> str:
        """host:port for clients."""
        return f"127.0.0.1:{self.client_port}"

    @property
    def peer(self) -> str:
        """NAME=URL, as etcd writes a member."""
        return f"{self.name}=http://127.0.0.1:{self.peer_port}"


def check_installed() -> None:
    """Check that etcd is installed.

    Raises:
        MachineError: it is not.
    """
    if programs.find(PROGRAM) is None:
        raise MachineError(
            "etcd is not installed",
            where="--store etcd",
            next_step="run `sudo ./bootstrap.sh demo --ha` or `apt-get install etcd-server`, or use --store embedded",
        )


def free_members(count: int) -> list[EtcdMember]:
    """`count` members on ports that are free now."""
    with ExitStack() as stack:

        def port() -> int:
            taken = stack.enter_context(socket.socket())
            taken.bind(("127.0.0.1", 0))
            return int(taken.getsockname()[1])

        return [EtcdMember(f"etcd-{number}", port(), port()) for number in range(count)]


def command(member: EtcdMember, members: list[EtcdMember], data: Path) -> list[str]:
    """The command that starts `member`, and restarts it with its data.

    Args:
        member: the member to start.
        members: all members of the cluster.
        data: directory for the data of all members.
    """
    client, peer = f"http://{member.address}", f"http://127.0.0.1:{member.peer_port}"
    return [
        PROGRAM, "--name", member.name, "--data-dir", str(data / member.name),
        "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
        "--initial-cluster", ",".join(one.peer for one in members),
        "--heartbeat-interval", str(_HEARTBEAT_MS), "--election-timeout", str(_ELECTION_MS),
        "--logger", "zap", "--log-level", "warn",
    ]  # fmt: skip
