"""A person's own experiment that needs no testbed, as a file: dice, of which one kind may be broken."""

from __future__ import annotations

from pathlib import Path

FILE = """
from experiments.frame.experiment import Chart, Experiment, Sample, ClaimVerdict
from experiments.frame.parameters import Parameter
from hoverboard.contract.errors import MeasurementError


class Dice(Experiment):
    name = "dice"
    title = "Dice"
    source = "none"
    measures = "what dice show"
    minutes = 0.1
    repeat = 3
    parameters = (
        Parameter("sides", (6, 20), "", "of a die", quick=(6,), least=2, most=100),
        Parameter("offset", 0, "eyes", "added to each throw", least=0),
        Parameter("broken", 0, "", "sides of the die that cannot be thrown"),
    )

    def points(self, values):
        return [{"sides": sides} for sides in values["sides"]]

    def measure(self, point, values, bench):
        bench.raw("throw", {"sides": point["sides"]})
        yield Sample("eyes", values["offset"] + bench.random().randint(1, point["sides"]), "eyes", dict(point))
        if point["sides"] == values["broken"]:
            raise MeasurementError("it rolled under the table", where="the table")

    def charts(self, table, values):
        return [Chart("eyes", "Eyes", "sides", "eyes", [table.line("eyes", "sides", "dice")])]

    def verdicts(self, table, values):
        return [ClaimVerdict("eyes < sides | always", "yes", "yes", "reproduced", "because", ratio=1.0)]
"""


def written(folder: Path) -> str:
    """The path of the file in a folder."""
    path = folder / "dice.py"
    path.write_text(FILE)
    return str(path)
