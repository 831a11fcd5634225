"""The result of a dry run: the entities that it depends on, and the number of flows by switch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from ipaddress import IPv4Address

import pytest

from controllers.dry_run import concerned, consequences, plan_document
from controllers.fm.index import EntityKey
from controllers.fm.intent_store import Changes, IntentStore
from controllers.testing.world import cluster, host, hoverboard, network, place, ready, route, vm
from controllers.vmc.core import ControllerCore
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadPolicy
from hoverboard.contract.change_documents import Plan
from hoverboard.contract.document_schemas import check
from hoverboard.contract.entities import VM, AnyEntity, FirewallRule, Host
from hoverboard.contract.openflow.pipeline import base_flows, vport_flows

B1, B2, G1 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("g1", "green", "h1", 2)
RULE = FirewallRule(name="f", network="blue", direction="ingress", action="deny", protocol="icmp")
OF_A_VM = len(vport_flows(7, 100, B1.ip, B1.mac))


def added(*entities: AnyEntity) -> Changes:
    return Changes(1, added=entities)


def test_a_change_depends_on_its_networks_and_on_all_nodes() -> None:
    everything = [*cluster(), B1, B2, G1, RULE]
    blue = [one for one in everything if one not in (*network("green"), G1)]
    assert concerned(added(vm("x", "blue", "h1", 9)), everything) == blue
    assert concerned(Changes(1, removed=(RULE,)), everything) == blue
    assert concerned(Changes(1, changed=((B1, B2),)), everything) == blue
    both = (vm("x", "blue", "h1", 9), vm("x", "green", "h1", 9))
    assert concerned(Changes(1, changed=(both,)), everything) == everything
    assert concerned(added(host(9)), everything) == everything
    assert concerned(Changes(1), everything) == [one for one in everything if one in cluster()[4:]]


def told(
    upsert: Sequence[AnyEntity], remove: Sequence[EntityKey] = (), *, model: str = "hoverboard",
    there: Sequence[AnyEntity] = (B1, B2), plugged: Collection[str] | None = None,
) -> dict[str, tuple[int, int, int]]:  # fmt: skip
    """(added, changed, removed) of the switches that a diff would change."""
    fabric = IntentStore()
    fabric.full_update([*cluster(), *there])
    before = list(fabric.entities.values())
    found = consequences(model_named(model), before, fabric.diff(upsert, remove), plugged)
    return {name: (flows["added"], flows["changed"], flows["removed"]) for name, flows in found.items()}


def test_a_vm_costs_its_host_its_flows_and_the_hoverboards_one() -> None:
    assert told([vm("b3", "blue", "h1", 9)]) == {"h1": (OF_A_VM, 0, 0), "hv1": (1, 0, 0)}
    assert told([], [("VM", "b1"), ("VM", "b2")])["hv1"] == (0, 0, 2)
    assert told([vm("b3", "blue", "h1", 9), vm("b4", "blue", "h1", 10)])["h1"] == (2 * OF_A_VM, 0, 0)


def test_a_vm_that_moves_is_a_changed_flow_where_its_key_stays() -> None:
    moved = told([vm("b2", "blue", "h1", 3)], model="preprogrammed")
    assert moved["h1"][0] == 0
    assert told([vm("b2", "blue", "h1", 3)])["hv1"] == (0, 1, 0)
    mixed = told([vm("b2", "blue", "h1", 3), vm("b3", "blue", "h1", 9)], [("VM", "b1")])
    assert mixed["hv1"] == (1, 1, 1)


def test_what_changes_nothing_names_no_switch() -> None:
    assert told([B1]) == {}
    assert told([B1.model_copy(update={"tags": ("web",)})]) == {}


def test_only_vms_that_are_plugged_in_have_ports_and_new_ones_will_have() -> None:
    change: list[AnyEntity] = [route("r", "blue", "192.168.7.0/24", "b1")]
    whole = told(change)
    assert told(change, plugged={"b1", "b2"}) == told(change, plugged=None) == whole
    assert told(change, plugged=[])["h1"][0] < whole["h1"][0]
    assert told(change, plugged={"b2"}) == told(change, plugged=[])
    assert told([vm("b3", "blue", "h1", 9)], plugged=[])["h1"] == (OF_A_VM, 0, 0)


def test_a_host_and_its_first_vm_may_come_together() -> None:
    found = told([host(3), vm("b3", "blue", "h3", 9)])
    assert set(found) == {"h3", "hv1"}
    assert found["h3"][0] > len(base_flows())
    assert told([hoverboard(2)])["hv2"][0] > len(base_flows())


def test_a_plan_counts_what_the_switches_are_sent() -> None:
    world = ready(hosts=3)
    place(world, B1, B2)
    before = list(world.fabric.entities.values())
    tables = world.tables()
    world.diff([RULE, B2.model_copy(update={"host": "h3"})])
    changes = Changes(9, added=(RULE,), changed=((B2, B2.model_copy(update={"host": "h3"})),))
    found = consequences(world.core.model, before, changes, set(world.core.view.ports) | {"b2"})
    for name, table in world.tables().items():
        old = tables[name]
        expected = {
            "added": len(table.keys() - old.keys()),
            "changed": sum(table[key] != old[key] for key in table.keys() & old.keys()),
            "removed": len(old.keys() - table.keys()),
        }
        assert found.get(name, dict.fromkeys(expected, 0)) == expected, name


def test_a_hundred_vms_on_a_host_have_ports_of_their_own() -> None:
    many = [vm(f"m{n}", "blue", "h1", n) for n in range(10, 120)]
    assert told(many) == {"h1": (110 * OF_A_VM, 0, 0), "hv1": (110, 0, 0)}


def test_the_switch_of_a_node_that_is_taken_out_loses_all_it_has() -> None:
    gone = Changes(2, removed=(hoverboard(2),))
    found = consequences(model_named("preprogrammed"), cluster(hoverboards=2), gone)
    assert found["hv2"] == {"added": 0, "changed": 0, "removed": len(base_flows())}
    assert list(found) == sorted(found)


def test_a_plane_may_plan_with_a_core_of_its_own() -> None:
    made: list[ControllerCore] = []

    def make(model: object, policy: OffloadPolicy) -> ControllerCore:
        made.append(ControllerCore(model, policy))  # type: ignore[arg-type]
        return made[-1]

    model = model_named("gateway")
    consequences(model, cluster(), added(B1), None, make)  # type: ignore[arg-type]
    assert made[0].model is model
    assert "b1" in made[0].view.vms


@pytest.mark.parametrize("host_name", ["h2", "h1"])
def test_a_plan_reads_as_fields_that_go_from_one_value_to_another(host_name: str) -> None:
    after = B1.model_copy(update={"host": host_name, "tags": ("web",)})
    changes = Changes(
        5, added=(G1,), changed=((B1, after),), removed=(Host(name="h9", underlay_ip=IPv4Address("1.2.3.4")),)
    )
    fields = {"tags": {"from": [], "to": ["web"]}}
    if host_name == "h2":
        fields = {"host": {"from": "h1", "to": "h2"}, **fields}  # type: ignore[dict-item]
    document = plan_document(changes, 4, {"h1": {"added": 1, "changed": 0, "removed": 2}})
    check(Plan, document)
    assert document == {
        "version": 4,
        "added": [{"type": "VM", "name": "g1", "network": "green", "ip": "10.0.0.2", "mac": G1.mac, "host": "h1"}],
        "changed": [{"type": "VM", "name": "b1", "fields": fields}],
        "removed": [{"type": "Host", "name": "h9", "underlay_ip": "1.2.3.4"}],
        "switches": {"h1": {"added": 1, "changed": 0, "removed": 2}},
    }
    assert isinstance(after, VM)
