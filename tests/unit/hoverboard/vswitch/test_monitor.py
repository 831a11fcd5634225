"""The running flow monitor: what comes through its pipe in pieces, when it begins, and its end."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from hoverboard.vswitch.monitor import Change, FlowMonitor, parse_event
from tests.unit.hoverboard.fake_commands import FakeCommands

MANAGEMENT = "unix:/nowhere/br-int.mgmt"
INITIAL = b"OFPST_FLOW_MONITOR reply (OF1.4) (xid=0x2):\n event=INITIAL table=0 cookie=0 in_port=1 actions=drop\n"
LATER = b"OFPST_FLOW_MONITOR reply (OF1.4) (xid=0x0):\n"
ADDED = b" event=ADDED table=50 cookie=0x7 metadata=0x7,nw_dst=10.0.0.3 actions=output:1\n"
CHANGE = Change(vni=7, dst=IPv4Network("10.0.0.3"))


class Monitored:
    """A monitor, and the pipe that it reads from."""

    def __init__(self, directory: Path, commands: FakeCommands) -> None:
        fifo = directory / "fifo"
        os.mkfifo(fifo)
        commands.put("ovs-ofctl", then=f'printf %s "$OVS_RUNDIR" >{directory}/rundir; exec cat {fifo}')
        self.monitor = FlowMonitor(MANAGEMENT, directory)
        self.pipe = os.open(fifo, os.O_WRONLY)

    def say(self, data: bytes) -> list[Change]:
        """Changes that are read once the monitor has printed `data`."""
        os.write(self.pipe, data)
        return self.next()

    def next(self) -> list[Change]:
        assert select.select([self.monitor], [], [], 10)[0], "nothing came through the pipe"
        return self.monitor.read()

    def end(self) -> None:
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1


@pytest.fixture
def watched(tmp_path: Path, commands: FakeCommands) -> Iterator[Monitored]:
    made = Monitored(tmp_path, commands)
    yield made
    made.end()
    if made.monitor._process.poll() is None or not made.monitor._output.closed:
        made.monitor.close()


def test_the_bridge_is_watched_with_the_nodes_own_directory(
    watched: Monitored, commands: FakeCommands, tmp_path: Path
) -> None:
    watched.say(INITIAL)
    assert commands.calls("ovs-ofctl") == [["-O", "OpenFlow14", "monitor", MANAGEMENT, "watch:"]]
    assert (tmp_path / "rundir").read_text() == str(tmp_path)


def test_nothing_to_read_is_no_change_and_no_wait(watched: Monitored) -> None:
    assert watched.monitor.read() == []
    assert not watched.monitor.ended
    assert watched.say(LATER + ADDED) == [CHANGE]
    assert watched.monitor.read() == []


def test_lines_come_in_pieces(watched: Monitored) -> None:
    whole = LATER + ADDED
    assert watched.say(whole[:70]) == []
    assert watched.say(whole[70:-1]) == []
    assert watched.say(b"\n" + ADDED + ADDED[:20]) == [CHANGE, CHANGE]
    assert watched.say(ADDED[20:]) == [CHANGE]


def test_the_watch_has_begun_once_the_flows_there_are_were_listed(watched: Monitored) -> None:
    assert not watched.monitor.begun()
    assert watched.say(LATER + ADDED) == [CHANGE]
    assert not watched.monitor.begun(), "later reports have number 0"
    assert watched.say(INITIAL[:20]) == []
    assert not watched.monitor.begun()
    assert watched.say(INITIAL[20:]) == []
    assert watched.say(LATER + ADDED) == [CHANGE]
    assert watched.monitor.begun(), "also if it is asked only later"
    assert not watched.monitor.begun(), "it begins once"


def test_a_monitor_whose_switch_went_away_has_ended(watched: Monitored) -> None:
    assert watched.say(ADDED) == [CHANGE]
    watched.end()
    assert watched.next() == []
    assert watched.monitor.ended
    watched.monitor.close()
    with pytest.raises(ValueError, match="closed"):
        watched.monitor.fileno()


@pytest.mark.parametrize("seen", [True, False])
def test_a_monitor_that_closes_its_pipe_and_does_not_exit_is_ended_at_once(
    tmp_path: Path, commands: FakeCommands, seen: bool
) -> None:
    ctl = f"{tmp_path}/ovs-ofctl.$$.ctl"
    commands.put("ovs-ofctl", then=f"trap '' TERM; : >{ctl}; exec >&- 2>&-; exec sleep 60")
    monitor = FlowMonitor(MANAGEMENT, tmp_path)
    assert select.select([monitor], [], [], 10)[0]
    begin = time.monotonic()
    if seen:
        assert monitor.read() == []
        assert monitor.ended, "read() ends the process"
    monitor.close()
    assert time.monotonic() - begin < 4, "the host's loop waits for nothing"
    assert monitor.ended
    assert list(tmp_path.glob("*.ctl")) == []


def test_a_closed_monitor_leaves_no_process(watched: Monitored) -> None:
    assert not watched.monitor.ended
    watched.monitor.close()
    assert watched.monitor.ended


def test_an_end_that_its_reader_has_not_seen_is_seen_by_asking(watched: Monitored) -> None:
    watched.end()
    assert select.select([watched.monitor], [], [], 10)[0]
    watched.monitor.close()
    assert watched.monitor.ended


@pytest.mark.parametrize(
    ("line", "change"),
    [
        ("event=ADDED table=0 in_port=100 actions=bundle(eth_src, in_port=9)", Change(100)),
        ("event=ADDED table=0 in_port=LOCAL", Change()),
        ('event=ADDED table=1 in_port="vp100",ip', Change()),
        ("event=ADDED table=1 metadata=0x7,tun_id=0x8", Change(vni=7, tun_id=8)),
        ("event=ADDED table=1 tun_id=0x1f", Change(tun_id=31)),
        ("event=ADDED table=1 tun_id=0x1f/0xff,metadata=0x123456789abcdef0", Change(vni=0x123456789ABCDEF0)),
        ("event=ADDED table=1 reg0=0x7,xreg1=0x7,ct_nw_src=10.0.0.1,arp_spa=10.0.0.1,tun_src=10.0.0.1", Change()),
        ("event=ADDED table=1 metadata=0x7/0xff", Change()),
        ("event=ADDED table=1 nw_src=10.0.0.9/24", Change(src=IPv4Network("10.0.0.0/24"))),
        ("event=ADDED table=1 nw_dst=10.0.0.0/16", Change(dst=IPv4Network("10.0.0.0/16"))),
        ("event=ADDED table=1 nw_dst=10.0.0.0/255.0.255.0", Change()),
        (
            "event=ADDED table=40 cookie=0 tcp,metadata=0x7,nw_src=0.0.0.1/0.0.0.3,nw_dst=10.0.0.100,tp_src=0x2/0x1e",
            Change(vni=7, dst=IPv4Network("10.0.0.100")),
        ),
        ("event=ADDED table=1 ipv6,ipv6_src=::1/::3,ipv6_dst=fd00::/ffff:0:ffff::", Change()),
        ("event=ADDED table=1 ipv6,ipv6_src=fd00::/33", Change(src=IPv6Network("fd00::/33"))),
        ("event=ADDED table=1 nw_src=something.new,nw_dst=10.0.0.0/40", Change()),
        (
            "event=ADDED table=1 ipv6_src=fd00::2,ipv6_dst=fd00::/64",
            Change(src=IPv6Network("fd00::2"), dst=IPv6Network("fd00::/64")),
        ),
        ("event=INITIAL table=0 in_port=100", None),
        ("  event=ABBREV xid=0x5 in_port=100", Change()),
        ("event=RENAMED table=0 in_port=100", Change()),
        ("event=ADDED", Change()),
        ("event=DELETED reason=hard table=1 hard_timeout=1 cookie=0 in_port=100,tcp,tcp_flags=+syn", Change(100)),
        ("event=MODIFIED table=1 cookie=0x98 in_port=100 actions=set_field:1.2.3.4->ip_src,output:1", Change(100)),
        ("OFPT_HELLO event=ADDED in_port=100", None),
    ],
)
def test_what_a_change_is_about(line: str, change: Change | None) -> None:
    assert parse_event(line) == change
