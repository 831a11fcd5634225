"""Figure 11b's verdicts, from made-up samples."""

from __future__ import annotations

from experiments.catalog.pair_rates import MEASURED, OFFERED, PairRates, papers_cdf
from experiments.frame.experiment import Sample, Table
from experiments.frame.parameters import values

GIVEN = values(PairRates.parameters, {}, quick=False)


def table(silent: int, slow: int, fast: int, arrived: float) -> Table:
    rates = [0.0] * silent + [1_000.0] * slow + [50_000.0] * fast
    samples = [Sample(name, rate, "bit/s") for rate in rates for name in (OFFERED, MEASURED)]
    return Table([*samples, Sample("arrived", arrived, "share")])


def test_the_papers_cdf_grows() -> None:
    cdf = papers_cdf()
    assert cdf == sorted(cdf)
    assert [share for _, share in cdf] == sorted(share for _, share in cdf)
    assert cdf[-1][1] == 1.0


def test_verdicts() -> None:
    assert [one.result for one in PairRates().verdicts(table(840, 140, 20, 1.0), GIVEN)] == ["reproduced"] * 3
    assert [one.result for one in PairRates().verdicts(table(100, 100, 800, 0.5), GIVEN)] == ["partly", "partly", "not"]


def test_the_chart_counts_silent_pairs() -> None:
    chart = PairRates().charts(table(840, 140, 20, 1.0), GIVEN)[0]
    assert [one.y[0] for one in chart.series[:2]] == [0.841, 0.841]
    assert chart.series[2].paper
