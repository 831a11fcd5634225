"""A coprocessor's worker with fake ports and clock, and stages that behave and misbehave."""

from __future__ import annotations

from hoverboard.coprocessor.registry import Registry
from hoverboard.coprocessor.stage import ConfiguredStage
from hoverboard.coprocessor.stage_policy import StageSpec
from hoverboard.coprocessor.worker import Worker
from tests.unit.hoverboard.coprocessor.fakes import (
    Bell,
    Clock,
    Reports,
    Sink,
    Source,
    context,
    packet,
)

FRAME = bytes(60)


class Pass(ConfiguredStage):
    name = "pass"


class Mark(ConfiguredStage):
    """Its mark on a packet shows who came before it."""

    name = "mark"

    def process(self, batch):
        for one in batch:
            one.frame += b"m"
        return batch


class DropOdd(ConfiguredStage):
    name = "drop-odd"

    def process(self, batch):
        for one in batch:
            if one.ticket % 2:
                one.drop("odd")
        return [one for one in batch if one.reason is None]


class Hold(ConfiguredStage):
    """Keeps everything for ten seconds."""

    name = "hold"

    def setup(self):
        self.waiting = []

    def process(self, batch):
        self.waiting += [(self.context.clock() + 10, one) for one in batch]
        return []

    def tick(self, now):
        going = [one for at, one in self.waiting if at <= now]
        self.waiting = [(at, one) for at, one in self.waiting if at > now]
        return going

    def deadline(self):
        return self.waiting[0][0] if self.waiting else None


class Crash(Hold):
    """Holds even tickets, fails on 13 and 666."""

    name = "crash"
    made = 0

    def setup(self):
        super().setup()
        type(self).made += 1

    def process(self, batch):
        for one in batch:
            if one.ticket == 13:
                raise ZeroDivisionError("thirteen")
            if one.ticket == 666:
                raise SystemExit(1)
        super().process([one for one in batch if one.ticket % 2 == 0])
        return [one for one in batch if one.ticket % 2]


class Look(ConfiguredStage):
    """Only looks; drops what it is shown, returns nothing, fails on 13."""

    name = "look"
    seen = 0

    def process(self, batch):
        for one in batch:
            if one.vni == 13:
                raise ZeroDivisionError("thirteen")
            type(self).seen += one.sample
            one.drop("looked-at")
        return []


class Careless(ConfiguredStage):
    name = "careless"

    def process(self, batch):
        for one in batch:
            one.drop("mine")
        return batch


class Doubling(ConfiguredStage):
    name = "doubling"

    def process(self, batch):
        return batch + batch


class Nothing(ConfiguredStage):
    name = "nothing"

    def process(self, batch):
        return None


STAGES = {one.name: one for one in (Pass, Mark, DropOdd, Hold, Crash, Look, Careless, Doubling, Nothing)}


class FakeRegistry(Registry):
    def find(self, reference):
        return STAGES[reference]


class World:
    """A worker, its ports and its clock."""

    def __init__(self, packets=(), **more):
        self.clock, self.reports = Clock(), Reports()
        self.source, self.sink, self.bell = Source(packets), Sink(), Bell()
        self.worker = Worker(
            context(self.clock, report=self.reports), self.source, self.sink, self.bell, registry=FakeRegistry(), **more
        )

    def chain(self, *names):
        return self.worker.chains.add([StageSpec(name, "{}") for name in names])

    def put(self, chain, *tickets):
        self.source.waiting.extend(packet(FRAME, chain=chain, ticket=ticket) for ticket in tickets)

    def run(self):
        """Until the source is empty."""
        while self.worker.turn():
            pass

    @property
    def drops(self):
        return self.worker.status()["drops"]

    def balanced(self):
        status = self.worker.status()
        return status["packets"] == status["given"] + status["held"] + sum(status["drops"].values())
