"""The benchmarks of scale end to end, as small as they get: every way of joining, both ways into a switch."""

from __future__ import annotations

from pathlib import Path

from benchmarks import reachability, routes
from benchmarks.reachability import Plan
from topologies.processes.run_directory import run_names

PLAN = Plan(sizes=(10, 20, 40), rounds=1, alone=2, burst=3, churn=100, beside=2, shared=0, add=1)


def test_vms_join_in_every_way(state: Path) -> None:
    figures = reachability.measure(PLAN, lambda *_: None)
    assert {name: one["answered"]["count"] for name, one in figures["joined"].items()} == {
        **{f"one by one, {size} VMs": 2 for size in PLAN.sizes},
        **{f"burst, {size} VMs": 3 for size in PLAN.sizes},
        "beside churn, 20 VMs": 2,
        "burst beside churn, 20 VMs": 3,
    }
    assert figures["request"]["answered"]["count"] == 1
    assert figures["churned"]["beside churn"] > 0
    assert reachability.growth(figures["flows"], figures["hosts"]) == 0
    assert figures["flows"]["40"]["hv1"] - figures["flows"]["10"]["hv1"] == 30
    assert run_names(state) == []


def test_the_same_routes_come_into_a_switch_both_ways() -> None:
    figures = routes.measure(300, 1, lambda *_: None)
    assert figures["flows"] > 300
    assert all(one["minimum"] > 0 for one in figures["rounds"].values())
