"""The processes of a VM end with it, and those of a run with the run, however they were started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.privileges import needs_other_users
from tests.waiting import until
from topologies.emulation.nodes import Server
from topologies.namespaces.entering import entering
from topologies.processes.process_table import Process, identified, start_time
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def bed(testbed: Callable[..., Testbed], tiny: Path) -> Testbed:
    """One host, one VM."""
    return testbed(tiny)


@pytest.fixture
def bystander() -> Iterator[Process]:
    """A process of the machine, with the same name as those in VMs."""
    with subprocess.Popen(["sleep", "600"]) as child:
        found = identified(child.pid)
        assert found is not None
        yield found
        child.kill()


def pid_in(path: Path) -> Process:
    """The process whose pid a script writes to a file."""
    until(lambda: path.is_file() and path.read_text().strip() != "")
    found = identified(int(path.read_text()))
    assert found is not None
    return found


def runs(process: Process) -> bool:
    return start_time(process.pid) == process.start


def hidden(bed: Testbed, vm: str, folder: Path) -> dict[str, Process]:
    """Processes in a VM that their parents do not wait for, by the way that they were started."""
    pid, found = bed.pid_of(vm), {}
    scripts = {
        "nohup": "nohup sh -c 'echo $$ > {}; exec sleep 600' >/dev/null 2>&1 &",
        "setsid": "setsid -f sh -c 'trap \"\" TERM HUP; echo $$ > {}; exec sleep 600' >/dev/null 2>&1",
        "network and host name of its own": "unshare -n -u sh -c 'echo $$ > {}; exec sleep 600' >/dev/null 2>&1 &",
        "a network namespace of its own": "unshare -n sh -c 'echo $$ > {}; exec sleep 600' >/dev/null 2>&1 &",
    }
    for how, script in scripts.items():
        path = folder / how.replace(" ", "-")
        subprocess.run([*entering(pid), "sh", "-c", script.format(path)], check=True, timeout=30)
        found[how] = pid_in(path)
    path = folder / "outside"
    command = ["setsid", "-f", "nsenter", "-t", str(pid), "-n", "sh", "-c", f"echo $$ > {path}; exec sleep 600"]
    subprocess.run(command, check=True, timeout=30)
    found["entered from outside"] = pid_in(path)
    bed.node(vm).cmd(f"sh -c 'echo $$ > {folder}/shell; exec sleep 600' &")
    found["the shell of cmd"] = pid_in(folder / "shell")
    return found


def test_the_processes_of_a_vm_end_with_it_and_no_others(bed: Testbed, tmp_path: Path, bystander: Process) -> None:
    bed.add_vm("blue", "t")
    processes = hidden(bed, "t", tmp_path)
    (tmp_path / "other").mkdir()
    others = hidden(bed, "blue-1", tmp_path / "other")
    with bed.node("t").popen(["sleep", "600"]) as popen:
        bed.remove_vm("t")
        assert popen.wait(20) != 0
    assert [how for how, process in processes.items() if runs(process)] == []
    assert [how for how, process in others.items() if not runs(process)] == []
    bed.down()
    assert [how for how, process in others.items() if runs(process)] == []
    assert runs(bystander)


@pytest.mark.parametrize("end", ["the VM", "the run"])
def test_a_program_that_goes_on_forking_ends_too(bed: Testbed, tmp_path: Path, end: str) -> None:
    bed.add_vm("blue", "t")
    # Each process starts the next one and ends: no look at all processes finds the one that runs now for long.
    chain = tmp_path / "chain"
    chain.write_text(f'#!/bin/sh\necho $$ >> {tmp_path}/pids\nsleep 0.01\n"$0" &\n')
    chain.chmod(0o755)
    subprocess.run([*entering(bed.pid_of("t")), str(chain)], check=True, timeout=30)
    until(lambda: len((tmp_path / "pids").read_text().split()) > 5)
    if end == "the VM":
        bed.remove_vm("t")
    else:
        bed.down()
    written = (tmp_path / "pids").read_text()
    time.sleep(0.3)  # a chain that lived would have gone on by now
    assert (tmp_path / "pids").read_text() == written


def test_a_command_for_a_vm_that_is_being_removed_ends(bed: Testbed) -> None:
    bed.add_vm("blue", "t")
    pid = bed.pid_of("t")
    commands = [subprocess.Popen([*entering(pid), "sleep", "600"], stderr=subprocess.DEVNULL) for _ in range(20)]
    bed.remove_vm("t")
    commands += [subprocess.Popen([*entering(pid), "sleep", "600"], stderr=subprocess.DEVNULL) for _ in range(3)]
    for command in commands:
        assert command.wait(20) != 0


@pytest.mark.parametrize("how", [[], pytest.param(["--as", "root"], marks=needs_other_users)])
def test_a_process_that_has_left_all_namespaces_ends_with_the_run(
    bed: Testbed, tmp_path: Path, how: list[str], bystander: Process
) -> None:
    bed.add_vm("blue", "t")
    script = f"setsid -f unshare -n -u -m sh -c 'echo $$ > {tmp_path}/pid; exec sleep 600' >/dev/null 2>&1"
    hoverboard = [sys.executable, "-P", "-m", "console.cli", "exec", "--run", bed.run, *how, "t", "--"]
    subprocess.run([*hoverboard, "sh", "-c", script], check=True, timeout=60)
    process = pid_in(tmp_path / "pid")
    bed.remove_vm("t")
    assert runs(process)
    bed.down()
    assert not runs(process)
    assert runs(bystander)


def test_a_vm_whose_namespace_holder_was_killed_can_be_removed(bed: Testbed) -> None:
    bed.add_vm("blue", "keeperless", host="h1")
    keeper = bed.pid_of("keeperless")
    os.kill(keeper, signal.SIGKILL)
    until(lambda: identified(keeper) is None, 10)
    bed.remove_vm("keeperless")
    assert "keeperless" not in {vm.name for vm in bed.topology.vms}


def test_the_processes_of_hosts_outlive_a_vm(bed: Testbed) -> None:
    bed.add_vm("blue", "t")
    servers = [node for node in bed.nodes().values() if isinstance(node, Server)]
    pids = [pid for node in servers for pid in (node.host_pid, *(daemon.pid for daemon in node.daemons.values()))]
    before = [identified(pid) for pid in pids]
    bed.remove_vm("t")
    assert before
    assert all(process is not None and runs(process) for process in before)


@pytest.mark.rootless
def test_a_namespace_whose_holder_was_killed_is_found_when_the_run_goes_down(bed: Testbed, tmp_path: Path) -> None:
    process = hidden(bed, "blue-1", tmp_path)["nohup"]
    subprocess.run(["kill", "-9", str(bed.pid_of("blue-1"))], check=True)
    bed.down()
    assert not runs(process)
