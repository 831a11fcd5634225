"""The datapath benchmark without its machine: cases, ratios, bars, CPU windows, command line."""

from __future__ import annotations

import pytest

from benchmarks import datapath, datapath_bars
from benchmarks.contestants import everybody
from benchmarks.datapath_cases import AWAKE, AWAKE_CASES, CASES, Case, Sample
from experiments import cpu_window
from experiments.accounting import Member
from experiments.cpu_window import ProcessTime, Reading
from topologies.processes import Process

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
        assert set(case.between) <= set(everybody())
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


def test_a_table_has_a_column_for_everybody_who_took_part_in_any_case() -> None:
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


STAT = "cpu  100 20 300 4000 50 6 70 80 9 1\ncpu0 1 1 1 1 1 1 1 1 1 1\n"


def test_busy_is_neither_idle_nor_stolen() -> None:
    busy, softirq, steal = cpu_window.parse_cpu(STAT)
    assert busy * cpu_window._TICK == pytest.approx(100 + 20 + 300 + 6 + 70)
    assert softirq * cpu_window._TICK == pytest.approx(70)
    assert steal * cpu_window._TICK == pytest.approx(80)


def test_a_process_whose_name_has_brackets() -> None:
    found = cpu_window.parse_process("42 (a) b) S 7 42 42 0 -1 2097216 100 0 0 0 17 25 3 4 20 0 1 0 12345 1000 200")
    assert found.cpu_seconds * cpu_window._TICK == pytest.approx(42)
    assert (found.parent, found.kernel) == (7, True)


def test_what_strangers_did_is_no_cost() -> None:
    before = Reading(100.0, 10.0, 1.0, {
        1: ProcessTime(5.0, 0, False),  # a stranger
        2: ProcessTime(5.0, 0, True),  # a thread of the kernel's
        3: ProcessTime(5.0, 0, False),  # ours
    })  # fmt: skip
    after = Reading(110.0, 12.0, 2.0, {
        1: ProcessTime(8.0, 0, False),
        2: ProcessTime(6.0, 0, True),
        3: ProcessTime(7.0, 0, False),
        4: ProcessTime(1.0, 3, False),  # began in the window
    })  # fmt: skip
    found = cpu_window.cost(before, after, {3, 4}, [Member(Process(3, 0), "host process")])
    assert (found.cpu_seconds, found.others, found.softirq, found.steal) == (7.0, 3.0, 2.0, 1.0)
    assert found.by_kind == {"host process": 2.0}


def test_descendants() -> None:
    tree = {pid: ProcessTime(0.0, parent, False) for pid, parent in ((2, 1), (3, 2), (4, 3), (5, 1))}
    assert cpu_window.descendants(tree, 2) == {2, 3, 4}


def test_options() -> None:
    given = datapath.options(["--only", "TCP_RR", "--awake", "--quick"])
    assert [case.awake for case in datapath.chosen(given)] == [False, False, True, True]
    plan = datapath.planned(given)
    assert (plan.rounds, plan.latency_rounds, plan.seconds) == (3, 9, 1)
    assert len(datapath.chosen(datapath.options([]))) == len(CASES)


def test_a_case_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        datapath.options(["--only", "carrier pigeon"])
    assert CASES[0].name in capsys.readouterr().err
