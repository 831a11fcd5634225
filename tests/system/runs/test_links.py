"""Uplinks with delay, loss and rate: made, changed while up, restarted when their process dies, gone with the run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.tools import iperf, ping
from experiments.tools.iperf import IperfSpec
from hoverboard.contract.document_schemas import check
from hoverboard.contract.errors import InputError
from hoverboard.contract.links.link_properties import LinkProperties
from tests.waiting import until
from topologies.changes.link_change import links_of
from topologies.emulation.devices import netlink
from topologies.run.run import LINK_ELEMENT
from topologies.run.testbed import Testbed
from topologies.spec import schema
from topologies.spec.topology import FABRIC

DELAY = 0.01
FILE = """
name: links
hosts:
  - {name: h1, uplink: {delay: 10ms}}
  - {name: h2}
  - {name: h3, dataplane: ovs, uplink: {delay: 5ms, rate: 50mbit}}
networks: [{name: blue, vni: 7, subnet: 10.0.0.0/24, vms: 3}]
"""


@pytest.fixture(scope="module")
def bed(module_testbed: Callable[..., Testbed]) -> Testbed:
    return module_testbed(schema.parse(FILE))


@pytest.fixture(autouse=True)
def as_in_the_file(bed: Testbed) -> None:
    """Set the links as the file has them."""
    bed.set_link("h1", delay="10ms")
    bed.set_link("h2")
    bed.set_link("h3", delay="5ms", rate="50mbit")


def file(text: str) -> schema.TopologyText:
    """A topology file with this text."""
    return {"text": text, "source": "links.yaml", "name": "links", "base": Path()}


def least(bed: Testbed, source: str, target: str) -> float:
    """The shortest of some round trips, in seconds."""
    result = ping.measure(bed.node(source), bed.node(target).IP(), count=10, interval=0.02)
    assert result.received > 0
    return float(result.min_ms) / 1000


def uplink(bed: Testbed, name: str) -> Any:
    """The uplink of a node in the status of the run; None: it has no properties."""
    status = bed.status()
    check("status", status)
    return next(one for one in [*status["hosts"], *status["hoverboards"]] if one["name"] == name).get("uplink")


def test_packets_take_the_time_that_was_asked_for_on_both_kinds_of_uplinks(bed: Testbed) -> None:
    assert 2 * DELAY <= least(bed, "blue-1", "blue-2") < 10 * DELAY
    assert 0.01 <= least(bed, "blue-3", "blue-2") < 0.1
    assert 2 * DELAY + 0.01 <= least(bed, "blue-1", "blue-3") < 0.3


def test_status_says_who_makes_a_link(bed: Testbed) -> None:
    found = uplink(bed, "h1")
    assert (found["delay_s"], found["rate_bps"], found["missing"]) == (DELAY, None, [])
    assert found["by"] in (["netem"], ["element"])
    if found["by"] == ["element"]:
        assert found["why"].startswith("netem: ")
        assert found["out"]["packets"] > 0 < found["back"]["packets"]
    assert uplink(bed, "h2") is None


def test_whole_segments_pass_a_link(bed: Testbed) -> None:
    bed.set_link("h1", delay="1ms")
    sent = iperf.measure(bed.node("blue-1"), bed.node("blue-2"), bed.node("blue-2").IP(), IperfSpec(seconds=2))
    assert sent.bps > 0
    if uplink(bed, "h1")["by"] == ["element"]:
        out = uplink(bed, "h1")["out"]
        assert out["bytes"] / out["packets"] > 3000  # larger than any frame of a network without segments


def test_a_rate_is_kept(bed: Testbed) -> None:
    bed.set_link("h1", rate="20mbit", delay="1ms")
    sent = iperf.measure(bed.node("blue-1"), bed.node("blue-2"), bed.node("blue-2").IP(), IperfSpec(seconds=3))
    assert 1e6 < sent.bps < 22e6


def test_a_link_loses_everything_and_recovers(bed: Testbed) -> None:
    bed.set_link("h1", loss="100%")
    lost = ping.measure(bed.node("blue-1"), bed.node("blue-2").IP(), count=3, interval=0.1)
    assert lost.received == 0
    bed.set_link("h1")
    assert least(bed, "blue-1", "blue-2") < DELAY
    assert uplink(bed, "h1") is None


def test_a_file_changes_links_while_the_run_is_up(bed: Testbed) -> None:
    applied = bed.apply(file(FILE.replace("10ms", "30ms")))
    assert list(applied["links"]) == ["h1"]
    assert applied["switches"] == {}
    assert least(bed, "blue-1", "blue-2") >= 0.06
    bed.apply(file(FILE))


def test_a_link_that_is_not_there_is_refused(bed: Testbed) -> None:
    with pytest.raises(InputError, match="no link 'h9'"):
        bed.set_link("h9", delay="1ms")
    with pytest.raises(InputError, match="reorder works only with a delay"):
        bed.set_link("h1", reorder="5%")


def test_a_link_element_that_dies_is_restarted_and_serves_the_links_again(bed: Testbed) -> None:
    process = bed.current_run().hosts.links
    if process is None:
        pytest.skip("this kernel has netem: there is no link element")
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: _restarts(bed) > 0, 30, "the link element is not restarted")
    assert least(bed, "blue-1", "blue-2") >= 2 * DELAY
    assert uplink(bed, "h1")["missing"] == []


def _restarts(bed: Testbed) -> int:
    rows = bed.supervision()["processes"]
    return sum(row["restarts"] for row in rows if row["what"] == LINK_ELEMENT and row["state"] == "up")


def test_the_fabric_knows_the_port_of_each_node(bed: Testbed) -> None:
    with netlink(bed.pid_of(FABRIC)) as route:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in route.get_links()}
        known = {
            (entry.get_attr("NDA_LLADDR"), names[entry["ifindex"]])
            for entry in route.fdb("dump")
            if entry.get_attr("NDA_MASTER") is not None and entry["state"] & 0x40  # NUD_NOARP: it does not age
        }
    assert {("02:fa:ac:10:00:01", "on-h1"), ("02:fa:ac:10:00:02", "to-h2")} <= known


def test_the_links_end_with_the_run(testbed: Callable[..., Testbed], traces: Callable[[str], Any]) -> None:
    topology = schema.parse(FILE)
    bed = testbed(replace(topology, hosts=topology.hosts[:1], networks=()))
    assert links_of(bed.topology)["h1"] == LinkProperties(delay=DELAY)
    found = traces(bed.run)
    found.look()
    bed.down()
    assert found.left() == []
