"""One node's Open vSwitch as it is called: transactions, questions over its control socket, and what they say."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hoverboard.contract.errors import SwitchError
from hoverboard.vswitch.meters import Meters
from hoverboard.vswitch.ovs import Ovs, openflow_ports
from tests.unit.hoverboard.fake_commands import FakeCommands

SHOWN = """\
system@ovs-system: hit:0 missed:0
  br-int:
    br-int 65534/1: (internal)
    gnv 1/6: (geneve: key=flow)
    vp100 100/3: (internal)
  br-phy:
    br-phy 65534/2: (internal)
    up0 1/4: (system)
"""


def write_pid_file(directory: Path, pid: int = 77) -> Path:
    """Write the pid file of a vswitchd; its control socket."""
    (directory / "ovs-vswitchd.pid").write_text(f"{pid}\n")
    return directory / f"ovs-vswitchd.{pid}.ctl"


class Vswitchd:
    """A control socket that answers each command from `answers`: a text, or an error; None: breaks the connection."""

    def __init__(self, directory: Path) -> None:
        self.path = write_pid_file(directory)
        self.answers: dict[str, str | Exception | None] = {}
        self.asked: list[list[str]] = []
        self.connections = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                self.connections += 1
                while data := connection.recv(1 << 16):
                    request = json.loads(data)
                    if request["method"] == "end":
                        return
                    self.asked.append([request["method"], *request["params"]])
                    answer = self.answers[request["method"]]
                    if answer is None:
                        self.answers[request["method"]] = "back"
                        break
                    failed = isinstance(answer, Exception)
                    reply = {"id": request["id"], "result": None, "error": None}
                    reply["error" if failed else "result"] = str(answer)
                    connection.sendall(json.dumps(reply).encode())

    def close(self, switch: Ovs) -> None:
        if switch._unixctl is not None:
            switch._unixctl.close()
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
            last.sendall(b'{"method": "end"}')
        self._thread.join(10)
        self._listener.close()


@pytest.fixture
def switch(tmp_path: Path) -> Ovs:
    return Ovs(tmp_path)


@pytest.fixture
def vswitchd(tmp_path: Path, switch: Ovs) -> Iterator[Vswitchd]:
    made = Vswitchd(tmp_path)
    yield made
    made.close(switch)


def joined(calls: list[list[str]]) -> list[str]:
    return [" ".join(call) for call in calls]


# --- the control socket -----------------------------------------------------------------------------------


def test_questions_go_over_one_connection(switch: Ovs, vswitchd: Vswitchd) -> None:
    vswitchd.answers = {"ofproto/trace": "Flow: ..", "version": ""}
    assert switch.appctl("ofproto/trace", "br-int", "in_port=1") == "Flow: .."
    assert switch.appctl("version") == ""
    assert vswitchd.asked == [["ofproto/trace", "br-int", "in_port=1"], ["version"]]
    assert vswitchd.connections == 1


def test_a_question_that_vswitchd_refuses_says_why(switch: Ovs, vswitchd: Vswitchd) -> None:
    vswitchd.answers = {"ofproto/trace": ValueError("no such bridge\n"), "version": "3.1"}
    with pytest.raises(SwitchError, match="ofproto/trace: no such bridge$") as caught:
        switch.appctl("ofproto/trace", "br-int", "x")
    assert caught.value.where == str(switch.directory)
    assert switch.appctl("version") == "3.1"
    assert vswitchd.connections == 1, "a refusal breaks no connection"


def test_a_vswitchd_that_was_restarted_is_asked_again_on_a_new_connection(switch: Ovs, vswitchd: Vswitchd) -> None:
    vswitchd.answers = {"version": "3.1", "dpif/show": None}
    switch.appctl("version")
    assert switch.appctl("dpif/show") == "back"
    assert vswitchd.connections == 2


def test_a_vswitchd_that_breaks_twice_is_given_up(switch: Ovs, vswitchd: Vswitchd) -> None:
    class Never(dict[str, "str | Exception | None"]):
        def __setitem__(self, name: str, answer: object) -> None:
            """It goes on breaking."""

    vswitchd.answers = Never(version=None)
    with pytest.raises(SwitchError, match="broke the connection"):
        switch.appctl("version")
    assert (vswitchd.connections, switch._unixctl) == (2, None)


def test_a_vswitchd_that_is_not_there_is_named(switch: Ovs) -> None:
    with pytest.raises(SwitchError, match="does not answer") as caught:
        switch.appctl("version")
    assert caught.value.where == str(switch.directory)
    switch.nudge()  # does nothing then


def test_a_nudge_is_a_harmless_question(switch: Ovs, vswitchd: Vswitchd) -> None:
    vswitchd.answers = {"version": "3.1"}
    switch.nudge()
    assert vswitchd.asked == [["version"]]


@pytest.mark.parametrize(
    ("there", "down"), [([], "ovsdb-server"), (["db.sock"], "ovs-vswitchd"), (["ovs-vswitchd.77.ctl"], "ovsdb-server")]
)
def test_the_process_that_is_down_is_named_before_anything_is_asked(switch: Ovs, there: list[str], down: str) -> None:
    listeners = []
    for name in there:
        listeners.append(socket.socket(socket.AF_UNIX))
        listeners[-1].bind(str(switch.directory / name))
        listeners[-1].listen()
    with pytest.raises(SwitchError, match=f"{down} is down") as caught:
        switch.check_reachable()
    assert caught.value.where == str(switch.directory)
    for listener in listeners:
        listener.close()


def test_a_switch_that_is_there_is_reachable(switch: Ovs) -> None:
    listeners = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for listener, path in zip(listeners, (switch.directory / "db.sock", write_pid_file(switch.directory)), strict=True):
        listener.bind(str(path))
        listener.listen()
    switch.check_reachable()
    for listener in listeners:
        listener.close()


# --- transactions -----------------------------------------------------------------------------------------


def test_a_transaction_goes_to_the_nodes_own_database(switch: Ovs, commands: FakeCommands) -> None:
    commands.put("ovs-vsctl", "  answer\n")
    assert switch.vsctl("list-ports", "br-int") == "answer"
    database = f"--db=unix:{switch.directory}/db.sock"
    assert commands.calls("ovs-vsctl") == [[database, "--timeout=10", "list-ports", "br-int"]]


@pytest.mark.parametrize(("error", "said"), [("no bridge\n", "list-ports: no bridge"), ("", "list-ports: exit code 3")])
def test_a_transaction_that_fails_says_why(switch: Ovs, commands: FakeCommands, error: str, said: str) -> None:
    commands.put("ovs-vsctl", error=error, code=3)
    with pytest.raises(SwitchError, match=said) as caught:
        switch.vsctl("list-ports", "br-int")
    assert caught.value.where == str(switch.directory)
    assert "ovs-vswitchd.log" in str(caught.value)


def test_a_transaction_that_does_not_end_is_given_up(switch: Ovs, commands: FakeCommands) -> None:
    commands.put("ovs-vsctl", then="exec sleep 60")
    with pytest.raises(SwitchError, match="did not end") as caught:
        switch.vsctl("show", timeout=-5)  # ovs-vsctl gets five seconds more
    assert caught.value.where == str(switch.directory)


def test_a_transaction_has_five_seconds_more_than_ovs_vsctl_gives_itself(
    switch: Ovs, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = []

    def run(command: list[str], *, timeout: float, **_: object) -> subprocess.CompletedProcess[str]:
        limits.append(timeout)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    switch.vsctl("show", timeout=7)
    assert limits == [12]


def test_ports_are_those_of_the_integration_bridge_once_it_has_settled(
    switch: Ovs, vswitchd: Vswitchd, commands: FakeCommands
) -> None:
    vswitchd.answers = {"dpif/show": SHOWN}
    commands.put("ovs-vsctl")
    assert switch.vports() == {"br-int": 65534, "gnv": 1, "vp100": 100}
    ((*_, verb, table, record, value),) = commands.calls("ovs-vsctl")
    assert [verb, table, record, value.rstrip("0123456789")] == ["set", "open_vswitch", ".", "external_ids:settled="]


def test_ports_of_one_bridge_only() -> None:
    assert openflow_ports(SHOWN, "br-phy") == {"br-phy": 65534, "up0": 1}
    assert openflow_ports(SHOWN, "br-none") == {}
    assert openflow_ports("    vp100 100/3: (internal)\n", "br-int") == {}


@pytest.mark.parametrize(("device", "more"), [(True, []), (False, ["type=internal"])])
def test_a_vport_asks_for_its_number(
    switch: Ovs, vswitchd: Vswitchd, commands: FakeCommands, device: bool, more: list[str]
) -> None:
    vswitchd.answers = {"dpif/show": SHOWN}
    commands.put("ovs-vsctl")
    assert switch.add_vport("vp100", 103, vm="blue-1", device=device) == 100, "the number that it has got"
    wanted = "--may-exist add-port br-int vp100 -- set interface vp100 ofport_request=103 external_ids:vm=blue-1"
    ((_db, _timeout, *command),) = commands.calls("ovs-vsctl")
    assert command == [*wanted.split(), *more]


def test_a_vport_without_a_number_is_an_error(switch: Ovs, vswitchd: Vswitchd, commands: FakeCommands) -> None:
    vswitchd.answers = {"dpif/show": SHOWN}
    commands.put("ovs-vsctl")
    with pytest.raises(SwitchError, match="vport vp1 got no OpenFlow port") as caught:
        switch.add_vport("vp1", 1, vm="blue-1", device=False)
    assert caught.value.where == str(switch.directory)
    assert "ovs-vswitchd.log" in str(caught.value)


def test_a_vport_is_removed_if_it_is_there(switch: Ovs, commands: FakeCommands) -> None:
    commands.put("ovs-vsctl")
    switch.remove_vport("vp100")
    assert commands.calls("ovs-vsctl")[0][2:] == ["--if-exists", "del-port", "br-int", "vp100"]


CONTROLLERS = ["tcp:10.0.0.1:6653", "tcp:10.0.0.2:6653"]


def configured(switch: Ovs, commands: FakeCommands, uplink: str | None) -> list[str]:
    """The commands of the one transaction that makes the bridges."""
    for name in ("ovs-vsctl", "ip"):
        commands.put(name)
    switch.configure(
        datapath_type="netdev", underlay_ip="172.16.0.1", prefixlen=16, controllers=CONTROLLERS, uplink_device=uplink
    )
    ((_db, _timeout, *words),) = commands.calls("ovs-vsctl")
    return " ".join(words).split(" -- ")


def test_the_integration_bridge_fails_secure_and_knows_its_controllers(switch: Ovs, commands: FakeCommands) -> None:
    made = configured(switch, commands, None)
    assert made == [
        "set open_vswitch . other_config:n-handler-threads=1 other_config:n-revalidator-threads=1 "
        "other_config:max-revalidator=2000",
        "--may-exist add-br br-int",
        "set bridge br-int datapath_type=netdev fail-mode=secure "
        "protocols=OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15 "
        "other-config:datapath-id=00000000ac100001 other-config:disable-in-band=true",
        "--may-exist add-port br-int gnv",
        "set interface gnv type=geneve ofport_request=1 options:remote_ip=flow options:key=flow "
        "options:dst_port=6081 options:local_ip=172.16.0.1",
        '--id=@c0 create controller target="tcp:10.0.0.1:6653" max_backoff=1000 inactivity_probe=0',
        '--id=@c1 create controller target="tcp:10.0.0.2:6653" max_backoff=1000 inactivity_probe=0',
        "set bridge br-int controller=[@c0,@c1]",
    ]
    assert commands.calls("ip") == [], "the fast path has the uplink"


def test_the_physical_bridge_holds_the_uplink_and_the_underlay_address(switch: Ovs, commands: FakeCommands) -> None:
    made = configured(switch, commands, "up0")
    assert made[0] == ("set open_vswitch . other_config:n-handler-threads=1 other_config:n-revalidator-threads=1")
    assert made[5:9] == [
        "--may-exist add-br br-phy",
        'set bridge br-phy datapath_type=netdev other-config:hwaddr="02:fa:ac:10:00:01"',
        "--may-exist add-port br-phy up0",
        "set interface br-phy mtu_request=65521",
    ]
    assert joined(commands.calls("ip")) == ["address replace 172.16.0.1/16 dev br-phy", "link set br-phy up"]


def test_a_switch_is_told_the_macs_of_its_neighbours(switch: Ovs, vswitchd: Vswitchd) -> None:
    vswitchd.answers = {"tnl/neigh/set": "OK"}
    switch.set_neighbours(["172.16.0.2", "172.16.255.1"])
    assert vswitchd.asked == [
        ["tnl/neigh/set", "br-phy", "172.16.0.2", "02:fa:ac:10:00:02"],
        ["tnl/neigh/set", "br-phy", "172.16.255.1", "02:fa:ac:10:ff:01"],
    ]


def test_a_physical_bridge_that_is_not_there_is_an_error(switch: Ovs, commands: FakeCommands) -> None:
    commands.put("ip", error='Cannot find device "br-phy"\n', code=1)
    with pytest.raises(SwitchError, match='ip address replace: Cannot find device "br-phy"') as caught:
        switch.address_physical_bridge("172.16.0.1/16")
    assert caught.value.where == str(switch.directory)
    assert len(commands.calls("ip")) == 1


# --- meters -----------------------------------------------------------------------------------------------


def metered(switch: Ovs, commands: FakeCommands, pps: int | None, bps: int | None) -> list[str]:
    """What is asked of the physical bridge."""
    meters = Meters(switch)
    meters.set(pps, bps)
    calls = joined(commands.calls("ovs-ofctl"))
    begin = f" unix:{switch.directory}/br-phy.mgmt "
    assert all(call.startswith("-O OpenFlow13 ") and begin in call for call in calls)
    return [call.removeprefix("-O OpenFlow13 ").replace(begin, " ") for call in calls]


def test_both_limits_are_two_meters_one_behind_the_other(switch: Ovs, commands: FakeCommands) -> None:
    commands.put("ovs-ofctl")
    assert metered(switch, commands, 20_000, 80_000_000) == [
        "add-meter meter=1,pktps,burst,stats,bands=type=drop,rate=20000,burst_size=200",
        "add-meter meter=2,kbps,burst,stats,bands=type=drop,rate=80000,burst_size=800",
        "add-flow table=0,udp,tp_dst=6081,priority=10,actions=meter:1,resubmit(,1)",
        "add-flow table=0,udp,tp_dst=6081,priority=20,in_port=LOCAL,actions=NORMAL",
        "add-flow table=1,udp,tp_dst=6081,priority=10,actions=meter:2,NORMAL",
        "add-flow table=1,udp,tp_dst=6081,priority=20,in_port=LOCAL,actions=NORMAL",
    ]


@pytest.mark.parametrize(
    ("pps", "bps", "meter"),
    [
        (50, None, "meter=1,pktps,burst,stats,bands=type=drop,rate=50,burst_size=1"),
        (None, 500, "meter=2,kbps,burst,stats,bands=type=drop,rate=1,burst_size=1"),
    ],
)
def test_one_limit_is_one_meter_and_small_ones_are_no_limit_of_nothing(
    switch: Ovs, commands: FakeCommands, pps: int | None, bps: int | None, meter: str
) -> None:
    commands.put("ovs-ofctl")
    added, flow, _own = metered(switch, commands, pps, bps)
    assert added == f"add-meter {meter}"
    assert flow == f"add-flow table=0,udp,tp_dst=6081,priority=10,actions=meter:{meter[6]},NORMAL"


def test_without_a_limit_the_switch_is_left_alone(switch: Ovs, commands: FakeCommands) -> None:
    commands.put("ovs-ofctl")
    meters = Meters(switch)
    meters.set(None, None)
    assert meters.drops() == {}
    assert commands.calls("ovs-ofctl") == []


def test_a_meter_of_the_host_process_before_is_taken_over(switch: Ovs, commands: FakeCommands) -> None:
    commands.put("ovs-ofctl", error="OFPT_ERROR: OFPMMFC_METER_EXISTS\n", code=1)
    with pytest.raises(SwitchError, match="add-flow"):
        Meters(switch).set(1_000, None)
    commands.put("ovs-ofctl", error="OFPT_ERROR: OFPMMFC_OUT_OF_METERS\n", code=1)
    with pytest.raises(SwitchError, match="ovs-ofctl add-meter: OFPT_ERROR: OFPMMFC_OUT_OF_METERS") as caught:
        Meters(switch).set(1_000, None)
    assert caught.value.where == f"unix:{switch.directory}/br-phy.mgmt"


METERED = """\
OFPST_METER reply (OF1.3) (xid=0x2):
meter:1 flow_count:1 packet_in_count:90 byte_in_count:900 duration:5s bands:
0: packet_count:{} byte_count:200
meter:2 flow_count:1 packet_in_count:80 byte_in_count:800 duration:5s bands:
0: packet_count:{} byte_count:100
"""


def test_what_the_meters_drop_is_over_capacity(switch: Ovs, commands: FakeCommands) -> None:
    commands.put("ovs-ofctl", METERED.format(20, 3))
    meters = Meters(switch)
    meters.set(1_000, 1_000)
    commands.calls("ovs-ofctl")
    assert meters.drops() == {"over-capacity": 23}
    assert [call[2] for call in commands.calls("ovs-ofctl")] == ["meter-stats"]
    commands.put("ovs-ofctl", METERED.format(0, 0))
    assert meters.drops() == {}
