"""Real switches without any: the programs are stand-ins that note their command lines."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.programming import ovs_bridges
from experiments.programming import point as module
from experiments.programming.ovs_bridges import Bridges
from experiments.programming.point import Point
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.errors import MeasurementError
from tests.unit.experiments.tools.no_namespace import program

NOTE = '#!/bin/sh\nprintf "%s\\n" "${0##*/} $*" >> "$NOTED"\n'
# A daemon makes its sockets and listens on them a little later, as ovsdb-server does, and stays.
LISTEN = """
import socket, sys, time
sockets = [socket.socket(socket.AF_UNIX) for path in sys.argv[1:]]
for one, path in zip(sockets, sys.argv[1:]):
    one.bind(path)
time.sleep(0.1)
for one in sockets:
    one.listen()
time.sleep(60)
"""
# `unshare -n` is left out.
DAEMON = NOTE + 'for one in "$@"; do case "$one" in --unixctl=*) socket="${one#--unixctl=}";; esac; done\n'
STAYS = f"exec {sys.executable} -ISc '{LISTEN}' "
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
VSCTL = NOTE + f'exec {sys.executable} -ISc "{CONNECT}" "$OVS_RUNDIR/db.sock"\n'


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the programs note their command lines."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder, "ovsdb-tool", NOTE)
    program(folder, "ovs-vsctl", VSCTL)
    program(folder, "ovs-ofctl", NOTE + 'echo "NXST_AGGREGATE reply: packet_count=1 byte_count=2 flow_count=42 x"\n')
    program(folder, "ovsdb-server", NOTE + STAYS + '"$OVS_RUNDIR/db.sock"\n')
    program(folder, "unshare", '#!/bin/sh\nshift\nexec "$@"\n')
    program(folder, "ovs-vswitchd", DAEMON + STAYS + '"$socket"\n')
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("NOTED", str(tmp_path / "noted"))
    return tmp_path / "noted"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    return path


def lines(noted: Path) -> list[str]:
    return noted.read_text().splitlines()


def test_the_programs_are_started_and_ended(noted: Path, run: Path) -> None:
    bridges = Bridges(run, Path("/somewhere/control.sock"))
    pids = [process.pid for process in bridges._processes]
    assert lines(noted) == [
        f"ovsdb-tool create {run}/conf.db {ovs_bridges.SCHEMA}",
        f"ovsdb-server conf.db --remote=punix:{run}/db.sock --unixctl={run}/db.ctl",
        f"ovs-vsctl -t 60 --db=unix:{run}/db.sock --no-wait init",
        f"ovs-vswitchd unix:{run}/db.sock --unixctl={run}/vswitchd.ctl --enable-dummy --log-file=vswitchd.log",
    ]
    assert (run / "of.sock").readlink() == Path("/somewhere/control.sock")
    assert bridges.cpu_seconds() >= 0
    bridges.close()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_bridges_have_their_datapath_ids_ports_and_controller(noted: Path, run: Path) -> None:
    bridges = Bridges(run, Path("/control.sock"))
    bridges.make({"h0": (0xAB, {"vp0": 5, "vp1": 6}), "hv0": (0xCD, {})})
    bridges.make({"alone": (1, {})}, controller=False)
    bridges.close()
    first, second = lines(noted)[-2:]
    made = (
        "-- set bridge {} datapath_type=netdev protocols=OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15 fail-mode=secure "
        "other-config:datapath-id={:016x}"
    )
    control = f"-- set-controller {{0}} unix:{run}/of.sock -- set controller {{0}} max_backoff=1000"
    port = "-- add-port h0 {0} -- set interface {0} type=dummy ofport_request={1}"
    assert first == " ".join(
        [
            f"ovs-vsctl -t 60 --db=unix:{run}/db.sock", "-- add-br h0", made.format("h0", 0xAB), control.format("h0"),
            port.format("vp0", 5), port.format("vp1", 6), "-- add-br hv0", made.format("hv0", 0xCD),
            control.format("hv0"),
        ]
    )  # fmt: skip
    assert "controller" not in second.replace("set-controller", "")


def test_many_bridges_are_made_by_several_commands(noted: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ovs_bridges, "_BATCH", 2)
    bridges = Bridges(run, Path("/control.sock"))
    bridges.make({f"h{number}": (number, {}) for number in range(5)}, controller=False)
    bridges.close()
    assert [line.count("add-br") for line in lines(noted)[4:]] == [2, 2, 1]


def test_flows_are_counted_by_the_bridge_itself(noted: Path, run: Path) -> None:
    bridges = Bridges(run, Path("/control.sock"))
    assert bridges.flow_count("h0") == 42
    assert bridges.ofctl("add-flows", "h0", "file", options=("--bundle",)).startswith("NXST")
    bridges.close()
    assert lines(noted)[-2:] == [
        f"ovs-ofctl -O OpenFlow14 dump-aggregate {run}/h0.mgmt",
        f"ovs-ofctl -O OpenFlow14 --bundle add-flows {run}/h0.mgmt file",
    ]


def test_a_command_that_is_refused_keeps_its_words(noted: Path, run: Path) -> None:
    program(noted.parent / "bin", "ovsdb-tool", "#!/bin/sh\necho 'no such schema' >&2\nexit 1\n")
    with pytest.raises(MeasurementError, match="no such schema") as caught:
        Bridges(run, Path("/control.sock"))
    assert caught.value.where.startswith("ovsdb-tool create")
    program(noted.parent / "bin", "ovsdb-tool", "#!/bin/sh\nexit 7\n")
    (run / "of.sock").unlink()
    with pytest.raises(MeasurementError, match="exit code 7"):
        Bridges(run, Path("/control.sock"))


def test_a_call_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1_000_003.0, 1_000_005.5])
    monkeypatch.setattr(ovs_bridges, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    done: list[bool] = []
    assert ovs_bridges.timed(lambda: done.append(True)) == 2.5
    assert done == [True]


class Plane:
    """Bridges and a front end that only say whether they are up; each bridge connects when it is made."""

    made: list[Plane] = []

    def __init__(self, *given: Any) -> None:
        self.given, self.done = given, []
        self.bridges: dict[str, tuple[int, dict[str, int]]] = {}
        self.seconds = 10.0
        Plane.made.append(self)

    async def start(self) -> None:
        self.done.append("start")

    async def stop(self) -> None:
        self.done.append("stop")

    def make(self, nodes: Mapping[str, tuple[int, dict[str, int]]]) -> None:
        self.bridges = dict(nodes)
        front_end = next(one for one in Plane.made if len(one.given) == 2 and not isinstance(one.given[1], Path))
        events = front_end.given[1]
        for dpid, ports in nodes.values():
            events.switch_connected(Session(dpid), ports)
        events.switch_disconnected(Session(1))
        events.port_changed(Session(1), "vp9", 3)
        events.packet_in(Session(1), object())
        events.connected += 1

    def cpu_seconds(self) -> float:
        self.seconds *= 1.5
        return self.seconds

    def flow_count(self, name: str) -> int:
        return 9 if name.startswith("hv") else 4

    def close(self) -> None:
        self.done.append("close")


class Session:
    """A switch that takes all it is sent."""

    def __init__(self, dpid: int) -> None:
        self.dpid = dpid

    async def send(self, program: object) -> None: ...

    async def dump(self) -> list[Any]:
        return []

    def close(self) -> None: ...


def test_a_point_on_bridges_counts_what_they_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plane, "made", [])
    monkeypatch.setattr(module, "FrontEnd", Plane)
    monkeypatch.setattr(module, "Bridges", Plane)
    directories: list[dict[str, str]] = []

    def short(**settings: str) -> Any:
        directories.append(settings)
        return tempfile.TemporaryDirectory()

    monkeypatch.setattr(module, "tempfile", SimpleNamespace(TemporaryDirectory=short))
    point = Point("hoverboard", 4, 2, switches="ovs")
    point.cluster.write_request(tmp_path / "request")
    found = asyncio.run(module.measure(point, tmp_path / "request"))
    assert found["flows"] == 2 * 4 + 9
    assert found["flows_by_class"] == {
        "host": {"switches": 2, "flows": 8, "largest": 4}, "hoverboard": {"switches": 1, "flows": 9, "largest": 9},
    }  # fmt: skip
    assert found["switch_cpu_seconds"] == 7.5
    assert "bytes" not in found
    front_end, bridges = Plane.made
    assert (front_end.done, bridges.done) == (["start", "stop"], ["close"])
    assert bridges.given[1] == front_end.given[0]
    assert bridges.given[0] == front_end.given[0].parent
    dpid = datapath_id(point.cluster.host(0).underlay_ip)
    assert bridges.bridges["h0"] == (dpid, point.cluster.ports(0))
    assert bridges.bridges["hv0"][1] == {}
    assert not front_end.given[0].parent.exists()
    assert directories == [{"prefix": "hb", "dir": "/tmp"}]  # paths of sockets are short
