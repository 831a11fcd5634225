"""A stage that takes half a second a batch: it must slow its own VM only."""

import select

from hoverboard.coprocessor.stage import ConfiguredStage, StageConfig


class Slow(ConfiguredStage[StageConfig]):
    """Sleeps over every batch."""

    name = "slow"

    def process(self, batch):
        select.select([], [], [], 0.5)
        return batch
