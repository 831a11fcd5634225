"""The doctor's judgement, on machines that do not exist; the real probes are tried in
tests/system/console/test_probes.py."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from console.doctor import doctor, probes
from console.doctor.doctor import Line, healthy, run_doctor
from console.doctor.kernel_features import FEATURES
from console.doctor.port import ModuleState, Probes
from hoverboard.contract.errors import MachineError
from topologies.rootless.lacking import Lack


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
    no_namespaces: str = ""
    settings: dict[str, str] = field(default_factory=lambda: {"user.max_user_namespaces": "95000"})
    tun: str = "0666"
    limits: tuple[str, str] | None = None
    without: list[Lack] = field(default_factory=list)
    disk: int = 50_000

    def root(self) -> bool:
        return self.is_root

    def user_namespaces(self) -> str:
        return self.no_namespaces

    def namespace_settings(self) -> dict[str, str]:
        return self.settings

    def tun_device(self) -> str:
        return self.tun

    def tun_fault(self) -> tuple[str, str] | None:
        return None if self.is_root or self.tun == "0666" else ("it may not be opened", "sudo chmod 0666 /dev/net/tun")

    def limits_fault(self) -> tuple[str, str] | None:
        return self.limits

    def lacks(self) -> list[Lack]:
        return [] if self.is_root else self.without

    def subordinate_ids(self) -> str:
        return "newuidmap is there, 65536 subordinate ids"

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


def user(**given: Any) -> Machine:
    return Machine(is_root=False, **given)


def finding(machine: Probes, name: str) -> Line:
    (line,) = [line for line in run_doctor(machine) if line.name == name]
    return line


def without(feature: str) -> Machine:
    return Machine(features=dict.fromkeys(FEATURES, "") | {feature: "Operation not supported"})


@pytest.mark.parametrize("is_root", [True, False])
def test_a_machine_with_everything_is_ok_in_every_line(is_root: bool) -> None:
    lines = run_doctor(Machine(is_root=is_root))
    assert [line for line in lines if line.state != "ok"] == []
    assert healthy(lines)


@pytest.mark.parametrize("is_root", [True, False])
def test_names_of_findings_are_unique(is_root: bool) -> None:
    lacks = [Lack(what, "why", "what follows") for what in ("cgroups", "negative nice", "other users")]
    names = [line.name for line in run_doctor(Machine(is_root=is_root, without=lacks))]
    assert len(names) == len(set(names))


WORSE = [
    (user(no_namespaces="no more"), "user namespaces", "missing", "only root can have runs here; no setting"),
    (
        user(no_namespaces="no more", settings={"user.max_user_namespaces": "0"}),
        "user namespaces",
        "missing",
        "sudo sysctl -w user.max_user_namespaces=10000",
    ),
    (user(tun="0600"), "/dev/net/tun", "missing", "sudo chmod 0666 /dev/net/tun"),
    (user(limits=("may have 64 open files", "raise it")), "limits", "missing", "raise it"),
    (user(without=[Lack("cgroups", "not delegated", "by thread", "Delegate=yes")]), "cgroups", "degraded", "Delegate"),
    (user(without=[Lack("other users", "only you", "--as is refused")]), "other users", "degraded", "--as"),
    (user(refused="/x: others can read it"), "own state directory", "missing", "HOVERBOARD_STATE_DIR"),
    (Machine(tun="0660"), "ordinary users", "degraded", "chmod 0666"),
    (Machine(tun=""), "ordinary users", "degraded", "modprobe tun"),
    (Machine(no_namespaces="no more"), "ordinary users", "degraded", "only root"),
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
        (user(without=[Lack("cgroups", "not delegated", "by thread")]), True),
        (user(no_namespaces="no more"), False),
        (user(tun="0600"), False),
        (user(limits=("may have 64 open files", "raise it")), False),
        (user(refused="/x: others can read it"), False),
        (Machine(no_namespaces="no more", tun="0600"), True),
        (Machine(dead=["a"]), True),
        (Machine(refused="/x: this is a link"), False),
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


FORBIDDING = {
    "user.max_user_namespaces": ("0", "10000"),
    "kernel.unprivileged_userns_clone": ("0", "1"),
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
}


@pytest.mark.parametrize("is_root", [True, False])
@pytest.mark.parametrize("wrong", [{one} for one in FORBIDDING] + [set(FORBIDDING)])
def test_each_setting_that_forbids_namespaces_is_named_with_its_value_and_the_line(
    wrong: set[str], is_root: bool
) -> None:
    settings = {name: bad if name in wrong else good for name, (bad, good) in FORBIDDING.items()}
    machine = Machine(is_root=is_root, no_namespaces="the kernel's words", settings=settings)
    line = finding(machine, "ordinary users" if is_root else "user namespaces")
    assert line.detail.startswith("the kernel's words")
    for name, (bad, good) in FORBIDDING.items():
        assert (f"{name} is {bad}" in line.detail) == (name in wrong)
        assert (f"{name}={good}" in line.consequence) == (name in wrong)


def test_the_device_is_told_once_with_the_administrator_s_line() -> None:
    machine = user(tun="0600", features=without("tun").features)
    assert finding(machine, "/dev/net/tun").detail == "it may not be opened (mode 0600)"
    assert finding(machine, "tun/tap with segment header").consequence == "see /dev/net/tun"
    assert finding(user(tun=""), "/dev/net/tun").detail == "it may not be opened"


def test_who_cannot_be_mapped_is_told_with_what_the_machine_has() -> None:
    line = finding(user(without=[Lack("other users", "only you", "--as is refused")]), "other users")
    assert line.detail == "only you; newuidmap is there, 65536 subordinate ids"


def test_subordinate_ids_are_counted_by_uid_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "subuid"
    table.write_text("root:1:2\nme:100000:65536\n1001:300000:10\nyou:400000:7\nbroken\nme:x:y\n")
    monkeypatch.setattr(probes.pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name="me"))
    assert probes._subordinate(table, 1001) == 65546
    assert probes._subordinate(tmp_path / "none", 1001) == 0


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
