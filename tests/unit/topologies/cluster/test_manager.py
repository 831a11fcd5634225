"""Cluster management of one control plane: what it keeps for a restart, and when."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hoverboard.contract.errors import InputError, RunError
from topologies.cluster.manager import ClusterManager
from topologies.cluster.regional import merge_policy
from topologies.spec import schema
from topologies.spec.region_scopes import WHOLE
from topologies.spec.topology import OffloadSpec

TEXT = "hosts: 1\nmodel: gateway\noffload_threshold: 20kbit\n"


class Plane:
    """A control plane, and its processes.

    Attributes:
        steps: what happens at each look at its status.
        crashes: reasons that processes have written, by pid.
    """

    def __init__(self, *, separate: bool = False) -> None:
        self.model, self.switching = "gateway", None
        self.asked: list[Any] = []
        self.steps: list[Any] = []
        self.crashes: dict[int, str] = {}
        self.refuses: Exception | None = None
        names = ["fabric-manager", "vm-controller-0-0"] if separate else ["control plane"]
        self.roles = [self._role(name, 100 + number) for number, name in enumerate(names)]
        self.manager = made = ClusterManager.__new__(ClusterManager)
        made._topology, made.scope, made._lock = schema.parse(TEXT), WHOLE, threading.Lock()
        made.client = self  # type: ignore[assignment]
        made.processes = SimpleNamespace(  # type: ignore[assignment]
            roles=self.roles, layout=SimpleNamespace(processes=separate), first=self.roles[0],
            crashed=lambda role, pid: self.crashes.get(pid), why_ended=lambda role: "SIGKILL",
        )  # fmt: skip

    def _role(self, name: str, pid: int) -> Any:
        role = SimpleNamespace(name=name, process=SimpleNamespace(pid=pid), log=Path(f"{name}.log"))
        role.running = lambda: role.process
        return role

    def end(self, number: int, reason: str | None = None) -> None:
        """A process ends, and another one comes."""
        role = self.roles[number]
        if reason is not None:
            self.crashes[role.process.pid] = reason
        role.process = SimpleNamespace(pid=role.process.pid + 1000)

    # --- as a client ---

    def set_model(self, model: str) -> dict[str, str]:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append(model)
        before, self.model = self.model, model
        return {"from": before}

    def set_offload(self, settings: Any) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append(settings)

    def wait_ready(self, timeout: float) -> None:
        self.asked.append("ready?")

    def status(self, timeout: float = 1.0) -> dict[str, Any]:
        if self.steps and (step := self.steps.pop(0)) is not None:
            step()
        return {"model": self.model, "switching": self.switching}

    def away(self) -> None:
        raise RunError("the control plane does not answer")

    @property
    def option(self) -> str:
        """The model with which the control plane would start again."""
        options = self.manager._options()
        return options[options.index("--model") + 1]


def test_a_new_model_is_kept_for_a_restart_when_the_change_is_done() -> None:
    plane = Plane()
    seen: list[str] = []
    plane.switching = "gain: hv1"  # type: ignore[assignment]

    def settled() -> None:
        plane.switching = None

    plane.steps = [lambda: seen.append(plane.option), plane.away, lambda: seen.append(plane.option), settled]
    assert plane.manager.set_model("hoverboard", 10.0) == "gateway"
    assert seen == ["gateway", "gateway"]
    assert plane.option == "hoverboard"


def test_a_model_that_ends_the_control_plane_is_not_what_it_starts_with_again() -> None:
    plane = Plane()
    plane.switching = "gain: hv1"  # type: ignore[assignment]
    plane.steps = [None, lambda: plane.end(0, "mine.py:7: Mine.vm_flows() raised ValueError: no")]
    with pytest.raises(RunError) as refused:
        plane.manager.set_model("mine.py:Mine", 10.0)
    assert refused.value.what == (
        "the change to model mine.py:Mine ended the control plane: mine.py:7: Mine.vm_flows() raised ValueError: no"
    )
    assert refused.value.where == "control plane.log"
    assert "goes back to model gateway" in refused.value.next_step
    assert plane.option == "gateway"
    assert plane.asked == ["mine.py:Mine"]


def test_a_control_plane_that_is_killed_during_a_change_says_so() -> None:
    plane = Plane()
    plane.switching = "gain: hv1"  # type: ignore[assignment]
    plane.steps = [None, lambda: plane.end(0)]
    with pytest.raises(RunError, match="ended the control plane: SIGKILL"):
        plane.manager.set_model("hoverboard", 10.0)


def test_an_answer_that_is_lost_with_its_process_is_what_the_process_has_written() -> None:
    plane = Plane()
    plane.refuses = RunError("the control plane does not answer")
    plane.steps = [plane.away, lambda: plane.end(0, "mine.py:7: no"), plane.away]
    with pytest.raises(RunError, match=r"ended the control plane: mine\.py:7: no"):
        plane.manager.set_model("mine.py:Mine", 10.0)
    assert plane.option == "gateway"


def test_a_refusal_of_a_control_plane_that_lives_is_passed_on() -> None:
    plane = Plane()
    plane.refuses = RunError("the change to model on-demand is still in progress")
    with pytest.raises(RunError, match="still in progress"):
        plane.manager.set_model("hoverboard", 10.0)
    assert (plane.option, plane.asked) == ("gateway", [])


def test_roles_are_ordered_back_when_one_ends_by_an_exception() -> None:
    plane = Plane(separate=True)
    plane.switching = "gain: partitions 0"  # type: ignore[assignment]
    plane.steps = [None, lambda: plane.end(1, "mine.py:7: no")]
    with pytest.raises(RunError, match=r"ended the vm-controller-0-0: mine\.py:7: no"):
        plane.manager.set_model("mine.py:Mine", 10.0)
    assert plane.asked == ["mine.py:Mine", "ready?", "gateway"]
    assert plane.option == "gateway"


def test_a_role_that_is_killed_follows_the_order_again() -> None:
    plane = Plane(separate=True)
    plane.switching = "gain: partitions 0"  # type: ignore[assignment]

    def settled() -> None:
        plane.switching = None

    plane.steps = [lambda: plane.end(1), None, settled]
    assert plane.manager.set_model("hoverboard", 10.0) == "gateway"
    assert plane.option == "hoverboard"


def test_a_change_that_takes_too_long_goes_on_and_is_kept() -> None:
    plane = Plane()
    plane.switching = "gain: hv1"  # type: ignore[assignment]
    with pytest.raises(RunError, match="the change to model hoverboard waits for gain: hv1"):
        plane.manager.set_model("hoverboard", 0.02)
    assert plane.option == "hoverboard"


# --- the offload policy ---------------------------------------------------------------------------------


def test_the_offload_policy_is_kept_for_a_restart_once_it_is_accepted() -> None:
    plane = Plane()
    present = plane.manager._topology
    wanted = replace(present, offload_threshold=9, offload=OffloadSpec(3, 4.0, 5.0, 6, policy="/m.py:Mine"))
    plane.refuses = InputError("no")
    with pytest.raises(InputError):
        plane.manager.set_offload(wanted)
    assert plane.manager._topology == present
    plane.refuses = None
    plane.manager.set_offload(wanted)
    (sent,) = plane.asked
    assert (sent.threshold_bps, sent.keep_bps, sent.minimum_lifetime, sent.idle_expiry) == (9, 3, 4, 5)
    assert (sent.budget, sent.policy) == (6, "/m.py:Mine")
    options = " ".join(plane.manager._options())
    assert "--threshold 9 " in options
    assert "--offload-policy /m.py:Mine" in options
    plane.manager.set_offload(replace(wanted, offload=OffloadSpec()))
    assert plane.asked[-1].policy == ""
    assert "--offload-policy" not in plane.manager._options()


def test_errors_of_a_policy_are_those_of_all_regions() -> None:
    whole: Any = {}
    policy: Any = {"policy": "m.py", "threshold_bps": 1.0, "errors": 0, "last_error": None}
    merge_policy(whole, policy)
    assert whole["offload_policy"] == policy
    merge_policy(whole, {**policy, "errors": 2, "last_error": "m.py:3: no"})
    merge_policy(whole, {**policy, "errors": 1, "last_error": "m.py:4: no"})
    merge_policy(whole, policy)
    assert whole["offload_policy"] == {**policy, "errors": 3, "last_error": "m.py:4: no"}
    assert policy["errors"] == 0
