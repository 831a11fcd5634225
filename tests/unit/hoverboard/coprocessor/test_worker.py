"""The worker with fake ports: order, crashes that stay with their stage, exact books."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoverboard.contract.errors import InputError
from hoverboard.coprocessor.registry import Registry
from hoverboard.coprocessor.stage_policy import StageSpec
from hoverboard.coprocessor.worker import Worker
from tests.unit.hoverboard.coprocessor.fakes import (
    BEGIN,
    HERE,
    IP,
    THERE,
    UDP,
    Bell,
    Clock,
    Raw,
    Sink,
    Source,
    context,
    ethernet,
    packet,
)
from tests.unit.hoverboard.coprocessor.worker_world import FRAME, Crash, Look, World


def test_order_is_kept_and_stages_follow_each_other():
    world = World()
    chain = world.chain("mark", "drop-odd", "mark")
    world.put(chain, *range(100))
    world.run()
    assert world.sink.tickets == list(range(0, 100, 2))
    assert {bytes(one.frame) for one in world.sink.got} == {FRAME + b"mm"}
    assert world.drops == {"odd": 50}
    status = world.worker.status()
    assert (status["packets"], status["bytes"], status["given"], status["held"]) == (100, 6000, 50, 0)


def test_a_chain_has_one_number_and_a_stage_one_object():
    world = World()
    first, second = world.chain("hold"), world.chain("mark", "hold")
    assert first != second
    assert world.chain("hold") == first
    assert world.chain() == 0
    world.put(first, 1)
    world.put(second, 2)
    world.run()
    assert world.worker.status()["stages"]["hold"]["held"] == 2


def test_stages_of_one_name_keep_their_things_together():
    world = World()
    world.worker.chains.add([StageSpec("pass", "{}"), StageSpec("mark", "{}"), StageSpec("pass", "{ }")])
    first, other, second = world.worker.chains.runners()
    assert first._context.kept is second._context.kept
    assert first._context.kept is not other._context.kept


def test_no_chain_passes_and_an_unknown_one_drops():
    world = World()
    world.put(0, 1)
    world.put(99, 2)
    world.put(-1, 3)
    world.run()
    assert world.sink.tickets == [1]
    assert world.drops == {"no-such-chain": 2}


def test_held_packets_go_on_behind_their_stage():
    world = World()
    chain = world.chain("drop-odd", "hold", "mark")
    world.put(chain, 1, 2, 4)
    world.run()
    assert world.worker.status()["held"] == 2
    world.clock.now += 10
    world.worker.turn()
    assert world.sink.tickets == [2, 4]
    assert bytes(world.sink.got[0].frame) == FRAME + b"m"
    assert world.balanced()


def test_a_crash_is_reported_once_and_the_stage_is_restarted(caplog):
    world = World()
    Crash.made = 0
    crash, calm = world.chain("crash"), world.chain("mark")
    with caplog.at_level(logging.ERROR, "hoverboard.coprocessor"):
        for _ in range(3):
            world.put(crash, 2, 4)  # held
            world.run()
            world.put(crash, 1, 13)
            world.put(calm, 7)
            world.run()
    assert world.sink.tickets == [7] * 3  # the other chain is not touched
    assert world.drops == {"stage-error": 12}
    assert Crash.made == 4
    (record,) = caplog.records
    assert "stage crash of VM web-1" in record.getMessage()
    assert record.exc_info
    assert [event["stage"] for event in world.reports.events] == ["crash"]
    status = world.worker.status()
    assert status["errors"] == {"crash": 3}
    assert status["stages"]["crash"]["restarts"] == 3
    assert status["stages"]["crash"]["last_error"] == "ZeroDivisionError: thirteen"
    world.put(crash, 1)
    world.run()
    assert world.sink.tickets[-1] == 1
    assert world.balanced()


def test_another_kind_of_crash_is_reported_too():
    world = World()
    chain = world.chain("crash")
    for ticket in (13, 666, 13, 666):
        world.put(chain, ticket)
        world.run()
    assert [event["what"] for event in world.reports.events] == ["ZeroDivisionError: thirteen", "SystemExit: 1"]


@pytest.mark.parametrize(("name", "drops"), [("careless", {"mine": 3}), ("doubling", {"stage-error": 3})])
def test_a_stage_that_returns_what_it_must_not(name, drops):
    world = World()
    world.put(world.chain(name), 1, 2, 3)
    world.run()
    assert world.sink.got == []
    assert world.drops == drops
    assert "packets came out" in world.reports.events[0]["what"]
    assert world.balanced()


def test_a_stage_that_returns_nothing():
    world = World()
    world.put(world.chain("nothing"), 1, 2)
    world.run()
    assert world.drops == {"stage-error": 2}


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["crash", "hold", "drop-odd"]), st.lists(st.integers(0, 20), max_size=40)),
            st.just(("time", [])),
        ),
        max_size=20,
    )
)
def test_the_books_balance_whatever_happens(steps):
    logging.getLogger("hoverboard.coprocessor").disabled = True
    try:
        world = World()
        chains = {name: world.chain("mark", name, "drop-odd") for name in ("crash", "hold", "drop-odd")}
        for name, tickets in steps:
            if name == "time":
                world.clock.now += 5
            else:
                world.put(chains[name], *tickets)
            world.run()
            assert world.balanced()
    finally:
        logging.getLogger("hoverboard.coprocessor").disabled = False


def test_a_stage_that_cannot_be_made_is_refused_before_it_has_a_number():
    world = World()
    with pytest.raises(InputError, match="no such key"):
        world.worker.chains.add([StageSpec("pass", '{"x": 1}')])
    assert world.worker.status()["stages"] == {}


def test_a_stage_that_cannot_be_made_again_is_tried_with_each_batch(monkeypatch):
    world = World()
    chain = world.chain("crash")

    def refuse(_self):
        raise OSError("not now")

    with monkeypatch.context() as patched:
        patched.setattr(Crash, "setup", refuse)
        world.put(chain, 13)
        world.run()
        world.put(chain, 1, 3)
        world.run()
        assert world.drops == {"stage-error": 3}
        assert "not now" in world.worker.status()["stages"]["crash"]["last_error"]
    world.put(chain, 5)
    world.run()
    assert world.sink.tickets == [5]


def test_our_own_stages_together_between_two_vms():
    """Shaped and sealed by one VM's coprocessor, opened by the other's: all there, in order, as it was."""
    frame = ethernet(IP(src="10.0.0.1", dst="10.0.0.2"), UDP(sport=5, dport=6) / Raw(bytes(20_000)))
    clock = Clock()
    here, there = (
        Worker(context(clock, local=local), Source(), Sink(), Bell(), registry=Registry()) for local in (HERE, THERE)
    )
    encryption = StageSpec("wan-encryption", "{}")
    out = here.chains.add([StageSpec("wan-shaping", '{"default_bps": 1000000}'), encryption])
    into = there.chains.add([encryption])
    here._source.waiting.extend(packet(frame, chain=out, ticket=n, vnet=bytes([n] * 12)) for n in range(20))
    assert here.turn()
    held = here.status()["held"]
    assert held > 10
    while here.status()["held"]:
        clock.now += 0.1
        here.turn()
    assert clock.now - BEGIN == pytest.approx(held * len(frame) * 8 / 1e6, rel=0.2)
    for sealed in here._sink.got:
        assert b"\0" * 100 not in sealed.frame
        got = packet(bytes(sealed.frame), "ingress", peer=HERE, chain=into, ticket=sealed.ticket, vnet=sealed.vnet)
        there._source.waiting.append(got)
    assert there.turn()
    assert there._sink.tickets == list(range(20))
    assert [(bytes(one.frame), one.vnet) for one in there._sink.got] == [(frame, bytes([n] * 12)) for n in range(20)]
    assert here.status()["drops"] == there.status()["drops"] == {}


def test_samples_are_shown_to_stages_and_not_counted_as_packets():
    world = World()
    Look.seen = 0
    number = world.chain("look")
    for vni in (1, 13, 2):
        one = packet(FRAME, chain=number, vni=vni)
        one.sample = 16
        world.source.waiting.append(one)
        world.put(world.chain("mark"), vni)
        world.run()
    status = world.worker.status()
    assert (Look.seen, status["samples"], status["packets"], status["given"]) == (32, 3, 3, 3)
    assert world.sink.tickets == [1, 13, 2]
    assert (status["errors"], status["drops"]) == ({"look": 1}, {})
    assert world.balanced()
