"""Links as people see them: their words, who makes them, what was lost."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from console.show.link_rows import link_lines, link_rows, words
from hoverboard.contract.links.link_properties import LinkProperties

if TYPE_CHECKING:
    from hoverboard.contract.links.link_documents import Link, LinkCounters

COUNTERS: LinkCounters = {
    "packets": 7, "bytes": 700, "sent": 5, "lost": 2, "duplicated": 0, "reordered": 1, "queue_drops": 0,
    "memory_drops": 0, "failed": 3, "waiting": 0,
}  # fmt: skip


def link(**more: object) -> Link:
    made: Link = {
        "delay_s": 0.01, "jitter_s": 0, "loss": 0.001, "reorder": 0, "duplicate": 0, "rate_bps": 10**8, "seed": 1,
        "by": ["element"], "missing": [],
    }  # fmt: skip
    return {**made, **more}  # type: ignore[typeddict-item]


def test_properties_in_words() -> None:
    assert words(asdict(LinkProperties())) == "no properties"
    wanted = LinkProperties(0.0001, 0.00005, 0.001, 0.25, 1.0, 1_500_000)
    assert words(asdict(wanted)) == (
        "delay 0.1 ms, jitter 0.05 ms, loss 0.1%, reorder 25%, duplicate 100%, rate 1.5mbit"
    )
    assert words(asdict(LinkProperties(rate=7))) == "rate 7bit"


def test_a_link_of_the_element_shows_why_and_what_it_did() -> None:
    assert link_rows(link(why="netem: unknown", out=COUNTERS, back=COUNTERS)) == [
        ("each way", "delay 10 ms, loss 0.1%, rate 100mbit"),
        ("made by", "the link element, a process of the run"),
        ("because", "this kernel lacks netem: unknown"),
        ("out", "7 packets, 2 lost, 1 reordered, 3 dropped: could not be sent"),
        ("back", "7 packets, 2 lost, 1 reordered, 3 dropped: could not be sent"),
    ]


def test_a_link_of_the_kernel_shows_what_is_missing() -> None:
    rows = link_rows(link(by=["htb", "netem"], missing=["seed: unknown"]))
    assert rows[1:] == [("made by", "htb and netem"), ("missing", "seed: unknown")]


def test_changes_as_lines() -> None:
    changed = {"h1": {"from": asdict(LinkProperties()), "to": asdict(LinkProperties(delay=1))}}
    assert list(link_lines(changed)) == ["~ link h1: no properties -> delay 1000 ms"]  # type: ignore[arg-type]
