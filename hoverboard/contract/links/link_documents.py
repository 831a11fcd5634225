"""Documents about emulated links, as `hoverboard status --json` shows them."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict


class LinkCounters(TypedDict):
    """The counters of the link element for one direction.

    `packets` and `bytes` have arrived, `sent` have left (a duplicate counts). `lost`, `duplicated` and `reordered` met
    that fate by chance. `queue_drops` would have waited too long for the rate, `memory_drops` found no memory, and
    `failed` could not be sent: the device behind the link was down. `waiting` are inside now.
    """

    packets: int
    bytes: int
    sent: int
    lost: int
    duplicated: int
    reordered: int
    queue_drops: int
    memory_drops: int
    failed: int
    waiting: int


class Link(TypedDict):
    """The properties of a link, and what makes them.

    `by`: "netem" and "htb" of the kernel, or "element", ours; empty when no property is wanted. `why`: what the kernel
    lacks, so that the element makes the link. `missing`: properties that are wanted and not there, with the reason.
    Times are in seconds, shares 0 to 1. `out` and `back` are there if the element makes the link. `out` leads
    from the node to the fabric, or from the first region of a WAN to the second.
    """

    delay_s: float
    jitter_s: float
    loss: float
    reorder: float
    duplicate: float
    rate_bps: int | None
    seed: int | None
    by: list[str]
    missing: list[str]
    why: NotRequired[str]
    out: NotRequired[LinkCounters]
    back: NotRequired[LinkCounters]


class Wan(Link):
    """The link between two regions."""

    regions: list[str]
