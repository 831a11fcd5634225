"""Changes of links: by Python, by another file, and what a file leaves as it runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hoverboard.contract.errors import InputError
from hoverboard.contract.links.link_properties import LinkProperties
from topologies.changes.link_change import (
    WAN,
    link_difference,
    links_of,
    merged_links,
    original_after,
    parse_link,
    with_link,
)
from topologies.run.apply import check_fixed_keys
from topologies.spec import schema
from topologies.spec.topology import Topology

REGIONS = "hosts: [{region: east}, {region: west}]\nhoverboards: 0\nmodel: preprogrammed\n"
DELAY = LinkProperties(delay=0.01)


def topology(wan: str = "{delay: 1ms}", more: str = "") -> Topology:
    return schema.parse(f"{REGIONS}wan: {wan}\n{more}")


def test_values_are_those_of_a_file() -> None:
    wanted = LinkProperties(0.0001, 0.00005, 0.001, 0.25, 1.0, 10**9, 4)
    given: Any = {
        "delay": "100us", "jitter": "50us", "loss": "0.1%", "reorder": "25%", "duplicate": "100%", "rate": "1gbit",
        "seed": 4,
    }  # fmt: skip
    assert parse_link(given) == wanted
    assert parse_link({}) == LinkProperties()


@pytest.mark.parametrize(
    ("values", "where", "what"),
    [
        ({"loss": "200%"}, "loss", "200% is more than all packets"),
        ({"reorder": "5%"}, "reorder", "reorder works only with a delay"),
        ({"jitter": "5ms", "delay": "1ms"}, "jitter", "jitter is more than the delay"),
        ({"delay": "soon"}, "delay", "'soon' is not a time"),
        ({"latency": "1ms"}, "", "a link has no property 'latency'"),
    ],
)
def test_wrong_values_are_named(values: Any, where: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        parse_link(values)
    assert caught.value.where == where
    assert caught.value.next_step


def test_each_link_changes_alone() -> None:
    before = topology()
    for name in ("h1", "h2", WAN):
        after = with_link(before, name, DELAY)
        assert links_of(after) == {**links_of(before), name: DELAY}
        (changed,) = link_difference(before, after)
        assert changed == name
        assert after == replace(before, wan=after.wan, hosts=after.hosts)


def test_a_link_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="no link 'h3'"):
        with_link(topology(), "h3", DELAY)
    with pytest.raises(InputError, match="no link 'wan'"):
        with_link(schema.parse("hosts: 1\n"), WAN, DELAY)


def test_a_file_changes_what_it_changes_and_leaves_what_python_has_changed() -> None:
    given = topology()
    running = with_link(given, "h1", DELAY)
    assert merged_links(running, given, topology()) == running
    wanted = topology("{delay: 2ms}")
    assert links_of(merged_links(running, given, wanted)) == {**links_of(running), WAN: LinkProperties(delay=0.002)}
    assert original_after(given, wanted).wan == wanted.wan


def test_links_may_change_while_a_run_is_up_and_hosts_may_not() -> None:
    given = topology()
    changed = with_link(topology("{loss: 1%}"), "h1", DELAY)
    check_fixed_keys(given, given, changed, "file")
    with pytest.raises(InputError, match="`wan` cannot change"):
        check_fixed_keys(given, given, replace(given, wan=None), "file")
    with pytest.raises(InputError, match="`hosts` cannot change"):
        check_fixed_keys(given, given, replace(given, hosts=given.hosts[:1]), "file")
