"""The fake switch and fabric by themselves; `tests/system/control_plane/` compares them with a real Open vSwitch."""

from __future__ import annotations

import pytest

from controllers.program import Program
from controllers.testing.fake_switch import FakeFabric, FakeSwitch, ipv4_packet
from hoverboard.contract.openflow.flow import (
    CONTROLLER,
    IN_PORT,
    Action,
    Flow,
    Goto,
    Match,
    Output,
    SetField,
)
from hoverboard.contract.openflow.pipeline import ETH_IPV4, ETH_IPV6, TUNNEL_PORT

PACKET = ipv4_packet("06:00:00:00:00:01", 0x0A000001, 0x0A000002)
TO_TWO = (Match("eth_type", ETH_IPV4), Match("ipv4_dst", 0x0A000002))


def flow(table: int, priority: int, match: tuple[Match, ...], actions: tuple[Action, ...], cookie: int = 0) -> Flow:
    return Flow(table, priority, match, actions, cookie)


def switch(*flows: Flow) -> FakeSwitch:
    made = FakeSwitch()
    made.apply(Program(adds=flows))
    return made


def test_the_highest_priority_decides_and_tables_follow_each_other() -> None:
    low = flow(0, 1, (), (Output(9),))
    high = flow(0, 2, TO_TWO, (SetField("metadata", 7), SetField("eth_src", 5), Goto(3)))
    last = flow(3, 1, (Match("metadata", 7),), (Output(4), Output(1), Output(IN_PORT)))
    verdict = switch(low, high, last).process(PACKET, in_port=1)
    assert [port for port, _ in verdict.outputs] == [4, 1]  # back to its own port only by IN_PORT
    assert verdict.outputs[0][1]["eth_src"] == 5
    assert (verdict.path, verdict.dropped) == ((high, last), "")


def test_a_packet_without_a_flow_or_an_output_is_dropped_with_a_reason() -> None:
    assert FakeSwitch().process(PACKET, 1).dropped == "table-miss"
    assert switch(flow(0, 1, (), ())).process(PACKET, 1).dropped == "no-output"


def test_a_field_exists_only_in_packets_that_can_have_it() -> None:
    made = switch(flow(0, 1, (Match("ipv4_dst", 0x0A000002),), (Output(2),)))
    assert made.process(PACKET, 1).outputs
    assert not made.process({**PACKET, "eth_type": ETH_IPV6}, 1).outputs


def test_a_mask_leaves_bits_out() -> None:
    made = switch(flow(0, 1, (TO_TWO[0], Match("ipv4_dst", 0x0A000000, 0xFFFFFF00)), (Output(2),)))
    assert made.process(PACKET, 1).outputs
    assert not made.process({**PACKET, "ipv4_dst": 0x0A000102}, 1).outputs


def test_a_program_removes_before_it_adds_and_a_flow_that_is_not_there_is_no_error() -> None:
    one = flow(0, 1, (), (Output(2),))
    made = switch(one)
    made.apply(Program(deletes=(one.key, flow(0, 9, (), ()).key), adds=(one,)))
    assert made.dump() == [one]
    made.apply(Program(deletes=(one.key,)))
    assert made.dump() == []


def test_a_tunnelled_packet_reaches_the_node_with_its_address() -> None:
    tunnel = SetField("tun_ipv4_dst", 2), SetField("tunnel_id", 7)
    out = flow(0, 1, (Match("in_port", 4),), (*tunnel, Output(TUNNEL_PORT)))
    into = flow(0, 1, (Match("in_port", TUNNEL_PORT), Match("tunnel_id", 7)), (Output(5),))
    fabric = FakeFabric({"h1": switch(out), "h2": switch(into)}, {2: "h2"})
    journey = fabric.send("h1", 4, PACKET)
    assert (journey.delivered, journey.hops, journey.dropped) == ((("h2", 5),), ("h1", "h2"), ())
    assert FakeFabric(fabric.switches).send("h1", 4, PACKET).dropped == ("underlay",)


def test_a_packet_for_the_controller_has_its_switch_port_and_cookie() -> None:
    fabric = FakeFabric({"h1": switch(flow(0, 1, (), (Output(CONTROLLER),), cookie=3))})
    assert fabric.send("h1", 8, PACKET).punted == (("h1", 8, 3),)


def test_a_loop_is_an_error() -> None:
    back = switch(flow(0, 1, (), (SetField("tun_ipv4_dst", 1), Output(IN_PORT))))
    with pytest.raises(RuntimeError, match="a loop: h1 -> h1"):
        FakeFabric({"h1": back}, {1: "h1"}).send("h1", TUNNEL_PORT, PACKET)
