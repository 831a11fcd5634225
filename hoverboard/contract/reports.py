"""Usage reports: a VM host reports the flows it sends to the control plane (paper 3.3.1).

Reports come from sending hosts, not from Hoverboards: an overloaded Hoverboard could fail to report exactly when an
offload is needed most. Only an offload policy that asks for them, for comparison, gets reports of Hoverboards.
"""

from __future__ import annotations

from dataclasses import dataclass

from hoverboard.contract.packets import Address


@dataclass(frozen=True, slots=True)
class FlowUsage:
    """Traffic of one VM pair in one report interval, counted where it leaves the sending VM.

    Attributes:
        vni: virtual network, 24 bits.
        src, dst: inner addresses, both of one family. A pair that uses IPv4 and IPv6 has two rows.
        bytes, packets: sent in the interval, inner frames without encapsulation.
    """

    vni: int
    src: Address
    dst: Address
    bytes: int
    packets: int


@dataclass(frozen=True, slots=True)
class UsageReport:
    """One host's usage in one interval of `seconds`; flows that sent nothing are left out."""

    host: str
    seconds: float
    flows: tuple[FlowUsage, ...]
