"""The datapath benchmark without its machine: cases, ratios, bars, command line."""

from __future__ import annotations

import pytest

from benchmarks.datapath import __main__ as datapath
from benchmarks.datapath import bars as datapath_bars
from benchmarks.datapath.cases import AWAKE, AWAKE_CASES, CASES, Case, Sample
from benchmarks.datapath.contestants import all_contestants

EVERY_CASE = (*CASES, *AWAKE_CASES)


def measured(case: Case, **values: list[float]) -> dict[str, list[Sample]]:
    """Samples with the details that the case shows."""
    return {name: [Sample(value, dict.fromkeys(case.also, value)) for value in found] for name, found in values.items()}


def test_names_are_unique_and_every_expectation_has_its_case() -> None:
    names = [case.name for case in EVERY_CASE]
    assert len(set(names)) == len(names)
    for one in datapath_bars.EXPECTATIONS:
        case = next(case for case in CASES if case.name == one.case)
        assert one.peer in case.between
    for case in EVERY_CASE:
        assert set(case.between) <= set(all_contestants())
        assert case.awake is case.name.endswith(AWAKE)


def test_a_ratio_above_one_says_that_the_fast_path_is_better() -> None:
    more = next(case for case in CASES if case.better == "more")
    found = datapath_bars.summary(more, measured(more, fastpath=[10.0, 12.0], ovs=[1.0, 1.0], kernel=[20.0, 24.0]))
    assert found["fastpath_better_by"] == {"ovs": 11.0, "kernel": 0.5}
    less = next(case for case in CASES if case.better == "less")
    found = datapath_bars.summary(less, measured(less, fastpath=[10.0], ovs=[40.0], kernel=[5.0]))
    assert found["fastpath_better_by"] == {"ovs": 4.0, "kernel": 0.5}
    assert all(set(values) == {"fastpath", "ovs", "kernel"} for values in found["also"].values())


def test_bars_are_those_of_the_cases_that_were_measured() -> None:
    case = next(case for case in AWAKE_CASES if case.name.startswith("round trip (TCP_RR), two hosts"))
    found = [datapath_bars.summary(case, measured(case, fastpath=[60.0], ovs=[240.0], kernel=[40.0]))]
    bars = datapath_bars.bars(found)
    assert [(bar.value, bar.sense, bar.limit, bar.passed) for bar in bars] == [
        (4.0, ">=", 5.0, False), (1.5, "<=", 1.2, False),
    ]  # fmt: skip
    assert all(AWAKE in bar.what for bar in bars)
    assert datapath_bars.table(found).row_count == 1 + len(case.also)


def test_a_table_has_a_column_for_each_contestant_in_any_case() -> None:
    first, second = CASES[0], CASES[1]
    found = [
        datapath_bars.summary(first, measured(first, fastpath=[2e9], ovs=[1e9], kernel=[2e9])),
        datapath_bars.summary(second, measured(second, fastpath=[2e9], kernel=[2e9])),
    ]
    shown = datapath_bars.table(found)
    assert [column.header for column in shown.columns] == [
        "", "fastpath", "ovs", "kernel", "better than ovs", "better than kernel",
    ]  # fmt: skip
    assert len(datapath_bars.bars(found)) == 4


def test_options() -> None:
    given = datapath.options(["--only", "TCP_RR", "--awake", "--quick"])
    assert [case.awake for case in datapath.chosen(given)] == [False, False, True, True]
    plan = datapath.planned(given)
    assert (plan.rounds, plan.latency_rounds, plan.seconds) == (3, 9, 1)
    assert len(datapath.chosen(datapath.options([]))) == len(CASES)


def test_a_plan_is_what_was_asked_for_else_the_default() -> None:
    plain = datapath.planned(datapath.options([]))
    assert (plain.rounds, plain.latency_rounds, plain.seconds, plain.omit, plain.pings) == (5, 15, 4, 1, 200)
    assert (plain.round_trip_seconds, datapath.planned(datapath.options(["--quick"])).round_trip_seconds) == (1.0, 0.5)
    own = datapath.planned(datapath.options(["--quick", "--repeat", "2", "--seconds", "7"]))
    assert (own.rounds, own.latency_rounds, own.seconds) == (2, 6, 7)
    for wrong in (["--repeat", "0"], ["--seconds", "0"], ["--seconds", "-1"]):
        with pytest.raises(SystemExit):
            datapath.options(wrong)


def test_a_case_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        datapath.options(["--only", "carrier pigeon"])
    assert CASES[0].name in capsys.readouterr().err
