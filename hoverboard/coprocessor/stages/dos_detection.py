"""DoS detection: a source that sends this VM too much raises an alarm, and is blocked if it is to be.

Works on ingress, from the fast path's samples, by inner source address, over a sliding window in bounded
memory (paper section 4.4; its algorithm is not given). The packets themselves stay on the fast path, and
what blocks a source is the fast path's own flow table.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from hoverboard.coprocessor import headers
from hoverboard.coprocessor.sliding_window import SlidingCounts
from hoverboard.coprocessor.stage import ConfiguredStage, Direction, Packet, StageConfig, validated


class DosConfig(StageConfig):
    """Keys of the configuration.

    Attributes:
        sample: one packet in so many, at random, is looked at, and stands for all of them.
        packets_per_second, bytes_per_second: of one source, above which an alarm is raised.
        window: seconds over which a rate is taken.
        sources: that are remembered in one window.
        block_seconds: how long everything from a source is dropped after an alarm; 0: not at all.
    """

    sample: Annotated[int, Field(ge=1, le=65_535)] = 16
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

    @classmethod
    def sampling(cls, config: Mapping[str, Any], direction: Direction) -> int:
        """See Stage: nothing of what the VM sends."""
        return validated(DosConfig, cls.name, config).sample if direction == "ingress" else 0

    def setup(self) -> None:
        self._counts: SlidingCounts[bytes] = SlidingCounts(self.config.window, self.config.sources)
        # By source, until when an alarm is not raised again. All stay for the same time: the oldest is the first to go.
        self._alarmed: OrderedDict[bytes, float] = OrderedDict()
        self._sampled = self._alarms = 0

    def statistics(self) -> dict[str, Any]:
        """Samples looked at, alarms, sources that are blocked or were just reported."""
        return {
            "sampled": self._sampled, "alarms": self._alarms,
            "sources": [headers.text(source) for source in list(self._alarmed)],
        }  # fmt: skip

    def process(self, batch: list[Packet]) -> list[Packet]:
        """Count samples; a packet itself stands for one, and passes."""
        now = self.context.clock()
        while self._alarmed and next(iter(self._alarmed.values())) <= now:
            self._alarmed.popitem(last=False)
        for packet in batch:
            header = headers.read(packet.frame) if packet.direction == "ingress" else None
            if header is not None:
                self._look(header.source, packet.sample or 1, len(packet.frame), now)
        return batch

    def _look(self, source: bytes, weight: int, size: int, now: float) -> None:
        self._sampled += 1
        if source in self._alarmed:
            return
        config = self.config
        packets, octets = self._counts.add(source, weight, weight * size, now)
        over_packets = config.packets_per_second is not None and packets > config.packets_per_second
        over_bytes = config.bytes_per_second is not None and octets > config.bytes_per_second
        if not (over_packets or over_bytes):
            return
        self._alarms += 1
        self._alarmed[source] = now + (config.block_seconds or config.window)
        if len(self._alarmed) > config.sources:
            self._alarmed.popitem(last=False)
        if config.block_seconds:
            self.context.block(source, config.block_seconds)
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
