"""The etcd members of a run, on Unix sockets in its directory: the store with `--store etcd`.

Gives their names, sockets and commands; `control_processes` starts and supervises them. etcd has no passwords here:
on a port of the loopback, each user of the machine could write terms and leases (docs/security.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hoverboard import programs
from hoverboard.contract.errors import MachineError

PROGRAM = "etcd"
# With these, a lease of one second ends after 1 to 1.5 seconds: etcd looks for expired leases twice per second, and
# allows no lease shorter than 1.5 election timeouts, rounded up to whole seconds.
_HEARTBEAT_MS, _ELECTION_MS = 50, 500
# etcd takes a Unix socket only as unix://HOST:PORT, and makes the file HOST:PORT in its current directory.
_PORT = ":0"
# A member that was killed leaves its socket behind, and etcd does not start over it.
_START = 'cd "$1" && rm -f "$2" && shift 2 && exec "$@"'


@dataclass(frozen=True, slots=True)
class EtcdMember:
    """One member of the etcd cluster. Only the owner of the run's directory can reach its sockets.

    Attributes:
        folder: of the sockets and the data of all members; the member's current directory.
        name: of the member.
    """

    folder: Path
    name: str

    @property
    def address(self) -> str:
        """The path of the socket for clients."""
        return str(self.folder / f"{self.name}.client{_PORT}")

    @property
    def client_url(self) -> str:
        """The URL for clients, as etcd writes it: relative to `folder`."""
        return f"unix://{self.name}.client{_PORT}"

    @property
    def peer_url(self) -> str:
        """The URL for the other members."""
        return f"unix://{self.name}.peer{_PORT}"


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


def members_in(folder: Path, count: int) -> list[EtcdMember]:
    """`count` members with their sockets in `folder`."""
    return [EtcdMember(folder, f"etcd-{number}") for number in range(count)]


def command(member: EtcdMember, members: list[EtcdMember]) -> list[str]:
    """The command that starts `member`, and restarts it with its data.

    Args:
        member: the member to start.
        members: all members of the cluster.
    """
    return [
        "sh", "-c", _START, "sh", str(member.folder), Path(member.address).name,
        PROGRAM, "--name", member.name, "--data-dir", member.name,
        "--listen-client-urls", member.client_url, "--advertise-client-urls", member.client_url,
        "--listen-peer-urls", member.peer_url, "--initial-advertise-peer-urls", member.peer_url,
        "--initial-cluster", ",".join(f"{one.name}={one.peer_url}" for one in members),
        "--heartbeat-interval", str(_HEARTBEAT_MS), "--election-timeout", str(_ELECTION_MS),
        "--logger", "zap", "--log-level", "warn",
    ]  # fmt: skip
