"""The WAN between the fabrics of two regions: a link with a rate, and with a delay if the kernel has netem.

Each region has its own bridge. A veth pair joins the two; both its ends are shaped (paper section 2.2: a cluster is one
uniform network). `status` shows what this kernel lacks.
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
# Queue at each end of the link: 100 ms of its rate, and at least four of the largest frames of the fabric.
_QUEUE_SECONDS, _QUEUE_LEAST = 0.1, 4 * FABRIC_MTU
_DELAY_PACKETS = 10_000


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of the fabric for one region.

    Attributes:
        bridge: its bridge.
        wan: its end of the WAN link, a port of this bridge; None: there is no WAN.
    """

    bridge: str
    wan: str | None = None


@dataclass(frozen=True, slots=True)
class Wan:
    """The link between two regions, as this kernel can make it.

    Attributes:
        spec: as the topology wants it.
        regions: the two regions.
        rate, delay: the queueing discipline that makes it: "htb", "netem"; None: not wanted, or not possible.
        missing: what is wanted and not possible, with the reason of the kernel.
    """

    spec: WanSpec
    regions: tuple[str, ...]
    rate: str | None
    delay: str | None
    missing: tuple[str, ...]

    def document(self) -> WanDocument:
        """The link as a document, for `status`; rate and delay are per direction, and None when not possible."""
        return {
            "regions": list(self.regions),
            "rate_bps": self.spec.rate if self.rate else None,
            "delay_s": self.spec.delay if self.delay else None,
            "by": [one for one in (self.rate, self.delay) if one],
            "missing": list(self.missing),
        }


def segments(topology: Topology) -> dict[str | None, Segment]:
    """The segments of the fabric by region; without a WAN all regions share one bridge."""
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
    """Make the bridges in the namespace of the fabric, and the WAN link between them if the topology has one."""
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
    """Limit the rate of what `device` sends; return "", or the reason why the kernel cannot."""
    queue = max(_QUEUE_LEAST, round(rate / 8 * _QUEUE_SECONDS))
    return (
        _tc(pid, f"qdisc add dev {device} root handle 1: htb default 1")
        # With a burst of less than one frame, htb would let the frame through and delay the next one too long.
        or _tc(pid, f"class add dev {device} parent 1: classid 1:1 htb rate {rate}bit burst {FABRIC_MTU} quantum 60000")
        or _tc(pid, f"qdisc add dev {device} parent 1:1 handle 10: bfifo limit {queue}")
    )


def _delay(pid: int, device: str, parent: str, delay: float) -> str:
    """Delay what `device` sends; return "", or the reason why the kernel cannot."""
    verb = "add" if parent == "root" else "replace"
    return _tc(
        pid, f"qdisc {verb} dev {device} {parent} handle 20: netem delay {round(delay * 1e6)}us limit {_DELAY_PACKETS}"
    )


def _tc(pid: int, words: str) -> str:
    """Run tc in the namespace of `pid`; return "", or its error message."""
    with devices.entered(pid):
        try:
            done = subprocess.run(
                ["tc", *words.split()], capture_output=True, text=True, timeout=_TC_TIMEOUT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    output = (done.stderr or done.stdout).strip().splitlines()
    return "" if done.returncode == 0 else (output[0] if output else f"tc ended with exit code {done.returncode}")
