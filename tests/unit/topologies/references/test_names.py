"""What a topology names and nobody is: every key that refers to something, told with its line and a next step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from hoverboard.contract.entities import AnyEntity, FirewallRule
from tests.unit.topologies.references.reference_table import REFERENCES, VALUES, Reference, net, rule, stage
from topologies.references.names import covers, shadowed, unmatched
from topologies.spec import schema
from topologies.spec.faults import TopologyFileError
from topologies.spec.keys import TopologyKeys
from topologies.spec.topology import Topology, to_entities


def told(text: str, **more: Any) -> list[str]:
    """The notices of a file that has no fault."""
    return [notice.text() for notice in schema.parse(text, source="f.yaml", **more).notices]


# --- the table ------------------------------------------------------------------------------------------


def keys_below(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """The paths of all keys of a file, without numbers."""
    for name, field in model.model_fields.items():
        yield path + name
        for inner in models_in(field.annotation):
            yield from keys_below(inner, f"{path}{name}.")


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def test_every_key_is_in_the_table_or_refers_to_nothing() -> None:
    references = {one.key for one in REFERENCES}
    assert references.isdisjoint(VALUES)
    assert references | VALUES == set(keys_below(TopologyKeys))


@pytest.mark.parametrize("row", REFERENCES, ids=lambda row: row.key)
def test_a_key_that_names_nobody_is_told_with_its_line_and_a_next_step(row: Reference) -> None:
    try:
        messages, kind = told(row.text), "notice"
    except TopologyFileError as error:
        messages, kind = [fault.text("f.yaml") for fault in error.faults], "error"
    assert kind == row.told
    (message,) = messages
    assert row.what in message
    assert message.startswith("f.yaml:")
    assert "\n  -> " in message
    assert row.key.rpartition(".")[2].split("_")[0] in message or row.key == "hosts.region"


# --- the words ------------------------------------------------------------------------------------------

WHERE = "f.yaml:3: networks[0].firewall.rules[0]"
BLUE, RED = "tags: [web]", "tags: [gold]"


@pytest.mark.parametrize(
    ("wanted", "step"),
    [
        ("targets: [web-1]", "tags here: web, db; did you mean the VM web-1? give it `tags: [web-1]`"),
        ("targets: [wbe]", "tags here: web, db; did you mean `web`?"),
        ("targets: [web1]", "tags here: web, db; did you mean `web`?"),
        ("targets: [printer]", "tags here: web, db; give a VM `tags: [printer]`, or correct the name"),
    ],
)
def test_what_to_do_about_a_tag_says_what_may_be_meant(wanted: str, step: str) -> None:
    tag = wanted.partition("[")[2][:-1]
    assert told(rule(wanted)) == [
        f"{WHERE}.targets: no VM of 'blue' has the tag '{tag}', and the rule matches no packet\n  -> {step}"
    ]


def test_a_tag_of_another_network_is_no_tag_here() -> None:
    text = rule("targets: [gold]") + "  - {name: red, vni: 8, subnet: 10.0.0.0/24, vms: [{tags: [gold]}]}\n"
    (message,) = told(text)
    assert message.endswith("VMs of 'red' have it, and a rule is for the VMs of its own network")


def test_a_network_without_tags_says_so_and_names_the_vm_that_is_similar() -> None:
    text = rule("targets: [wb-1]").replace(", tags: [web]", "").replace(", tags: [db]", "")
    (message,) = told(text)
    assert message.endswith("no VM of 'blue' has tags; did you mean the VM web-1? give it `tags:`, and name the tag")


def test_a_rule_that_still_matches_somebody_is_told_without_that_it_does_nothing() -> None:
    for keys in ("targets: [web, wbe]", "tags: [db, wbe]", "tags: [wbe], prefixes: [10.0.0.0/25]"):
        (message,) = told(rule(keys))
        assert "has the tag 'wbe'\n" in message
    assert len(told(rule("targets: [web], tags: [db], prefixes: [0.0.0.0/0], protocol: icmp"))) == 0


def test_prefixes_may_lead_to_the_subnets_and_to_routes_of_both_families() -> None:
    more = "subnet6: 'fd00:7::/64', routes: [{prefix: 192.168.0.0/24, next_hop: web-1}], firewall: {rules: [%s]}"
    rules = (
        "{name: a, direction: egress, action: deny, prefixes: ['fd00:7::/65', 192.168.0.0/25, '::/0']}, "
        "{name: b, direction: egress, action: deny, protocol: icmpv6}"
    )
    assert told(net(more % rules)) == []
    far = "{name: a, direction: egress, action: deny, prefixes: ['fd00:8::/64', 192.168.1.0/24]}"
    assert [message.partition(": no address")[0] for message in told(net(more % far))] == [f"{WHERE}.prefixes"] * 2


def test_names_that_may_be_meant_are_told_for_vms_hosts_and_stages() -> None:
    for text, name in (
        (net("routes: [{prefix: 192.168.0.0/24, next_hop: web1}]"), "did you mean 'web-1'? "),
        (net("load_balancers: [{name: f, ip: 10.0.0.9, backends: [web-2, web1]}]"), "did you mean 'web-1'? "),
        (stage("vms: [blue1]"), "did you mean `blue-1`? use one of: blue-1, blue-2"),
        (stage("networks: [Blue]"), "did you mean `blue`? use one of: blue"),
        (net("", "[{host: h22}]"), "did you mean `h2`? use one of: h1, h2"),
    ):
        with pytest.raises(TopologyFileError) as refused:
            schema.parse(text)
        assert refused.value.next_step.startswith(name)


def test_stages_of_a_run_cannot_change_so_a_vm_that_was_removed_is_no_fault_of_its_file() -> None:
    running = schema.parse(stage("vms: [blue-2]"))
    without = stage("vms: [blue-2]").replace("vms: 2", "vms: 1")
    with pytest.raises(TopologyFileError, match="there is no VM 'blue-2'"):
        schema.parse(without)
    (message,) = told(without, running=running)
    assert message.startswith(
        "f.yaml:2: stages[0].when.vms: there is no VM 'blue-2', so the stage gets no packet of it"
    )


@pytest.mark.parametrize(
    ("when", "hosts", "what"),
    [
        ("to: other-host", "1", "there is one VM host, so no packet goes to another"),
        ("to: 192.168.0.0/16", "2", "no address of a network is in 192.168.0.0/16"),
        ("to: other-region", "[{region: a}, {region: a}]", "all hosts are in one region, so no packet leaves it"),
    ],
)
def test_a_stage_for_another_end_that_there_is_not_is_told(when: str, hosts: str, what: str) -> None:
    (message,) = told(stage(when, hosts))
    assert message.startswith(f"f.yaml:2: stages[0].when.to: {what}\n")


@pytest.mark.parametrize(
    ("when", "hosts"),
    [("to: any", "1"), ("to: internet", "1"), ("to: other-host", "2"), ("to: other-region", "[{region: a}, {}]"),
     ("to: 10.0.0.0/8", "1")],
)  # fmt: skip
def test_a_stage_for_another_end_that_may_be_is_fine(when: str, hosts: str) -> None:
    assert told(stage(when, hosts)) == []


# --- lists that are empty -------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["targets", "tags", "prefixes", "ports"])
def test_an_empty_list_of_a_rule_reads_as_nobody_means_everybody_and_is_refused(key: str) -> None:
    with pytest.raises(TopologyFileError, match=f"{key}: is empty"):
        schema.parse(rule(f"protocol: tcp, {key}: []"))


@pytest.mark.parametrize("key", ["vms", "networks"])
def test_an_empty_list_of_a_stage_is_refused(key: str) -> None:
    with pytest.raises(TopologyFileError, match=rf"stages\[0\].when.{key}: is empty"):
        schema.parse(stage(f"{key}: []"))


def test_a_list_whose_only_item_is_wrong_has_one_fault() -> None:
    with pytest.raises(TopologyFileError) as refused:
        schema.parse(rule("protocol: tcp, ports: [70000]"))
    assert [fault.key for fault in refused.value.faults] == ["networks[0].firewall.rules[0].ports[0]"]


# --- what never decides ---------------------------------------------------------------------------------


def rules(*given: str) -> Topology:
    each = ", ".join(f"{{name: r{number}, direction: ingress, {keys}}}" for number, keys in enumerate(given))
    return schema.parse(net(f"firewall: {{rules: [{each}]}}"), source="f.yaml")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("action: deny, priority: 10", "action: allow, targets: [web], protocol: tcp, ports: [80]"),
        ("action: deny", "action: allow"),  # at equal priority, deny wins
        ("action: allow, priority: 10, protocol: tcp", "action: deny, protocol: tcp, ports: [22]"),
        ("action: allow, priority: 1, protocol: tcp, ports: [1-100]", "action: deny, protocol: tcp, ports: [22, 80]"),
        ("action: allow, priority: 1, prefixes: [10.0.0.0/24]", "action: deny, prefixes: [10.0.0.0/25]"),
        ("action: allow, priority: 1, tags: [web, db]", "action: deny, tags: [db]"),
        ("action: allow, priority: 1, targets: [web, db]", "action: deny, targets: [db]"),
    ],
)
def test_a_rule_for_whose_packets_another_decides_otherwise_is_told(first: str, second: str) -> None:
    for topology, hidden, decides in ((rules(first, second), "r1", "r0"), (rules(second, first), "r0", "r1")):
        (notice,) = topology.notices
        assert notice.where == f"f.yaml:3: networks[0].firewall.rules[{hidden[1]}].priority"
        assert notice.what.startswith(f"rule '{decides}' decides first for all its packets: ")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("action: deny, priority: 10", "action: deny, protocol: tcp"),  # it repeats the other
        ("action: allow", "action: deny"),
        ("action: deny, priority: 1, protocol: tcp, ports: [80]", "action: allow, protocol: tcp"),
        ("action: deny, priority: 1, protocol: tcp", "action: allow"),
        ("action: deny, priority: 1, protocol: tcp, ports: [80]", "action: allow, protocol: tcp, ports: [80, 81-99]"),
        ("action: deny, priority: 1, targets: [web]", "action: allow"),
        ("action: deny, priority: 1, tags: [web]", "action: allow"),
        ("action: deny, priority: 1, tags: [web]", "action: allow, tags: [web], prefixes: [10.0.0.0/25]"),
        ("action: deny, priority: 1, prefixes: [10.0.0.0/25]", "action: allow, prefixes: [10.0.0.0/24]"),
        ("action: deny, priority: 2000", "action: allow, targets: [web]"),
    ],
)
def test_a_rule_that_decides_for_a_packet_is_not_told(first: str, second: str) -> None:
    found = [notice for notice in rules(first, second).notices if "r1" in notice.where or "[1]" in notice.where]
    assert found == []


def test_rules_of_another_direction_or_network_hide_nothing() -> None:
    text = rule("priority: 1").replace("direction: ingress", "direction: egress")
    text += (
        "  - {name: red, vni: 8, subnet: 10.0.0.0/24, vms: 1, firewall: {rules: "
        "[{name: other, direction: ingress, action: allow}]}}\n"
    )
    assert told(text) == []


def test_a_route_that_another_of_its_prefix_replaces_is_told() -> None:
    routes = (
        "{prefix: 192.168.0.0/24, next_hop: web-1}, {name: spare, prefix: 192.168.0.0/24, next_hop: web-2, priority: 9}"
    )
    (message,) = told(net(f"routes: [{routes}]"))
    assert "networks[0].routes[0].priority: route 'spare' has the same prefix and a lower `priority`" in message


TAGS = st.lists(st.sampled_from(["web", "db"]), max_size=2, unique=True).map(tuple)
RULES = st.builds(
    lambda action, targets, tags, protocol, ports: FirewallRule(
        name="r", network="blue", direction="ingress", action=action, targets=targets, tags=tags, protocol=protocol,
        ports=ports if protocol in ("tcp", "udp") else (),
    ),
    st.sampled_from(["allow", "deny"]), TAGS, TAGS, st.sampled_from(["any", "tcp", "udp", "icmp"]),
    st.lists(st.tuples(st.integers(0, 3), st.integers(4, 6)), max_size=2).map(tuple),
)  # fmt: skip


def matches(one: FirewallRule, target: str, other: str, protocol: str, port: int) -> bool:
    """Whether a rule matches a packet to a VM with one tag, from a VM with one tag."""
    return (
        (not one.targets or target in one.targets)
        and (not one.tags or other in one.tags)
        and one.protocol in ("any", protocol)
        and (not one.ports or any(low <= port <= high for low, high in one.ports))
    )


PACKETS = [
    (target, other, protocol, port)
    for target in ("web", "db", "none")
    for other in ("web", "db", "none")
    for protocol in ("tcp", "udp", "icmp")
    for port in range(8)
]


@given(RULES, RULES)
def test_a_rule_that_covers_another_matches_all_its_packets(first: FirewallRule, second: FirewallRule) -> None:
    if covers(first, second):
        assert all(matches(first, *packet) for packet in PACKETS if matches(second, *packet))


def test_what_the_fabric_manager_refuses_is_no_notice() -> None:
    entities: list[AnyEntity] = to_entities(schema.parse(rule("targets: [web]")))
    assert unmatched(entities) == shadowed(entities) == []
    (alone,) = unmatched([one for one in entities if one.TYPE == "FirewallRule"])
    assert (alone.notice().where, alone.next_step[:22]) == ("FirewallRule/r.targets", "no VM of 'blue' has ta")


def test_the_model_without_offloads_is_told_once_for_each_key_that_the_file_gives() -> None:
    text = "hosts: 1\nmodel: gateway\n"
    assert told(text) == []
    assert len(told(text + "offload_threshold: 1kbit\noffload_policy: {budget: 3}\n")) == 2
