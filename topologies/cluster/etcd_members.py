"""etcd members of a run's own, on free ports of the loopback: the store with `--store etcd`.

Only knows how a member is called and asked whether it serves; who starts and keeps it is the caller.
"""

from __future__ import annotations

import shutil
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hoverboard.contract.errors import MachineError

PROGRAM = "etcd"
# A lease ends between one and one and a half times its second: etcd looks for those that are over twice a
# second, and takes no lease shorter than one and a half election timeouts, rounded up to whole seconds.
_HEARTBEAT_MS, _ELECTION_MS = 50, 500


@dataclass(frozen=True, slots=True)
class EtcdMember:
    """One member; its ports are on 127.0.0.1."""

    name: str
    client_port: int
    peer_port: int

    @property
    def address(self) -> str:
        """host:port that clients use."""
        return f"127.0.0.1:{self.client_port}"

    @property
    def peer(self) -> str:
        """NAME=URL as etcd names its members."""
        return f"{self.name}=http://127.0.0.1:{self.peer_port}"


def check_installed() -> None:
    """MachineError when there is no etcd."""
    if shutil.which(PROGRAM) is None:
        raise MachineError(
            "etcd is not installed",
            where="--store etcd",
            next_step="sudo ./bootstrap.sh demo --ha, or apt-get install etcd-server; or --store embedded",
        )


def free_members(count: int) -> list[EtcdMember]:
    """Members on ports that are free now."""
    with ExitStack() as stack:

        def port() -> int:
            taken = stack.enter_context(socket.socket())
            taken.bind(("127.0.0.1", 0))
            return int(taken.getsockname()[1])

        return [EtcdMember(f"etcd-{number}", port(), port()) for number in range(count)]


def command(member: EtcdMember, members: list[EtcdMember], data: Path) -> list[str]:
    """How to run a member; the same again when it has died."""
    client, peer = f"http://{member.address}", f"http://127.0.0.1:{member.peer_port}"
    return [
        PROGRAM, "--name", member.name, "--data-dir", str(data / member.name),
        "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
        "--initial-cluster", ",".join(one.peer for one in members),
        "--heartbeat-interval", str(_HEARTBEAT_MS), "--election-timeout", str(_ELECTION_MS),
        # What must outlive the machine is nobody's here: the run ends with it.
        "--logger", "zap", "--log-level", "warn",
    ]  # fmt: skip
