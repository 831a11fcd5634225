"""The worker's thread: sleep and waking, what it is charged to, and a stage that does not return."""

from __future__ import annotations

import threading

import pytest

from hoverboard.contract.errors import RunError
from hoverboard.coprocessor.cpu_account import ThreadClock
from hoverboard.coprocessor.doorbell import Doorbell
from hoverboard.coprocessor.stage import ConfiguredStage
from hoverboard.coprocessor.stage_policy import StageSpec
from hoverboard.coprocessor.worker import Worker
from tests.unit.hoverboard.coprocessor.fakes import (
    Sink,
    Source,
    context,
    packet,
)
from tests.unit.hoverboard.coprocessor.worker_world import FRAME, STAGES, FakeRegistry, World


class WaitingSink(Sink):
    """Tells when it has been given so many."""

    def __init__(self, wanted):
        super().__init__()
        self.wanted, self.enough = wanted, threading.Event()

    def give(self, packet):
        super().give(packet)
        if len(self.got) == self.wanted:
            self.enough.set()


def test_it_looks_again_before_it_sleeps_and_asks_for_its_deadline():
    world = World()
    world.put(world.chain("hold"), 1)
    world.run()
    world.clock.now += 4
    world.worker._sleep()
    assert world.bell.waits == [6]
    assert not world.bell.armed
    world.put(0, 2)  # came between the last look and the bell
    world.worker._sleep()
    assert world.bell.waits == [6]
    assert world.sink.tickets == [2]
    world.clock.now += 6
    world.worker._sleep()  # it is time: no sleep
    assert world.bell.waits == [6]


def test_a_real_thread_is_woken_for_every_packet_and_charged_for_its_work():
    bell, sink, source = Doorbell(), WaitingSink(500), Source()
    worker = Worker(context(), source, sink, bell, registry=FakeRegistry())
    chain = worker.chains.add([StageSpec("mark", "{}")])
    worker.start()
    try:
        for ticket in range(500):
            source.waiting.append(packet(FRAME, chain=chain, ticket=ticket))
            bell.ring()
        assert sink.enough.wait(10)
        assert sink.tickets == list(range(500))
        alive = worker.cpu_seconds
        assert 0 < alive < 10
    finally:
        assert worker.stop()
    assert worker.cpu_seconds >= alive
    assert worker.status()["account"] == "thread clock (no cgroup asked for)"
    with pytest.raises(RunError, match="started before"):
        worker.start()
    bell.close()


def test_what_is_held_at_the_end_is_counted():
    bell, sink, source = Doorbell(), WaitingSink(1), Source()
    worker = Worker(context(), source, sink, bell, registry=FakeRegistry())
    chain = worker.chains.add([StageSpec("hold", "{}")])
    source.waiting.extend(packet(FRAME, chain=number, ticket=number) for number in (chain, chain, 0))
    worker.start()
    assert sink.enough.wait(10)
    assert worker.stop()
    assert worker.status()["drops"] == {"coprocessor-stopped": 2}
    bell.close()


class Refusing:
    how = "cgroup v1 /made/up"
    removed = False

    def enter(self, thread_id):
        raise PermissionError(1, "Operation not permitted")

    def remove(self):
        self.removed = True


def test_an_account_that_refuses_the_thread_is_given_up():
    bell, sink = Doorbell(), WaitingSink(1)
    account = Refusing()
    worker = Worker(context(), Source([packet(FRAME)]), sink, bell, registry=FakeRegistry(), account=account)
    worker.start()
    assert sink.enough.wait(10)
    assert worker.stop()
    assert account.removed
    shown = worker.status()["account"]
    assert shown == "thread clock (cgroup v1 /made/up rejected the thread: Operation not permitted)"
    bell.close()


def test_a_thread_clock_says_why_and_has_nothing_to_remove():
    clock = ThreadClock("why")
    clock.enter(1)
    clock.remove()
    assert clock.how == "thread clock (why)"


class Stuck(ConfiguredStage):
    """Does not return until it is let go."""

    name = "stuck"
    entered, let_go = threading.Event(), threading.Event()

    def process(self, batch):
        self.entered.set()
        assert self.let_go.wait(30)
        return batch


def test_a_stage_that_does_not_return_delays_only_its_own_vm(monkeypatch):
    monkeypatch.setitem(STAGES, "stuck", Stuck)
    bells = [Doorbell(), Doorbell()]
    sources, sinks = [Source(), Source()], [WaitingSink(1), WaitingSink(100)]
    stuck, free = (
        Worker(context(), source, sink, bell, registry=FakeRegistry())
        for source, sink, bell in zip(sources, sinks, bells, strict=True)
    )
    chain = stuck.chains.add([StageSpec("stuck", "{}")])
    sources[0].waiting.append(packet(FRAME, chain=chain))
    sources[1].waiting.extend(packet(FRAME) for _ in range(100))
    stuck.start()
    assert Stuck.entered.wait(10)
    free.start()
    assert sinks[1].enough.wait(10)
    assert free.stop()
    assert not stuck.stop(timeout=0.01)
    assert stuck.status()["given"] == 0
    Stuck.let_go.set()
    assert sinks[0].enough.wait(10)
    assert stuck.stop()
    for bell in bells:
        bell.close()
