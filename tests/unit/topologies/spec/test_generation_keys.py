"""Every key of a file is served, refused by name or noted, on every generation; none is taken in silence."""

from __future__ import annotations

import pytest

from hoverboard.contract.generations import NAMES, Dataplane, facts
from tests.generation_keys import ELSEWHERE, ENGINES, NOTED, REFUSED, SERVED, all_keys
from topologies.spec import external, schema
from topologies.spec.faults import TopologyFileError

OTHERS = [name for name in NAMES if name not in ENGINES]


def file(dataplane: str, key: str, text: str) -> str:
    """A file with a key, at its place."""
    place = key.split(".")
    vm = f"{{name: a, {text}}}" if place[:2] == ["networks", "vms"] else "{name: a}"
    network = f", {text}" if place[0] == "networks" and place[1] != "vms" else ""
    hosts = f"[{{{text}}}]" if place[0] == "hosts" else "1"
    hoverboards = f"[{{{text}}}]" if place[0] == "hoverboards" else "1"
    top = text if place[0] not in ("networks", "hosts", "hoverboards") else ""
    return (
        f"hosts: {hosts}\nhoverboards: {hoverboards}\ndataplane: {dataplane}\n{top}\n"
        f"networks: [{{name: blue, vni: 7, subnet: 10.0.0.0/24{network}, vms: [{vm}]}}]\n"
    )


def test_the_table_has_every_key_once() -> None:
    tables = [SERVED.keys(), REFUSED.keys(), NOTED.keys(), ELSEWHERE]
    assert sorted(key for table in tables for key in table) == sorted(all_keys())


@pytest.mark.parametrize("dataplane", OTHERS)
@pytest.mark.parametrize("key", REFUSED)
def test_what_a_generation_cannot_serve_is_refused_by_name(dataplane: Dataplane, key: str) -> None:
    text, says = REFUSED[key]
    with pytest.raises(TopologyFileError) as refused:
        schema.parse(file(dataplane, key, text))
    assert f"dataplane {dataplane} {says}" in str(refused.value)


@pytest.mark.parametrize("dataplane", ENGINES)
@pytest.mark.parametrize("key", [*REFUSED, *NOTED])
def test_engines_serve_every_key(dataplane: Dataplane, key: str) -> None:
    text = REFUSED[key][0] if key in REFUSED else NOTED[key]
    assert external.notes(schema.parse(file(dataplane, key, text))) == []


@pytest.mark.parametrize("dataplane", OTHERS)
@pytest.mark.parametrize("key", NOTED)
def test_what_changes_nothing_is_noted_by_name(dataplane: Dataplane, key: str) -> None:
    (note,) = external.notes(schema.parse(file(dataplane, key, NOTED[key])))
    name = next(part for part in ("batch", "vm_priority", "scheduling") if part in key)
    assert note.startswith(f"`{name}` is about the engines")
    assert external.notes(schema.parse(file(dataplane, "model", ""))) == []


def test_one_node_with_engines_is_enough() -> None:
    mixed = schema.parse("hosts: [{dataplane: ovs}, {dataplane: fastpath}]\nhoverboards: 0\nbatch: {egress: 1}\n"
                         "model: preprogrammed")  # fmt: skip
    assert external.notes(mixed) == []
    assert {facts(host.dataplane).carrier for host in mixed.hosts} == {"switch", "engines"}
