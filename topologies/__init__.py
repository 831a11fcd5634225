"""Topologies on Mininet: hosts, Hoverboards, VMs, the fabric and their links; starts and stops everything of a run.

It stands for the machines, NICs and cluster management of the paper. It imports only the layers below it: `controllers`
and `hoverboard`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoverboard.contract.public_names import public_names

PUBLIC = {
    "Testbed": "topologies.run.testbed",
    "HoverboardNet": "topologies.net",
    "ClusterTopo": "topologies.emulation.topo",
    "load": "topologies.spec.schema",
}
# Modules that the documents of version 0.1 name; the next version removes them.
OLD_PATHS = {
    "topologies.testbed": "topologies.run.testbed",
    "topologies.topo": "topologies.emulation.topo",
    "topologies.schema": "topologies.spec.schema",
}

if TYPE_CHECKING:
    from topologies.emulation.topo import ClusterTopo as ClusterTopo
    from topologies.net import HoverboardNet as HoverboardNet
    from topologies.run.testbed import Testbed as Testbed
    from topologies.spec.schema import load as load
else:
    __getattr__, __dir__ = public_names(__name__, PUBLIC, OLD_PATHS)
