"""The doctor's judgement, on machines that do not exist; the real probes are tried in
tests/system/console/test_probes.py."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from console.doctor import doctor, probes
from console.doctor.doctor import Line, healthy, run_doctor
from console.doctor.kernel_features import FEATURES
from console.doctor.port import ModuleState, Probes
from hoverboard.contract.errors import MachineError


@dataclass
class Machine:
    """A machine as a test wants it; by default a student's virtual machine that lacks nothing."""

    is_root: bool = True
    features: dict[str, str] | str = field(default_factory=lambda: dict.fromkeys(FEATURES, ""))
    module: ModuleState = "loaded"
    cgroups: str = "v2"
    no_tools: frozenset[str] = frozenset()
    packages: dict[str, str | None] = field(default_factory=dict)
    compiled: bool = True
    python_version: str = "3.11.2"
    refused: str = ""
    dead: list[str] | str = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    lost: list[str] | str = field(default_factory=list)
    memory: tuple[int, int] = (20_000, 24_000)
    core_count: int = 4
    disk: int = 50_000

    def root(self) -> bool:
        return self.is_root

    def kernel(self) -> str:
        return "6.1.0 x86_64"

    def kernel_features(self) -> dict[str, str] | str:
        return self.features

    def openvswitch_module(self) -> ModuleState:
        return self.module

    def cgroup(self) -> str:
        return self.cgroups

    def tool(self, name: str) -> str | None:
        return None if name in self.no_tools else "1.0"

    def package(self, name: str) -> str | None:
        return self.packages.get(name, "5.0")

    def compiled_fast_path(self) -> bool:
        return self.compiled

    def python(self) -> str:
        return self.python_version

    def state_directory(self) -> str:
        return self.refused

    def failed_starts(self) -> list[str]:
        return self.failed

    def dead_runs(self) -> list[str] | str:
        return self.dead

    def lost_runs(self) -> list[str] | str:
        return self.lost

    def memory_mib(self) -> tuple[int, int]:
        return self.memory

    def cores(self) -> int:
        return self.core_count

    def disk_mib(self) -> tuple[str, int]:
        return "/run/hoverboard", self.disk


def finding(machine: Probes, name: str) -> Line:
    (line,) = [line for line in run_doctor(machine) if line.name == name]
    return line


def without(feature: str) -> Machine:
    return Machine(features=dict.fromkeys(FEATURES, "") | {feature: "Operation not supported"})


def test_a_machine_with_everything_is_ok_in_every_line() -> None:
    lines = run_doctor(Machine())
    assert [line for line in lines if line.state != "ok"] == []
    assert healthy(lines)


def test_names_of_findings_are_unique() -> None:
    names = [line.name for line in run_doctor(Machine())]
    assert len(names) == len(set(names))


WORSE = [
    (Machine(is_root=False), "root", "degraded", "sudo"),
    (Machine(core_count=1), "cores", "degraded", "one core"),
    (Machine(memory=(2_000, 24_000)), "memory", "degraded", "enough for the demo"),
    (Machine(memory=(200, 24_000)), "memory", "degraded", "kernel may kill"),
    (Machine(disk=3), "disk", "degraded", "make room"),
    (Machine(features="need root to be tried"), "kernel features", "degraded", "netem"),
    (without("tun"), "tun/tap with segment header", "missing", "--dataplane ovs"),
    (without("tun-uso"), "tap: UDP segmentation", "missing", "UDP is sent packet by packet"),
    (without("veth"), "veth", "missing", "nothing can be brought up"),
    (without("bridge"), "bridge", "missing", "no fabric"),
    (without("netem"), "netem", "missing", "a process of each run makes delay and loss"),
    (without("htb"), "htb", "missing", "rates"),
    (without("af-xdp"), "AF_XDP", "missing", "taps"),
    (without("vxlan"), "vxlan", "missing", "comparison"),
    (Machine(module="absent"), "openvswitch module", "missing", "netdev (user space) is used"),
    (Machine(module="loadable"), "openvswitch module", "degraded", "modprobe openvswitch"),
    (Machine(cgroups="v1 and v2"), "cgroup", "degraded", "v2 controls"),
    (Machine(cgroups="none"), "cgroup", "missing", "shares"),
    (Machine(no_tools=frozenset({"ovs-vswitchd"})), "ovs-vswitchd", "missing", "openvswitch-switch"),
    (Machine(no_tools=frozenset({"mnexec"})), "mnexec", "missing", "package mininet"),
    (Machine(no_tools=frozenset({"tcpdump"})), "tcpdump", "missing", "captured"),
    (Machine(packages={"numba": None}), "numba", "missing", "bootstrap.sh demo"),
    (Machine(packages={"os-ken": "4.2.0"}), "os-ken", "degraded", "reconnects"),
    (Machine(python_version="3.10.12"), "python", "missing", "3.11"),
    (Machine(compiled=False), "compiled fast path", "degraded", "first start"),
    (Machine(refused="/x: this is a link"), "own state directory", "missing", "HOVERBOARD_STATE_DIR"),
    (Machine(dead=["a", "b"]), "dead runs", "degraded", "hoverboard down"),
    (Machine(dead="could not be listed: x"), "dead runs", "degraded", "not known"),
    (Machine(lost=["a (1 process)"]), "lost runs", "degraded", "hoverboard down --orphans"),
    (Machine(lost="could not be listed: x"), "lost runs", "degraded", "not known"),
]


@pytest.mark.parametrize(("machine", "name", "state", "follows"), WORSE)
def test_what_is_lacking_is_said_with_what_follows(machine: Machine, name: str, state: str, follows: str) -> None:
    line = finding(machine, name)
    assert line.state == state
    assert line.detail
    assert follows in line.consequence
    # Only this line tells of it.
    assert [other.name for other in run_doctor(machine) if other.state != "ok"] == [name]


def test_kept_logs_of_failed_starts_are_named_with_what_removes_them() -> None:
    line = finding(Machine(failed=["a", "b"]), "failed starts")
    assert (line.state, line.detail) == ("ok", "a, b")
    assert "hoverboard down --run NAME removes them" in line.consequence
    assert finding(Machine(), "failed starts").detail == "none"


@pytest.mark.parametrize(
    ("machine", "can_run"),
    [
        (without("netem"), True),
        (without("tun"), False),
        (without("veth"), False),
        (Machine(module="absent", cgroups="v1"), True),
        (Machine(no_tools=frozenset({"tcpdump"})), True),
        (Machine(no_tools=frozenset({"iperf3"})), False),
        (Machine(packages={"mininet": None}), False),
        (Machine(is_root=False, features="need root to be tried", dead="need root to be listed"), True),
        (Machine(dead=["a"]), True),
        (Machine(refused="/x: this is a link"), False),
        (Machine(refused="this belongs to user 0", is_root=False), True),
    ],
)
def test_only_what_is_required_stops_the_testbed(machine: Machine, can_run: bool) -> None:
    assert healthy(run_doctor(machine)) is can_run


def test_a_state_directory_is_refused_as_the_runs_refuse_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOVERBOARD_STATE_DIR", str(tmp_path / "state"))
    assert probes.MachineProbes().state_directory() == ""
    (tmp_path / "state").symlink_to(tmp_path)
    assert probes.MachineProbes().state_directory() == f"{tmp_path}/state: this is a symbolic link"
    monkeypatch.setenv("HOVERBOARD_STATE_DIR", "/dev/null/x/y")
    assert "Not a directory" in probes.MachineProbes().state_directory()


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    ("machine", "code"), [(Machine(), 0), (Machine(no_tools=frozenset({"mnexec"})), MachineError.exit_code)]
)
def test_printed(
    machine: Machine, code: int, as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(probes, "MachineProbes", lambda: machine)
    assert doctor.print_doctor(as_json) == code
    out = capsys.readouterr().out
    if as_json:
        document = json.loads(out)
        assert document["healthy"] is (code == 0)
        assert [line["name"] for line in document["lines"]] == [line.name for line in run_doctor(machine)]
        assert set(document["lines"][0]) == {"name", "state", "detail", "consequence", "required"}
    elif code:
        assert "cannot run: mnexec missing" in out
    else:
        assert out.rstrip().endswith("ready to run")
