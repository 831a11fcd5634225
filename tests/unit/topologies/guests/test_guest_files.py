"""The names that nodes know: what the files say, and that they follow the topology."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from topologies.changes import placement
from topologies.guests import guest_files
from topologies.guests.guest_files import GuestFiles, network_hosts, nsswitch, underlay_hosts
from topologies.namespaces import entering
from topologies.spec import schema
from topologies.spec.topology import Topology


def topology(**more: object) -> Topology:
    networks = [
        {
            "name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "subnet6": "fd00:7::/64",
            "vms": [{"name": "web-1", "host": "h1"}, {"name": "old", "host": "h2", "ip6": False}],
            "load_balancers": [
                {"name": "front", "ip": "10.0.0.100", "backends": ["web-1"]},
                {"name": "old", "ip": "10.0.0.101", "backends": ["web-1"]},
            ],
        },
        {"name": "red", "vni": 8, "subnet": "10.0.0.0/24", "vms": 1},
    ]  # fmt: skip
    return schema.from_keys({"hosts": 2, "networks": networks, **more}, name="named")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder, made under the umask of a run."""
    before = os.umask(0o077)
    yield tmp_path / "guests"
    os.umask(before)


@pytest.fixture
def binds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[int, dict[Path, Path]]:
    """pid -> the files that it was shown, under names that stay, as a mount does."""
    found: dict[int, dict[Path, Path]] = {}

    def bind(pid: int, files: Mapping[Path, Path]) -> None:
        found[pid] = {}
        for target, source in files.items():
            found[pid][target] = source
            if source.is_file():
                found[pid][target] = tmp_path / f"{pid}-{target.name}"
                os.link(source, found[pid][target])

    monkeypatch.setattr(entering, "bind_files", bind)
    return found


def test_a_network_knows_its_balancers_and_vms_and_no_others() -> None:
    blue, red = topology().networks
    assert network_hosts(blue) == (
        "127.0.0.1 localhost\n"
        "::1 localhost ip6-localhost ip6-loopback\n"
        "10.0.0.100 front\n"
        "10.0.0.2 web-1\n"
        "fd00:7::2 web-1\n"
        "10.0.0.3 old\n"
    )
    assert network_hosts(red) == "127.0.0.1 localhost\n10.0.0.2 red-1\n"


def test_a_new_vm_changes_nothing_before_it() -> None:
    before = topology()
    after = before.with_vm(placement.plan_vm(before, "blue", "new"))
    assert network_hosts(after.networks[0]).startswith(network_hosts(before.networks[0]))


def test_hosts_know_each_other() -> None:
    assert underlay_hosts(topology().servers).splitlines()[1:] == [
        "172.16.0.1 h1", "172.16.0.2 h2", "172.16.255.1 hv1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "node"),
    [
        ("", "hosts: files\n"),
        (
            "passwd: files sss\nhosts:  mymachines resolve [!UNAVAIL=return] files dns\n",
            "passwd: files sss\nhosts: files\n",
        ),
        ("hosts: dns\nhosts : files dns\n# hosts: in a comment\n", "# hosts: in a comment\nhosts: files\n"),
    ],
)
def test_host_names_come_from_the_file_alone(machine: str, node: str) -> None:
    assert nsswitch(machine) == node


def test_each_file_follows_its_network_and_stays_the_same_file(folder: Path) -> None:
    files, before = GuestFiles(folder), topology()
    files.make(before)
    blue, red = folder / "networks" / "blue", folder / "networks" / "red"
    inode, untouched = blue.stat().st_ino, red.stat().st_mtime_ns
    spec = placement.plan_vm(before, "blue", "new")
    after = before.with_vm(spec)
    files.follow(after)
    assert blue.read_text() == network_hosts(after.networks[0])
    files.follow(after.without_vm(spec))
    assert blue.read_text() == network_hosts(before.networks[0])
    assert blue.stat().st_ino == inode
    assert red.stat().st_mtime_ns == untouched
    files.follow(replace(before, networks=before.networks[:1]))
    assert not red.exists()


def test_every_user_may_read_what_a_node_sees(folder: Path, binds: dict[int, dict[Path, Path]]) -> None:
    files = GuestFiles(folder)
    files.make(topology())
    files.give(5, "web-1", "blue")
    assert {path.stat().st_mode & 0o777 for path in binds[5].values() if path.is_file()} == {0o644}


def test_a_node_is_shown_its_own_files(folder: Path, binds: dict[int, dict[Path, Path]]) -> None:
    files = GuestFiles(folder)
    files.make(topology())
    for pid, name, network in ((5, "web-1", "blue"), (6, "red-1", "red"), (7, "h1", None)):
        files.give(pid, name, network)
        assert binds[pid][guest_files.HOSTNAME].read_text() == f"{name}\n"
        assert binds[pid][guest_files.NSSWITCH].read_text().endswith("hosts: files\n")
        assert "nameserver 127.0.0.1" in binds[pid][guest_files.RESOLV_CONF].read_text()
        assert list(binds[pid][guest_files.NSCD].iterdir()) == []
    hosts = [binds[pid][guest_files.HOSTS].read_text() for pid in (5, 6, 7)]
    assert ["web-1" in hosts[0], "red-1" in hosts[1], "hv1" in hosts[2]] == [True] * 3
    assert len(set(hosts)) == 3
    assert list((folder / "names").iterdir()) == []
