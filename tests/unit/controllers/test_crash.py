"""The exceptions that end a process of the control plane, and those that do not."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from pathlib import Path

import pytest

from controllers import __main__ as process
from controllers.crash import crash_on_error, crash_reason, critical_task
from controllers.election.candidacy import Candidacy
from controllers.election.election import Election
from controllers.fm.dispatch import Dispatcher
from controllers.fm.intent_store import Changes
from controllers.ofe.openflow import serialize_flow_mod
from controllers.ofe.switch_server import FrontEnd
from controllers.ofe.switch_session import Session
from controllers.ofe.templates import FlowModEncoder
from controllers.single_process import Settings
from controllers.store.store_server import StoreServicer
from controllers.testing.world import vm
from hoverboard.contract.errors import RunError
from hoverboard.contract.reports import FlowUsage, UsageReport
from tests.unit.controllers import virtual_time
from tests.unit.controllers.event_loop import run, turns
from tests.unit.controllers.process_end import ProcessEnd, fails
from tests.unit.controllers.store.store_in_memory import Place
from tests.unit.controllers.vmc.controller_rig import B1, B2, Rig, story


def test_the_first_unexpected_exception_ends_the_process_once_and_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def tell() -> None:
        ended = ProcessEnd()
        first, second = KeyError("first"), KeyError("second")
        for error in (first, second):
            with pytest.raises(KeyError), crash_on_error():
                raise error
        assert (ended.times, ended.crash.error) == (1, first)

    run(tell())
    (record,) = [one for one in caplog.records if one.levelno == logging.CRITICAL]
    assert record.exc_info is not None
    assert "first" in str(record.exc_info[1])


def test_an_answer_for_a_person_ends_nothing() -> None:
    async def tell() -> None:
        ended = ProcessEnd()
        with pytest.raises(RunError), crash_on_error():
            raise RunError("under way")
        assert ended.times == 0

    run(tell())


@pytest.mark.parametrize("error", [ZeroDivisionError(), RunError("unexpected")])
def test_a_task_that_ends_by_an_exception_ends_the_process_and_one_that_is_cancelled_does_not(error: Exception) -> None:
    async def tell() -> None:
        ended = ProcessEnd()
        task = critical_task(asyncio.sleep(3600))
        task.cancel()
        assert await critical_task(asyncio.sleep(0, "well")) == "well"
        await turns()
        assert ended.times == 0
        failing = critical_task(fails(error))
        await turns()
        assert failing.exception() is error
        assert (ended.times, ended.crash.error) == (1, error)

    run(tell())


def test_a_fault_of_a_library_that_never_was_in_our_code_ends_nothing() -> None:
    async def tell() -> None:
        ended = ProcessEnd()
        loop = asyncio.get_running_loop()
        loop.call_soon(int, "not a number")
        loop.call_exception_handler({"message": "a transport has closed"})
        await turns()
        assert ended.times == 0

    run(tell())


def test_a_callback_of_ours_that_fails_ends_the_process() -> None:
    async def tell() -> None:
        ended = ProcessEnd()
        session = Session(None, FlowModEncoder(serialize_flow_mod), lambda _: None)  # type: ignore[arg-type]
        asyncio.get_running_loop().call_soon(session.connection_made, None)
        await turns()
        assert ended.times == 1

    run(tell())


# --- the controller ------------------------------------------------------------------------------------


def _broken(rig: Rig) -> None:
    """Have the policy fail, as the policy of a student may."""

    def report(*_: object) -> None:
        raise ZeroDivisionError("a rate by no seconds")

    rig.policy.report = report  # type: ignore[method-assign,assignment]


def _usage(rig: Rig) -> None:
    rig.controller.usage(UsageReport("h1", 1.0, (FlowUsage(7, B1.ip, B2.ip, 1_000_000, 1),)))


@story()
async def test_a_core_that_has_failed_programs_nothing_any_more(rig: Rig) -> None:
    ended = ProcessEnd()
    _broken(rig)
    with pytest.raises(ZeroDivisionError):
        _usage(rig)
    assert (ended.times, rig.controller.broken) == (1, True)
    rig.controller.port_changed(rig.sessions["h1"], "vp-b1", None)  # type: ignore[arg-type]
    await turns()
    assert [session.sent for session in rig.sessions.values()] == [[], [], []]
    with pytest.raises(RunError, match="ends after an unexpected exception"):
        await rig.diff(B1.model_copy(update={"tags": ("x",)}))
    assert ended.times == 1


@story()
async def test_an_answer_of_a_switch_that_the_core_fails_at_ends_the_process(rig: Rig) -> None:
    ended = ProcessEnd()
    rig.core.questions.held.release = None  # type: ignore[method-assign,assignment]
    rig.controller.port_changed(rig.sessions["h1"], "vp-b1", 101)  # type: ignore[arg-type]
    await turns()
    assert (ended.times, rig.controller.broken) == (1, True)
    assert isinstance(ended.crash.error, TypeError)


@story()
async def test_a_timer_that_the_core_fails_at_ends_the_process(rig: Rig) -> None:
    ended = ProcessEnd()

    def expire(now: float) -> None:
        raise ZeroDivisionError(now)

    rig.policy.deadline = lambda: rig.controller._loop.time()  # type: ignore[method-assign]
    rig.policy.expire = expire  # type: ignore[method-assign,assignment]
    rig.controller.schedule()
    await turns()
    assert ended.times == 1


def test_a_change_that_fails_in_a_controller_reaches_its_caller_and_ends_the_process() -> None:
    async def apply(changes: Changes, complete: bool) -> list[str]:
        raise LookupError("no such switch")

    async def tell() -> None:
        ended = ProcessEnd()
        with pytest.raises(LookupError):
            await Dispatcher(apply).submit(Changes(1), False)
        assert ended.times == 1

    run(tell())


@story()
async def test_a_session_that_fails_by_an_unexpected_exception_ends_the_process(rig: Rig) -> None:
    ended = ProcessEnd()
    rig.sessions["h1"].fault = ZeroDivisionError("a program by no flows")
    rig.controller.port_changed(rig.sessions["h1"], "vp-b1", 101)  # type: ignore[arg-type]
    await turns()
    assert (ended.times, ended.crash.error) == (1, rig.sessions["h1"].fault)


def test_a_piece_that_fails_when_its_caller_has_gone_ends_the_process() -> None:
    async def tell() -> None:
        ended, go = ProcessEnd(), asyncio.Event()

        async def apply(changes: Changes, complete: bool) -> list[str]:
            await go.wait()
            raise LookupError("no such switch")

        request = asyncio.ensure_future(
            Dispatcher(apply).submit(Changes(1, added=(vm("b", "blue", "h1", 2),)), complete=True)
        )
        await turns()
        request.cancel()
        await turns()
        assert request.cancelled()
        go.set()
        await turns()
        assert ended.times == 1

    run(tell())


# --- tasks beside the requests -------------------------------------------------------------------------


def _divide(*_: object) -> None:
    raise ZeroDivisionError("by no seconds")


def test_an_election_that_fails_ends_the_process() -> None:
    async def tell() -> None:
        ended, place = ProcessEnd(), Place()
        election = Election(place.connect(), Candidacy(0, "a"), _divide)
        await asyncio.sleep(10)
        assert (ended.times, str(ended.crash.error)) == (1, "by no seconds")
        await election.close()
        place.close()

    virtual_time.run(tell)


def test_a_store_that_cannot_end_its_leases_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell() -> None:
        ended, servicer = ProcessEnd(), StoreServicer()
        monkeypatch.setattr(servicer._store, "expire", _divide)
        await asyncio.sleep(10)
        assert (ended.times, str(ended.crash.error)) == (1, "by no seconds")
        servicer.close()

    virtual_time.run(tell)


def test_a_check_for_silent_switches_that_fails_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Session, "check_alive", _divide)

    async def tell() -> None:
        ended, server = ProcessEnd(), FrontEnd(tmp_path / "of.sock", None)  # type: ignore[arg-type]
        await server.start()
        session = server._new_session()
        await asyncio.sleep(10)
        assert (ended.times, str(ended.crash.error)) == (1, "by no seconds")
        server._sessions.discard(session)
        await server.stop()

    virtual_time.run(tell)


# --- the process ---------------------------------------------------------------------------------------


class Failing:
    """A role in which something goes wrong a moment after it has started, and that then may not find its end."""

    def __init__(self, *, hangs: bool) -> None:
        self.hangs, self.stopped = hangs, False

    async def start(self) -> Failing:
        critical_task(fails(ZeroDivisionError("half done")))
        return self

    async def answered(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()

    async def stop(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        self.stopped = True


@pytest.mark.parametrize("hangs", [False, True])
def test_the_process_ends_with_an_exit_code_and_leaves_its_place_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, hangs: bool
) -> None:
    role = Failing(hangs=hangs)
    monkeypatch.setattr(process, "_start", lambda *_: role.start())
    monkeypatch.setattr(process, "_STOP_TIMEOUT", 0.05)
    assert run(process._serve(argparse.Namespace(), Settings(tmp_path), "control")) == 1
    assert role.stopped is not hangs
    assert "ZeroDivisionError: half done" in caplog.text
    place, _, error = (crash_reason(tmp_path, "control", os.getpid()) or "").rpartition(": ZeroDivisionError: ")
    assert (place.partition(":")[0], error) == (fails.__code__.co_filename, "half done")
    assert crash_reason(tmp_path, "control", 1) is None  # another process of that name
    assert crash_reason(tmp_path, "front-end-0", os.getpid()) is None
