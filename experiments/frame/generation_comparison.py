"""The common part of experiments that compare the generations of the dataplane: testbeds, verdicts, charts.

Each generation stands for a version of the paper (docs/generations.md). Only their order and ratios are compared.
The paper's 2.2, which is 2.1 with a DMA engine, has no generation here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments import paper
from experiments.frame.experiment import Bench, Chart, ClaimVerdict, SampleTable, Series
from experiments.frame.parameters import Parameter, Values
from experiments.frame.sample_statistics import Spread, spread
from experiments.tools.bare_namespaces import bare_pair
from experiments.tools.tool_processes import ToolPlace
from hoverboard.contract.generations import GENERATIONS, NAMES, available
from topologies.emulation.ovs_daemons import datapath_type
from topologies.run.testbed import Testbed

PAIR = Path(__file__).with_name("pair.yaml")
_ALL = "all"
_ALIKE = 1.05  # two of the paper's versions with a smaller ratio have no order
_EMULATED = "Here everything is software, and it shares two cores with its VMs"

GENERATIONS_PARAMETER = Parameter(
    "generations", (_ALL,), "", "dataplane generations; all: all that this machine can have", choices=(_ALL, *NAMES)
)


BARE = "bare veth"  # no generation: two VMs joined by a veth pair, with no switch at all


@dataclass(frozen=True, slots=True)
class Ends:
    """Two places that measure against each other, and the address of the target."""

    source: ToolPlace
    target: ToolPlace
    address: str


@dataclass(frozen=True, slots=True)
class Pair(Ends):
    """Two VMs on two hosts of a testbed."""

    testbed: Testbed


def chosen(values: Values) -> list[str]:
    """The generations to measure, oldest first."""
    wanted = values["generations"]
    return list(available(datapath_type())) if _ALL in wanted else [name for name in NAMES if name in wanted]


def version(generation: str) -> str:
    """The paper's version that a generation stands for, as its figures name it."""
    return next(facts.andromeda for name, facts in GENERATIONS.items() if name == generation).removesuffix("-Andromeda")


def pair(bench: Bench, generation: str) -> Pair:
    """The running pair of VMs of a generation. All points share it."""
    testbed = bench.testbed(PAIR, dataplane=generation)
    here, there = testbed.topology.vms
    return Pair(testbed.node(here.name), testbed.node(there.name), str(there.ip), testbed)


@contextlib.contextmanager
def ends_of(bench: Bench, name: str) -> Iterator[Ends]:
    """The pair of VMs of a generation. BARE gives the limit of the machine: two namespaces without a dataplane."""
    if name != BARE:
        yield pair(bench, name)
        return
    with bare_pair() as (here, there, address):
        yield Ends(here, there, address)


def measured(table: SampleTable, metric: str, **labels: object) -> dict[str, float]:
    """The medians by generation, oldest first. Generations without a sample are left out."""
    found = {name: table.median(metric, generation=name, **labels) for name in NAMES}
    return {name: value for name, value in found.items() if value is not None}


def order_verdict(
    found: Mapping[str, float], figure: str, series: str, claim: str, *, why: str = _EMULATED
) -> ClaimVerdict:
    """The verdict on the order of all generations. It contains `why` if some are not in the paper's order."""
    curve = paper.curve(figure, series)
    names = list(found)
    theirs = " ".join(f"{version(name)}: {curve.at(version(name)):g}" for name in NAMES if version(name) in curve.x)
    if len(names) < 2:
        return ClaimVerdict(claim, theirs, "too few generations", "not measured", "an order needs two.")
    wrong = []
    pairs = [(one, other) for at, one in enumerate(names) for other in names[at + 1 :]]
    for one, other in pairs:
        expected = curve.at(version(other)) / curve.at(version(one))
        if max(expected, 1 / expected) >= _ALIKE and (found[other] > found[one]) != (expected > 1):
            wrong.append(f"{one} and {other}")
    ours = " ".join(f"{name}: {value:.3g}" for name, value in found.items())
    if not wrong:
        return ClaimVerdict(claim, theirs, ours, "reproduced", "Every pair of generations has the paper's order.")
    result: Literal["partly", "not"] = "partly" if 3 * len(wrong) <= len(pairs) else "not"
    return ClaimVerdict(claim, theirs, ours, result, f"{', '.join(wrong)} are in the opposite order. {why}.")


def gain_verdict(
    found: Mapping[str, float], least: float, stated: float, claim: str, *, more: bool, why: str = _EMULATED,
    since: str = "pre", bare: float | None = None,
) -> ClaimVerdict:  # fmt: skip
    """The verdict on the gain of the newest generation over the oldest: reproduced at `least`, partly at half of it.

    Args:
        found: the medians by generation, oldest first.
        least: the bar, as a ratio.
        stated: the ratio that the paper states.
        claim: the paper's claim.
        more: a larger value is better.
        why: the reason that the verdict gives.
        since: the version that the paper compares 2.2 with.
        bare: the median of BARE, which no generation can exceed; None: not measured.
    """
    theirs = f"{stated:g} x (2.2 over {since})"
    names = list(found)
    if len(names) < 2 or not min(found.values()):
        return ClaimVerdict(claim, theirs, "too few generations", "not measured", "a ratio needs two.")
    old, new = names[0], names[-1]
    ratio = found[new] / found[old] if more else found[old] / found[new]
    result: Literal["reproduced", "partly", "not"] = (
        "reproduced" if ratio >= least else "partly" if ratio >= least / 2 else "not"
    )
    ours = f"{ratio:.1f} x ({new} over {old})"
    if bare:
        most = bare / found[old] if more else found[old] / bare
        limit = f"Two VMs joined by a bare veth pair are {most:.1f} x {old}"
        why = f"{limit}, so no generation can reach the bar here. {why}" if most < least else f"{limit}. {why}"
    return ClaimVerdict(claim, theirs, ours, result, f"The bar is {least:g} x. {why}.", ratio / stated)


def chart_beside_paper(
    table: SampleTable, metric: str, name: str, title: str, figure: str, series: str, **labels: object
) -> Chart:
    """The chart of all generations beside the paper's versions, each as multiples of its oldest one."""
    curve = paper.curve(figure, series)
    names = list(measured(table, metric, **labels))
    if not names:
        return Chart(name, title, "", "", [])
    first = table.median(metric, generation=names[0], **labels) or 1.0
    base = curve.at(version(names[0]))
    spreads: Sequence[Spread] = [
        spread([value / first for value in table.values(metric, generation=one, **labels)]) for one in names
    ]
    words = [f"{one}\n({version(one)})" for one in names]
    return Chart(
        name,
        title,
        "generation (the paper's version)",
        f"times {names[0]}",
        [
            Series("here", words, [one.median for one in spreads], spreads),
            Series("figure " + figure, words, [curve.at(version(one)) / base for one in names], paper=True),
        ],
        kind="bars",
        log_y=True,
        note="Each series shows multiples of its own oldest generation.",
    )
