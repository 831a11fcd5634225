"""The flow changes that a request would cause, computed by a temporary controller core (paper section 3.1).

The core receives the current intent of the affected networks, then the change: the result is what it would send to
the switches. Flows of one network never depend on another network, so the other networks are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from controllers.fm.codec import entity_document
from controllers.fm.intent_store import Changes
from controllers.fm.slices import network_of
from controllers.vmc.core import ControllerCore
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.offload.policy import OffloadPolicy
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import VM, AnyEntity, Host, Hoverboard
from hoverboard.contract.openflow.pipeline import FIRST_VPORT

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import Change, FlowCounts, FromTo, Plan


_NOW = 0.0  # no time passes in a dry run
CoreMaker = Callable[[ProgrammingModel, OffloadPolicy], ControllerCore]


def concerned(changes: Changes, entities: Iterable[AnyEntity]) -> list[AnyEntity]:
    """The entities on which the result of a change depends."""
    touched = [*changes.added, *changes.removed, *(one for pair in changes.changed for one in pair)]
    networks = {network_of(entity) for entity in touched}
    everything = None in networks
    return [
        entity
        for entity in entities
        if everything or isinstance(entity, Host | Hoverboard) or network_of(entity) in networks
    ]


def consequences(
    model: ProgrammingModel,
    entities: Iterable[AnyEntity],
    changes: Changes,
    plugged: Collection[str] | None = None,
    make: CoreMaker = ControllerCore,
) -> dict[str, FlowCounts]:
    """{switch: {"added", "changed", "removed"}}: number of flows, for each switch that would change.

    Args:
        model: the programming model in use, which decides the flows.
        entities: the affected entities, before the change.
        changes: the change, which the intent store has accepted but not applied (`IntentStore.trial`).
        plugged: the VMs that are plugged in; None: all of them. New VMs count as plugged in.
        make: makes the core; a global control plane passes one with its share.
    """
    core = make(model, OffloadPolicy())
    before = tuple(entities)
    vms = [entity for entity in before if isinstance(entity, VM) and (plugged is None or entity.name in plugged)]
    new = [entity for entity in changes.added if isinstance(entity, VM)]
    core.fabric_changed(Changes(changes.version, added=before), complete=False, now=_NOW)
    _plug(core, [*vms, *new])
    core.expected.settle()
    keys = {name: table.by_key().keys() for name, table in core.expected.tables.items()}
    core.fabric_changed(changes, complete=False, now=_NOW)
    found: dict[str, FlowCounts] = {}
    for name, program in sorted(core.expected.settle().items()):
        added = sum(1 for flow in program.adds if flow.key not in keys.get(name, ()))
        found[name] = {"added": added, "changed": len(program.adds) - added, "removed": len(program.deletes)}
    for name in keys.keys() - core.expected.tables.keys():  # removed from the intent: the switch is emptied
        found[name] = {"added": 0, "changed": 0, "removed": len(keys[name])}
    return dict(sorted(found.items()))


def _plug(core: ControllerCore, vms: Iterable[VM]) -> None:
    """Plug VMs in, at any ports: the number of flows does not depend on the ports."""
    names: dict[str, list[str]] = {}
    for vm in vms:
        names.setdefault(vm.host, []).append(vm.name)
    for host, here in names.items():
        node = core.view.hosts.get(host)
        if node is not None:
            ports = {f"vp-{name}": number for number, name in enumerate(here, FIRST_VPORT)}
            core.switch_connected(datapath_id(node.underlay_ip), ports, _NOW)
            core.agent_hello(host, {name: f"vp-{name}" for name in here}, _NOW)


def plan_document(changes: Changes, version: int, switches: Mapping[str, FlowCounts]) -> Plan:
    """The plan as a JSON document."""
    return {
        "version": version,
        "added": [entity_document(entity) for entity in changes.added],
        "changed": [_difference(before, after) for before, after in changes.changed],
        "removed": [entity_document(entity) for entity in changes.removed],
        "switches": dict(switches),
    }


def _difference(before: AnyEntity, after: AnyEntity) -> Change:
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    fields: dict[str, FromTo] = {
        name: {"from": old.get(name), "to": value} for name, value in new.items() if old.get(name) != value
    }
    return {"type": after.TYPE, "name": after.name, "fields": fields}
