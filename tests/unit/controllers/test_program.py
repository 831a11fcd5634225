"""Flow programs as plain data: blocks that are made when they are looked at, and programs that compare by content."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from controllers import program
from controllers.program import Block, Flows, Program, block
from hoverboard.contract.openflow.flow import Flow


def flow(number: int) -> Flow:
    return Flow(30, number, (), (), 1)


class Maker:
    """Makes as many flows as its argument says, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *arguments: object) -> list[Flow]:
        self.calls += 1
        sizes = [one if isinstance(one, bool) else len(one) for one in arguments if isinstance(one, bool | tuple)]
        return [flow(number) for number in range(1 + sum(sizes))]


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_sizes", {})


def test_a_block_makes_one_flow_or_several() -> None:
    assert list(block(flow, 5).flows()) == [flow(5)]
    assert block(flow, 5).size == 1
    assert list(Block(Maker(), ((7, 8),)).flows()) == [flow(0), flow(1), flow(2)]


def test_blocks_of_one_shape_are_made_once_to_know_their_size() -> None:
    make = Maker()
    for value in (7, 8):
        assert block(make, value, "text", IPv4Address("10.0.0.1")).size == 1
    assert make.calls == 1
    assert block(make, 7, "text", 9).size == 1  # another type is another shape
    assert make.calls == 2


def test_what_is_no_plain_value_decides_the_size() -> None:
    make = Maker()
    assert [block(make, ports, flag).size for ports in ((), (1,), (1, 2)) for flag in (False, True)] == [
        1,
        2,
        2,
        3,
        3,
        4,
    ]
    assert make.calls == 6


def test_ten_thousand_sizes_are_remembered() -> None:
    make, other = Maker(), Maker()
    assert block(make).size == 1
    for number in range(9_999):
        assert block(other, (), number % 2 == 0, frozenset({number})).size
    assert block(make).size == 1
    assert make.calls == 1
    assert block(other, "one more").size == 1
    assert block(make).size == 1
    assert make.calls == 2


def test_flows_are_a_sequence_of_what_their_parts_make() -> None:
    make = Maker()
    flows = Flows([flow(7), block(make, (1, 2)), flow(8)])
    whole = (flow(7), flow(0), flow(1), flow(2), flow(8))
    assert (len(flows), tuple(flows), flows[1], flows[-1], flows[1:3]) == (5, whole, flow(0), flow(8), whole[1:3])
    assert flows == whole
    assert flows == Flows(whole)
    assert flows != whole[1:]
    assert flows != list(whole)
    assert hash(flows) == hash(whole)
    assert repr(Flows([flow(7)])) == f"Flows({(flow(7),)!r})"
    assert not Flows([])
    assert flows
    made = make.calls
    assert bool(flows)
    assert make.calls == made  # no flow was made


def test_a_program_is_something_where_it_adds_or_deletes() -> None:
    both = Program((flow(1), flow(2)), (flow(3).key,))
    assert (len(both), bool(both), bool(Program()), len(Program())) == (3, True, False, 0)
    assert Program((flow(1),))
    assert Program((), (flow(1).key,))


def test_the_parts_of_a_program_are_those_that_are_encoded_fastest() -> None:
    parts = (block(flow, 1), flow(2))
    assert Program(Flows(parts)).parts == parts
    assert Program((flow(1), flow(2))).parts == (flow(1), flow(2))
