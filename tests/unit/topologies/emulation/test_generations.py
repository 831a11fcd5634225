"""The table of generations, and who asks it."""

from __future__ import annotations

from typing import get_args

import pytest

from experiments.demo.demo import demo_spec
from hoverboard.contract.errors import InputError, MachineError
from hoverboard.contract.generations import GENERATIONS, NAMES, Dataplane, available, facts
from topologies.emulation.ovs_daemons import check_generation
from topologies.spec import schema


def test_every_generation_has_its_row() -> None:
    assert tuple(GENERATIONS) == NAMES == get_args(Dataplane)


def test_a_relay_relays_itself() -> None:
    for row in GENERATIONS.values():
        assert facts(row.relay).relay == row.relay
        assert facts(row.relay).carrier != "processes"


def test_only_what_hands_segments_over_takes_them() -> None:
    for row in GENERATIONS.values():
        assert row.guest_offloads or not row.takes_segments
        assert (row.nic == "tap") == (row.carrier != "switch")
        assert (row.uplink == "tap") == (row.carrier == "engines")


def test_what_needs_the_kernel_is_refused_without_it() -> None:
    assert "ovs-offload" not in available("netdev")
    assert available("system") == NAMES
    with pytest.raises(MachineError, match="openvswitch module"):
        check_generation("ovs-offload", "netdev", where="h1")
    check_generation("ovs-offload", "system", where="h1")
    check_generation("pre", "netdev", where="h1")


def test_hoverboards_run_the_nearest_that_relays() -> None:
    topology = schema.load("two-hosts")
    assert {s.dataplane for s in topology.with_dataplane("pre").hoverboards} == {"ovs"}
    assert {s.dataplane for s in topology.with_dataplane("fastpath-vmm").hoverboards} == {"fastpath"}
    assert {s.dataplane for s in topology.with_dataplane("fastpath-vmm").hosts} == {"fastpath-vmm"}
    made = schema.parse("hosts: [{name: a, dataplane: pre}]\nhoverboards: [{dataplane: pre}]\ndataplane: ovs\n")
    assert (made.hosts[0].dataplane, made.hoverboards[0].dataplane) == ("pre", "ovs")


def test_generations_of_the_demo() -> None:
    assert demo_spec("x", "ovs,fastpath").generations == ("fastpath", "ovs")
    assert demo_spec("x", "fastpath, pre,pre").generations == ("fastpath", "pre")
    assert set(demo_spec("x", "all").generations) >= {"pre", "ovs", "fastpath-vmm", "fastpath"}
    with pytest.raises(InputError, match="no dataplane generation 'fast'"):
        demo_spec("x", "fast")
