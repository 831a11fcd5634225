"""DoS detection: raises an alarm when a source sends too much to this VM, and can block that source.

The stage counts ingress samples by inner source address, over a sliding window in bounded memory. (Paper section 4.4
gives no algorithm.) The packets themselves stay on the fast path. The fast path blocks a source with an entry in its
flow table.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator
from typing_extensions import override

from hoverboard.coprocessor import headers
from hoverboard.coprocessor.sliding_window import SlidingCounts
from hoverboard.coprocessor.stage import ConfiguredStage, Direction, Packet, StageConfig, validated


class DosConfig(StageConfig):
    """Keys of the configuration.

    Attributes:
        sample: one packet in so many, chosen at random, is counted as that many.
        packets_per_second, bytes_per_second: limits for one source. Above one of them an alarm is raised.
        window: seconds over which a rate is measured.
        sources: number of sources that are counted in one window.
        block_seconds: how long packets of a source are dropped after an alarm; 0: not at all.
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
    """Measures the rate of each source of ingress packets."""

    name = "dos-detection"
    Config = DosConfig

    @classmethod
    def sampling(cls, config: Mapping[str, Any], direction: Direction) -> int:
        """The sampling rate of ingress packets; 0 for egress."""
        return validated(DosConfig, cls.name, config).sample if direction == "ingress" else 0

    @override
    def setup(self) -> None:
        self._counts: SlidingCounts[bytes] = SlidingCounts(self.config.window, self.config.sources)
        # By source: the time until which no second alarm is raised. All stay equally long, so the oldest ends first.
        self._alarmed: OrderedDict[bytes, float] = OrderedDict()
        self._sampled = self._alarms = 0

    def statistics(self) -> dict[str, Any]:
        """Samples, alarms, and the sources that are blocked or were just reported."""
        return {
            "sampled": self._sampled, "alarms": self._alarms,
            "sources": [headers.text(source) for source in list(self._alarmed)],
        }  # fmt: skip

    def process(self, batch: list[Packet]) -> list[Packet]:
        """Count the samples, and return the batch. A packet that is no sample counts as one."""
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
