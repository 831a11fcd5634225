"""Programs in a VM know the names of their network, whatever starts them, and the machine's own files stay as they are.

All of it is seen through real programs: `getent`, `ping` and `hostname` as a user of the testbed types them.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from console.prompt.prompt import run_command
from experiments.tools import tool_processes
from tests.system.privileges import needs_other_users
from topologies.guests.guest_files import HOSTNAME, HOSTS, NSSWITCH, RESOLV_CONF
from topologies.namespaces import entering
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(150)

FILE = """
name: named
hosts: 2
networks:
  - name: blue
    vni: 7
    subnet: 10.0.0.0/24
    subnet6: fd00:7::/64
    vms:
      - {name: blue-1, host: h1}
      - {name: web-1, host: h2}
    load_balancers:
      - {name: front, ip: 10.0.0.100, backends: [web-1]}
  - {name: red, vni: 8, subnet: 10.0.0.0/24, vms: 2}
"""
AT_ONCE = 2.0  # seconds: a resolver that asks a server nobody reaches needs 5 and more


def machine() -> tuple[object, ...]:
    """All that must not change: the machine's own host name, files and mounts."""
    files = [HOSTS, HOSTNAME, NSSWITCH, RESOLV_CONF]
    return (
        socket.gethostname(),
        *(path.read_bytes() if path.exists() else None for path in files),
        Path("/proc/self/mounts").read_text(),
    )


@pytest.fixture(scope="module")
def bed(module_testbed: Callable[..., Testbed], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """Two networks with the same addresses on two hosts."""
    file = tmp_path_factory.mktemp("named") / "named.yaml"
    file.write_text(FILE)
    before = machine()
    found = module_testbed(file)
    yield found
    found.down()
    assert machine() == before


def output(bed: Testbed, node: str, *argv: str) -> str:
    """The output of a command in a node."""
    return tool_processes.run(tool_processes.Node(node, bed.pid_of(node)), list(argv), timeout=30).stdout.strip()


def known(bed: Testbed, node: str, name: str) -> set[str]:
    """The addresses of a name in a node."""
    return {line.split()[0] for line in output(bed, node, "getent", "ahosts", name).splitlines()}


def typed(bed: Testbed, *words: str, **variables: str) -> str:
    """The output of a command of `hoverboard`."""
    environment = os.environ | variables | {"HOVERBOARD_STATE_DIR": str(bed.directory.path.parent)}
    command = [sys.executable, "-P", "-m", "console.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment).stdout


def test_a_name_has_the_addresses_of_its_vm(bed: Testbed) -> None:
    web = next(vm for vm in bed.topology.vms if vm.name == "web-1")
    assert known(bed, "blue-1", "web-1") == {str(web.ip), str(web.ip6)}
    assert known(bed, "blue-1", "front") == {"10.0.0.100"}
    assert known(bed, "h1", "h2") == {"172.16.0.2"}
    assert " 0% packet loss" in output(bed, "blue-1", "ping", "-c1", "-W5", "web-1")
    assert " 0% packet loss" in output(bed, "blue-1", "ping", "-6", "-c1", "-W5", "web-1")


def test_tenants_do_not_know_each_other(bed: Testbed) -> None:
    assert known(bed, "red-1", "web-1") == known(bed, "blue-1", "red-1") == known(bed, "blue-1", "h1") == set()


def test_an_unknown_name_is_unknown_at_once(bed: Testbed) -> None:
    begun = time.monotonic()
    assert known(bed, "blue-1", "example.org") == set()
    assert time.monotonic() - begun < AT_ONCE


def test_whatever_starts_a_program_it_is_in_the_whole_node(bed: Testbed, capfd: pytest.CaptureFixture[str]) -> None:
    node, pid = bed.node("blue-1"), bed.pid_of("blue-1")
    ask = ["sh", "-c", "hostname; cat /etc/hostname; getent hosts blue-1 | wc -l"]
    said = ["blue-1", "blue-1", "1"]
    assert node.cmd(f"{ask[0]} {ask[1]} '{ask[2]}'").split() == said
    assert node.popen(ask, text=True).communicate(timeout=30)[0].split() == said
    assert node.pexec(ask)[0].split() == said
    assert output(bed, "blue-1", *ask).split() == said
    assert run_command(pid, ask) == 0
    assert capfd.readouterr().out.split() == said
    assert typed(bed, "exec", "--run", bed.run, "blue-1", "--", *ask).split() == said


@needs_other_users
def test_a_user_who_is_not_root_knows_the_names(bed: Testbed) -> None:
    script = "id -un; getent hosts web-1; env"
    said = typed(bed, "exec", "--as", "nobody", "blue-1", "--run", bed.run, "--", "sh", "-c", script, SECRET="of root")
    assert said.splitlines()[0] == "nobody"
    assert "web-1" in said
    assert "USER=nobody" in said.splitlines()
    assert "SECRET" not in said


def test_a_node_cannot_change_the_names_of_others(bed: Testbed) -> None:
    place = tool_processes.Node("blue-1", bed.pid_of("blue-1"))
    done = tool_processes.run(place, ["sh", "-c", "echo 10.0.0.9 web-1 >> /etc/hosts"], timeout=30)
    assert done.code != 0
    assert "Read-only" in done.stderr


def test_names_follow_vms_that_come_and_go(bed: Testbed) -> None:
    added = bed.add_vm("blue", "late", host="h2")
    assert known(bed, "blue-1", "late") == {str(added.ip), str(added.ip6)}
    assert output(bed, "late", "hostname") == "late"
    assert known(bed, "late", "web-1") != set()
    bed.remove_vm("late")
    assert known(bed, "blue-1", "late") == set()


def test_names_follow_a_file(bed: Testbed, tmp_path: Path) -> None:
    file = tmp_path / "changed.yaml"
    green = "  - {name: green, vni: 9, subnet: 10.9.0.0/24, vms: [{name: g, host: h1}]}\n"
    file.write_text(FILE.replace("front", "shop") + green)
    bed.apply(file)
    assert known(bed, "blue-1", "shop") == {"10.0.0.100"}
    assert known(bed, "blue-1", "front") == set()
    assert known(bed, "g", "g") == {"10.9.0.2"}
    file.write_text(FILE)
    bed.apply(file)
    assert known(bed, "blue-1", "front") == {"10.0.0.100"}
    assert not (bed.directory.guests / "networks" / "green").exists()


def test_a_file_is_shown_behind_a_link_and_what_is_missing_stays_missing(bed: Testbed, tmp_path: Path) -> None:
    # /etc/resolv.conf is often a link to a file of systemd-resolved, and may lead to nothing.
    for name in ("resolved", "own"):
        (tmp_path / name).write_text(f"{name}\n")
    for link, name in (("resolv.conf", "resolved"), ("dangling", "nothing")):
        (tmp_path / link).symlink_to(tmp_path / name)
    files = {tmp_path / name: tmp_path / "own" for name in ("resolv.conf", "dangling", "missing")}
    entering.bind_files(bed.pid_of("blue-1"), files)
    assert output(bed, "blue-1", "cat", str(tmp_path / "resolv.conf")) == "own"
    assert (tmp_path / "resolved").read_text() == "resolved\n"
    assert not (tmp_path / "nothing").exists()
    assert not (tmp_path / "missing").exists()
