"""How often, and how soon, what died is started again."""

from __future__ import annotations

import pytest

from topologies import supervision
from topologies.supervision import pause


def test_a_few_deaths_cost_no_time() -> None:
    assert {pause(deaths) for deaths in range(1, supervision.AT_ONCE + 1)} == {0.0}
    assert pause(supervision.AT_ONCE + 1)


def test_pauses_grow_to_an_end() -> None:
    pauses = [pause(deaths) for deaths in range(1, supervision.MOST_DEATHS)]
    assert all(one is not None for one in pauses)
    found = [one for one in pauses if one is not None]
    assert found == sorted(found)
    assert found[-1] <= supervision.LONGEST_PAUSE


@pytest.mark.parametrize("more", [0, 1, 50])
def test_what_goes_on_dying_is_left_dead(more: int) -> None:
    assert pause(supervision.MOST_DEATHS + more) is None
