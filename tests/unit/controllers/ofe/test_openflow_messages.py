"""OpenFlow messages: our flows to bytes and back, against os-ken's own serializer and parser."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.ofe import openflow
from controllers.ofe.messages import Hello
from controllers.ofe.templates import FlowModEncoder
from hoverboard.contract.openflow.flow import FIELDS, Action, Flow, Goto, Match, Move, Output, SetField

_PREREQUISITES = {
    "ipv4_src": {"eth_type": 0x0800}, "ipv4_dst": {"eth_type": 0x0800}, "ip_proto": {"eth_type": 0x0800},
    "icmpv4_type": {"eth_type": 0x0800, "ip_proto": 1},
    "arp_op": {"eth_type": 0x0806}, "arp_spa": {"eth_type": 0x0806}, "arp_tpa": {"eth_type": 0x0806},
    "arp_sha": {"eth_type": 0x0806}, "arp_tha": {"eth_type": 0x0806},
}  # fmt: skip
_MASKABLE = {"metadata", "tunnel_id", "eth_src", "eth_dst", "ipv4_src", "ipv4_dst", "arp_spa", "arp_tpa", "reg5"}
_SAME_WIDTH = [(a, b) for a in FIELDS for b in FIELDS if a != b and FIELDS[a].bits == FIELDS[b].bits]


def value(field: str) -> st.SearchStrategy[int]:
    return st.integers(0, (1 << FIELDS[field].bits) - 1)


@st.composite
def matches(draw: st.DrawFn) -> tuple[Match, ...]:
    chosen = draw(st.dictionaries(st.sampled_from(sorted(FIELDS)), st.none(), max_size=5))
    found: dict[str, Match] = {}
    for field in chosen:
        mask = draw(st.none() | value(field)) if field in _MASKABLE else None
        full = (1 << FIELDS[field].bits) - 1
        if mask in (0, full):
            mask = None
        number = draw(value(field))
        found[field] = Match(field, number if mask is None else number & mask, mask)
    for field in chosen:
        for name, needed in _PREREQUISITES.get(field, {}).items():
            found[name] = Match(name, needed)
    return tuple(found[name] for name in sorted(found))


_ACTIONS = st.one_of(
    st.sampled_from(sorted(FIELDS)).flatmap(lambda field: st.builds(SetField, st.just(field), value(field))),
    st.sampled_from(_SAME_WIDTH).map(lambda pair: Move(*pair)),
    st.builds(Output, st.integers(0, 0xFFFFFFFF)),
)


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    actions: list[Action] = list(draw(st.lists(_ACTIONS, max_size=6)))
    if draw(st.booleans()):
        actions.append(Goto(draw(st.integers(0, 254))))
    return Flow(
        draw(st.integers(0, 254)), draw(st.integers(0, 0xFFFF)), draw(matches()), tuple(actions),
        draw(st.integers(0, (1 << 64) - 1)),
    )  # fmt: skip


def as_listed(flow_mod: bytes, flow: Flow) -> bytes:
    """The flow as a switch lists it: the match and instructions of its flow-mod behind other fixed parts."""
    match_and_instructions = flow_mod[48:]
    length = 48 + len(match_and_instructions)
    fixed = struct.pack("!HBxIIHHHHHxxQQQ", length, flow.table, 1, 2, flow.priority, 0, 0, 0, 0, flow.cookie, 3, 4)
    return fixed + match_and_instructions


@settings(max_examples=200, deadline=None)
@given(flows(), flows())
def test_templates_give_what_os_ken_gives_and_it_reads_back(flow: Flow, other: Flow) -> None:
    encoder = FlowModEncoder(openflow.serialize_flow_mod)
    for one in (flow, other, flow):  # the second time from the template
        raw = encoder.add(one)
        assert raw == openflow.serialize_flow_mod(False, one)
        assert openflow.decode_flows(as_listed(raw, one)) == ([one], [])
        key = encoder.delete(one.key)
        assert key == openflow.serialize_flow_mod(True, Flow(*one.key, (), 0))


def test_a_bundle_carries_the_flow_mod_under_its_own_xid() -> None:
    flow = Flow(0, 100, (Match("in_port", 1),), (Goto(10),), 5)
    inner = openflow.parser.OFPFlowMod(
        openflow._DESC, cookie=5, table_id=0, command=0, priority=100,
        out_port=openflow.ofp.OFPP_ANY, out_group=openflow.ofp.OFPG_ANY,
        match=openflow.parser.OFPMatch(in_port=1), instructions=[openflow.parser.OFPInstructionGotoTable(10)],
    )  # fmt: skip
    inner.set_xid(77)
    whole = openflow.parser.OFPBundleAddMsg(openflow._DESC, 3, openflow._BUNDLE_FLAGS, inner, [])
    flow_mod = FlowModEncoder(openflow.serialize_flow_mod).add(flow)
    assert openflow.bundle_add(77, 3, flow_mod) == openflow._serialize(whole, 77)


def test_actions_after_a_goto_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="actions come before goto"):
        FlowModEncoder(openflow.serialize_flow_mod).add(Flow(0, 1, (), (Goto(10), Output(1)), 0))


def test_a_switch_of_another_version_is_recognized() -> None:
    assert openflow.parse(bytes([1, 0, 0, 8, 0, 0, 0, 1])) == (1, Hello((1,)))
    with pytest.raises(ValueError, match="OpenFlow version 1 where 5 was agreed on"):
        openflow.parse(bytes([1, 6, 0, 8, 0, 0, 0, 1]))


def test_our_hello_reads_back() -> None:
    assert openflow.parse(openflow.hello(9)) == (9, Hello((openflow.VERSION,)))
