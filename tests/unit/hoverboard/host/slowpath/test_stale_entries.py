"""Which entries wait to be revalidated, and which still have an answer of a switch that is gone."""

from __future__ import annotations

from hoverboard.fastpath.packets.flow_table import Key
from hoverboard.host.slowpath.stale_entries import StaleEntries

ONE, TWO, THREE = (Key((number,)) for number in (1, 2, 3))


def test_entries_wait_in_order_each_once_until_they_were_traced() -> None:
    stale = StaleEntries()
    stale.add([TWO, ONE])
    stale.add([ONE, THREE])
    assert (len(stale), stale.take(2), stale.take(9)) == (3, [TWO, ONE], [TWO, ONE, THREE])
    stale.traced(ONE, programmed=True)
    stale.forget(THREE)
    assert stale.take(9) == [TWO]


def test_an_inherited_answer_waits_again_at_each_change_until_there_is_a_program() -> None:
    stale = StaleEntries()
    stale.add([THREE])
    stale.inherit([ONE, TWO])
    assert stale.take(9) == [ONE, TWO], "those of before are all that there are"
    for key in (ONE, TWO):
        stale.traced(key, programmed=False)
    assert (len(stale), stale.is_inherited(ONE)) == (0, True)
    stale.program_changed()
    assert set(stale.take(9)) == {ONE, TWO}
    stale.traced(ONE, programmed=True)
    stale.forget(TWO)
    stale.program_changed()
    assert (len(stale), stale.is_inherited(ONE), stale.is_inherited(TWO)) == (0, False, False)


def test_an_entry_that_was_never_marked_is_not_inherited() -> None:
    stale = StaleEntries()
    stale.traced(ONE, programmed=False)
    stale.program_changed()
    assert (len(stale), stale.is_inherited(ONE), stale.take(1)) == (0, False, [])
