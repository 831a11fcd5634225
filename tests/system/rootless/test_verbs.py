"""The verbs on an ordinary user's run, from any of the user's shells, and the files that they write."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hoverboard.contract.generations import available
from tests.ordinary_user import OrdinaryUser
from tests.system.rootless.user_run import first_pid, inside, named_pids, nothing_is_left, owner, pings, status, up
from tests.waiting import until
from topologies.emulation.ovs_daemons import datapath_type

pytestmark = pytest.mark.timeout(400)


@contextmanager
def pinging(user: OrdinaryUser, **environment: str) -> Iterator[None]:
    """While VM blue-1 pings blue-2."""
    words = user.cli("exec", "blue-1", "--", "ping", "-i", "0.05", "10.0.0.3")
    process = user.start(*words, environment=environment, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.terminate()
        process.communicate()


def belongs_to(user: OrdinaryUser, file: Path) -> bool:
    return (file.stat().st_uid, file.stat().st_gid) == (user.uid, user.uid)


def shown(file: Path) -> str:
    """What tcpdump makes of a capture."""
    return subprocess.run(["tcpdump", "-n", "-r", str(file)], capture_output=True, text=True, check=True).stdout


def test_all_verbs_on_engines(user: OrdinaryUser) -> None:
    """One run for all of these, in the runtime directory of a login; each verb is typed in a shell of its own."""
    login = {"XDG_RUNTIME_DIR": user.runtime}
    up(user, "--dataplane", "fastpath", **login)
    _tells_pids_of_the_machine(user, login)
    assert "2 received" in pings(user, **login)
    script = "cat; echo told >&2; exit 7"
    done = user.hoverboard("exec", "h1", "--", "sh", "-c", script, text="heard", **login)
    assert (done.returncode, done.stdout, done.stderr) == (7, "heard", "told\n")
    _watches(user, login)
    _changes(user, login)
    _prompts(user, login)
    assert user.ok("down", **login) == "down: mine\n"
    nothing_is_left(user)
    said = user.hoverboard("status", **login)
    assert (said.returncode, "no run is up" in said.stderr) == (3, True)


def _tells_pids_of_the_machine(user: OrdinaryUser, login: dict[str, str]) -> None:
    place = Path(f"/proc/{user.keeper.pid}/root{user.runtime}/hoverboard")
    assert (place.stat().st_mode & 0o777, belongs_to(user, place)) == (0o700, True)
    assert not user.state.exists()
    known = set(inside(first_pid(user, state=place)).values())
    documents = [status(user, **login), *(status(user, node, **login) for node in ("h1", "hv1", "blue-1"))]
    found = [pid for one in documents for pid in named_pids(one)]
    assert len(found) >= 3
    assert None not in found
    assert {owner(pid) for pid in found} == {user.uid}
    assert set(found) <= known


def _watches(user: OrdinaryUser, login: dict[str, str]) -> None:
    with pinging(user, **login):
        text = user.ok("capture", "blue-1", "-c", "4", **login)
        assert text.count("ICMP echo") == 4
        (user.home / "pcaps").mkdir()
        os.chown(user.home / "pcaps", user.uid, user.uid)
        user.ok("capture", "h1", "uplink", "-c", "6", "-w", "some.pcapng", cwd=user.home / "pcaps", **login)
        samples = json.loads(user.ok("latency", "h1", "--seconds", "1", "--every", "1", "--json", **login))
    assert "Geneve" in shown(user.home / "pcaps/some.pcapng")
    assert belongs_to(user, user.home / "pcaps/some.pcapng")
    assert samples["egress"]["samples"] > 5


def _changes(user: OrdinaryUser, login: dict[str, str]) -> None:
    added = json.loads(user.ok("vm", "add", "blue", "late", "--host", "h2", "--json", **login))
    user.ok("exec", "blue-1", "--", "ping", "-c", "1", "-W", "2", added["ip"], **login)
    assert "late" in user.ok("vm", "list", **login)
    user.ok("vm", "remove", "late", **login)
    user.ok("model", "set", "preprogrammed", **login)
    user.ok("offload", "set", "--threshold", "1mbit", **login)
    assert "10.0.0.2" in user.ok("flows", "h1", **login)
    user.ok("offloads", **login)
    file = user.home / "more.yaml"
    file.write_text(
        "name: two-hosts\nhosts: 2\nhoverboards: 1\nmodel: preprogrammed\noffload_threshold: 1mbit\n"
        "networks:\n  - {name: blue, vni: 7, subnet: 10.0.0.0/24, vms: 5}\n"
    )
    user.ok("apply", "more.yaml", **login)
    user.ok("exec", "blue-5", "--", "ping", "-c", "1", "-W", "2", "10.0.0.2", **login)


def _prompts(user: OrdinaryUser, login: dict[str, str]) -> None:
    lines = "blue-1 ping -c 2 -i 0.1 blue-2\nh1 sh -c 'echo here > typed.txt'\nexec blue-1 -- sh -c 'exit 5'\n"
    done = user.hoverboard("prompt", text=lines, **login)
    assert done.returncode == 5, done.stderr
    assert "2 received" in done.stdout
    assert belongs_to(user, user.home / "typed.txt")


def test_captures_of_a_switch(user: OrdinaryUser) -> None:
    """`capture` is tcpdump on this generation; and tcpdump is what people type in a VM."""
    up(user, "--dataplane", "ovs")
    assert "2 received" in pings(user)
    with pinging(user):
        assert user.ok("capture", "blue-1", "-c", "4").count("ICMP echo") == 4
        user.ok("capture", "blue-1", "-c", "4", "-w", "of-ovs.pcapng")
        typed = user.ok("exec", "blue-1", "--", "tcpdump", "-n", "-i", "eth0", "-c", "2", "icmp")
        user.ok("exec", "blue-1", "--", "tcpdump", "-i", "eth0", "-c", "2", "-w", "in-vm.pcap", "icmp")
    assert typed.count("ICMP echo") == 2
    for name in ("of-ovs.pcapng", "in-vm.pcap"):
        assert "ICMP echo" in shown(user.home / name)
        assert belongs_to(user, user.home / name)
    user.ok("down")
    nothing_is_left(user)


@pytest.mark.parametrize("dataplane", ["fastpath-vmm", "pre", pytest.param("ovs-offload", marks=pytest.mark.long)])
def test_the_other_generations(user: OrdinaryUser, dataplane: str) -> None:
    if dataplane not in available(datapath_type()):
        pytest.skip("this kernel has no module openvswitch")
    up(user, "--dataplane", dataplane)
    assert "2 received" in pings(user)
    user.ok("down")
    nothing_is_left(user)


def test_a_copy_of_the_checkout_serves_a_user_who_cannot_read_this_one(users: Callable[..., OrdinaryUser]) -> None:
    user = users(copied=True)
    assert user.checkout != Path(__file__).resolve().parents[3]
    up(user, "--dataplane", "ovs")
    assert "2 received" in pings(user)
    user.ok("down")
    nothing_is_left(user)


def test_a_run_in_the_foreground_by_a_script(user: OrdinaryUser) -> None:
    """Its files are named as typed: topology relative, in a folder that a namespace's own /run would hide."""
    folder = f"{user.runtime}/topologies"
    user.run("mkdir", "-p", folder)
    user.write(f"{folder}/one.yaml", "hosts: 1\nnetworks:\n  - {name: a, vni: 7, subnet: 10.0.0.0/24, vms: 2}\n")
    lines = "a-1 ping -c 2 -i 0.1 a-2\nsh touch beside\nexec a-1 -- sh -c 'exit 6'\n"
    done = user.hoverboard("up", "one.yaml", cwd=Path(folder), text=lines, timeout=150)
    assert done.returncode == 6, done.stderr
    assert "2 received" in done.stdout
    assert "beside" in user.run("ls", folder).stdout
    nothing_is_left(user)


def test_two_runs_of_one_user_need_a_name(user: OrdinaryUser) -> None:
    """Each is in namespaces of its own; one of them in the runtime directory, where the next shell may not look."""
    up(user, "--dataplane", "ovs", run="one")
    up(user, "--dataplane", "ovs", run="two", XDG_RUNTIME_DIR=user.runtime)
    login = {"XDG_RUNTIME_DIR": user.runtime}
    unclear = user.hoverboard("status", **login)
    assert (unclear.returncode, "2 runs are up: one, two" in unclear.stderr) == (3, True)
    for name in ("one", "two"):
        assert status(user, "--run", name, **login)["run"] == name
        assert "2 received" in pings(user, "--run", name, **login)
    user.ok("down", "--run", "one", **login)
    assert "2 received" in pings(user, **login)
    user.ok("down", "--all", **login)
    nothing_is_left(user)


def test_up_of_a_name_that_is_up_is_refused_and_harms_nothing(user: OrdinaryUser) -> None:
    up(user, "--dataplane", "ovs")
    again = user.hoverboard("up", "two-hosts", "--run", "mine", "--detach")
    assert (again.returncode, "already up" in again.stderr) == (3, True)
    assert "2 received" in pings(user)
    first = first_pid(user)
    until(lambda: {owner(pid) for pid in inside(first).values()} == {user.uid}, 5, "processes of others inside")
    user.ok("down")
    nothing_is_left(user)
