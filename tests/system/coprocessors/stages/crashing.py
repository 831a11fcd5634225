"""A stage that raises on every packet: it must hurt its own VM only."""

from hoverboard.coprocessor.stage import ConfiguredStage, StageConfig


class Crashing(ConfiguredStage[StageConfig]):
    """Raises."""

    name = "crashing"

    def process(self, batch):
        raise RuntimeError(f"{len(batch)} packets were too many")
