"""Blocks of flows: encoded whole they are the same bytes as flow by flow, whatever the values."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.ofe import openflow
from controllers.ofe.templates import FlowModEncoder
from controllers.program import Block, Flows, Program, block
from hoverboard.contract.openflow import pipeline
from hoverboard.contract.openflow.flow import Flow, Match, Output

ENCODER = FlowModEncoder(openflow.serialize_flow_mod)

_VNI = st.integers(1, (1 << 24) - 1)
_PORT = st.integers(0, 0xFFFFFF00)
_MAC = st.integers(0, (1 << 48) - 1).map(lambda raw: ":".join(f"{byte:02x}" for byte in raw.to_bytes(6, "big")))
_IP4, _IP6 = st.ip_addresses(v=4), st.ip_addresses(v=6)
_PREFIX = st.tuples(_IP4, st.integers(0, 32)).map(lambda pair: IPv4Network(pair, strict=False))


def blocks(make: Callable[..., Any], *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Block]:
    return st.tuples(*arguments).map(lambda chosen: block(make, *chosen))


SHAPES = (
    blocks(pipeline.base_flows),
    blocks(pipeline.vport_flows, _VNI, _PORT, _IP4, _MAC),
    blocks(pipeline.vport_flows, _VNI, _PORT, _IP4, _MAC, st.none() | _IP6),
    blocks(pipeline.gateway_flows, _VNI, _IP4),
    blocks(pipeline.link_flows, _VNI),
    blocks(pipeline.relay_flow, _VNI, _IP4 | _IP6, _IP4),
    blocks(pipeline.route_flow, _VNI, _IP4 | _IP6, _IP4),
    blocks(pipeline.offload_flow, _VNI, _IP4, _IP4, _IP4),
    blocks(pipeline.offload_flow, _VNI, _IP6, _IP6, _IP4),
    blocks(pipeline.default_flow, _VNI, _IP4, st.sampled_from([4, 6])),
    blocks(pipeline.source_prefix_flows, _VNI, _PORT, _MAC, _PREFIX),
    blocks(pipeline.local_prefix_flows, _VNI, _PREFIX, st.none() | _PORT, _MAC),
    blocks(pipeline.route_prefix_flow, _VNI, _PREFIX, _IP4),
    blocks(pipeline.relay_prefix_flow, _VNI, _PREFIX, _IP4),
)
BLOCKS = st.one_of(*SHAPES)


def one_by_one(program: Program, xid: int, bundle: int) -> bytes:
    raw = [openflow.serialize_flow_mod(True, Flow(*key, (), 0)) for key in program.deletes]
    raw += [openflow.serialize_flow_mod(False, flow) for flow in program.adds]
    return b"".join(openflow.bundle_add(xid + at, bundle, each) for at, each in enumerate(raw))


@settings(max_examples=300, deadline=None)
@given(st.lists(BLOCKS, max_size=4), st.integers(0, 1 << 31), st.integers(0, (1 << 32) - 1))
def test_a_block_is_encoded_as_its_flows_are(chosen: list[Block], xid: int, bundle: int) -> None:
    program = Program(Flows(chosen), (pipeline.default_flow(7, IPv4Address("172.16.255.1")).key,))
    pieces = list(ENCODER.bundle(program, xid, bundle))
    assert b"".join(raw for raw, _ in pieces) == one_by_one(program, xid, bundle)
    assert sum(count for _, count in pieces) == len(program)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*SHAPES))
def test_no_known_shape_falls_back_to_flow_by_flow(chosen: tuple[Block, ...]) -> None:
    encoder = FlowModEncoder(openflow.serialize_flow_mod)
    list(encoder.bundle(Program(Flows(list(chosen))), 0, 1))
    assert encoder._blocks
    assert all(template is not None for template in encoder._blocks.values())


def test_values_that_do_not_go_in_bit_by_bit_are_encoded_flow_by_flow() -> None:
    encoder = FlowModEncoder(openflow.serialize_flow_mod)
    squared = block(_squared, 77)
    assert next(encoder.bundle(Program(Flows([squared])), 5, 1)) == (one_by_one(Program(Flows([squared])), 5, 1), 1)
    assert list(encoder._blocks.values()) == [None]


def _squared(port: int) -> Flow:
    return Flow(0, 1, (Match("in_port", port),), (Output(port * port & 0xFFFF),), 0)


def test_a_value_wider_than_its_field_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit 24 bits"):
        list(ENCODER.bundle(Program(Flows([block(pipeline.link_flows, 1 << 24)])), 0, 0))


def test_flows_are_a_sequence_equal_to_what_they_stand_for() -> None:
    parts = [block(pipeline.base_flows), pipeline.default_flow(7, IPv4Address("172.16.255.1"))]
    flows = Flows(parts)
    plain = (*pipeline.base_flows(), parts[1])
    assert len(flows) == len(plain)
    assert tuple(flows) == plain
    assert flows == plain
    assert flows[-1] == parts[1]
    assert Program(flows) == Program(plain)
    assert pickle.loads(pickle.dumps(Program(flows))) == Program(plain)
    assert not Program(Flows([]))
