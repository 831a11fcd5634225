"""The doctor's real probes on this machine: they answer in time, agree with the kernel, and leave nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from console.doctor.doctor import run_doctor
from console.doctor.kernel_features import FEATURES
from console.doctor.probes import MachineProbes
from hoverboard.fastpath.engine import threads


def devices() -> set[str]:
    return set(os.listdir("/sys/class/net"))


def test_features_are_tried_out_of_sight() -> None:
    before, namespace = devices(), os.stat("/proc/self/ns/net").st_ino
    found = MachineProbes().kernel_features()
    assert isinstance(found, dict)
    assert set(found) == set(FEATURES)
    # The system ring itself stands on these.
    assert {name: found[name] for name in ("tun", "veth", "bridge")} == {"tun": "", "veth": "", "bridge": ""}
    assert not [device for device in devices() - before if device.startswith("p-")]
    assert os.stat("/proc/self/ns/net").st_ino == namespace


def test_looking_for_the_openvswitch_module_does_not_load_it() -> None:
    loaded = Path("/sys/module/openvswitch")
    before = loaded.exists()
    answer = MachineProbes().openvswitch_module()
    assert loaded.exists() is before
    assert (answer == "loaded") is before


def test_the_set_up_machine_can_run(state: Path) -> None:
    lines = run_doctor(MachineProbes())
    assert [line for line in lines if line.required and line.state != "ok"] == []
    versions = {line.name: line.detail for line in lines}
    for tool in ("ovs-vswitchd", "ovsdb-server", "iperf3", "ping", "ethtool", "tcpdump"):
        assert versions[tool][0].isdigit(), f"{tool}: {versions[tool]}"
    assert versions["dead runs"] == "none"


@pytest.mark.rootless
def test_the_compiled_fast_path_is_found_when_it_is_loaded() -> None:
    threads.load()
    assert MachineProbes().compiled_fast_path()


def test_a_run_that_died_is_found(state: Path) -> None:
    dead = state / "t-dead"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "ledger.jsonl").write_text('{"record":"run","version":1,"run":"t-dead","boot":"another"}\n')
    assert MachineProbes().dead_runs() == ["t-dead"]
