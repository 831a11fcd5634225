"""DoS detection: one packet in N is looked at, and a source that sends this VM too much raises an alarm.

Works on ingress, by inner source address, over a sliding window in bounded memory (paper section
4.4; its algorithm is not given). It can also drop everything from such a source for a while.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, Any

from pydantic import Field, model_validator

from hoverboard.coprocessor import headers
from hoverboard.coprocessor.sliding import SlidingCounts
from hoverboard.coprocessor.stage import ConfiguredStage, Packet, StageConfig

BLOCKED = "dos-blocked"


class DosConfig(StageConfig):
    """Keys of the configuration.

    Attributes:
        sample: one packet in so many is looked at, and stands for all of them.
        packets_per_second, bytes_per_second: of one source, above which an alarm is raised.
        window: seconds over which a rate is taken.
        sources: that are remembered in one window.
        block_seconds: how long everything from a source is dropped after an alarm; 0: not at all.
    """

    sample: Annotated[int, Field(ge=1)] = 16
    packets_per_second: Annotated[float, Field(gt=0)] | None = None
    bytes_per_second: Annotated[float, Field(gt=0)] | None = None
    window: Annotated[float, Field(gt=0)] = 1.0
    sources: Annotated[int, Field(ge=1, le=65536)] = 1024
    block_seconds: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _some_limit(self) -> DosConfig:
        if self.packets_per_second is None and self.bytes_per_second is None:
            raise ValueError("there is no limit: set packets_per_second, bytes_per_second or both")
        return self


class DosDetection(ConfiguredStage[DosConfig]):
    """Watches the sources of ingress packets."""

    name = "dos-detection"
    Config = DosConfig

    def setup(self) -> None:
        self._counts: SlidingCounts[bytes] = SlidingCounts(self.config.window, self.config.sources)
        # By source, until when: an alarm is not raised again, and packets are dropped if they are to be.
        self._alarmed: OrderedDict[bytes, float] = OrderedDict()
        self._skip = self.config.sample - 1
        self._sampled = self._alarms = self._blocked = 0

    def statistics(self) -> dict[str, Any]:
        """Packets looked at and dropped, alarms, sources that are blocked or were just reported."""
        return {
            "sampled": self._sampled, "alarms": self._alarms, "blocked": self._blocked,
            "sources": [headers.text(source) for source in list(self._alarmed)],
        }  # fmt: skip

    def process(self, batch: list[Packet]) -> list[Packet]:
        """Everything but what comes from a blocked source."""
        now = self.context.clock()
        while self._alarmed and next(iter(self._alarmed.values())) <= now:
            self._alarmed.popitem(last=False)
        going = []
        for packet in batch:
            if packet.direction == "ingress" and self._blocks(packet, now):
                packet.drop(BLOCKED)
                self._blocked += 1
            else:
                going.append(packet)
        return going

    def _blocks(self, packet: Packet, now: float) -> bool:
        blocking = bool(self._alarmed) and self.config.block_seconds > 0
        sampled = self._skip == 0
        self._skip = self.config.sample - 1 if sampled else self._skip - 1
        if not (sampled or blocking):
            return False
        header = headers.read(packet.frame)
        if header is None:
            return False
        if blocking and header.source in self._alarmed:
            return True
        if sampled and header.source not in self._alarmed:
            return self._look(header.source, len(packet.frame), now)
        return False

    def _look(self, source: bytes, size: int, now: float) -> bool:
        self._sampled += 1
        config = self.config
        packets, octets = self._counts.add(source, config.sample, config.sample * size, now)
        over_packets = config.packets_per_second is not None and packets > config.packets_per_second
        over_bytes = config.bytes_per_second is not None and octets > config.bytes_per_second
        if not (over_packets or over_bytes):
            return False
        self._alarms += 1
        # All stay for the same time, so that the oldest is always the first to go.
        self._alarmed[source] = now + (config.block_seconds or config.window)
        if len(self._alarmed) > config.sources:
            self._alarmed.popitem(last=False)
        self.context.report(
            {
                "alarm": "dos",
                "vm": self.context.vm,
                "source": headers.text(source),
                "packets_per_second": round(packets, 1),
                "bytes_per_second": round(octets, 1),
                "blocked_seconds": config.block_seconds,
            }
        )
        return config.block_seconds > 0
