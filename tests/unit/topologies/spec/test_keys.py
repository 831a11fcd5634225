"""What the fields of a topology file say of themselves: what may change while it is up, what stands below a key."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from hoverboard.contract.errors import InputError
from topologies.run.apply import check_fixed_keys
from topologies.spec import schema
from topologies.spec.keys import CapacityKeys, TopologyKeys, VMKeys, fixed_keys, keys_at
from topologies.spec.policy_keys import RuleKeys
from topologies.spec.topology import Topology

MAY_CHANGE = {"name", "networks", "offload_threshold"}


def test_every_key_says_whether_it_may_change_while_the_testbed_is_up() -> None:
    assert {key.partition(".")[0] for key, _, _ in fixed_keys()} == set(TopologyKeys.model_fields) - MAY_CHANGE
    assert {name.partition(".")[0] for _, name, _ in fixed_keys()} <= {field.name for field in fields(Topology)}


@pytest.mark.parametrize("name", sorted({name for _, name, _ in fixed_keys()}))
def test_what_is_settled_is_refused_by_its_key(name: str) -> None:
    present = schema.parse("hosts: 2")
    outer, _, inner = name.partition(".")
    another = replace(getattr(present, outer), **{inner: "another"}) if inner else "another"
    wanted = replace(present, **{outer: another})  # type: ignore[arg-type]
    check_fixed_keys(present, present, present, "file.yaml")
    key, step = next((key, marker.step) for key, becomes, marker in fixed_keys() if becomes == name)
    with pytest.raises(InputError, match=f"`{key}` cannot change") as refused:
        check_fixed_keys(present, present, wanted, "file.yaml")
    assert (refused.value.where, refused.value.next_step) == (f"file.yaml: {key}", step)
    # The command line changed it, and the file is the one that the run was started from.
    check_fixed_keys(wanted, present, wanted, "file.yaml")


def test_the_model_is_changed_by_its_own_command() -> None:
    present = schema.parse("hosts: 2")
    with pytest.raises(InputError, match="hoverboard model set MODEL"):
        check_fixed_keys(present, present, replace(present, model="gateway"), "file.yaml")


def test_the_keys_below_a_key_are_those_of_its_type() -> None:
    assert keys_at(()) is TopologyKeys
    assert keys_at(("networks", 3, "vms", 0)) is VMKeys
    assert keys_at(("networks", 0, "firewall", "rules", 1)) is RuleKeys
    assert keys_at(("hoverboards", 1, "capacity")) is CapacityKeys
