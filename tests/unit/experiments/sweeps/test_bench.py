"""The bench: which testbeds stay up, what a point leaves, and who is pinned; testbeds are made up."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, ClassVar

import pytest

from experiments.sweeps import bench
from experiments.sweeps.bench import TestbedBench, random_seed
from experiments.sweeps.folder import key_of
from experiments.sweeps.pinning import Pinning
from topologies.spec import schema
from topologies.spec.topology import Topology


class Bed:
    """A testbed that only says whether it is up."""

    made: ClassVar[list[Bed]] = []
    fails: ClassVar[bool] = False

    def __init__(self, topology: Any, *, run: str, **options: Any) -> None:
        self.asked, self.run, self.options = topology, run, options
        self.topology = topology if isinstance(topology, Topology) else schema.load(topology)
        self.datapath_type, self.directory = "netdev", Path("run") / run
        self.going_down = False
        self.is_up = False
        Bed.made.append(self)

    def up(self, progress: object = None) -> None:
        if Bed.fails:
            raise KeyboardInterrupt
        self.is_up = True

    def down(self) -> None:
        self.is_up = False
        self.going_down = True


@pytest.fixture(autouse=True)
def testbeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "Testbed", Bed)
    monkeypatch.setattr(Bed, "made", [])


def made(said: list[str] | None = None, **settings: Any) -> TestbedBench:
    found = TestbedBench(quick=False, seed=1, say=(said if said is not None else []).append, **settings)
    found.begin("point")
    return found


def test_a_testbed_stays_up_for_the_points_that_follow() -> None:
    said: list[str] = []
    one = made(said)
    first = one.testbed("two-hosts", dataplane="ovs")
    one.end()
    one.begin("next")
    assert one.testbed("two-hosts", dataplane="ovs") is first
    assert one.testbed("two-hosts", dataplane="pre") is not first
    assert one.testbed("demo", dataplane="ovs") is not first
    assert [testbed.options for testbed in Bed.made] == [
        {"dataplane": "ovs"},
        {"dataplane": "pre"},
        {"dataplane": "ovs"},
    ]
    assert all(testbed.is_up for testbed in Bed.made)
    assert said == ["bringing up two-hosts ovs", "bringing up two-hosts pre", "bringing up demo ovs"]
    assert len({testbed.run for testbed in Bed.made}) == 3
    assert all(testbed.run.startswith("experiment-") for testbed in Bed.made)
    one.close()
    assert not any(testbed.is_up for testbed in Bed.made)


def test_a_testbed_that_was_closed_is_made_again() -> None:
    one = made()
    first = one.testbed()
    first.going_down = True
    assert one.testbed() is not first
    assert [testbed.is_up for testbed in Bed.made] == [False, True]


def test_the_one_that_was_not_used_for_longest_makes_room() -> None:
    one = made()
    several = [one.testbed("two-hosts", number=number) for number in range(6)]
    assert one.testbed("two-hosts", number=0) is several[0]
    one.testbed("two-hosts", number=6)
    assert [testbed.is_up for testbed in several] == [True, False, True, True, True, True]


def test_a_fresh_testbed_is_used_by_no_other_point() -> None:
    one = made()
    first, second = one.fresh("two-hosts"), one.fresh("two-hosts")
    assert first is not second
    kept = one.testbed("two-hosts")
    one.end()
    assert [testbed.is_up for testbed in (first, second, kept)] == [False, False, True]
    one.begin("next")
    last = one.fresh("two-hosts")
    one.close()
    assert not last.is_up


def test_a_testbed_that_does_not_come_up_is_taken_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bed, "fails", True)
    one = made()
    with pytest.raises(KeyboardInterrupt):
        one.testbed("two-hosts")
    assert Bed.made[0].going_down
    monkeypatch.setattr(Bed, "fails", False)
    assert one.testbed("two-hosts") is not Bed.made[0]


def test_an_interruption_at_any_moment_loses_no_testbed(monkeypatch: pytest.MonkeyPatch) -> None:
    one = made()
    monkeypatch.setattr(one, "_record", _interrupted)  # the testbed is up by then
    for bring_up in (one.testbed, one.fresh):
        with pytest.raises(KeyboardInterrupt):
            bring_up("two-hosts")
    assert [testbed.is_up for testbed in Bed.made] == [False, True]
    one.close()
    assert not any(testbed.is_up for testbed in Bed.made)


def test_an_interruption_between_two_points_loses_no_testbed(monkeypatch: pytest.MonkeyPatch) -> None:
    one = made()
    one.testbed("two-hosts")
    monkeypatch.setattr(one, "_record", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.testbed("two-hosts")
    assert Bed.made[0].is_up
    one.close()
    assert not Bed.made[0].is_up


def test_a_second_interruption_waits_until_all_testbeds_are_down(monkeypatch: pytest.MonkeyPatch) -> None:
    one = made()
    for dataplane in ("ovs", "pre", "fastpath"):
        one.testbed("two-hosts", dataplane=dataplane)
    down = Bed.down

    def impatient(self: Bed) -> None:
        signal.raise_signal(signal.SIGINT)
        down(self)

    monkeypatch.setattr(Bed, "down", impatient)
    with pytest.raises(KeyboardInterrupt):
        one.close()
    assert not any(testbed.is_up for testbed in Bed.made)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_point_leaves_its_raw_data_and_what_was_up() -> None:
    one = made()
    one.raw("ping", "64 bytes")
    one.testbed("two-hosts", dataplane="ovs", control={"replicas": 3})
    assert one.end() == {"ping": "64 bytes"}
    assert one.end() == {}
    ((name, text),) = one.topologies().items()
    assert name == "two-hosts,dataplane=ovs,control=_replicas_3_"
    assert text == (
        "# dataplane=ovs, control={'replicas': 3}; Open vSwitch's datapath: netdev\n" + schema.load("two-hosts").text
    )
    one.begin("next")
    assert one.topologies() == {}
    one.testbed("two-hosts")
    assert next(iter(one.topologies().values())).startswith("# as it stands; Open vSwitch's datapath: netdev\n")


def test_a_topology_that_is_no_file_is_named_as_such() -> None:
    said: list[str] = []
    made(said).testbed(schema.load("two-hosts"), dataplane="ovs")
    assert said == ["bringing up its topology ovs"]


def test_random_numbers_are_those_of_the_seed_the_point_and_what_they_are_for() -> None:
    def drawn(seed: int, key: str, of: str = "") -> float:
        one = TestbedBench(quick=True, seed=seed, say=lambda what: None)
        one.begin(key)
        assert one.quick
        return one.random(of, across=("model",)).random()

    assert drawn(1, "model=a,load=7") == drawn(1, "model=b,load=7")
    assert len({drawn(1, "load=7"), drawn(2, "load=7"), drawn(1, "load=8"), drawn(1, "load=7", "pairs")}) == 4


def test_those_who_are_compared_are_offered_the_same() -> None:
    one, other = (key_of({"model": name, "sizes": [1, 2], "load": 7}, {}, 0) for name in ("gateway", "on-demand"))
    assert random_seed(1, one, "pairs", ("model",)) == random_seed(1, other, "pairs", ("model",))
    different = {
        random_seed(1, one, "pairs", ()), random_seed(1, other, "pairs", ()),
        random_seed(1, one, "traffic", ("model",)),
        random_seed(1, one, "pairs", ("model",)), random_seed(2, one, "pairs", ("model",)),
        random_seed(1, one, "pairs", ("model", "load")), random_seed(1, one, "", ()),
        random_seed(1, key_of({"model": "gateway", "sizes": [1, 2], "load": 7}, {}, 1), "pairs", ("model",)),
    }  # fmt: skip
    assert len(different) == 8
    assert random_seed(3, "a=1,b=x,y,c=2", "of", ("c",)) == "3/a=1,b=x,y/of"
    assert random_seed(3, "a=1,b=x,y", "", ("b",)) == "3/a=1"


def test_what_is_going_on_is_said() -> None:
    said: list[str] = []
    made(said).say("halfway")
    assert said == ["halfway"]


class Machine:
    """Who was pinned where; and processes of a run's ledger."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pinned: list[list[int]] = []
        self.affinity: list[tuple[int, set[int]]] = []
        kinds = (("host", 11), ("nursery", 12), ("switch", 13), ("control", 14), ("namespace", 15))
        records = [
            type("Record", (), {"kind": kind, "process": type("Process", (), {"pid": pid})}) for kind, pid in kinds
        ]
        monkeypatch.setattr(bench, "Ledger", lambda directory: directory)
        monkeypatch.setattr(bench, "live_processes", lambda ledger, processes: records)
        monkeypatch.setattr(bench, "apply", lambda pinning, pids: self.pinned.append(list(pids)))


def test_data_planes_are_pinned_each_time_a_testbed_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    before = os.sched_getaffinity(0)
    one = made(pinning=Pinning(frozenset({0}), frozenset({1})))
    assert machine.pinned == [[]]  # this process at once, and who it starts with it
    one.testbed()
    one.testbed()
    assert machine.pinned == [[], [11, 12, 13], [11, 12, 13]]
    one.close()
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("pinning", [None, "off"])
def test_without_a_pinning_no_process_is_pinned(monkeypatch: pytest.MonkeyPatch, pinning: str | None) -> None:
    machine = Machine(monkeypatch)
    made(pinning=pinning).testbed()
    assert machine.pinned == []
