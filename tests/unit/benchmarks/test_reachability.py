"""The reachability benchmark's figures, bars and plans, without a testbed."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import pytest

from benchmarks import reachability
from benchmarks.reachability import ALONE, BESIDE, SHARED, Plan, bars, key, options, shown, summary
from experiments import joining
from experiments.joining import Answer
from topologies import placement, schema


def figures(quiet: float = 20.0, beside: float = 30.0, shared: float = 900.0) -> dict[str, Any]:
    """Of a plan with one sample each."""
    joined = {key(ALONE, size): summary([Answer(quiet, 8.0)]) for size in Plan().sizes}
    joined |= {
        key(BESIDE, 4_000): summary([Answer(beside, 8.0)]),
        key(SHARED, 4_000): summary([Answer(shared, 8.0)]),
    }
    flows = {"100": {"h1": 29, "hv1": 112}, "10000": {"h1": 29, "hv1": 10_012}}
    return {
        "hosts": ["h1"], "flows": flows, "load_seconds": {"100": [0.1], "10000": [0.9, 0.8]}, "joined": joined,
        "request": summary([Answer(70.0, 71.0)]), "churned": {},
    }  # fmt: skip


def test_bars() -> None:
    assert all(bar.passed for bar in bars(figures(), Plan()))
    slow = bars(figures(quiet=250.0, beside=600.0), Plan())
    assert [bar.value for bar in slow if not bar.passed] == [250.0, 250.0, 2.4, 1.5]
    without = figures()
    del without["joined"][key(SHARED, 4_000)]
    assert len(bars(without, Plan(shared=0))) == len(slow) - 1


def test_tables_are_in_the_order_of_sizes() -> None:
    names = list(shown(figures())[0].columns[0].cells)
    assert names == [*(key(ALONE, size) for size in (100, 4_000, 10_000)), key(BESIDE, 4_000), key(SHARED, 4_000)]


def test_growth_is_that_of_the_fullest_host_and_leaves_hoverboards_out() -> None:
    flows = {"1000": {"h1": 17, "h2": 20, "hv1": 1008}, "100": {"h1": 17, "h2": 17, "hv1": 108}}
    assert reachability.growth(flows, ["h1", "h2"]) == 3
    assert reachability.growth(flows, ["h1"]) == 0


def test_intent_meets_no_real_vm() -> None:
    topology = schema.load(reachability.TOPOLOGY)
    hosts = [server.name for server in topology.hosts]
    for network in topology.networks:
        intent = list(islice(joining.entities(network, hosts), 200))
        assert len({vm.name for vm in intent}) == len({vm.ip for vm in intent}) == 200
        assert max(Counter(vm.host for vm in intent).values()) <= 200 // len(hosts) + 1
        real = {vm.ip for vm in network.vms}
        for _ in range(20):
            spec = placement.plan_vm(topology, network.name)
            real.add(spec.ip)
            topology = topology.with_vm(spec)
        assert not real & {vm.ip for vm in intent}


def test_the_range_has_room_for_the_most() -> None:
    network = schema.load(reachability.TOPOLOGY).networks[0]
    first = next(joining.entities(network, ["h1"])).ip
    assert network.subnet_of(first + reachability.MOST) is not None  # addresses follow each other


def test_options() -> None:
    assert options([])[1] == Plan()
    assert options([])[1].base == 4_000
    assert options(["--quick", "--add", "2"])[1].add == 2
    assert options(["--quick"])[1].sizes[-1] < 1_000
    assert options(["--sizes", "20", "30", "40", "--no-shared-queue"])[1] == Plan(sizes=(20, 30, 40), shared=0)
    for wrong in (["--sizes", "5", "20", "30"], ["--sizes", "30", "20", "40"], ["--churn", "70000"], ["--add", "0"]):
        with pytest.raises(SystemExit):
            options(wrong)
