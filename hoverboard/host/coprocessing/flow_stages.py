"""The stages of a flow in its flow-table entry, decided at flow miss (paper 4.3.1, 4.4). Pure.

FlowStages is one VM's part. A flow between two VMs of one host has two parts, the sender's and the receiver's, and
its entry carries both.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import NamedTuple

from hoverboard.contract.packets import Address
from hoverboard.coprocessor.stage import Direction
from hoverboard.fastpath.memory import entries

MOST_CHAINS = MOST_EVERY = entries.HALF  # limits of the fields of an entry


class FlowStages(NamedTuple):
    """One VM's part of the stages of a flow.

    Attributes:
        chain: number of the DivertedFlow that its coprocessor uses; at most MOST_CHAINS.
        diverts: all packets go through the coprocessor.
        every: one packet in so many is copied to the coprocessor; 0: none; at most MOST_EVERY.
        drop: drop all packets, for this reason (of reasons.NAMES).
    """

    chain: int = 0
    diverts: bool = False
    every: int = 0
    drop: str | None = None

    @property
    def stages(self) -> int:
        """STAGE_ bits of the entry."""
        return entries.STAGE_COPROCESSOR * self.diverts | entries.STAGE_SAMPLE * (self.every > 0)


NO_STAGES = FlowStages()


class StageWords(NamedTuple):
    """The stage fields of a flow-table entry (flow_table.Entry)."""

    stages: int = 0
    chain: int = 0
    sample: int = 0


def stage_words(first: FlowStages, receiver: FlowStages = NO_STAGES) -> StageWords:
    """The fields of an entry whose packets pass `first`, and then `receiver` on the same host."""
    return StageWords(
        first.stages | receiver.stages << entries.STAGE_NEXT,
        first.chain | receiver.chain << entries.HALF_BITS,
        first.every | receiver.every << entries.HALF_BITS,
    )


# (direction, OpenFlow port of the VM, inner address of the other end, VNI, underlay address of the other host or
# None) -> the VM's part of the stages of a flow.
StageLookup = Callable[[Direction, int, Address, int, IPv4Address | None], FlowStages]


def no_stages(
    _direction: Direction, _ofport: int, _remote: Address, _vni: int, _peer: IPv4Address | None
) -> FlowStages:
    """NO_STAGES for every flow: the lookup of hosts without coprocessors."""
    return NO_STAGES
