"""The picture of a topology: who is in it, where, and the two paths of a flow."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from experiments.demo import picture
from topologies.spec import schema
from topologies.spec.topology import Topology

NS = "{http://www.w3.org/2000/svg}"


def topology(hosts: int, vms: int, hoverboards: int = 1, networks: int = 1) -> Topology:
    several = [
        {"name": f"net{number}", "vni": 7 + number, "subnet": f"10.{number}.0.0/24", "vms": vms}
        for number in range(networks)
    ]
    keys = {"hosts": hosts, "hoverboards": hoverboards, "networks": several}
    if not hoverboards:
        keys["model"] = "preprogrammed"
    return schema.from_keys(keys, name="made-up")


def drawn(of: Topology, pair: tuple[str, str] | None = None) -> ElementTree.Element:
    return ElementTree.fromstring(picture.draw(of, pair))


def words(root: ElementTree.Element) -> list[str]:
    return ["".join(one.itertext()) for one in root.iter(f"{NS}text")]


def boxes(root: ElementTree.Element, kind: str) -> list[tuple[int, int, int, int]]:
    """(x, y, width, height) of all boxes of a kind."""
    return [
        (int(one.attrib["x"]), int(one.attrib["y"]), int(one.attrib["width"]), int(one.attrib["height"]))
        for one in root.iter(f"{NS}rect")
        if one.attrib["class"] == kind
    ]


def paths(root: ElementTree.Element, kind: str) -> list[str]:
    return [one.attrib["d"] for one in root.iter(f"{NS}path") if one.attrib["class"] == kind]


def test_everything_is_named() -> None:
    root = drawn(schema.load("demo"), ("blue-1", "blue-2"))
    text = "\n".join(words(root))
    for name in ("Hoverboard hv1", "h1", "h3", "blue-1", "red-3", "172.16.255.1", "first packets", "host to host"):
        assert name in text
    assert "blue: VNI 7, 10.0.0.0/24.  red: VNI 8, 10.0.0.0/24." in text
    assert root.attrib["aria-label"] == (
        "3 VM hosts and 1 Hoverboard on one fabric, 6 VMs in 2 virtual networks"
    )  # fmt: skip


def test_servers_stand_side_by_side_and_their_vms_one_above_the_other() -> None:
    root = drawn(topology(hosts=2, vms=3))
    assert boxes(root, "box") == [(130, 20, 200, 66), (15, 208, 200, 138), (245, 208, 200, 138)]
    assert boxes(root, "vm") == [(27, 242, 176, 40), (27, 290, 176, 40), (257, 242, 176, 40)]
    assert boxes(root, "fabric") == [(15, 128, 430, 26)]
    assert paths(root, "line") == ["M230 86V128", "M115 154V208", "M345 154V208"]
    assert root.attrib["viewBox"] == "0 0 460 382"
    assert not paths(root, "relay")
    taller = drawn(topology(hosts=2, vms=3), ("net0-1", "net0-2"))
    assert taller.attrib["viewBox"] == "0 0 460 406"


def test_a_single_host_still_has_room_for_the_hoverboard() -> None:
    root = drawn(topology(hosts=1, vms=1))
    assert root.attrib["viewBox"].startswith("0 0 460 ")
    assert boxes(root, "fabric")[0][2] == 430


def test_the_paths_of_a_flow_begin_and_end_at_its_vms() -> None:
    root = drawn(topology(hosts=2, vms=2), ("net0-1", "net0-2"))
    relay, direct = paths(root, "relay")[0], paths(root, "direct")[0]
    assert relay == "M67 242V135H254V86M294 86V141H319V242"
    assert direct == "M89 242V148H297V242"
    assert len(paths(root, "relay")) == len(paths(root, "direct")) == 2  # the second is the legend's
    back = drawn(topology(hosts=2, vms=2), ("net0-2", "net0-1"))
    assert paths(back, "relay")[0] == "M297 242V135H166V86M206 86V141H89V242"


@pytest.mark.parametrize("pair", [None, ("net0-1", "nobody")])
def test_no_paths_without_the_two_vms(pair: tuple[str, str] | None) -> None:
    assert paths(drawn(topology(hosts=2, vms=2), pair), "direct") == []


def test_without_hoverboards_there_are_no_paths() -> None:
    root = drawn(topology(hosts=2, vms=2, hoverboards=0), ("net0-1", "net0-2"))
    assert paths(root, "direct") == []
    assert len(boxes(root, "box")) == 2


def test_a_large_topology_stays_small() -> None:
    assert "(+ 14 hosts)" in picture.draw(schema.load("rack"))
    root = drawn(topology(hosts=7, vms=49 + 7, networks=1))
    assert len(boxes(root, "box")) == 7  # six hosts and the Hoverboard
    assert len(boxes(root, "vm")) == 36  # six of eight on each
    assert words(root)[-1].endswith("  (+ 1 host)")
    assert not any("hosts)" in one for one in words(drawn(topology(hosts=6, vms=6))))


def test_each_tenant_has_a_colour_and_the_fifth_the_first_one_s_again() -> None:
    root = drawn(topology(hosts=1, vms=1, networks=5))
    found = [one.attrib["style"] for one in root.iter(f"{NS}rect") if one.attrib["class"] == "vm"]
    assert len(set(found[:4])) == 4
    assert found[4] == found[0] == "stroke:#0072B2"
    assert "net3: VNI 10" in words(root)[-1]
    assert "net4" not in words(root)[-1]


def test_at_most_four_hoverboards_are_named() -> None:
    assert "Hoverboard hv1, hv2, hv3, hv4<" in picture.draw(topology(hosts=1, vms=1, hoverboards=5))


def test_names_are_escaped() -> None:
    made = topology(hosts=1, vms=1)
    (network,) = made.networks
    (host,) = made.hosts
    vm = replace(network.vms[0], name="<vm>", host="<host>", network="<net>")
    strange = replace(
        made, hosts=(replace(host, name="<host>"),), networks=(replace(network, name="<net>", vms=(vm,)),),
        hoverboards=(replace(made.hoverboards[0], name="<hv>"),),
    )  # fmt: skip
    shown = words(drawn(strange))
    assert {"<vm>", "<host>", "Hoverboard <hv>"} <= set(shown)
    assert shown[-1].startswith("<net>: VNI 7")
