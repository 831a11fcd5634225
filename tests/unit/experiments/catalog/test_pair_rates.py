"""Figure 11b: what follows from made-up peak rates of VM pairs."""

from __future__ import annotations

import pytest

from experiments.catalog.pair_rates import MEASURED, OFFERED, PairRates, papers_cdf
from experiments.frame.experiment import Sample
from tests.unit.experiments.catalog.made_up import charts, given, lines, of, verdicts

SCALE = 0.1  # the default: a threshold of 2 kbit/s


def table(silent: int, slow: int, fast: int, arrived: float = 1.0) -> list[Sample]:
    measured = [0.0] * silent + [1.0] + [2_000.0] * (slow - 1) + [2_001.0] * fast
    return [*of(OFFERED, 0.0, 4_000.0), *of(MEASURED, *measured), *of("arrived", arrived)]


def test_the_papers_cdf_grows() -> None:
    cdf = papers_cdf()
    assert cdf == sorted(cdf)
    assert [share for _, share in cdf] == sorted(share for _, share in cdf)
    assert (cdf[0], cdf[-1]) == ((pytest.approx(30.0), 0.8383), (pytest.approx(25e6), 1.0))  # bit/s


@pytest.mark.parametrize(
    ("silent", "result", "ours"),
    [
        (879, "reproduced", "87.9% of 1000"),
        (881, "partly", "88.1% of 1000"),
        (801, "reproduced", "80.1% of 1000"),
        (799, "partly", "79.9% of 1000"),
    ],
)
def test_pairs_that_never_talk(silent: int, result: str, ours: str) -> None:
    verdict = verdicts(PairRates, table(silent, 1000 - silent, 0))[0]
    assert (verdict.claim, verdict.paper) == ("most VM pairs never talk", "84 %")
    assert (verdict.result, verdict.ours, verdict.ratio) == (result, ours, pytest.approx(silent / 840))


@pytest.mark.parametrize(
    ("fast", "result", "ours"),
    [(6, "reproduced", "99.4%"), (4, "partly", "99.6%"), (34, "reproduced", "96.6%"), (36, "partly", "96.4%")],
)
def test_pairs_at_or_below_the_threshold(fast: int, result: str, ours: str) -> None:
    verdict = verdicts(PairRates, table(840, 160 - fast, fast))[1]
    assert (verdict.claim, verdict.paper) == ("98 % of pairs stay below the threshold of 20 kb/s", "98 %")
    assert (verdict.result, verdict.ours, verdict.ratio) == (result, ours, pytest.approx((1000 - fast) / 980))


@pytest.mark.parametrize(
    ("arrived", "result", "ours"),
    [
        (0.991, "reproduced", "99.1% of the datagrams"),
        (0.99, "partly", "99.0% of the datagrams"),
        (0.901, "partly", "90.1% of the datagrams"),
        (0.9, "not", "90.0% of the datagrams"),
    ],
)
def test_what_arrives(arrived: float, result: str, ours: str) -> None:
    verdict = verdicts(PairRates, table(840, 140, 20, arrived))[2]
    assert (verdict.claim, verdict.paper) == ("what is offered arrives", "not stated")
    assert (verdict.result, verdict.ours) == (result, ours)


@pytest.mark.parametrize("missing", [OFFERED, MEASURED, "arrived"])
def test_without_all_three_nothing_is_said(missing: str) -> None:
    assert verdicts(PairRates, [one for one in table(840, 140, 20) if one.metric != missing]) == []


def test_the_chart_has_both_cdfs_and_the_paper_s_at_the_same_scale() -> None:
    samples = [*of(OFFERED, 0.0, 0.0, 5_000.0, 3_000.0), *of(MEASURED, 0.0, 4_000.0, 1.0, 0.0)]
    (chart,) = charts(PairRates, samples).values()
    drawn = lines(chart)
    assert drawn["offered, n = 4"] == [(3.0, 0.75), (5.0, 1.0)]
    assert drawn["measured, n = 4"] == [(0.001, 0.75), (4.0, 1.0)]
    assert drawn["figure 11b"] == [(rate * SCALE / 1e3, share) for rate, share in papers_cdf()]
    assert drawn["figure 11b"][-1][0] == pytest.approx(papers_cdf()[-1][0] / 10_000)
    assert [one.paper for one in chart.series] == [False, False, True]
    assert (chart.x, chart.kind, chart.log_x) == ("peak rate over a second, kbit/s", "steps", True)
    assert chart.note.startswith("The paper's rates times 0.1.")


def test_there_is_one_point() -> None:
    assert PairRates().points(given(PairRates, vms=7)) == [{"vms": 7, "scale": 0.1}]
