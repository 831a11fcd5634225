"""`mininet.cli.CLI` on a `HoverboardNet`: each verb of Mininet does what its users expect; nodes survive any output."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE

import pytest
from mininet.cli import CLI
from mininet.util import pmonitor

from hoverboard.contract.errors import RunError
from tests.waiting import until
from topologies.net import HoverboardNet
from topologies.run.testbed import Testbed

pytestmark = pytest.mark.timeout(300)
ALL = "blue-1 blue-2 blue-3 fab h1 h2 h3 hv1 red-1 red-2 red-3"


@pytest.fixture(scope="module", params=["fastpath", "ovs"])
def net(request: pytest.FixtureRequest, module_testbed: Callable[..., Testbed]) -> HoverboardNet:
    """Two tenants with the same addresses on three hosts."""
    net = HoverboardNet.of(module_testbed("demo", dataplane=request.param))
    until(lambda: net.ping(timeout=1) == 0.0, 20, "every VM reaches every other one of its tenant")
    return net


@pytest.fixture
def typed(net: HoverboardNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Types lines into Mininet's command line, and gives what it prints by Mininet's logger."""
    handler = logging.getLogger("mininet").handlers[0]
    silent, writer = os.pipe()  # the command line polls its input, and passes it on to a command

    def type_lines(*lines: str) -> str:
        printed = io.StringIO()
        monkeypatch.setattr(handler, "stream", printed)
        script = tmp_path / "lines"
        script.write_text("".join(f"{line}\n" for line in lines))
        CLI(net, stdin=keyboard, script=str(script))
        return printed.getvalue()

    with os.fdopen(silent) as keyboard:
        yield type_lines
    os.close(writer)


def test_lists(typed: Callable[..., str]) -> None:
    assert typed("nodes") == f"available nodes are: \n{ALL}\n"
    assert re.search(r"^blue-1 eth0:nic\d+$", typed("net"), re.MULTILINE)
    assert re.search(r"^uplink<->to-h1 \(OK OK\)", typed("links"), re.MULTILINE)
    dumped = typed("dump")
    assert re.search(r"<VirtualMachine blue-1: eth0:10.0.0.2 pid=\d+>", dumped)
    assert re.search(r"<VMHost h1: .*uplink:172.16.0.1", dumped)
    assert re.search(r"^h1: (uplink|nic\d+),(uplink|nic\d+),(uplink|nic\d+)$", typed("intfs"), re.MULTILINE)
    (h1,) = re.findall(r"^h1 .*$", typed("ports"), re.MULTILINE)
    numbers = dict(pair.split(":") for pair in h1.split()[1:])
    # The numbers are those of OpenFlow.
    flows = typed("dpctl dump-flows table=0").partition("*** h2")[0]
    assert len(numbers) == 3
    assert all(f"in_port={number}" in flows for number in numbers.values()), (numbers, flows)


def test_pings_stay_within_a_tenant(typed: Callable[..., str]) -> None:
    shown = typed("pingall")
    assert "network blue: 3 VMs\nblue-1 -> blue-2 blue-3 \n" in shown
    assert "network red: 3 VMs\nred-1 -> red-2 red-3 \n" in shown
    assert "*** Results: 0% dropped (12/12 received)" in shown
    assert "(2/2 received)" in typed("pingpair")
    assert re.search(r" blue-1->blue-2: 1/1, rtt min/avg/max/mdev \d+\.\d{3}/", typed("pingpairfull"))
    assert len(re.findall(r": 1/1, rtt", typed("pingallfull"))) == 12
    assert "'soon' is no time-out" in typed("pingall soon")


def test_iperf_is_iperf3_and_ends(typed: Callable[..., str], net: HoverboardNet) -> None:
    shown = typed("iperf", "iperf blue-1 blue-2")
    assert "testing TCP bandwidth between blue-1 and blue-3" in shown
    assert len(re.findall(r"\*\*\* Results: \['[\d.]+ [MG]bits/sec', '[\d.]+ [MG]bits/sec'\]", shown)) == 2
    shown = typed("iperfudp 10M red-1 red-2")
    assert re.search(r"\*\*\* Results: \['10M', '[\d.]+ Mbits/sec', '[\d.]+ Mbits/sec'\], [\d.e-]+% lost", shown)
    assert "no packet crosses virtual networks: blue-1 in blue, red-2 in red" in typed("iperf blue-1 red-2")
    assert net.iperf([net["blue-1"], net["h1"]]) == []
    rates = net.iperf([net["blue-1"], net["blue-2"]], seconds=1, fmt="m")
    assert len(rates) == 2
    assert all(rate.endswith(" Mbits/sec") for rate in rates)


def test_the_link_of_a_host_goes_down_and_up(typed: Callable[..., str]) -> None:
    shown = typed("link h1 fab down", "links", "pingall 0.5")
    assert "uplink<->to-h1 (OK DOWN)" in shown
    assert "blue-1 -> X X \nblue-2 -> X blue-3 \n" in shown
    shown = typed("link fab h1 up", "links", "pingall")
    assert "DOWN" not in shown
    assert "0% dropped" in shown


def test_the_link_of_a_vm_goes_down_and_up(typed: Callable[..., str], net: HoverboardNet) -> None:
    before = net["blue-1"].cmd("ip -br address show eth0; ip route; ip -6 route")
    shown = typed("link blue-1 h1 down", "links", "pingall 0.5")
    assert re.search(r"eth0<->nic\d+ \(DOWN OK\)", shown)
    assert not net["blue-1"].defaultIntf().isUp()
    assert "blue-1 -> X X \nblue-2 -> X blue-3 \n" in shown
    assert "0% dropped" in typed("link h1 blue-1 up", "pingall")
    after = net["blue-1"].cmd("ip -br address show eth0; ip route; ip -6 route")
    assert sorted(after.split()) == sorted(before.split())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("link blue-1 h2 down", "there is no link between blue-1 and h2\n  -> blue-1 has a link to: h1"),
        ("link blue-1 nosuch down", "there is no node 'nosuch'"),
        ("link h1 fab sideways", "invalid type"),
        ("switch h1 stop", "h1 is stopped by its run"),
        ("switch fab stop", "fab is stopped with its run"),
        ("switch h1 start", "h1 is started and restarted by its run"),
        ("dpctl nonsense", "unknown command 'nonsense'"),
        ("dpctl monitor", "`dpctl monitor` does not end"),
        ("nosuch ls", "*** Unknown command: nosuch ls"),
    ],
)
def test_what_cannot_be_is_told_and_the_command_line_goes_on(
    typed: Callable[..., str], line: str, message: str
) -> None:
    shown = typed(line, "nodes")
    assert message in shown
    assert ALL in shown


def test_dpctl_reaches_every_switch(typed: Callable[..., str]) -> None:
    shown = typed("dpctl show")
    for name in ("h1", "h2", "h3", "hv1"):
        assert f"*** {name} ---" in shown
    assert shown.count("OFPT_FEATURES_REPLY") == 4
    assert "fab is a Linux bridge, without OpenFlow" in shown


def test_xterm_without_a_display_says_so(typed: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    assert typed("xterm blue-1", "x blue-1 xeyes").count("Cannot connect to display") == 2


def test_the_rest(typed: Callable[..., str], net: HoverboardNet, capfd: pytest.CaptureFixture[str]) -> None:
    typed("wait")
    shown = typed(
        "blue-1 echo in $(hostname -I)", "py net['blue-1'].IP()", "sh echo from the machine", "noecho blue-2 echo two",
        "px print(net['red-1'].cmd('echo from red'))", "blue-1 ping -c 1 blue-2", "time nodes",
    )  # fmt: skip
    printed = shown + capfd.readouterr().out
    for text in ("in 10.0.0.2", "from the machine", "two", "from red", "PING 10.0.0.3", "1 received", "Elapsed time"):
        assert text in printed, printed


# --- nodes: what is no UTF-8, and what was interrupted --------------------------------------------------------------


def test_a_byte_that_is_no_utf8_breaks_no_node(net: HoverboardNet) -> None:
    node = net["blue-2"]
    assert node.cmd(r"printf 'ok \xff end\n'") == "ok \N{REPLACEMENT CHARACTER} end\r\n"
    assert node.cmd("echo hello") == "hello\r\n"
    assert node.cmd("echo ä€") == "ä€\r\n"
    bad = ["printf", r"\xe4 out"]
    assert node.pexec(*bad) == ("\N{REPLACEMENT CHARACTER} out", "", 0)
    assert node.pexec("ls", "/nosuch")[2] != 0
    with node.popen(*bad, text=True) as process:
        assert process.communicate()[0] == "\N{REPLACEMENT CHARACTER} out"
    with node.popen(*bad, stdout=PIPE, stderr=PIPE) as process:
        assert process.communicate()[0] == b"\xe4 out"
    with node.popen("printf", r"a\nb\xff\n") as process:
        lines = [line for name, line in pmonitor({"blue-2": process}) if name]
    assert lines == ["a\n", "b\N{REPLACEMENT CHARACTER}\n"]


def test_a_command_while_another_runs_is_refused_by_name(net: HoverboardNet) -> None:
    node = net["red-3"]
    node.sendCmd("sleep 3")
    with pytest.raises(RunError, match="red-3 still runs: sleep 3"):
        node.cmd("echo hello")
    node.sendInt()
    node.waitOutput()
    assert node.cmd("echo hello") == "hello\r\n"


def test_ctrl_c_ends_the_command_and_the_node_goes_on(net: HoverboardNet, monkeypatch: pytest.MonkeyPatch) -> None:
    node, wait = net["red-2"], net["red-2"].waitOutput

    def interrupted(*_: object, **__: object) -> str:
        monkeypatch.setattr(node, "waitOutput", wait)
        raise KeyboardInterrupt

    node.cmd("true")
    monkeypatch.setattr(node, "waitOutput", interrupted)
    with pytest.raises(KeyboardInterrupt):
        node.cmd("sleep 3")
    assert node.cmd("echo hello") == "hello\r\n"


def test_a_vm_comes_and_goes_after_ports_have_their_openflow_numbers(net: HoverboardNet) -> None:
    """Mininet removes an interface by its number, and knows the numbers in both directions."""
    net._number_ports()
    for server in net.switches:
        assert server.intfs == {number: intf for intf, number in server.ports.items()}
    net.addVM("blue", "guest", host="h1")
    net.testbed.remove_vm("guest")
    net._number_ports()
    assert "guest" not in {vm.name for vm in net.testbed.topology.vms}
