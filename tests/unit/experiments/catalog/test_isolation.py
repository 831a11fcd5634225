"""A noisy neighbour: a difference counts when its interval leaves out none at all; a share when the victim keeps it."""

from __future__ import annotations

import pytest

from experiments.catalog.isolation import Isolation, topology
from experiments.frame.experiment import ClaimVerdict, Sample
from tests.unit.experiments.catalog.made_up import charts, given, lines, of, verdicts


def shielded(priority: list[float], arrival: list[float], full: float = 0.0) -> ClaimVerdict:
    flooded = {"noise": "ingress", "scheduler": "priority"}
    samples = [
        *of("p99", *priority, noise="ingress", scheduler="priority"),
        *of("p99", *arrival, noise="ingress", scheduler="arrival"),
        *of("dropped by full VM queues", full, **flooded),
        *of("loss", 0.5, **flooded),
        *of("loss", 2.5, noise="ingress", scheduler="arrival"),
        *of("p99", 1.0, noise="egress", scheduler="priority"),
    ]
    return verdicts(Isolation, samples)[0]


@pytest.mark.parametrize(
    ("priority", "arrival", "result"),
    [
        ([10.0, 11, 9, 10, 12, 10], [30.0, 28, 33, 29, 31, 30], "reproduced"),
        ([10.0, 10, 10, 10, 10, 10], [11.0, 11, 11, 11, 11, 11], "partly"),
        ([28.1, 11.3, 18.6, 12, 25, 15], [20.9, 16.7, 14.0, 22, 13, 17], "not"),
        ([30.0, 28, 33], [10.0, 11, 9], "not"),
        ([10.0, 10, 10], [12.5, 12.5, 12.5], "reproduced"),
        ([10.0, 10, 10], [12.4, 12.4, 12.4], "partly"),
        ([10.0, 10, 10], [10.0, 10, 10], "not"),
        ([10.0, 11], [30.0, 28, 29], "not measured"),
        ([10.0, 11, 9], [30.0, 28], "not measured"),
        ([10.0, 11, 9], [30.0, 28, 29], "reproduced"),
    ],
    ids=[
        "clearly",
        "a little",
        "by chance",
        "the other way",
        "1.25 times",
        "1.24 times",
        "the same",
        "too few with",
        "too few without",
        "enough",
    ],
)
def test_result(priority: list[float], arrival: list[float], result: str) -> None:
    verdict = shielded(priority, arrival)
    assert (verdict.result, verdict.paper) == (result, "no number given")
    assert verdict.claim == "the VM priority scheduler shields a victim from a flood to its neighbour (6.1.1)"


def test_the_words_on_the_scheduler() -> None:
    verdict = shielded([10.0, 10, 10], [20.0, 20, 20])
    assert verdict.ours == "p99 in order of arrival 2.00 times as long (95 %: 2.00 to 2.00); lost 0.5 % against 2.5 %"
    assert verdict.why == "the interval leaves out 1, and 1 means no difference."
    too_few = shielded([10.0], [20.0])
    assert too_few.ours == ""
    assert "3 repetitions or more" in too_few.why


def test_loss_that_was_not_measured_counts_as_none() -> None:
    samples = [one for name in ("priority", "arrival") for one in of("p99", 1, 1, 1, noise="ingress", scheduler=name)]
    assert verdicts(Isolation, samples)[0].ours.endswith("lost 0.0 % against 0.0 %")


def test_why_not_tells_whether_a_queue_stood() -> None:
    assert "never filled" in shielded([30.0, 28, 33], [10.0, 11, 9]).why
    assert "two cores" in shielded([30.0, 28, 33], [10.0, 11, 9], full=50.0).why


@pytest.mark.parametrize(
    ("p99", "lost", "result", "ours"),
    [
        (300.0, 1.0, "reproduced", "p99 300 us, 1.0 % lost; quiet 100 us"),
        (301.0, 1.0, "partly", "p99 301 us, 1.0 % lost; quiet 100 us"),
        (300.0, 1.1, "partly", "p99 300 us, 1.1 % lost; quiet 100 us"),
        (900.0, 5.0, "partly", "p99 900 us, 5.0 % lost; quiet 100 us"),
        (100.0, 5.1, "not", "p99 100 us, 5.1 % lost; quiet 100 us"),
    ],
)
def test_a_flood_that_goes_out(p99: float, lost: float, result: str, ours: str) -> None:
    verdict = turns(p99=[p99], loss=[lost], quiet=[100.0])
    assert (verdict.result, verdict.ours, verdict.paper) == (result, ours, "no number given")
    assert verdict.claim.startswith("VMs are polled in turn")


def turns(p99: list[float], loss: list[float], quiet: list[float]) -> ClaimVerdict:
    flooded = {"noise": "egress", "scheduler": "priority"}
    other = [*of("p99", 1.0, noise="egress", scheduler="arrival"), *of("p99", 1.0, noise="none", scheduler="arrival")]
    samples = [*of("p99", *p99, **flooded), *of("loss", *loss, **flooded), *other]
    return verdicts(Isolation, [*samples, *of("p99", *quiet, noise="none", scheduler="priority")])[1]


@pytest.mark.parametrize(("p99", "loss", "quiet"), [([], [0], [1]), ([1], [], [1]), ([1], [0], [])])
def test_a_flood_that_goes_out_needs_all_three(p99: list[float], loss: list[float], quiet: list[float]) -> None:
    verdict = turns(p99, loss, quiet)
    assert (verdict.result, verdict.ours, verdict.paper) == ("not measured", "", "no number given")
    assert verdict.claim.startswith("VMs are polled in turn")
    assert verdict.why == "needs the flood and the quiet neighbour."


def test_charts_are_bars_by_flood_and_scheduler() -> None:
    samples: list[Sample] = []
    for noise, priority, arrival in (("none", 1, 2), ("ingress", 3, 30)):
        samples += of("p99", priority, 5 * priority, noise=noise, scheduler="priority")
        samples += of("p99", arrival, noise=noise, scheduler="arrival")
    samples += of("loss", 7, noise="egress", scheduler="arrival")
    drawn = charts(Isolation, samples)
    assert lines(drawn["p99"]) == {
        "VM priority scheduler": [("none", 3), ("ingress", 9)],
        "in order of arrival": [("none", 2), ("ingress", 30)],
    }
    assert [one.n for one in drawn["p99"].series[0].spreads] == [2, 2]
    assert lines(drawn["loss"]) == {"in order of arrival": [("egress", 7)]}
    assert [(one.title, one.y, one.kind) for one in drawn.values()] == [
        ("The victim's p99 round trip", "us", "bars"), ("The victim's lost pings", "%", "bars"),
    ]  # fmt: skip


def test_points_are_each_flood_with_either_scheduler() -> None:
    assert Isolation().points(given(Isolation, noise=("none", "egress"))) == [
        {"noise": noise, "scheduler": one} for noise in ("none", "egress") for one in ("priority", "arrival")
    ]


@pytest.mark.parametrize(("scheduler", "priority"), [("priority", True), ("arrival", False)])
def test_victim_and_noisy_vm_share_a_host_and_their_peers_have_one_each(scheduler: str, priority: bool) -> None:
    made = topology(scheduler)
    assert (made.name, made.vm_priority, made.model) == (f"isolation-{scheduler}", priority, "preprogrammed")
    assert {vm.name: vm.host for vm in made.vms} == {"victim": "h1", "noisy": "h1", "friend": "h2", "far": "h3"}
    assert (len(made.hosts), made.hoverboards) == (3, ())
