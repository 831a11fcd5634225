"""The reachability benchmark's figures, bars and plans, without a testbed."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import reachability
from benchmarks.reachability import ALONE, BESIDE, SHARED, Plan, bars, key, options, shown, summary
from experiments.workload import vm_join
from experiments.workload.vm_join import Answer
from hoverboard.contract.errors import MeasurementError
from tests.unit.experiments.fake_testbed import FakeTestbed
from topologies.changes import placement
from topologies.spec import schema


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


def limits(**changed: float) -> list[tuple[float, bool]]:
    return [(bar.value, bar.passed) for bar in bars(figures(**changed), Plan())]


def test_bars() -> None:
    assert [bar.unit for bar in bars(figures(), Plan())] == ["ms", "ms", "x", "x", "x", "ms", "flows"]
    assert all(passed for _, passed in limits(quiet=59.9, beside=119.8, shared=600.0))
    assert limits(quiet=60.0, beside=120.1, shared=599.0)[:1] == [(60.0, False)]
    assert limits(quiet=60.0, beside=120.1, shared=599.0)[3:5] == [
        (pytest.approx(2.0017, abs=0.001), False), (pytest.approx(4.987, abs=0.001), False),
    ]  # fmt: skip
    assert limits(quiet=200.0)[1] == (200.0, False)
    found = figures()
    found["joined"][key(ALONE, 10_000)] = summary([Answer(24.1, 8.0)])
    assert [(bar.value, bar.passed) for bar in bars(found, Plan())][2] == (pytest.approx(1.205), False)
    found = figures()
    found["request"] = summary([Answer(100.0, 1.0)])
    found["flows"]["10000"]["h1"] = 30
    assert [(bar.value, bar.passed) for bar in bars(found, Plan())][5:] == [(100.0, False), (1, False)]
    without = figures()
    del without["joined"][key(SHARED, 4_000)]
    assert len(bars(without, Plan(shared=0))) == 6


def test_a_summary_has_both_columns_with_their_samples() -> None:
    found = summary([Answer(1.23456, 2.0), Answer(3.0, 4.0)])
    assert (found["answered"]["samples"], found["done"]["samples"]) == ([1.235, 3.0], [2.0, 4.0])
    assert (found["answered"]["maximum"], found["done"]["median"]) == (3.0, 3.0)


def test_tables_are_in_the_order_of_sizes() -> None:
    joined, request, flows = shown(figures())
    assert list(joined.columns[0].cells) == [
        *(key(ALONE, size) for size in (100, 4_000, 10_000)), key(BESIDE, 4_000), key(SHARED, 4_000),
    ]  # fmt: skip
    assert [list(column.cells)[0] for column in joined.columns[1:]] == [*["1"], *["20.0"] * 5, "8.0"]
    assert [list(column.cells) for column in request.columns[:2]] == [
        ["first answered ping", "call returned"], ["1", "1"],
    ]  # fmt: skip
    assert [list(column.cells) for column in flows.columns] == [
        ["100", "10000"], ["29", "29"], ["112", "10012"], ["0.10", "0.90"],
    ]  # fmt: skip


def test_growth_is_that_of_the_fullest_host_and_leaves_hoverboards_out() -> None:
    flows = {"1000": {"h1": 17, "h2": 20, "hv1": 1008}, "100": {"h1": 17, "h2": 17, "hv1": 108}}
    assert reachability.growth(flows, ["h1", "h2"]) == 3
    assert reachability.growth(flows, ["h1"]) == 0


def test_intent_meets_no_real_vm() -> None:
    topology = schema.load(reachability.TOPOLOGY)
    hosts = [server.name for server in topology.hosts]
    for network in topology.networks:
        intent = list(islice(vm_join.entities(network, hosts), 200))
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
    first = next(vm_join.entities(network, ["h1"])).ip
    assert network.subnet_of(first + reachability.MOST) is not None  # addresses follow each other


class Wide:
    """A testbed whose first network holds what was loaded; newcomers answer after 5 ms each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loaded: list[tuple[int, int]] = []
        self.layouts: list[Any] = []
        self.planted: list[int] = []
        self.churned: list[int] = []
        self.held = 10
        self.error = ""
        monkeypatch.setattr(reachability, "Testbed", self._testbed)
        monkeypatch.setattr(vm_join, "load_intent", self._load)
        monkeypatch.setattr(vm_join, "prebuilt_vms", self._planted)
        monkeypatch.setattr(vm_join, "join_in_turn", lambda bed, specs: (Answer(5.0, 1.0) for _ in specs))
        monkeypatch.setattr(vm_join, "join_together", lambda bed, specs: [Answer(50.0, 1.0) for _ in specs])
        monkeypatch.setattr(vm_join, "time_join", lambda bed, request: (request(), Answer(70.0, 71.0))[1])
        monkeypatch.setattr(reachability, "churning", self._churning)

    @contextlib.contextmanager
    def _testbed(self, topology: Any, run: str, control: Any = None) -> Iterator[Any]:
        self.layouts.append(control)
        bed = FakeTestbed(schema.load(topology), {})
        bed.flows = lambda name: {"openflow": ["x"] * self.held}  # type: ignore[attr-defined]
        bed.add_vm = lambda network: None  # type: ignore[attr-defined]
        yield bed

    def _load(self, bed: Any, vms: Any, gone: Any = ()) -> float:
        self.loaded.append((len(vms), len(gone)))
        self.held += len(vms) - len(gone)
        return float(len(vms) + len(gone))

    @contextlib.contextmanager
    def _planted(self, bed: Any, network: str, count: int) -> Iterator[list[int]]:
        self.planted.append(count)
        yield list(range(count))

    @contextlib.contextmanager
    def _churning(self, bed: Any, vms: Any) -> Iterator[Any]:
        self.churned.append(len(vms))
        yield SimpleNamespace(error=self.error, done=9)


SMALL = Plan(sizes=(20, 40, 60), rounds=2, alone=2, burst=3, churn=7, beside=4, shared=1, add=5)


def test_a_network_comes_to_each_size_and_newcomers_are_timed_there(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = Wide(monkeypatch)
    said: list[tuple[str, float]] = []
    found = reachability.measure(SMALL, lambda what, share: said.append((what, share)))
    real = len(schema.load(reachability.TOPOLOGY).networks[0].vms)
    first = 20 - real
    # 20, 40, 60, then 40, 60, 20, and the middle one for the rest; then the same with one queue.
    assert wide.loaded == [(first, 0), (20, 0), (20, 0), (0, 20), (20, 0), (0, 40), (20, 0), (first + 20, 0)]
    assert wide.planted == [2, 3, 2, 3, 2, 3, 2, 2, 2, 4 + 3, 1]
    assert wide.churned == [7, 7]
    assert wide.layouts[0] is None
    assert wide.layouts[1].shared_queue
    joined = {name: one["answered"]["count"] for name, one in found["joined"].items()}
    assert joined == {
        **{key(ALONE, size): 4 for size in SMALL.sizes}, **{key("burst", size): 3 for size in SMALL.sizes},
        key(BESIDE, 40): 4, key("burst beside churn", 40): 3, key(SHARED, 40): 1,
    }  # fmt: skip
    assert found["request"]["answered"]["count"] == 5
    assert found["load_seconds"] == {"20": [float(first), 40.0], "40": [20.0, 20.0], "60": [20.0, 20.0]}
    assert {size: flows["h1"] for size, flows in found["flows"].items()} == {
        "20": 10 + first, "40": 30 + first, "60": 50 + first,
    }  # fmt: skip
    assert found["churned"] == {BESIDE: 9, SHARED: 9}
    assert found["hosts"] == [server.name for server in schema.load(reachability.TOPOLOGY).hosts]
    assert said[0] == ("a network of 20 VMs, round 1 of 2", 0.0)
    assert [share for _, share in said[:6]] == pytest.approx([0.0, 0.25 / 3, 0.5 / 3, 0.25, 1 / 3, 1.25 / 3])


def test_one_queue_for_all_may_be_left_out_and_a_churn_that_ends_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = Wide(monkeypatch)
    found = reachability.measure(replace(SMALL, shared=0), lambda what, share: None)
    assert key(SHARED, 40) not in found["joined"]
    assert len(wide.layouts) == 1
    wide.error = "the control plane is gone"
    with pytest.raises(MeasurementError, match="the control plane is gone"):
        reachability.measure(SMALL, lambda what, share: None)


def test_options() -> None:
    assert options([])[1] == Plan()
    assert options([])[1].base == 4_000
    assert options(["--quick", "--add", "2"])[1].add == 2
    assert options(["--quick"])[1].sizes[-1] < 1_000
    assert options(["--sizes", "20", "30", "40", "--no-shared-queue"])[1] == Plan(sizes=(20, 30, 40), shared=0)
    for wrong in (["--sizes", "5", "20", "30"], ["--sizes", "30", "20", "40"], ["--churn", "70000"], ["--add", "0"]):
        with pytest.raises(SystemExit):
            options(wrong)
