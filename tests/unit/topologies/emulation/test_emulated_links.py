"""The links of a run beside made-up devices: which are made, moved, shaped and served, and in what order."""

from __future__ import annotations

import os
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest

from hoverboard.contract.errors import RunError
from hoverboard.contract.links.link_properties import LinkProperties
from tests.unit.hoverboard.rpc.conftest import more_than, open_descriptors
from topologies.emulation import emulated_links
from topologies.emulation.emulated_links import WAN, EmulatedLinks, seeded
from topologies.emulation.kernel_shaping import KernelShaping
from topologies.emulation.link_devices import End
from topologies.spec import schema
from topologies.spec.topology import Topology

DELAY, RATE = LinkProperties(delay=0.01), LinkProperties(rate=10**6)
REGIONS = "hosts: [{region: east}, {region: west}]\nhoverboards: 0\nmodel: preprogrammed\nwan: WORDS\n"


class Made:
    """In place of devices, kernel and element: records what is asked of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, netem: str = "unknown") -> None:
        self.calls: list[tuple[Any, ...]] = []
        devices = emulated_links.link_devices
        monkeypatch.setattr(devices, "make_bridge", lambda pid, name: self.calls.append(("bridge", name)))
        monkeypatch.setattr(devices, "move", self._move)
        monkeypatch.setattr(devices, "make_pair", self._pair)
        monkeypatch.setattr(devices, "remove_pair", lambda pid, near, far: self.calls.append(("remove", near.device)))
        shaping = emulated_links.kernel_shaping
        monkeypatch.setattr(shaping, "probe", lambda pid: KernelShaping(netem, "", netem))
        monkeypatch.setattr(shaping, "shape", self._shape)
        monkeypatch.setattr(shaping, "unshape", lambda pid, device: self.calls.append(("unshape", device)))

    def _move(self, pid: int, port: str, bridge: str, nodes: Any = ()) -> None:
        self.calls.append(("move", port, bridge))

    def _pair(self, pid: int, near: End, far: End, *, taps: bool) -> tuple[int, int] | None:
        self.calls.append(("taps" if taps else "veth", near.device, far.device))
        return (os.eventfd(0), os.eventfd(0)) if taps else None

    def _shape(self, pid: int, device: str, properties: LinkProperties, seed: int | None) -> list[str]:
        self.calls.append(("shape", device, seed))
        return ["seed: too old"]

    def take(self) -> list[tuple[Any, ...]]:
        found, self.calls = self.calls, []
        return found


class Client:
    """In place of the link element's client."""

    def __init__(self, made: Made) -> None:
        self.made = made
        self.dead = False

    def __getattr__(self, word: str) -> Any:
        def call(name: str, *given: Any) -> None:
            if self.dead:
                raise RunError("the link element does not answer")
            self.made.calls.append((word, name, given[-1] if given else None))

        return call

    def links(self) -> dict[str, Any]:
        if self.dead:
            raise RunError("the link element does not answer")
        return {}


def uplink(properties: LinkProperties = DELAY) -> Any:
    spec = SimpleNamespace(uplink=properties, underlay_ip=IPv4Address("172.16.0.1"))
    return SimpleNamespace(server=SimpleNamespace(name="h1", spec=spec), port="to-h1", bridge="fabric")


def of(topology: Topology, made: Made) -> tuple[EmulatedLinks, Client]:
    links, client = EmulatedLinks(1, topology), Client(made)
    return links, client


@pytest.fixture
def plain() -> Topology:
    return schema.parse("hosts: 1\n")


def wan(words: str) -> Topology:
    return schema.parse(REGIONS.replace("WORDS", words))


def test_an_uplink_gets_a_bridge_and_taps_which_the_element_serves(
    monkeypatch: pytest.MonkeyPatch, plain: Topology
) -> None:
    made = Made(monkeypatch)
    links, client = of(plain, made)
    links.add(uplink())
    assert links.need_element
    links.serve(client)  # type: ignore[arg-type]
    assert made.take() == [
        ("bridge", "up-h1"), ("taps", "in-h1", "on-h1"), ("move", "to-h1", "up-h1"),
        ("serve", "h1", seeded("h1", DELAY)),
    ]  # fmt: skip
    links.close()


def test_an_uplink_without_properties_has_no_devices_of_its_own(
    monkeypatch: pytest.MonkeyPatch, plain: Topology
) -> None:
    made = Made(monkeypatch)
    links, _ = of(plain, made)
    links.add(uplink(LinkProperties()))
    assert made.take() == []
    assert not links.need_element
    assert links.uplink("h1", {}) is None
    links.set("h1", LinkProperties())
    assert made.take() == []


def test_properties_of_the_element_change_in_place(monkeypatch: pytest.MonkeyPatch, plain: Topology) -> None:
    made = Made(monkeypatch)
    links, client = of(plain, made)
    links.add(uplink())
    links.serve(client)  # type: ignore[arg-type]
    made.take()
    links.set("h1", LinkProperties(loss=0.5))
    assert made.take() == [("change", "h1", seeded("h1", LinkProperties(loss=0.5)))]
    links.close()


def test_a_link_goes_from_the_element_to_the_kernel_to_nothing_and_back(
    monkeypatch: pytest.MonkeyPatch, plain: Topology
) -> None:
    before = open_descriptors()
    made = Made(monkeypatch)
    links, client = of(plain, made)
    links.add(uplink())
    links.serve(client)  # type: ignore[arg-type]
    made.take()
    links.set("h1", RATE)
    assert made.take() == [
        ("move", "to-h1", "fabric"), ("end", "h1", None), ("remove", "in-h1"), ("bridge", "up-h1"),
        ("veth", "in-h1", "on-h1"), ("move", "to-h1", "up-h1"), ("shape", "in-h1", None), ("shape", "on-h1", None),
    ]  # fmt: skip
    assert links.uplink("h1", {})["missing"] == ["seed: too old"]  # type: ignore[index]
    links.set("h1", LinkProperties(rate=5))
    assert made.take() == [
        ("unshape", "in-h1"),
        ("unshape", "on-h1"),
        ("shape", "in-h1", None),
        ("shape", "on-h1", None),
    ]
    links.set("h1", LinkProperties())
    assert made.take() == [("unshape", "in-h1"), ("unshape", "on-h1")]
    links.set("h1", DELAY)
    assert [call[0] for call in made.take()] == ["move", "remove", "bridge", "taps", "move", "serve"]
    links.close()
    assert more_than(before) == []


def test_an_element_that_restarts_serves_all_links_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch)
    links, client = of(wan("{delay: 10ms, loss: 1%}"), made)
    links.add(uplink())
    links.serve(client)  # type: ignore[arg-type]
    client.dead = True
    with pytest.raises(RunError):
        links.set("h1", LinkProperties(delay=1))
    document = links.wan(links.served())
    assert document is not None
    assert document["missing"] == ["all packets: the link element does not serve this link now"]
    made.take()
    links.serve(Client(made))  # type: ignore[arg-type]
    assert made.take() == [
        ("serve", WAN, seeded(WAN, LinkProperties(delay=0.01, loss=0.01))),
        ("serve", "h1", seeded("h1", LinkProperties(delay=1))),
    ]  # fmt: skip
    links.close()


def test_a_wan_joins_its_bridges_whatever_its_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch, netem="")
    links, _ = of(wan("{}"), made)
    assert made.take() == [("veth", "wan-east", "wan-west")]
    assert not links.need_element
    links.set(WAN, DELAY)
    assert made.take() == [
        ("shape", "wan-east", None), ("shape", "wan-west", None),
    ]  # fmt: skip
    document = links.wan({})
    assert document is not None
    assert (document["regions"], document["by"], document["delay_s"]) == (["east", "west"], ["netem"], 0.01)
    assert not links.needs_element(DELAY)


def test_each_link_has_a_seed_of_its_own_within_what_netem_takes() -> None:
    seeds = {seeded(name, LinkProperties(seed=seed)).seed for name in ("h1", "h2", WAN) for seed in (0, 1, 2**31 - 1)}
    assert len(seeds) == 9
    assert all(seed is not None and 0 <= 2 * seed + 1 < 1 << 31 for seed in seeds)


def test_the_kernel_gets_a_seed_for_each_direction(monkeypatch: pytest.MonkeyPatch, plain: Topology) -> None:
    made, wanted = Made(monkeypatch, netem=""), LinkProperties(loss=0.1, seed=5)
    links, _ = of(plain, made)
    links.add(uplink(wanted))
    seed = seeded("h1", wanted).seed
    assert seed is not None
    assert made.take()[-2:] == [("shape", "in-h1", 2 * seed), ("shape", "on-h1", 2 * seed + 1)]
