"""The keys of a file for a topology, and Mininet's `Topo` that is made of a file and changed afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from topologies.changes.file_keys import file_keys
from topologies.emulation.topo import ClusterTopo
from topologies.spec import schema
from topologies.spec.keys import TopologyKeys
from topologies.spec.topology import Topology

RICH = """
name: rich
hosts:
  - {name: a, region: east, batch: {egress: 4, ingress: 8}}
  - {name: b, region: west, uplink: {rate: 1gbit, delay: 100us, jitter: 20us, loss: 0.1%, seed: 8}}
  - {name: c, region: west}
hoverboards:
  - {name: p, region: east, capacity: {pps: 1000, bps: 5mbit}}
  - {name: q, region: west, capacity: {pps: 7}, uplink: {loss: 0.0000001%}}
model: gateway
scheduling: dedicated
vm_priority: false
report_interval: 500ms
offload_threshold: 30kbit
offload_policy: {policy: mine.py:Mine, keep: 5kbit, min_lifetime: 3s, idle_expiry: 40s, budget: 6, reports: hoverboards}
stages:
  - {stage: wan-encryption, when: {to: other-region, direction: egress}}
  - {stage: internet-acl, config: {default: deny}, when: {vms: [web], networks: [blue], to: 10.0.0.0/8}}
wan: {rate: 10mbit, delay: 5ms, reorder: 25%, duplicate: 0.01%}
networks:
  - name: blue
    vni: 7
    subnet: 10.0.0.0/24
    gateway: 10.0.0.254
    subnet6: fd00:7::/64
    rate: 9mbit
    vms: [{name: web, tags: [web, db]}, {rate: 1mbit, ip: 10.0.0.9, ip6: false}, {host: c}]
    firewall:
      ingress: deny
      rules:
        - {name: http, direction: ingress, action: allow, targets: [web], protocol: tcp, ports: [80, 90-99]}
        - {name: out, direction: egress, action: deny, priority: 7, prefixes: [10.0.0.0/25], tags: [db]}
    load_balancers: [{name: front, ip: 10.0.0.100, backends: [web], protocol: udp, ports: [53]}]
    routes: [{prefix: 192.168.0.0/24, next_hop: web, priority: 5}, {name: far, prefix: 172.20.0.0/16, next_hop: web}]
  - {name: red, vni: 8, subnets: [10.0.0.0/24, 10.0.1.0/24], vms: 2}
"""
EXTERNAL = "hosts: [{}, {program: external, controller: 'tcp:127.0.0.1:6653'}]\nhoverboards: 0\nmodel: preprogrammed\n"


@pytest.fixture(params=[*schema.SHIPPED, "rich", "external"])
def topology(request: pytest.FixtureRequest, tmp_path: Path) -> Topology:
    if request.param in schema.SHIPPED:
        return schema.load(request.param)
    (tmp_path / "mine.py").write_text(
        "from controllers import OffloadPolicy\n"
        "class Mine(OffloadPolicy):\n"
        "    def decide(self, host, candidates, now): ...\n"
    )
    return schema.parse({"rich": RICH, "external": EXTERNAL}[request.param], base=tmp_path)


def test_the_keys_make_the_same_topology_again(topology: Topology) -> None:
    assert replace(schema.from_keys(file_keys(topology)), text=topology.text) == topology


def test_a_topo_of_a_file_that_is_changed_afterwards_keeps_all_of_the_file(topology: Topology) -> None:
    topo = ClusterTopo(topology)
    assert topo.topology() is topology
    topo.addNetwork("late", vni=99, subnet="10.9.0.0/24")
    changed = topo.topology()
    assert changed.networks[-1].name == "late"
    assert replace(changed, networks=changed.networks[:-1], text=topology.text) == topology


def test_the_rich_file_has_every_key() -> None:
    """A key that comes later must be in this file, too, so that it is not lost."""
    given = file_keys(schema.parse(RICH.replace("policy: mine.py:Mine, ", "")))
    # `dataplane` and `batch` of the file are written out at each node.
    assert given.keys() == TopologyKeys.model_fields.keys() - {"dataplane", "batch"}


def test_hosts_hoverboards_networks_and_vms_of_a_topo_have_the_keys_of_a_file() -> None:
    class Mine(ClusterTopo):
        def build(self, **_params: Any) -> None:
            self.addVMHost("h1", region="east", batch={"egress": 4})
            self.addHoverboard("hv1", capacity={"pps": 9})
            self.addNetwork("blue", vni=7, subnet="10.0.0.0/24", rate="9mbit", firewall={"ingress": "deny"})
            self.addVM("blue-1", network="blue", host="h1", rate="1mbit")
            self.addVM("blue-2", network="blue", host="h1")

    made = Mine().topology()
    assert (made.hosts[0].region, made.hosts[0].batch, made.hoverboards[0].capacity) == ("east", (4, 128), (9, None))
    assert [vm.rate for vm in made.vms] == [1_000_000, 9_000_000]
    assert made.networks[0].ingress == "deny"
