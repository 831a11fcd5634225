"""VMs that join a testbed that is made up: who is asked for, who pings whom, and what is taken away again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from itertools import islice
from types import SimpleNamespace
from typing import Any, cast

import pytest

from experiments.workload import vm_join
from experiments.workload.vm_join import Answer
from hoverboard.contract.errors import MeasurementError, RunError
from tests.unit.experiments.fake_testbed import FakeTestbed
from topologies.changes import placement
from topologies.run.testbed import Testbed
from topologies.spec import schema
from topologies.spec.topology import Topology, VMSpec

TOPOLOGY = schema.from_keys(
    {
        "hosts": 2, "hoverboards": 1,
        "networks": [{"name": "blue", "vni": 7, "subnet": "10.0.0.0/16", "vms": 2}],
    },
    name="joining",
)  # fmt: skip


class Run:
    """A control plane that programs what it is asked for, and VMs that answer some time later.

    Attributes:
        asked: (VMs to add, VMs to remove) of each request.
        done: VMs that were built or discarded, in order.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, silent: frozenset[str] = frozenset()) -> None:
        self.at = 1_000_003.0
        self.asked: list[tuple[list[str], list[str]]] = []
        self.done: list[tuple[Any, ...]] = []
        self.pings: list[tuple[dict[str, tuple[int, str]], float, float]] = []
        self.looks = 0
        self._silent = silent
        self._reads, self._returned = 0, threading.Semaphore(0)
        testbed = FakeTestbed(TOPOLOGY, {})
        testbed.intent = SimpleNamespace(diff=self._diff)
        self.testbed = cast(Testbed, testbed)
        for name, method in (
            ("upsert", lambda vm: self._diff(upsert=[vm])), ("program_state", self._state),
            ("prebuild_vms", self._prebuild), ("discard_vms", lambda specs: self.done.append(("discard", *specs))),
        ):  # fmt: skip
            setattr(testbed, name, method)
        monkeypatch.setattr(vm_join, "time", SimpleNamespace(monotonic=self._now))
        monkeypatch.setattr(vm_join, "wait_answers", self._answers)

    @property
    def topology(self) -> Topology:
        return self.testbed.topology

    def _now(self) -> float:
        """Answers come once the request has returned, whose two times the main thread takes."""
        if threading.current_thread() is threading.main_thread():
            self._reads += 1
            if self._reads % 2 == 0:
                self._returned.release()
        return self.at

    def _prebuild(self, network: str, count: int) -> list[VMSpec]:
        topology, specs = self.topology, []
        for _ in range(count):
            specs.append(placement.plan_vm(topology, network))
            topology = topology.with_vm(specs[-1])
        self.done.append(("build", *specs))
        return specs

    def _diff(self, upsert: Any = (), remove: Any = ()) -> None:
        self.asked.append(([vm.name for vm in upsert], [vm.name for vm in remove]))
        self.at += 0.25

    def _state(self) -> Any:
        self.looks += 1
        programmed = {"h1", "h2", "hv1"} if self.looks > 1 else {"h1"}
        self.at += 0.5
        return SimpleNamespace(programmed=programmed | {"stranger"})

    def _answers(
        self, targets: Mapping[str, tuple[int, Any]], timeout: float, answered: Callable[[str], None], interval: float
    ) -> None:
        self.pings.append(({name: (pid, str(ip)) for name, (pid, ip) in targets.items()}, timeout, interval))
        assert self._returned.acquire(timeout=20)
        for name in targets:
            if name not in self._silent:
                self.at += 0.125
                answered(name)


def test_intent_is_in_turn_on_all_hosts_with_addresses_from_the_range_of_its_own() -> None:
    found = list(islice(vm_join.entities(TOPOLOGY.networks[0], ["h1", "h2"]), 3))
    assert [(vm.name, vm.host, str(vm.ip), vm.network) for vm in found] == [
        ("blue-intent-0", "h1", "10.0.16.0", "blue"), ("blue-intent-1", "h2", "10.0.16.1", "blue"),
        ("blue-intent-2", "h1", "10.0.16.2", "blue"),
    ]  # fmt: skip


def test_loading_takes_until_all_switches_are_programmed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    more, gone = (list(islice(vm_join.entities(TOPOLOGY.networks[0], ["h1"]), count)) for count in (2, 1))
    assert vm_join.load_intent(run.testbed, more, gone) == 1.25
    assert run.asked == [(["blue-intent-0", "blue-intent-1"], ["blue-intent-0"])]
    assert run.looks == 2


def test_switches_that_are_never_programmed_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    monkeypatch.setattr(vm_join, "_SETTLED_TIMEOUT", 0.0)
    run.looks = -(10**9)
    with pytest.raises(RunError, match="switches are not programmed"):
        vm_join.load_intent(run.testbed, [])


def test_a_vm_is_timed_from_the_request_to_its_first_answer_on_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    answer = vm_join.time_join(run.testbed, lambda: run._diff())
    assert answer == Answer(answered=375.0, done=250.0)
    ((targets, timeout, interval),) = run.pings
    assert targets == {"blue-3": (run.testbed.pid_of("blue-2"), "10.0.0.4")}
    assert (timeout, interval) == (20.0, 0.005)


def test_several_are_timed_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    network = TOPOLOGY.networks[0]
    specs = [network.vm(name, host, next(islice(network.subnets[0].addresses(), at, None))) for name, host, at in (
        ("one", "h2", 10), ("two", "h1", 11))]  # fmt: skip
    answers = vm_join.time_joins(run.testbed, lambda: run._diff(), specs, 0.02)
    assert answers == [Answer(375.0, 250.0), Answer(500.0, 250.0)]
    assert run.pings[0][0] == {
        "one": (run.testbed.pid_of("blue-1"), "10.0.0.12"), "two": (run.testbed.pid_of("blue-2"), "10.0.0.13"),
    }  # fmt: skip
    assert run.pings[0][2] == 0.02


def test_a_vm_that_never_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, silent=frozenset({"blue-3"}))
    with pytest.raises(MeasurementError, match="blue-3 does not answer blue-2 after 20 s") as caught:
        vm_join.time_join(run.testbed, lambda: run._diff())
    assert caught.value.where == "h1"


def test_planted_vms_are_there_before_they_are_asked_for_and_gone_after(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    with pytest.raises(ZeroDivisionError), vm_join.prebuilt_vms(run.testbed, "blue", 3) as specs:  # noqa: PT012
        assert [(one.name, one.host, str(one.ip)) for one in specs] == [
            ("blue-3", "h1", "10.0.0.4"), ("blue-4", "h2", "10.0.0.5"), ("blue-5", "h1", "10.0.0.6"),
        ]  # fmt: skip
        assert (run.done, run.asked) == ([("build", *specs)], [])
        raise ZeroDivisionError
    assert run.done[1:] == [("discard", *specs)]


def test_planted_vms_are_announced_one_by_one_or_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    with vm_join.prebuilt_vms(run.testbed, "blue", 2) as specs:
        alone = list(vm_join.join_in_turn(run.testbed, specs))
        assert run.asked == [(["blue-3"], []), (["blue-4"], [])]
        together = vm_join.join_together(run.testbed, specs)
        assert run.asked[2:] == [(["blue-3", "blue-4"], [])]
    assert alone == [Answer(375.0, 250.0)] * 2
    assert together == [Answer(375.0, 250.0), Answer(500.0, 250.0)]
    assert [interval for _, _, interval in run.pings] == [0.005, 0.005, 0.02]


def test_a_vm_of_which_only_the_control_plane_is_timed_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    answer = vm_join.join_one(run.testbed, "blue")
    assert answer == Answer(375.0, 250.0)
    assert [(verb, spec.name) for verb, spec in run.done] == [("build", "blue-3")]
    assert run.asked == [(["blue-3"], [])]
