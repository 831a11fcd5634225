"""Which Hoverboards are up: what connections say, how long a break may last, and when a node comes back."""

from __future__ import annotations

import pytest

from controllers.testing.world import START
from controllers.vmc.view.liveness import Liveness

# Literal on purpose: a tenth of a second to reconnect, one second up before traffic returns, five to be seen at all.
GRACE, PROBATION, PATIENCE = 0.1, 1.0, 5.0


def standing(*names: str) -> Liveness:
    """Hoverboards with both connections."""
    liveness = Liveness()
    for name in names:
        liveness.watch(name, START)
        liveness.connection_up(name, "switch", START)
        liveness.connection_up(name, "agent", START)
    assert liveness.deadline() is None
    return liveness


def dead() -> Liveness:
    """A Hoverboard that is down because its agent is gone."""
    liveness = standing("hv1")
    liveness.connection_down("hv1", "agent", START)
    assert liveness.tick(START + GRACE)
    assert liveness.down == {"hv1"}
    return liveness


def test_a_connection_that_breaks_has_a_moment_to_come_back() -> None:
    liveness = standing("hv1")
    liveness.connection_down("hv1", "agent", START + 1.0)
    assert liveness.deadline() == START + 1.0 + GRACE
    assert not liveness.tick(START + 1.0 + GRACE / 2)
    liveness.connection_up("hv1", "agent", START + 1.05)
    assert liveness.deadline() is None
    assert not liveness.tick(START + 100.0)
    assert liveness.down == set()


def test_a_node_is_down_when_its_moment_is_over_and_then_nothing_is_due() -> None:
    liveness = standing("hv1")
    liveness.connection_down("hv1", "switch", START)
    assert liveness.tick(START + GRACE)
    assert liveness.down == {"hv1"}
    assert liveness.deadline() is None
    assert not liveness.tick(START + 100.0)
    assert liveness.down == {"hv1"}


def test_both_connections_have_to_stand() -> None:
    liveness = standing("hv1")
    liveness.connection_down("hv1", "agent", START)
    liveness.connection_up("hv1", "switch", START + 0.05)  # the switch connects again; the agent is still away
    assert liveness.deadline() == START + GRACE
    assert liveness.tick(START + GRACE)


def test_a_node_that_is_back_is_used_after_a_while() -> None:
    liveness = dead()
    liveness.connection_up("hv1", "agent", START + 10.0)
    assert liveness.deadline() == START + 10.0 + PROBATION
    assert not liveness.tick(START + 10.5)
    assert liveness.tick(START + 11.0)
    assert liveness.down == set()


@pytest.mark.parametrize("lost", ["broke", "unsure"])
def test_a_node_that_breaks_again_before_that_stays_down(lost: str) -> None:
    liveness = dead()
    liveness.connection_up("hv1", "agent", START + 10.0)
    if lost == "broke":
        liveness.connection_down("hv1", "agent", START + 10.5)
    else:
        liveness.front_end_lost("hv1", START + 10.5)
    assert liveness.deadline() is None
    assert not liveness.tick(START + 100.0)
    assert liveness.down == {"hv1"}


def test_a_node_that_was_never_seen_is_down_after_five_seconds() -> None:
    liveness = Liveness()
    liveness.watch("silent", START)
    assert liveness.deadline() == START + PATIENCE
    assert liveness.tick(START + PATIENCE)
    assert liveness.down == {"silent"}
    liveness.watch("silent", START + 6.0)  # its entity changed
    assert liveness.deadline() is None


def test_one_connection_is_enough_for_a_node_of_another_partition() -> None:
    liveness = Liveness()
    liveness.watch("hv1", START)
    liveness.connection_up("hv1", "agent", START + 1.0)
    assert liveness.deadline() is None


def test_a_node_that_is_watched_again_keeps_what_is_known_of_it() -> None:
    liveness = standing("hv1")
    liveness.watch("hv1", START + 1.0)
    assert liveness.deadline() is None


def test_a_lost_line_to_a_front_end_gives_its_nodes_five_seconds() -> None:
    liveness = standing("hv1")
    liveness.front_end_lost("hv1", START + 1.0)
    assert liveness.deadline() == START + 1.0 + PATIENCE
    liveness.connection_up("hv1", "switch", START + 2.0)
    assert liveness.deadline() is None
    liveness.front_end_lost("hv1", START + 3.0)
    assert liveness.tick(START + 3.0 + PATIENCE)
    assert liveness.down == {"hv1"}


def test_a_lost_line_clears_what_was_known_of_a_broken_connection() -> None:
    liveness = standing("hv1")
    liveness.connection_down("hv1", "agent", START)
    liveness.front_end_lost("hv1", START)
    liveness.connection_up("hv1", "switch", START + 1.0)
    assert liveness.deadline() is None


def test_a_removed_node_is_forgotten_whatever_is_due() -> None:
    liveness = dead()
    liveness.connection_up("hv1", "agent", START + 1.0)
    liveness.forget("hv1")
    assert liveness.down == set()
    assert liveness.deadline() is None
    for lost in (
        lambda: liveness.connection_down("hv1", "agent", START + 2.0),
        lambda: liveness.front_end_lost("hv1", START + 2.0),
    ):
        lost()
        assert liveness.deadline() is None
    liveness.connection_up("hv1", "agent", START + 2.0)
    assert not liveness.tick(START + 100.0)
    liveness.forget("never")


def test_the_earliest_node_decides_when_time_is_due() -> None:
    liveness = standing("hv1", "hv2")
    liveness.connection_down("hv1", "agent", START + 1.0)
    liveness.connection_down("hv2", "agent", START)
    assert liveness.deadline() == START + GRACE
    assert liveness.tick(START + GRACE)
    assert liveness.down == {"hv2"}
    assert liveness.deadline() == START + 1.0 + GRACE
