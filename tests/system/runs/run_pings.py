"""Whether VMs of a run reach each other."""

from __future__ import annotations

from topologies.run.testbed import Testbed


def ping(bed: Testbed, source: str, address: str, *options: str) -> bool:
    """Whether one of a few pings from a VM is answered."""
    process = bed.node(source).popen(["ping", "-c3", "-i0.1", "-W2", *options, address])
    process.communicate(timeout=20)
    return process.returncode == 0
