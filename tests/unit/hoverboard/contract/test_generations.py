"""The facts about each generation of the dataplane, as docs/generations.md lists them."""

from __future__ import annotations

from typing import Any

from hoverboard.contract.generations import GENERATIONS, NAMES, available, facts

EVERY = ("pre", "ovs", "ovs-offload", "fastpath-vmm", "fastpath")


def by(attribute: str) -> dict[Any, set[str]]:
    """The generations by the value of an attribute."""
    found: dict[Any, set[str]] = {}
    for name in GENERATIONS:
        found.setdefault(getattr(facts(name), attribute), set()).add(name)
    return found


def having(attribute: str) -> set[str]:
    """The generations that have a boolean attribute set."""
    assert by(attribute).keys() <= {True, False}
    return by(attribute).get(True, set())


def test_the_generations_stand_in_the_order_of_the_papers_versions() -> None:
    assert tuple(GENERATIONS) == NAMES == EVERY
    assert [facts(name).andromeda for name in NAMES] == ["pre-Andromeda", "1.0", "1.5", "2.0", "2.1"]


def test_who_carries_packets_and_over_which_devices() -> None:
    switches, engines = {"ovs", "ovs-offload"}, {"fastpath-vmm", "fastpath"}
    assert by("carrier") == {"processes": {"pre"}, "switch": switches, "engines": engines}
    assert by("nic") == {"veth": switches, "tap": {"pre", *engines}}
    assert by("uplink") == {"device": {"pre", *switches}, "tap": engines}
    assert having("addressed") == {"pre"}


def test_what_is_offloaded_and_what_is_needed() -> None:
    assert having("guest_offloads") == {"ovs-offload", "fastpath-vmm", "fastpath"}
    assert having("takes_segments") == {"fastpath-vmm", "fastpath"}
    assert having("kernel_switch") == {"ovs-offload"}
    assert having("vmm") == {"pre", "fastpath-vmm"}


def test_a_hoverboard_runs_the_nearest_that_relays() -> None:
    assert by("relay") == {
        "ovs": {"pre", "ovs"}, "ovs-offload": {"ovs-offload"}, "fastpath": {"fastpath-vmm", "fastpath"},
    }  # fmt: skip


def test_each_stands_for_something_of_its_own() -> None:
    assert len(by("stands_for")) == len(EVERY)


def test_the_kernels_generation_is_to_be_had_with_the_kernels_datapath_only() -> None:
    assert available("system") == EVERY
    assert available("netdev") == ("pre", "ovs", "fastpath-vmm", "fastpath")
