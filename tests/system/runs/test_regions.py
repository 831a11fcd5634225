"""Two regions: a fabric each, and a WAN link that all traffic between them crosses, at its rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from experiments.tools import iperf, ping
from experiments.tools.iperf import IperfSpec
from hoverboard.contract.document_schemas import check
from hoverboard.contract.links.link_properties import LinkProperties
from topologies.emulation.devices import entered
from topologies.run.testbed import Testbed
from topologies.spec import schema
from topologies.spec.topology import FABRIC

RATE = 20_000_000


@pytest.fixture(scope="module")
def bed(module_testbed: Callable[..., Testbed]) -> Testbed:
    return module_testbed(replace(schema.load("two-regions"), wan=LinkProperties(rate=RATE, delay=0.01)))


def _sent(bed: Testbed, device: str) -> int:
    """Bytes that have left the fabric by `device`."""
    with entered(bed.pid_of(FABRIC)), open("/proc/thread-self/net/dev", encoding="ascii") as file:
        line = next(one for one in file if one.strip().startswith(f"{device}:"))
    return int(line.split(":")[1].split()[8])


def test_all_traffic_between_regions_crosses_the_wan_at_its_rate_and_none_within_one(bed: Testbed) -> None:
    one, near, far = (bed.node(name) for name in ("blue-1", "blue-2", "blue-3"))
    before = _sent(bed, "wan-east")
    inside = iperf.measure(one, near, near.IP(), IperfSpec(seconds=1))
    assert _sent(bed, "wan-east") - before < inside.bps / 8 / 10
    assert inside.bps > 2 * RATE

    before = _sent(bed, "wan-east")
    across = iperf.measure(one, far, far.IP(), IperfSpec(seconds=3))
    assert RATE / 20 < across.bps < 1.1 * RATE
    # A busy pair goes host to host, which the global plane of the sender's region has seen to.
    assert ("blue-1", "blue-3") in {(row["src"], row["dst"]) for row in bed.offloads()}
    assert any(line.startswith("cookie=0x7000007000001,") for line in bed.flows("h1")["openflow"])
    assert _sent(bed, "wan-east") - before > 3 * across.bps / 8 * 0.9


def test_status_says_what_the_wan_does_and_who_makes_it(bed: Testbed) -> None:
    status = bed.status()
    check("status", status)
    wan = status["wan"]
    assert wan["regions"] == ["east", "west"]
    assert wan["rate_bps"] == RATE
    assert (wan["delay_s"], wan["missing"]) == (0.01, [])
    # By the kernel, or by the link element, with what the kernel lacks.
    assert (wan["by"] == ["htb", "netem"]) != (wan["by"] == ["element"] and wan["why"].startswith("netem: "))


def test_packets_between_regions_take_the_delay_of_the_wan(bed: Testbed) -> None:
    across = ping.measure(bed.node("blue-1"), bed.node("blue-3").IP(), count=10, interval=0.05)
    assert across.min_ms is not None
    assert 20 <= across.min_ms < 200
