"""WAN shaping: limits the rate of a VM's packets to other regions; packets above the rate wait in a queue.

Each destination region has one token bucket and one bounded queue (paper section 4.4, "BwE policies"). Flows share a
region's rate fairly by deficit round robin (Shreedhar and Varghese 1995). When the queue is full, the longest flow
loses its last packet, so that a bulk flow cannot push out a ping.
"""

from __future__ import annotations

from collections import deque
from typing import Annotated, Any

from pydantic import Field, model_validator
from typing_extensions import override

from hoverboard.contract.token_bucket import TokenBucket
from hoverboard.coprocessor import headers
from hoverboard.coprocessor.stage import ConfiguredStage, Packet, StageConfig

FULL = "shaping-queue-full"
_FLOWS = 64  # queues of a region; flows in the same queue share its rate
_PACKET_MAX = 65_600  # a 64,000-byte segment with its headers must fit the bucket, or it would never leave
_QUANTUM = 16_384  # bytes a flow may send in its turn: small beside a burst, large beside an MTU
SLACK = 1.0  # bytes that a bucket gains beyond a packet before it is due: rounding must not delay it then


class ShapingConfig(StageConfig):
    """Keys of the configuration.

    Attributes:
        rates_bps: bits a second by destination region, of inner Ethernet frames.
        default_bps: rate for all other regions and for hosts without one. None: they are not shaped.
        burst_bytes: depth of each bucket.
        queue_bytes, queue_packets: how much may wait for one region.
    """

    rates_bps: dict[str, Annotated[int, Field(gt=0)]] = {}
    default_bps: Annotated[int, Field(gt=0)] | None = None
    burst_bytes: Annotated[int, Field(ge=_PACKET_MAX)] = 1 << 17
    queue_bytes: Annotated[int, Field(ge=_PACKET_MAX)] = 4 << 20
    queue_packets: Annotated[int, Field(ge=1, le=65536)] = 1024

    @model_validator(mode="after")
    def _some_rate(self) -> ShapingConfig:
        if not self.rates_bps and self.default_bps is None:
            raise ValueError("there is no rate: set rates_bps, default_bps or both")
        return self


class RegionQueue:
    """The packets that wait for one region: a queue per flow, served in turns."""

    def __init__(self, bucket: TokenBucket) -> None:
        self.bucket = bucket
        self.bytes = self.packets = 0
        self._flows: dict[int, deque[Packet]] = {}  # those with something waiting
        self._size: dict[int, int] = {}
        self._turns: deque[int] = deque()
        self._credit: dict[int, int] = {}

    def push(self, flow: int, packet: Packet) -> None:
        """Append a packet to the queue of its flow."""
        if flow not in self._flows:
            self._flows[flow], self._size[flow] = deque(), 0
            self._turns.append(flow)
            self._credit[flow] = _QUANTUM
        size = len(packet.frame)
        self._flows[flow].append(packet)
        self._size[flow] += size
        self.bytes += size
        self.packets += 1

    def drop_last(self) -> Packet:
        """Remove and return the last packet of the flow that holds most bytes."""
        return self._pop(max(self._size, key=lambda flow: self._size[flow]), last=True)

    def release(self, now: float) -> list[Packet]:
        """The packets that may leave now, in order."""
        going = []
        while (flow := self._next()) is not None:
            size = len(self._flows[flow][0].frame)
            if not self.bucket.take(now, size):
                break
            self._credit[flow] -= size
            going.append(self._pop(flow, last=False))
        return going

    def ready_at(self) -> float | None:
        """The time at which the next packet may leave; None when none waits."""
        flow = self._next()
        return None if flow is None else self.bucket.ready_at(len(self._flows[flow][0].frame) + SLACK)

    def _next(self) -> int | None:
        """The first flow in turn with credit for its packet. The answer stays the same until that packet has left."""
        while self._turns:
            flow = self._turns[0]
            if self._credit[flow] >= len(self._flows[flow][0].frame):
                return flow
            self._credit[flow] += _QUANTUM
            self._turns.rotate(-1)
        return None

    def _pop(self, flow: int, *, last: bool) -> Packet:
        queue = self._flows[flow]
        packet = queue.pop() if last else queue.popleft()
        size = len(packet.frame)
        self._size[flow] -= size
        self.bytes -= size
        self.packets -= 1
        if not queue:
            del self._flows[flow], self._size[flow], self._credit[flow]
            self._turns.remove(flow)
        return packet


class WanShaping(ConfiguredStage[ShapingConfig]):
    """Delays egress packets to other regions."""

    name = "wan-shaping"
    Config = ShapingConfig

    @override
    def setup(self) -> None:
        self._regions: dict[str | None, RegionQueue] = {}
        self._passed = self._delayed = self._shed = 0

    def statistics(self) -> dict[str, Any]:
        """Packets that left at once, that waited, that found no room; packets that wait now, by region."""
        waiting = {str(region): queue.packets for region, queue in list(self._regions.items()) if queue.packets}
        return {"passed": self._passed, "delayed": self._delayed, "shed": self._shed, "waiting": waiting}

    def process(self, batch: list[Packet]) -> list[Packet]:
        """The packets that may leave at once. The stage holds the others, or drops them if there is no room."""
        now = self.context.clock()
        going = []
        for packet in batch:
            region = self.context.region_of(packet.peer) if packet.peer is not None else None
            rate = self.config.rates_bps.get(region or "", self.config.default_bps)
            if packet.direction != "egress" or rate is None:
                going.append(packet)
            elif self._send_or_hold(packet, self._region(region, rate, now), now):
                self._passed += 1
                going.append(packet)
        return going

    def tick(self, now: float) -> list[Packet]:
        """The packets that have waited long enough."""
        going = [packet for queue in self._regions.values() for packet in queue.release(now)]
        self._delayed += len(going)
        return going

    def deadline(self) -> float | None:
        """The time at which the next packet has its tokens."""
        return min((at for queue in self._regions.values() if (at := queue.ready_at()) is not None), default=None)

    def _region(self, region: str | None, rate: int, now: float) -> RegionQueue:
        # Regions without their own rate share one queue, so the number of queues is bounded by the configuration.
        name = region if region in self.config.rates_bps else None
        queue = self._regions.get(name)
        if queue is None:
            queue = self._regions[name] = RegionQueue(TokenBucket(rate / 8, self.config.burst_bytes, now))
        return queue

    def _send_or_hold(self, packet: Packet, queue: RegionQueue, now: float) -> bool:
        """Whether the packet leaves at once: only if none waits, so that no flow is reordered. Else queue it."""
        if not queue.packets and queue.bucket.take(now, len(packet.frame)):
            return True
        queue.push(_flow_of(packet), packet)
        while queue.bytes > self.config.queue_bytes or queue.packets > self.config.queue_packets:
            queue.drop_last().drop(FULL)
            self._shed += 1
        return False


def _flow_of(packet: Packet) -> int:
    header = headers.read(packet.frame)
    return 0 if header is None else hash(header[:5]) % _FLOWS
