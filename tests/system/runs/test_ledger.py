"""The ledger with real processes: recorded before they are anything, killed by what the ledger says."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hoverboard.contract.errors import RunError
from topologies.client import run_client
from topologies.emulation import devices, offloads
from topologies.processes import ledger
from topologies.processes.deadlines import wait_for
from topologies.processes.launcher import Launcher
from topologies.processes.ledger import Ledger
from topologies.processes.process_table import LinuxProcesses, Process, start_time
from topologies.processes.run_directory import RunDirectory, RunLock, is_held


@pytest.fixture
def directory(state: Path, run_name: str) -> RunDirectory:
    """A run's directory whose ledger has begun; nobody holds it."""
    run = RunDirectory.of(run_name, state)
    lock = RunLock.try_take(run, create=True)
    assert lock is not None
    Ledger(run).create(LinuxProcesses())
    lock.release()
    return run


@contextlib.contextmanager
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the same command that belongs to nobody's run."""
    process = subprocess.Popen(["sleep", "infinity"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_process_records_itself_with_the_pid_and_start_time_it_keeps(directory: RunDirectory) -> None:
    launcher = Launcher(Ledger(directory))
    child = launcher.namespace("blue-1")
    (record,) = launcher.ledger.processes()
    assert record.process == Process(child.pid, start_time(child.pid) or 0)
    assert (record.what, record.kind) == ("namespace of blue-1", "namespace")
    ledger.sweep(directory)
    launcher.reap(5.0)
    assert start_time(child.pid) is None


def test_nothing_starts_once_the_run_is_closing(directory: RunDirectory) -> None:
    launcher = Launcher(Ledger(directory))
    directory.closing.touch()
    with pytest.raises(RunError, match="no namespace"):
        launcher.namespace("blue-1")
    launcher.reap(5.0)
    ledger.sweep(directory)


def test_nothing_starts_once_the_directory_is_gone(directory: RunDirectory) -> None:
    launcher = Launcher(Ledger(directory))
    ledger.sweep(directory)
    with pytest.raises(RunError, match="no namespace"):
        launcher.namespace("blue-1")
    assert not directory.path.exists()
    launcher.reap(5.0)


def test_a_sweep_spares_processes_of_the_same_name(directory: RunDirectory) -> None:
    with bystander() as other:
        launcher = Launcher(Ledger(directory))
        launcher.namespace("blue-1")
        ledger.sweep(directory)
        launcher.reap(5.0)
        assert other.poll() is None


def namespace(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


def test_what_people_start_in_a_namespace_goes_with_it(directory: RunDirectory) -> None:
    launcher = Launcher(Ledger(directory))
    holder = launcher.namespace("blue-1")
    inside = subprocess.Popen(["mnexec", "-da", str(holder.pid), "sleep", "infinity"])
    wait_for(lambda: namespace(inside.pid) == namespace(holder.pid), 10, lambda: "mnexec has not entered", where="here")
    ledger.sweep(directory)
    launcher.reap(5.0)
    assert inside.wait(5.0) == -signal.SIGKILL


def test_a_reused_pid_is_never_killed(directory: RunDirectory) -> None:
    with bystander() as other:
        book = Ledger(directory)
        started = start_time(other.pid)
        assert started is not None
        book.record_process(Process(other.pid, started - 1), "an old one", "namespace")
        ledger.sweep(directory)
        assert other.poll() is None


def test_devices_are_made_where_they_belong_and_die_with_their_namespace(directory: RunDirectory) -> None:
    from ipaddress import IPv4Address

    before = set(os.listdir("/sys/class/net"))
    launcher = Launcher(Ledger(directory))
    vm, host, fabric = (launcher.namespace(name).pid for name in ("blue-1", "h1", "fab"))
    ip, gateway = IPv4Address("10.0.0.2"), IPv4Address("10.0.0.1")
    devices.make_fabric(fabric)
    os.close(devices.make_uplink_tap(fabric, "to-h1", IPv4Address("172.16.0.1")))
    devices.make_uplink_veth(fabric, "to-h2", host, "uplink", IPv4Address("172.16.0.2"))
    devices.make_guest_veth(vm, host, "nic1", "06:07:0a:00:00:02", ip, gateway)
    offloads.disable_offloads(vm, "eth0")
    links = subprocess.run(
        ["mnexec", "-a", str(vm), "ip", "-d", "-o", "addr", "show", "eth0"], capture_output=True, text=True, check=True
    ).stdout
    assert "10.0.0.2/32" in links
    assert set(os.listdir("/sys/class/net")) == before
    # A VM sees its own NIC and nothing of the underlay.
    seen = subprocess.run(["mnexec", "-a", str(vm), "ls", "/sys/class/net"], capture_output=True, text=True, check=True)
    assert seen.stdout.split() == ["eth0", "lo"]
    features = subprocess.run(["mnexec", "-a", str(vm), "ethtool", "-k", "eth0"], capture_output=True, text=True)
    assert "tx-checksumming: off" in features.stdout
    assert "tx-tcp-segmentation: off" in features.stdout
    assert "generic-segmentation-offload: off" in features.stdout
    ledger.sweep(directory)
    launcher.reap(5.0)
    assert set(os.listdir("/sys/class/net")) == before


def test_a_guest_tap_has_its_ring_outside_and_its_netdev_inside(directory: RunDirectory) -> None:
    from ipaddress import IPv4Address

    launcher = Launcher(Ledger(directory))
    vm = launcher.namespace("blue-1").pid
    ring = devices.make_guest_tap(vm, "06:07:0a:00:00:02", IPv4Address("10.0.0.2"), IPv4Address("10.0.0.1"))
    shown = subprocess.run(
        ["mnexec", "-a", str(vm), "ip", "-d", "link", "show", "eth0"], capture_output=True, text=True, check=True
    ).stdout
    for wanted in ("mtu 1450", "06:07:0a:00:00:02", "gso_max_size 64000", "qlen 4096"):
        assert wanted in shown
    sent = subprocess.run(["mnexec", "-a", str(vm), "ping", "-c1", "-W0.1", "10.0.0.1"], capture_output=True, text=True)
    assert sent.returncode == 1  # nobody answers,
    frame = os.read(ring, 70000)  # but the question is on the ring, behind its virtio-net header
    assert frame[devices.VNET_HEADER_BYTES + 12 :][:2] == b"\x08\x06"
    os.close(ring)
    ledger.sweep(directory)
    launcher.reap(5.0)


def test_two_downs_at_once_are_one_down(directory: RunDirectory) -> None:
    launcher = Launcher(Ledger(directory))
    for number in range(4):
        launcher.namespace(f"blue-{number}")
    failures: list[BaseException] = []

    def down() -> None:
        try:
            run_client.down(directory.run, state=directory.path.parent)
        except RunError as error:
            failures.append(error)

    threads = [threading.Thread(target=down) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    launcher.reap(5.0)
    # One that came when everything was gone already may say that there is no such run.
    assert all("there is no run" in str(failure) for failure in failures)
    assert not directory.path.exists()


def test_dead_runs_are_listed_and_down_of_an_unknown_run_is_refused(directory: RunDirectory) -> None:
    launcher = Launcher(Ledger(directory))
    launcher.namespace("blue-1")
    assert not is_held(directory)
    (dead,) = run_client.dead_runs(directory.path.parent)
    assert dead.run == directory.run
    assert dead.processes == ("namespace of blue-1",)
    run_client.down(directory.run, state=directory.path.parent)
    launcher.reap(5.0)
    assert run_client.dead_runs(directory.path.parent) == []
    with pytest.raises(RunError, match="there is no run"):
        run_client.down(directory.run, state=directory.path.parent)
    run_client.down(directory.run, state=directory.path.parent, missing_ok=True)


def test_a_directory_that_no_ledger_had_begun_in_is_cleaned_as_well(state: Path, run_name: str) -> None:
    run = RunDirectory.of(run_name, state)
    lock = RunLock.try_take(run, create=True)
    assert lock is not None
    lock.release()
    run_client.down(run_name, state=state, missing_ok=True)
    assert not run.path.exists()
