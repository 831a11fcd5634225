"""The generations of the dataplane (paper 5.2): one table of facts, so that no other module compares names.

All generations run the same OpenFlow program and use the same Geneve, so that one cluster may mix them.
docs/generations.md describes each and its differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

# The name of a generation, oldest first.
Dataplane = Literal["pre", "ovs", "ovs-offload", "fastpath-vmm", "fastpath"]
# what moves a host's packets: Open vSwitch, the host process's engines, or a process per VM
Carrier = Literal["switch", "engines", "processes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationFacts:
    """Facts about a generation, for the layers above and the host process.

    Attributes:
        andromeda: the version in the paper that it stands for.
        carrier: what moves the packets.
        nic: a tap, whose descriptor is sent to the host process, or a veth pair into the host's namespace.
        uplink: the node's link to the fabric: a tap whose descriptor is sent to the host process, or a device.
        addressed: the uplink device has the underlay address (else Open vSwitch's br-phy has it, or no device).
        guest_offloads: the VM leaves checksums and segmentation to the layer below it.
        takes_segments: it receives whole segments through the tunnel (the segment option), and so answers probes.
        kernel_switch: it needs the kernel's openvswitch module.
        vmm: a VMM stands between virtual NIC and engine.
        relay: the generation that a Hoverboard runs when this one is chosen: the nearest that can relay.
        stands_for: a one-line description for users.
    """

    andromeda: str
    carrier: Carrier
    nic: Literal["tap", "veth"]
    uplink: Literal["tap", "device"]
    addressed: bool
    guest_offloads: bool
    takes_segments: bool
    kernel_switch: bool
    vmm: bool
    relay: Dataplane
    stands_for: str


GENERATIONS: dict[Dataplane, GenerationFacts] = {
    "pre": GenerationFacts(
        andromeda="pre-Andromeda",
        carrier="processes",
        nic="tap",
        uplink="device",
        addressed=True,
        guest_offloads=False,
        takes_segments=False,
        kernel_switch=False,
        vmm=True,
        relay="ovs",
        stands_for="everything in one user-space process per VM, UDP sockets, one queue, no offloads",
    ),
    "ovs": GenerationFacts(
        andromeda="1.0",
        carrier="switch",
        nic="veth",
        uplink="device",
        addressed=False,
        guest_offloads=False,
        takes_segments=False,
        kernel_switch=False,
        vmm=False,
        relay="ovs",
        stands_for="Open vSwitch carries the packets",
    ),
    "ovs-offload": GenerationFacts(
        andromeda="1.5",
        carrier="switch",
        nic="veth",
        uplink="device",
        addressed=False,
        guest_offloads=True,
        takes_segments=False,
        kernel_switch=True,
        vmm=False,
        relay="ovs-offload",
        stands_for="Open vSwitch in the kernel, with checksum and segmentation offloads",
    ),
    "fastpath-vmm": GenerationFacts(
        andromeda="2.0",
        carrier="engines",
        nic="tap",
        uplink="tap",
        addressed=False,
        guest_offloads=True,
        takes_segments=True,
        kernel_switch=False,
        vmm=True,
        relay="fastpath",
        stands_for="the fast path's engines, with a VMM thread between each virtual NIC and them",
    ),
    "fastpath": GenerationFacts(
        andromeda="2.1",
        carrier="engines",
        nic="tap",
        uplink="tap",
        addressed=False,
        guest_offloads=True,
        takes_segments=True,
        kernel_switch=False,
        vmm=False,
        relay="fastpath",
        stands_for="the fast path's engines on the virtual NICs' own rings",
    ),
}
NAMES: tuple[Dataplane, ...] = get_args(Dataplane)


def facts(dataplane: Dataplane) -> GenerationFacts:
    """The facts about a generation."""
    return GENERATIONS[dataplane]


def available(datapath_type: str) -> tuple[Dataplane, ...]:
    """The generations that can run where Open vSwitch has this datapath, oldest first."""
    return tuple(name for name in NAMES if datapath_type == "system" or not GENERATIONS[name].kernel_switch)
