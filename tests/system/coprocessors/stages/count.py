"""A student's stage: one file, with a configuration and figures for `status`."""

from hoverboard.coprocessor.stage import ConfiguredStage, StageConfig


class CountConfig(StageConfig):
    largest: int = 65536


class Count(ConfiguredStage[CountConfig]):
    """Counts packets, and drops those that are larger than allowed."""

    name = "count"
    Config = CountConfig

    def setup(self):
        self.seen = 0

    def process(self, batch):
        self.seen += len(batch)
        for packet in batch:
            if len(packet.frame) > self.config.largest:
                packet.drop("too-large")
        return [packet for packet in batch if packet.reason is None]

    def statistics(self):
        return {"seen": self.seen}
