"""The bars of the datapath benchmark, as data, and its table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.table import Table

from benchmarks.datapath.cases import AWAKE, Case, Sample
from benchmarks.harness.bars import Bar
from benchmarks.harness.statistics import distribution, paired_ratio
from console.show import tables


@dataclass(frozen=True, slots=True)
class Expectation:
    """A bar on the ratio of the fast path to a peer.

    Attributes:
        case: name of the case; its awake variant has the same bar.
        limit: limit of the ratio.
        sense: ">=": how many times better the fast path must be. "<=": its value as a multiple of the peer's, at most.
    """

    case: str
    peer: str
    limit: float
    sense: Literal[">=", "<="] = ">="


EXPECTATIONS = (
    Expectation("TCP, same host, 1 stream", "kernel", 0.9),
    Expectation("TCP, two hosts, 1 stream", "kernel", 0.9),
    Expectation("TCP, two hosts, 16 streams", "kernel", 0.9),
    Expectation("TCP, two hosts, 1 stream", "ovs", 16.0),
    Expectation("TCP, two hosts, 1 stream", "ovs", 8.0),
    Expectation("ping, two hosts", "ovs", 3.0),
    Expectation("round trip (TCP_RR), two hosts", "ovs", 5.0),
    Expectation("round trip (TCP_RR), two hosts", "kernel", 1.2, "<="),
    Expectation("64-byte UDP, two hosts", "ovs", 2.0),
    Expectation("64-byte UDP, two hosts", "kernel", 0.9),
    Expectation("CPU per GB, two hosts, 1 stream", "ovs", 8.0),
)

# Samples of a case by contestant, in the order of rounds.
Samples = Mapping[str, Sequence[Sample]]

_SCALES = {
    "bit/s": (1e9, "Gbit/s", ".2f"), "packet/s": (1e3, "1000/s", ".1f"), "ms": (1, "ms", ".3f"),
    "us": (1, "us", ".1f"), "s/GB": (1, "CPU s/GB", ".2f"),
}  # fmt: skip


def summary(case: Case, samples: Samples) -> dict[str, Any]:
    """Distributions and ratios of a case; a ratio above 1 always means that the fast path is better."""
    values = {name: [sample.value for sample in found] for name, found in samples.items()}
    fast = values["fastpath"]
    return {
        "case": case.name,
        "unit": case.unit,
        "better": case.better,
        "samples": values,
        "details": {name: [sample.detail for sample in found] for name, found in samples.items()},
        "summary": {name: distribution(found).as_dict() for name, found in values.items()},
        "also": {
            key: {
                name: distribution([sample.detail[key] for sample in found]).as_dict()
                for name, found in samples.items()
            }
            for key in case.also
        },
        "fastpath_better_by": {
            name: paired_ratio(fast, other) if case.better == "more" else paired_ratio(other, fast)
            for name, other in values.items()
            if name != "fastpath"
        },
    }


def bars(cases: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """A bar for each expectation on each case that was measured."""
    made = []
    for case in cases:
        for one in EXPECTATIONS:
            if case["case"].removesuffix(AWAKE) != one.case or one.peer not in case["fastpath_better_by"]:
                continue
            if one.sense == ">=":
                words, value = "better than", case["fastpath_better_by"][one.peer]
            else:
                words, value = "as a multiple of", paired_ratio(case["samples"]["fastpath"], case["samples"][one.peer])
            made.append(Bar(f"{case['case']}: fastpath {words} {one.peer}", value, one.limit, one.sense, "x"))
    return made


def table(cases: Sequence[Mapping[str, Any]]) -> Table:
    """Medians, with the smallest and largest round in brackets."""
    names = list(dict.fromkeys(name for case in cases for name in case["summary"]))
    peers = [name for name in names if name != "fastpath"]
    rows = []
    for case in cases:
        scale, unit, form = _SCALES[case["unit"]]
        ratios = case["fastpath_better_by"]
        rows.append(
            (
                f"{case['case']}, {unit}",
                *(_cell(case["summary"].get(name), scale, form) for name in names),
                *(f"{ratios[peer]:.2f} x" if peer in ratios else "" for peer in peers),
            )
        )
        for key, found in case["also"].items():
            cells = (_cell(found.get(name), scale, form) for name in names)
            rows.append((f"  {key.removesuffix('_us')} of a round", *cells, *("" for _ in peers)))
    return tables.table(
        "VM to VM: median (least .. most) of the rounds",
        ("", *(f"#{name}" for name in names), *(f"#better than {peer}" for peer in peers)),
        rows,
    )


def _cell(one: Mapping[str, float] | None, scale: float, form: str) -> str:
    if one is None:
        return ""
    low, middle, high = (format(one[key] / scale, form) for key in ("minimum", "median", "maximum"))
    return f"{middle} ({low} .. {high})"
