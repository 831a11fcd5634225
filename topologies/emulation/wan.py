"""The WAN between the fabrics of two regions: a link with a rate, and with a delay where the kernel can.

Each region has a bridge of its own; the two are joined by one veth pair, shaped at both ends (paper
section 2.2: a cluster is one uniform network). What this kernel lacks is named, never pretended.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hoverboard.contract.encapsulation import FABRIC_MTU
from topologies.emulation import devices
from topologies.spec.topology import Topology, WanSpec

if TYPE_CHECKING:
    from hoverboard.contract.documents import Wan as WanDocument


_LONGEST_DEVICE = 15
_TC_TIMEOUT = 10.0
# What waits at an end of the link: 100 ms of its rate, and room for a few of the fabric's largest frames.
_QUEUE_SECONDS, _QUEUE_LEAST = 0.1, 4 * FABRIC_MTU
_DELAY_PACKETS = 10_000


@dataclass(frozen=True, slots=True)
class Segment:
    """One region's part of the fabric.

    Attributes:
        bridge: its bridge.
        wan: its end of the WAN link, a port of that bridge; None: there is no other region.
    """

    bridge: str
    wan: str | None = None


@dataclass(frozen=True, slots=True)
class Wan:
    """What the link between two regions really does.

    Attributes:
        rate, delay: how it is done: "htb", "netem"; None: not asked for, or not possible.
        missing: what was asked for and cannot be, with the kernel's reason.
    """

    spec: WanSpec
    regions: tuple[str, ...]
    rate: str | None
    delay: str | None
    missing: tuple[str, ...]

    def document(self) -> WanDocument:
        """As `status` shows it; figures are of each direction, and only of what is done."""
        return {
            "regions": list(self.regions),
            "rate_bps": self.spec.rate if self.rate else None,
            "delay_s": self.spec.delay if self.delay else None,
            "by": [one for one in (self.rate, self.delay) if one],
            "missing": list(self.missing),
        }


def segments(topology: Topology) -> dict[str | None, Segment]:
    """By region of a server; without a WAN all servers are on one bridge, whatever their regions are called."""
    if topology.wan is None:
        return {region: Segment(devices.BRIDGE_NAME) for region in {server.region for server in topology.servers}}
    return {
        region: Segment(_device("fab", region, number), _device("wan", region, number))
        for number, region in enumerate(topology.regions)
    }


def _device(kind: str, region: str, number: int) -> str:
    name = f"{kind}-{region}"
    return name if len(name) <= _LONGEST_DEVICE else f"{kind}-{number}"


def make(fabric_pid: int, topology: Topology) -> Wan | None:
    """The bridges in the fabric's namespace, and the WAN link between them if the topology has one."""
    found = segments(topology)
    devices.make_fabric(fabric_pid, sorted({segment.bridge for segment in found.values()}))
    if topology.wan is None:
        return None
    ends = [(segment.bridge, segment.wan or "") for segment in found.values()]
    devices.join_fabrics(fabric_pid, ends)
    rate, delay, missing = None, None, {}
    for _, device in ends:
        parent = "root"
        if topology.wan.rate is not None:
            reason = _shape(fabric_pid, device, topology.wan.rate)
            rate, missing["rate"] = (None, reason) if reason else ("htb", "")
            parent = "root" if reason else "parent 1:1"
        if topology.wan.delay:
            reason = _delay(fabric_pid, device, parent, topology.wan.delay)
            delay, missing["delay"] = (None, reason) if reason else ("netem", "")
    missing_lines = tuple(f"{what}: {reason}" for what, reason in missing.items() if reason)
    return Wan(topology.wan, topology.regions, rate, delay, missing_lines)


def _shape(pid: int, device: str, rate: int) -> str:
    """A rate for what leaves by `device`; "" or the kernel's reason why there is none."""
    queue = max(_QUEUE_LEAST, round(rate / 8 * _QUEUE_SECONDS))
    return (
        _tc(pid, f"qdisc add dev {device} root handle 1: htb default 1")
        # A burst below one frame of the fabric would let it through all the same, and mis-time the next.
        or _tc(pid, f"class add dev {device} parent 1: classid 1:1 htb rate {rate}bit burst {FABRIC_MTU} quantum 60000")
        or _tc(pid, f"qdisc add dev {device} parent 1:1 handle 10: bfifo limit {queue}")
    )


def _delay(pid: int, device: str, parent: str, delay: float) -> str:
    """A delay for what leaves by `device`; "" or the kernel's reason why there is none."""
    verb = "add" if parent == "root" else "replace"
    return _tc(
        pid, f"qdisc {verb} dev {device} {parent} handle 20: netem delay {round(delay * 1e6)}us limit {_DELAY_PACKETS}"
    )


def _tc(pid: int, words: str) -> str:
    """Run tc in a namespace; "" or what it said when it failed."""
    with devices.entered(pid):
        try:
            done = subprocess.run(
                ["tc", *words.split()], capture_output=True, text=True, timeout=_TC_TIMEOUT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    output = (done.stderr or done.stdout).strip().splitlines()
    return "" if done.returncode == 0 else (output[0] if output else f"tc ended with {done.returncode}")
