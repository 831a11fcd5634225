"""An unexpected exception in a controller's core ends its process, and the next one does all the work."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

import pytest

from hoverboard.contract.encapsulation import guest_mac
from hoverboard.contract.entities import VM, AnyEntity, Host, Hoverboard, Network, Subnetwork
from tests.system.control_plane.control_plane_rig import Rig, rig

FAILING = """
from controllers.vmc.offload.policy import OffloadPolicy

class Failing(OffloadPolicy):
    def decide(self, host, candidates, now):
        raise NotImplementedError

    def report(self, usage, seconds, now):
        return 1 / 0
"""


@pytest.fixture
def cluster() -> Iterator[Rig]:
    with rig() as made:
        yield made


def _vm(last: int, host: str) -> VM:
    address = IPv4Address(f"10.0.0.{last}")
    return VM(name=f"b{last}", network="blue", ip=address, mac=guest_mac(7, address), host=host)


def test_a_core_that_fails_ends_its_process_with_a_traceback_and_the_next_serves(cluster: Rig) -> None:
    policy = cluster.dir / "failing.py"
    policy.write_text(FAILING)
    entities: list[AnyEntity] = [
        Network(name="blue", vni=7),
        Subnetwork(name="blue-sub", network="blue", prefix=IPv4Network("10.0.0.0/24")),
        Host(name="h1", underlay_ip=IPv4Address("172.16.0.1")),
        Host(name="h2", underlay_ip=IPv4Address("172.16.0.2")),
        Hoverboard(name="hv1", underlay_ip=IPv4Address("172.16.255.1")),
        _vm(2, "h1"),
        _vm(3, "h2"),
    ]
    cluster.start_plane("--offload-policy", f"{policy}:Failing")
    cluster.client.full_update(entities)
    cluster.add_switch("h1", "172.16.0.1")
    agent = cluster.hello("h1")
    cluster.wait_programmed("h1")
    flows = cluster.switches["h1"].flows()
    agent.usage(7, "10.0.0.2", "10.0.0.3", 10_000_000)
    assert cluster.plane is not None
    assert cluster.plane.wait(15) == 1
    log = cluster.log()
    assert "an unexpected exception: this process ends" in log
    assert "return 1 / 0" in log
    assert "ZeroDivisionError: division by zero" in log
    assert cluster.switches["h1"].flows() == flows
    agent.close()
    cluster.start_plane()
    cluster.client.full_update(entities)
    cluster.hello("h1")
    cluster.wait_programmed("h1")
    assert cluster.switches["h1"].flows() == flows
