"""The outage's figures and bars, without a testbed."""

from __future__ import annotations

import socket

import pytest

from benchmarks.outage import CASES, Flow, Outage, bars, figures_of, options, shown


def test_a_gap_is_between_arrivals_and_a_loss_is_what_never_came() -> None:
    with socket.socket() as unused:
        flow = Flow(unused, unused, sent=10)
        flow.arrived = [(0, 1.0), (1, 1.1), (4, 1.5), (5, 1.6), (5, 1.6), (6, 1.7), (7, 1.8), (8, 1.9)]
        gap, lost = flow.outage(1)
        assert gap == pytest.approx(400.0)
        assert lost == 3  # 2, 3 and 9
        assert flow.outage(9)[1] == 1


def test_bars_hold_losses_where_the_host_process_lives_and_gaps_where_it_died() -> None:
    outages = {case: [Outage(5.0, 0, 0.3), Outage(1_200.0, 2, 0.4)] for case in CASES}
    figures = figures_of({"fastpath": outages, "ovs": outages})
    found = {bar.what: (bar.value, bar.passed) for bar in bars(figures)}
    assert found["ovs-vswitchd killed: most packets lost"] == (2.0, False)
    assert found["host process killed: longest gap"] == (1_200.0, False)
    assert len(found) == len(CASES), "the ovs generation has no bar"
    assert len(shown(figures)) == 2
    assert all(bar.passed for bar in bars(figures_of({"fastpath": {"everything": [Outage(200.0, 40, 3.0)]}})))


def test_there_is_a_round() -> None:
    assert options([]).rounds == 3
    with pytest.raises(SystemExit):
        options(["--rounds", "0"])
