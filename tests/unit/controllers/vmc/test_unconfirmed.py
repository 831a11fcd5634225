"""Programs that a standby would have sent: how long and how many it keeps, and what its first program is."""

from __future__ import annotations

from controllers.program import Program
from controllers.testing.world import START
from controllers.vmc.unconfirmed import UnconfirmedPrograms
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.openflow.pipeline import base_flows

FLOWS = tuple(base_flows())
FIRST = FLOWS[0]
OTHER = Flow(FIRST.table, FIRST.priority, FIRST.match, (), FIRST.cookie ^ 2)  # of the same key

WINDOW, MOST = 3.0, 2_000  # literal on purpose: seconds, flow changes


def missed(*kept: tuple[str, Program, int, float]) -> UnconfirmedPrograms:
    found = UnconfirmedPrograms()
    for name, program, number, seconds in kept:
        found.keep(name, program, number, START + seconds)
    return found


def test_what_updates_asked_of_a_switch_comes_as_one_program_and_once() -> None:
    kept = missed(
        ("h1", Program(FLOWS), 1, 0.0),
        ("h2", Program(FLOWS[:1]), 2, 0.0),
        ("h1", Program((OTHER,)), 3, 0.1),
        ("h1", Program((), (FLOWS[1].key,)), 4, 0.2),
    )
    assert dict(kept.take(START + 0.3)) == {
        "h1": Program((OTHER, *FLOWS[2:]), (FLOWS[1].key,)),
        "h2": Program(FLOWS[:1]),
    }
    assert list(kept.take(START + 0.3)) == []


def test_what_has_another_cause_counts_only_for_the_flows_of_an_update() -> None:
    kept = missed(
        ("h1", Program(FLOWS[:2]), 1, 0.0),
        ("h1", Program((FLOWS[2],), (FIRST.key,)), 0, 0.1),  # a port went, another came
        ("h3", Program(FLOWS), 0, 0.1),
    )
    assert dict(kept.take(START + 0.2)) == {"h1": Program(FLOWS[1:2], (FIRST.key,))}


def test_what_the_master_reports_as_done_is_left_out_but_for_flows_that_changed_again() -> None:
    kept = missed(
        ("h1", Program((FIRST,)), 1, 0.0),
        ("h1", Program((OTHER, FLOWS[1])), 2, 0.1),
        ("h2", Program((FLOWS[2],)), 3, 0.1),
    )
    kept.applied(2)
    kept.applied(7)
    assert dict(kept.take(START + 0.2)) == {"h1": Program((OTHER,)), "h2": Program((FLOWS[2],))}


def test_it_reaches_back_three_seconds() -> None:
    kept = missed(("h1", Program((FIRST,)), 1, 0.0), ("h2", Program((FIRST,)), 2, 1.0))
    assert dict(kept.take(START + WINDOW)) == {"h1": Program((FIRST,)), "h2": Program((FIRST,))}
    kept = missed(("h1", Program((FIRST,)), 1, 0.0), ("h2", Program((FIRST,)), 2, 1.0))
    assert dict(kept.take(START + WINDOW + 0.5)) == {"h2": Program((FIRST,))}


def test_it_holds_two_thousand_changes_the_newest() -> None:
    half = Program(tuple(Flow(30, number, (), (), 1) for number in range(MOST // 2)))
    one = Program((FIRST,))
    kept = missed(("h1", half, 1, 0.0), ("h2", half, 2, WINDOW))
    assert set(dict(kept.take(START + WINDOW))) == {"h1", "h2"}
    kept = missed(("h1", half, 1, 0.0), ("h2", half, 2, 0.0), ("h3", one, 3, 0.0))
    assert set(dict(kept.take(START))) == {"h2", "h3"}
    kept.keep("h1", half, 1, START)  # after that it is empty: there is room again
    kept.keep("h2", half, 2, START)
    assert set(dict(kept.take(START))) == {"h1", "h2"}


def test_a_program_that_is_larger_than_all_that_is_held_is_left_to_the_read() -> None:
    large = Program(tuple(Flow(30, number, (), (), 1) for number in range(MOST + 1)))
    kept = missed(("h1", large, 1, 0.0))
    assert list(kept.take(START)) == []
