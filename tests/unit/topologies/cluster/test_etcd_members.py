"""How members of etcd are called, and on which ports."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from hoverboard.contract.errors import MachineError
from tests.unit.topologies.real_processes import open_files
from topologies.cluster import etcd_members
from topologies.cluster.etcd_members import EtcdMember


def test_members_have_ports_of_their_own_that_are_free() -> None:
    before = open_files()
    members = etcd_members.free_members(3)
    assert open_files() == before
    assert [member.name for member in members] == ["etcd-0", "etcd-1", "etcd-2"]
    ports = [port for member in members for port in (member.client_port, member.peer_port)]
    assert len(set(ports)) == 6
    for port in ports:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))


def test_a_member_is_called_with_its_own_addresses_and_those_of_all_peers() -> None:
    members = [EtcdMember("etcd-0", 1001, 1002), EtcdMember("etcd-1", 1003, 1004)]
    assert (members[0].address, members[0].peer) == ("127.0.0.1:1001", "etcd-0=http://127.0.0.1:1002")
    assert etcd_members.command(members[1], members, Path("/data")) == [
        "etcd", "--name", "etcd-1", "--data-dir", "/data/etcd-1",
        "--listen-client-urls", "http://127.0.0.1:1003", "--advertise-client-urls", "http://127.0.0.1:1003",
        "--listen-peer-urls", "http://127.0.0.1:1004", "--initial-advertise-peer-urls", "http://127.0.0.1:1004",
        "--initial-cluster", "etcd-0=http://127.0.0.1:1002,etcd-1=http://127.0.0.1:1004",
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
