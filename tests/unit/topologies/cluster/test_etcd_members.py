"""How members of etcd are called, and on which sockets."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoverboard.contract.errors import MachineError
from topologies.cluster import etcd_members


def test_a_member_is_called_with_its_own_sockets_and_those_of_all_peers() -> None:
    members = etcd_members.members_in(Path("/run/x/etcd"), 2)
    assert [member.address for member in members] == ["/run/x/etcd/etcd-0.client:0", "/run/x/etcd/etcd-1.client:0"]
    assert etcd_members.command(members[1], members) == [
        "sh", "-c", 'cd "$1" && rm -f "$2" && shift 2 && exec "$@"', "sh", "/run/x/etcd", "etcd-1.client:0",
        "etcd", "--name", "etcd-1", "--data-dir", "etcd-1",
        "--listen-client-urls", "unix://etcd-1.client:0", "--advertise-client-urls", "unix://etcd-1.client:0",
        "--listen-peer-urls", "unix://etcd-1.peer:0", "--initial-advertise-peer-urls", "unix://etcd-1.peer:0",
        "--initial-cluster", "etcd-0=unix://etcd-0.peer:0,etcd-1=unix://etcd-1.peer:0",
        "--heartbeat-interval", "50", "--election-timeout", "500",
        "--logger", "zap", "--log-level", "warn",
    ]  # fmt: skip


def test_a_missing_etcd_is_reported_and_an_installed_one_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="etcd is not installed") as refused:
        etcd_members.check_installed()
    assert refused.value.where == "--store etcd"
    assert "apt-get install etcd-server" in (refused.value.next_step or "")
    program = tmp_path / "etcd"
    program.touch(mode=0o755)
    etcd_members.check_installed()
