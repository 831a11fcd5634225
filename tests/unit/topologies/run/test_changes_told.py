"""Changes of a run: what they leave without anybody is told, and the offload policy changes while it is up."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hoverboard.contract.change_documents import OffloadChange, RemovedVM
from hoverboard.contract.document_schemas import check
from hoverboard.contract.entities import FirewallRule
from hoverboard.contract.errors import HoverboardWarning, InputError
from tests.unit.topologies.run.made_up_run import TOPOLOGY, World
from topologies.run import apply, notices, plane_changes, vm_changes
from topologies.run.testbed import Testbed
from topologies.spec import schema

RULE = FirewallRule(name="r", network="blue", direction="ingress", action="deny", targets=("web",))
FILE = """
name: told
hosts: 2
networks: [{name: blue, vni: 7, subnet: 10.0.0.0/24, vms: 1, firewall: {rules: [
  {name: r, direction: ingress, action: deny, targets: [web]}]}}]
"""


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(vm_changes, "wait_answers", lambda *_, **__: [])
    with tempfile.TemporaryDirectory(prefix="hb") as state:
        made = World(Path(state))
        yield made
        made.run.take_down()


@pytest.fixture
def bed(world: World) -> Testbed:
    made = Testbed(TOPOLOGY, run="made-up", state_dir=world.directory.path.parent)
    made._run = world.run
    return made


def where(found: Any) -> list[str]:
    return [one.where for one in found]


# --- names that nobody has any more ---------------------------------------------------------------------


def test_the_last_vm_of_a_tag_takes_a_rule_along_and_that_is_told(world: World) -> None:
    vm_changes.add_vm(world.run, "blue", "x", tags=["web"])
    vm_changes.add_vm(world.run, "blue", "y", tags=["web"])
    world.entities["FirewallRule", "r"] = RULE
    assert notices.notices(world.run) == []
    assert vm_changes.remove_vm(world.run, "x") == []
    assert where(vm_changes.remove_vm(world.run, "y")) == ["FirewallRule/r.targets"]
    # It was told: another VM that goes does not tell it again, although there are other words for what to do now.
    vm_changes.add_vm(world.run, "blue", "z", tags=["db"])
    assert vm_changes.remove_vm(world.run, "z") == []
    assert where(notices.notices(world.run)) == ["FirewallRule/r.targets"]


def test_a_tag_may_come_with_a_vm(world: World) -> None:
    world.entities["FirewallRule", "r"] = RULE
    assert len(notices.notices(world.run)) == 1
    added = vm_changes.add_vm(world.run, "blue", "x", ip="10.0.0.77", tags=["web"], rate="1mbit")
    assert (str(added.ip), added.tags, added.rate) == ("10.0.0.77", ("web",), 1_000_000)
    assert notices.notices(world.run) == []


def test_a_stage_for_a_vm_that_is_removed_is_told(world: World) -> None:
    when = {"to": "any", "vms": ["blue-2"], "networks": [], "direction": "both"}
    stage = {"stage": "/mine/watch.py:Watch", "config": {}, "when": when}
    world.run.replace_topology(lambda now: replace(now, stages=(stage,)))
    assert where(vm_changes.remove_vm(world.run, "blue-2")) == ["stage watch.py:Watch, when.vms"]


def test_a_program_gets_python_warnings(bed: Testbed, world: World) -> None:
    with pytest.warns(HoverboardWarning, match="FirewallRule/r.targets: no VM of 'blue' has the tag 'web'"):
        bed.upsert(RULE)
    bed.add_vm("blue", "x", tags=["web"])
    with pytest.warns(HoverboardWarning, match="the rule matches no packet") as found:
        bed.remove_vm("x")
    assert Path(found[0].filename) == Path(__file__)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bed.remove(RULE)
        bed.remove_vm("blue-2")


def test_a_testbed_of_a_file_warns_with_its_line(world: World, tmp_path: Path) -> None:
    file = tmp_path / "told.yaml"
    file.write_text(FILE)
    with pytest.warns(HoverboardWarning, match=r"told\.yaml:5: networks\[0\]\.firewall\.rules\[0\]\.targets") as found:
        Testbed(file, state_dir="/tmp/hb")  # a short path: nothing is made there
    assert Path(found[0].filename) == Path(__file__)


def test_requests_answer_with_what_names_nobody(bed: Testbed, world: World) -> None:
    from topologies.run.holder_requests import requests

    methods = requests(bed)
    world.entities["FirewallRule", "r"] = RULE
    added = methods["add_vm"]("blue", "x", ip="10.0.0.9", tags=["web"], rate="1mbit")
    check("vm-add", added)
    assert (added["ip"], added["tags"], added["rate_bps"]) == ("10.0.0.9", ["web"], 1_000_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # who asks shows them
        removed = methods["remove_vm"]("x")
    check(RemovedVM, removed)
    assert [one["where"] for one in removed["warnings"]] == ["FirewallRule/r.targets"]


# --- the offload policy ---------------------------------------------------------------------------------


def test_the_offload_policy_changes_and_the_topology_says_so(bed: Testbed, world: World) -> None:
    done = bed.set_offload(threshold="1mbit", budget=3)
    check(OffloadChange, done)
    assert done["changed"] == {"threshold": {"from": 20_000, "to": 1_000_000}, "budget": {"from": 0, "to": 3}}
    assert (bed.topology.offload_threshold, bed.topology.offload.budget) == (1_000_000, 3)
    assert world.done == [("offload", "1000000")]
    assert bed.set_offload(threshold="1mbit")["changed"] == {}
    assert len(world.done) == 1
    bed.set_offload(policy="built-in")  # named again: made again
    assert len(world.done) == 2


def test_what_the_control_plane_refuses_stays_as_it_was(bed: Testbed, world: World) -> None:
    world.refuses = InputError("the file has no offload policy")
    with pytest.raises(InputError):
        bed.set_offload(policy="/tmp/absent.py:Mine", threshold="1mbit")
    assert bed.topology == TOPOLOGY
    with pytest.raises(InputError, match="5mbit is not lower than the offload_threshold, 20kbit"):
        plane_changes.set_offload(world.run, {"keep": "5mbit"})


def test_a_file_changes_the_offload_policy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = {"version": 1, "added": [], "changed": [], "removed": [], "switches": {}}
    monkeypatch.setattr(world.run.cluster, "plan", lambda *_: plan, raising=False)
    text = "hosts: 2\nnetworks: [{name: blue, vni: 7, subnet: 10.0.0.0/24, vms: 2}]\n"
    first = schema.parse(text, name="made-up", running=world.run.topology)
    wanted = schema.parse(text + "offload_threshold: 55kbit\n", name="made-up", running=world.run.topology)
    dry = apply.apply(world.run, first, wanted, "f.yaml", dry_run=True)
    check("apply", dry)
    assert (dry["applied"], dry["offload"]) == (False, {"threshold": {"from": 20_000, "to": 55_000}})
    assert world.done == []
    assert apply.apply(world.run, first, wanted, "f.yaml", dry_run=False)["applied"]
    assert world.done == [("offload", "55000")]
    assert world.run.topology.offload_threshold == 55_000
    # A request stays, as long as the file says nothing new of it.
    plane_changes.set_offload(world.run, {"threshold": "1mbit"})
    assert not apply.apply(world.run, wanted, wanted, "f.yaml", dry_run=False)["applied"]
    assert apply.apply(world.run, wanted, first, "f.yaml", dry_run=False)["offload"] == {
        "threshold": {"from": 1_000_000, "to": 20_000}
    }


def test_who_reports_stays_while_the_run_is_up(world: World) -> None:
    wanted = replace(TOPOLOGY, offload=replace(TOPOLOGY.offload, reports="hoverboards"))
    with pytest.raises(InputError, match=r"`offload_policy.reports` cannot change"):
        apply.apply(world.run, TOPOLOGY, wanted, "f.yaml", dry_run=False)
