"""A packet is shown once: with its drop, if one follows while it waits."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hoverboard.fastpath.memory import debug
from hoverboard.host.telemetry.fates import HOLD_NS, LONGEST_NS, Captured, Fates

START = 1_000_003_000_000_000
CAME = Captured(START, 2, debug.EVENT_IN, 2, 0, 60, b"frame")
DROP = Captured(START + 10, 2, debug.EVENT_DROP, 5, 7, 60, b"frame", "spoofed")
SENT = Captured(START + 5, 3, debug.EVENT_OUT, 2, 5, 60, b"frame")


def test_a_packet_waits_for_its_fate_and_what_follows_waits_behind_it() -> None:
    fates = Fates()
    for one in (CAME, SENT):
        fates.add(one)
    assert fates.ready(START + HOLD_NS, unsettled=False) == []
    assert fates.ready(START + HOLD_NS + 1, unsettled=False) == [CAME, SENT]


def test_a_drop_is_joined_with_the_packet_that_came_in() -> None:
    fates = Fates()
    for one in (CAME, SENT, DROP):
        fates.add(one)
    assert fates.ready(START, unsettled=False) == [replace(CAME, dropped="spoofed"), SENT], "at once: both are known"
    fates.add(replace(DROP, time=START + 20))
    assert fates.ready(START, unsettled=False) == [replace(DROP, time=START + 20)], "there is no other such packet"


def test_a_busy_control_thread_is_waited_for_but_not_for_ever() -> None:
    fates = Fates()
    fates.add(CAME)
    assert fates.ready(START + HOLD_NS - 1, unsettled=True) == []
    assert fates.ready(START + 2 * HOLD_NS - 1, unsettled=False) == []
    assert fates.ready(START + 2 * HOLD_NS, unsettled=False) == [CAME]
    fates.add(CAME)
    assert fates.ready(START + LONGEST_NS, unsettled=True) == []
    assert fates.ready(START + LONGEST_NS + 1, unsettled=True) == [CAME]


def test_other_ports_lengths_and_bytes_are_other_packets() -> None:
    fates = Fates()
    fates.add(CAME)
    others = [replace(DROP, port=3), replace(DROP, length=61), replace(DROP, data=b"other")]
    for one in others:
        fates.add(one)
    assert fates.ready(START, unsettled=False, over=True) == [CAME, *others]


@given(st.lists(st.tuples(st.sampled_from(["in", "drop", "out", "take"]), st.integers(0, 2))))
def test_each_packet_is_shown_once_in_its_order(steps: list[tuple[str, int]]) -> None:
    """Against a list that is searched from its begin."""
    fates, waiting, expected, shown = Fates(), [], [], []
    for number, (step, which) in enumerate(steps):
        data = bytes([which])
        if step == "take":
            expected += waiting
            waiting.clear()
            shown += fates.ready(START, unsettled=False, over=True)
            continue
        event = {"in": debug.EVENT_IN, "drop": debug.EVENT_DROP, "out": debug.EVENT_OUT}[step]
        one = Captured(START + number, 2, event, 0, 0, 1, data, "why" if step == "drop" else "")
        fates.add(one)
        at = next(
            (at for at, w in enumerate(waiting) if (w.event, w.data, w.dropped) == (debug.EVENT_IN, data, "")), -1
        )
        if step == "drop" and at >= 0:
            waiting[at] = replace(waiting[at], dropped="why")
        else:
            waiting.append(one)
    assert shown + fates.ready(START, unsettled=False, over=True) == expected + waiting
