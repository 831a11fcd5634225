"""Changes of the offload policy: by options, on request, and by the next file."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from hoverboard.contract.errors import InputError
from topologies.changes.offload_change import BUILT_IN, OffloadValues, merged, offload_difference, with_offload
from topologies.spec import schema
from topologies.spec.keys import OffloadKeys
from topologies.spec.topology import OffloadSpec, Topology

FILE = "hosts: 1\noffload_threshold: 20kbit\noffload_policy: {keep: 5kbit, budget: 4}\n"
MINE = """
from controllers import Decision, OffloadPolicy

class Mine(OffloadPolicy):
    def decide(self, host, candidates, now):
        return Decision()
"""


@pytest.fixture
def topology() -> Topology:
    return schema.parse(FILE)


def test_all_but_the_sender_of_reports_may_change() -> None:
    assert set(OffloadValues.__annotations__) == {"threshold", *OffloadKeys.model_fields} - {"reports"}
    assert {field.name for field in fields(OffloadSpec)} == set(OffloadKeys.model_fields)


def test_what_is_given_changes_and_all_else_stays(topology: Topology) -> None:
    assert with_offload(topology, {}) == topology
    assert with_offload(topology, {"threshold": None, "keep": None, "budget": None}) == topology
    changed = with_offload(
        topology, {"threshold": "1mbit", "keep": "7kbit", "min_lifetime": "3s", "idle_expiry": "500ms", "budget": 0}
    )
    assert (changed.offload_threshold, changed.offload) == (1_000_000, OffloadSpec(7_000, 3.0, 0.5, 0))
    assert replace(changed, offload_threshold=topology.offload_threshold, offload=topology.offload) == topology


def test_a_policy_is_found_from_here_and_may_be_the_built_in_one_again(
    topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    changed = with_offload(topology, {"policy": "mine.py:Mine"})
    assert changed.offload.policy == f"{tmp_path}/mine.py:Mine"
    assert with_offload(changed, {"policy": BUILT_IN}) == topology


@pytest.mark.parametrize(
    ("values", "where", "what"),
    [
        ({"threshold": "1"}, "threshold", "'1' is not a rate"),
        ({"keep": "20kbit"}, "keep", "20kbit is not lower than the offload_threshold, 20kbit"),
        ({"threshold": "5kbit"}, "keep", "5kbit is not lower than the offload_threshold, 5kbit"),
        ({"idle_expiry": "10ms"}, "idle_expiry", "0.01 is too small"),
        ({"min_lifetime": "soon"}, "min_lifetime", "'soon' is not a time"),
        ({"budget": -1}, "budget", "-1 is too small"),
        ({"policy": "absent.py:Mine"}, "absent.py:Mine", "there is no Python file 'absent.py'"),
    ],
)
def test_a_value_that_is_wrong_is_refused_by_its_name(topology: Topology, values: Any, where: str, what: str) -> None:
    with pytest.raises(InputError) as refused:
        with_offload(topology, values)
    assert refused.value.what.startswith(what.replace("0.01", "10ms"))
    assert refused.value.where.endswith(where)


def test_a_file_changes_what_it_says_otherwise_than_the_file_before(topology: Topology) -> None:
    """What options or requests have changed stays, if the file does not change it."""
    running = with_offload(topology, {"threshold": "1mbit", "budget": 9})
    assert merged(running, topology, topology) == running
    wanted = schema.parse(FILE.replace("budget: 4", "budget: 5"))
    after = merged(running, topology, wanted)
    assert (after.offload_threshold, after.offload.budget, after.offload.keep) == (1_000_000, 5, 5_000)
    # Back to the first file.
    assert merged(after, wanted, topology).offload.budget == 4


def test_the_difference_has_old_and_new_values_by_name(topology: Topology) -> None:
    changed = with_offload(topology, {"threshold": "1mbit", "budget": 9})
    assert offload_difference(topology, topology) == {}
    assert offload_difference(topology, changed) == {
        "threshold": {"from": 20_000, "to": 1_000_000}, "budget": {"from": 4, "to": 9},
    }  # fmt: skip
