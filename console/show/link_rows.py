"""Emulated links as rows of a table, and their changes as lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import FromTo
    from hoverboard.contract.links.link_documents import Link, LinkCounters

_UNITS = (("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3))
_SHARES = ("loss", "reorder", "duplicate")
_BY = {"element": "the link element, a process of the run"}
_DROPS = (("queue_drops", "too long for the rate"), ("memory_drops", "no memory"), ("failed", "could not be sent"))


def words(properties: Mapping[str, Any]) -> str:
    """The properties of a link in words, such as "delay 10 ms, loss 0.1%"; keys as in `LinkProperties`."""
    found = [f"{name} {properties[name] * 1000:g} ms" for name in ("delay", "jitter") if properties[name]]
    found += [f"{name} {properties[name] * 100:g}%" for name in _SHARES if properties[name]]
    if properties["rate"] is not None:
        unit, size = next(((unit, size) for unit, size in _UNITS if properties["rate"] >= size), ("bit", 1))
        found.append(f"rate {properties['rate'] / size:g}{unit}")
    return ", ".join(found) or "no properties"


def link_rows(document: Link) -> list[tuple[str, str]]:
    """Rows of a link: its properties for each direction, who makes them, what is missing, and what was lost."""
    properties = {
        "loss": document["loss"], "reorder": document["reorder"], "duplicate": document["duplicate"],
        "delay": document["delay_s"], "jitter": document["jitter_s"], "rate": document["rate_bps"],
    }  # fmt: skip
    rows = [("each way", words(properties))]
    if document["by"]:
        rows.append(("made by", " and ".join(_BY.get(one, one) for one in document["by"])))
    if "why" in document:
        rows.append(("because", f"this kernel lacks {document['why']}"))
    rows += [("missing", what) for what in document["missing"]]
    if "out" in document and "back" in document:
        rows += [("out", _counted(document["out"])), ("back", _counted(document["back"]))]
    return rows


def _counted(counters: LinkCounters) -> str:
    found = [f"{counters['packets']} packets", f"{counters['lost']} lost"]
    found += [f"{counters[name]} {name}" for name in ("duplicated", "reordered") if counters[name]]
    found += [f"{counters[name]} dropped: {why}" for name, why in _DROPS if counters[name]]  # type: ignore[literal-required]
    return ", ".join(found)


def link_lines(changed: Mapping[str, FromTo]) -> Iterator[str]:
    """A line for each link whose properties change."""
    for name, value in changed.items():
        yield f"~ link {name}: {words(value['from'])} -> {words(value['to'])}"
