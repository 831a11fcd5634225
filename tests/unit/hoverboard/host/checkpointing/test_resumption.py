"""A host process that takes over from one that was killed, and a switch that has to agree with it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hoverboard.contract.errors import RunError, SwitchError
from hoverboard.host.checkpointing.checkpoint import CheckpointSource, CheckpointWriter
from hoverboard.host.checkpointing.resumption import Resumption
from hoverboard.host.control.host_client import HostConfig

NEIGHBOURS = ("172.16.0.2", "172.16.255.1")
VPORTS = {"blue-1": ("vp100", 100), "blue-2": ("vp101", 101)}


class Switch:
    """Ports by name, and what was asked for; `away`: raised by whatever is asked."""

    def __init__(self) -> None:
        self.ports: dict[str, int] = {"gnv": 1}
        self.asked: list[tuple[Any, ...]] = []
        self.away: Exception | None = None

    def check_reachable(self) -> None:
        if self.away is not None:
            raise self.away

    def vports(self) -> dict[str, int]:
        return dict(self.ports)

    def configure(self, **settings: Any) -> None:
        self.asked.append(("configure", settings))

    def address_physical_bridge(self, address: str) -> None:
        self.asked.append(("address", address))

    def set_neighbours(self, addresses: tuple[str, ...]) -> None:
        self.asked.append(("neighbours", addresses))

    def add_vport(self, name: str, ofport: int, *, vm: str, device: bool) -> int:
        self.asked.append(("add", name, ofport, vm, device))
        return ofport

    def remove_vport(self, name: str) -> None:
        self.asked.append(("remove", name))


def config(directory: Path, **more: Any) -> HostConfig:
    given: dict[str, Any] = {
        "run": "r", "node": "h1", "role": "host", "dataplane": "fastpath", "datapath_type": "netdev",
        "underlay_ip": "172.16.0.1", "underlay_prefixlen": 16, "node_dir": str(directory),
        "control_address": "unix:control", "openflow_address": "tcp:127.0.0.1:6653", **more,
    }  # fmt: skip
    return HostConfig(**given)


def resumption(directory: Path, switch: Switch, **more: Any) -> Resumption:
    return Resumption(config(directory, **more), switch, CheckpointWriter())  # type: ignore[arg-type]


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
def resumed(tmp_path: Path, switch: Switch) -> Resumption:
    """The successor of a process with two VMs."""
    checkpoint_writer = CheckpointWriter()
    before = Resumption(config(tmp_path), switch, checkpoint_writer)  # type: ignore[arg-type]
    before.keep(lambda: VPORTS, CheckpointSource())
    while checkpoint_writer.due is not None:
        checkpoint_writer.flush(checkpoint_writer.due)
    checkpoint_writer.close()
    return resumption(tmp_path, switch, resume=True)


def test_the_first_process_has_nothing_to_take_over(tmp_path: Path, switch: Switch) -> None:
    first = resumption(tmp_path, switch)
    assert (first.saved.vports, first.refused, first.settled) == ({}, None, True)
    assert first.status() == {"resumed": False, "refused": None, "settled": True}
    assert switch.asked == []


def test_the_next_process_knows_the_vports_of_the_one_before(resumed: Resumption) -> None:
    assert resumed.saved.vports == VPORTS
    assert (resumed.refused, resumed.settled) == (None, False)
    assert resumed.status() == {"resumed": True, "refused": None, "settled": False}
    assert resumed.vport("blue-1", None) == ("vp100", 100)
    assert resumed.vport("blue-1", "vp7") == ("vp100", 100), "the checkpoint knows better"


@pytest.mark.parametrize("other", [{"node": "h2"}, {"underlay_ip": "172.16.0.9"}, {"dataplane": "ovs"}])
def test_a_checkpoint_of_another_is_refused_and_the_process_goes_on(
    resumed: Resumption, tmp_path: Path, switch: Switch, other: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = resumption(tmp_path, switch, resume=True, **other)
    assert stranger.saved.vports == {}
    assert stranger.refused is not None
    assert "another owner" in stranger.refused
    assert "the checkpoint is not used" in capsys.readouterr().err


def test_without_a_checkpoint_it_says_why(tmp_path: Path, switch: Switch) -> None:
    assert "no checkpoint" in str(resumption(tmp_path, switch, resume=True).refused)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (None, None),
        ("vp7", ("vp7", 7)),
        ("eth5", ("eth5", 105)),
        ("eth6", None),
        ("vpx", ("vpx", 106)),
        ("7", None),
    ],
)
def test_a_vm_that_no_checkpoint_names_is_looked_for_by_the_name_of_its_vport(
    tmp_path: Path, switch: Switch, name: str | None, found: tuple[str, int] | None
) -> None:
    switch.ports |= {"eth5": 105, "vpx": 106}
    assert resumption(tmp_path, switch, resume=True).vport("blue-1", name) == found
    assert resumption(tmp_path, switch).vport("blue-1", name) is None, "no process was there before"


def test_a_switch_that_is_away_cannot_be_asked_for_a_vport(tmp_path: Path, switch: Switch) -> None:
    switch.away = SwitchError("ovs-vswitchd is away")
    new = resumption(tmp_path, switch, resume=True)
    assert new.vport("blue-1", "vp7") == ("vp7", 7)
    with pytest.raises(SwitchError, match="away"):
        new.vport("blue-1", "eth5")


MORE_DOORS = (("unix:c2", "tcp:127.0.0.1:6654"), ("unix:c3", "tcp:127.0.0.1:6655"))


@pytest.mark.parametrize(("dataplane", "uplink"), [("fastpath", None), ("ovs", "up0")])
def test_a_new_switch_gets_its_bridges(tmp_path: Path, switch: Switch, dataplane: str, uplink: str | None) -> None:
    new = resumption(
        tmp_path, switch, dataplane=dataplane, uplink_device="up0", more_endpoints=MORE_DOORS, neighbours=NEIGHBOURS
    )
    new.configure()
    controllers = ["tcp:127.0.0.1:6653", "tcp:127.0.0.1:6654", "tcp:127.0.0.1:6655"]
    assert switch.asked == [
        (
            "configure",
            {"datapath_type": "netdev", "underlay_ip": "172.16.0.1", "prefixlen": 16, "controllers": controllers,
             "uplink_device": uplink},
        ),
        *([("neighbours", NEIGHBOURS)] if dataplane == "ovs" else []),
    ]  # fmt: skip


def test_a_switch_that_others_program_connects_to_them_alone(tmp_path: Path, switch: Switch) -> None:
    resumption(tmp_path, switch, more_endpoints=MORE_DOORS, external=True).configure()
    ((_, settings),) = switch.asked
    assert settings["controllers"] == ["tcp:127.0.0.1:6653"]


def test_a_switch_that_agrees_is_left_as_it_is(resumed: Resumption, switch: Switch) -> None:
    switch.ports |= dict(VPORTS.values())
    assert resumed.settle(VPORTS)
    assert switch.asked == []
    assert resumed.settled
    assert resumed.saved.vports == {}, "what was saved is not looked at again"


def test_missing_ports_are_made_again_and_those_of_vms_that_went_are_removed(
    resumed: Resumption, switch: Switch
) -> None:
    switch.ports |= {"vp100": 100, "vp101": 101}
    now = {"blue-1": ("vp100", 100), "blue-3": ("vp102", 102), "blue-4": ("eth7", 103)}
    assert resumed.settle(now)
    assert switch.asked == [
        ("remove", "vp101"), ("add", "vp102", 102, "blue-3", False), ("add", "eth7", 103, "blue-4", True),
    ]  # fmt: skip


def test_a_port_with_another_number_is_asked_for_again(
    resumed: Resumption, switch: Switch, capsys: pytest.CaptureFixture[str]
) -> None:
    switch.ports |= {"vp100": 5, "vp101": 101}
    assert resumed.settle(VPORTS)
    assert switch.asked == [("add", "vp100", 100, "blue-1", False)]
    assert capsys.readouterr().err == ""
    switch.add_vport = lambda *_port, **_more: 9  # type: ignore[method-assign]
    assert resumed.settle(VPORTS)
    assert "vp100 of blue-1 is port 9 now, not 100" in capsys.readouterr().err


@pytest.mark.parametrize("dataplane", ["fastpath", "ovs"])
def test_a_switch_that_lost_its_bridges_gets_them_again(tmp_path: Path, switch: Switch, dataplane: str) -> None:
    new = resumption(tmp_path, switch, dataplane=dataplane, uplink_device="up0", resume=True, neighbours=NEIGHBOURS)
    assert new.settle({})
    assert switch.asked == (
        [] if dataplane == "fastpath" else [("address", "172.16.0.1/16"), ("neighbours", NEIGHBOURS)]
    )
    switch.asked.clear()
    del switch.ports["gnv"]
    assert new.settle({})
    again = ["configure"] if dataplane == "fastpath" else ["configure", "neighbours"]
    assert [what for what, *_ in switch.asked] == again


def test_a_switch_that_is_away_is_tried_again(
    resumed: Resumption, switch: Switch, capsys: pytest.CaptureFixture[str]
) -> None:
    for away in (SwitchError("ovs-vswitchd is away"), RunError("whatever")):
        switch.away = away
        assert resumed.settle({}) is False
        assert not resumed.settled
        assert "is not as it should be yet" in capsys.readouterr().err
    switch.away = None
    assert resumed.settle({}) is True
    assert sorted(switch.asked) == [("remove", "vp100"), ("remove", "vp101")], "nothing was forgotten meanwhile"
    switch.away = away
    assert not resumed.settle({})
    assert not resumed.settled, "as it was before is not as it is now"


def test_a_port_is_removed_at_once_or_when_the_switch_is_back(
    tmp_path: Path, switch: Switch, capsys: pytest.CaptureFixture[str]
) -> None:
    new = resumption(tmp_path, switch)
    new.remove_vport("vp100")
    assert (switch.asked, new.settled) == ([("remove", "vp100")], True)
    switch.away = SwitchError("ovs-vswitchd is away")
    new.remove_vport("vp101")
    assert (switch.asked, new.settled) == ([("remove", "vp100")], False)
    assert "vp101 is removed later" in capsys.readouterr().err
    switch.away = None
    assert new.settle({})
    assert switch.asked[1:] == [("remove", "vp101")]
    assert new.settle({})
    assert switch.asked[1:] == [("remove", "vp101")], "once"
