"""The fabric manager's gRPC service and its client: decoding, passing on, and the way of an error back."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from controllers.fm.codec import encode_entity
from controllers.fm.fabric_client import FabricClient, UpdateResult, diff_request
from controllers.fm.fabric_server import FabricManagerServicer, decode_entities
from controllers.fm.index import EntityKey
from controllers.fm.intent_store import Changes
from controllers.testing.world import cluster, host, vm
from hoverboard.contract.entities import AnyEntity
from hoverboard.contract.errors import EntityError, HoverboardError, RunError
from hoverboard.contract.wire import fabric_pb2 as pb
from hoverboard.contract.wire import fabric_pb2_grpc
from tests.unit.controllers.event_loop import run

B1, B2 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3)
CHANGES = Changes(7, added=(B1, B2), changed=((B1, B2),), removed=(B1, B2, B1))
RESULT = UpdateResult(7, 2, 1, 3, ("h1", "h2"))
DOCUMENT = {"version": 7, "what": ["it", "says"]}


class Plane:
    """A control plane that remembers what it is asked, or refuses it."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.collecting: list[bool] = []
        self._refusal = refusal

    def _ask(self, *what: Any) -> None:
        self.asked.append(what)
        self.collecting.append(gc.isenabled())
        if self._refusal is not None:
            raise self._refusal

    async def full_update(
        self, entities: Sequence[AnyEntity], expected: int | None = None
    ) -> tuple[Changes, Sequence[str]]:
        self._ask("full update", entities, expected)
        return CHANGES, ["h2", "h1"]

    async def diff(
        self, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], expected: int | None = None
    ) -> tuple[Changes, Sequence[str]]:
        self._ask("diff", upsert, remove, expected)
        return CHANGES, ["h2", "h1"]

    async def plan(
        self, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], expected: int | None = None
    ) -> dict[str, Any]:
        self._ask("plan", upsert, remove, expected)
        return DOCUMENT

    async def entities(self, kind: str) -> dict[str, Any]:
        self._ask("entities", kind)
        return DOCUMENT

    async def status(self) -> dict[str, Any]:
        self._ask("status")
        return DOCUMENT

    async def offloads(self) -> list[dict[str, Any]]:
        self._ask("offloads")
        return [DOCUMENT]

    async def set_model(self, name: str) -> dict[str, Any]:
        self._ask("set model", name)
        return DOCUMENT

    async def set_offload(self, order: pb.OffloadSettings) -> dict[str, Any]:
        self._ask("set offload", order.budget)
        return DOCUMENT


class Aborted(Exception):
    """The exception that `abort` of a call's context raises."""


class Context:
    """The context of one call; `abort` does not return unless a test says so."""

    def __init__(self, *, returns: bool = False) -> None:
        self.aborted: tuple[Any, ...] = ()
        self._returns = returns
        self.done: list[Callable[[Any], None]] = []

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Remember what gRPC would call when the answer has been sent."""
        self.done.append(callback)

    async def abort(self, *status: Any) -> None:
        self.aborted = status
        if not self._returns:
            raise Aborted


# --- each call ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expected", [None, 0, 5])
def test_a_request_is_decoded_and_handed_on_with_the_version_that_it_expects(expected: int | None) -> None:
    async def story() -> None:
        plane, context = Plane(), Context()
        servicer = FabricManagerServicer(plane)
        given = [encode_entity(one) for one in (B1, B2)]
        reply = await servicer.FullUpdate(pb.FullUpdateRequest(entities=given, expected_version=expected), context)
        assert (reply.version, reply.added, reply.changed, reply.removed) == (7, 2, 1, 3)
        assert list(reply.switches) == ["h1", "h2"]
        request = diff_request([B1], [B2, ("Host", "h9")], expected)
        assert await servicer.Diff(request, context) == reply
        assert json.loads((await servicer.Plan(request, context)).json) == DOCUMENT
        gone = [("VM", "b2"), ("Host", "h9")]
        assert plane.asked == [
            ("full update", [B1, B2], expected), ("diff", [B1], gone, expected), ("plan", [B1], gone, expected),
        ]  # fmt: skip
        assert context.aborted == ()

    run(story())


def test_questions_are_handed_on_and_documents_come_back() -> None:
    async def story() -> None:
        plane, context = Plane(), Context()
        servicer = FabricManagerServicer(plane)
        answers = [
            await servicer.List(pb.EntityRef(type="VM"), context), await servicer.Status(pb.Empty(), context),
            await servicer.SetModel(pb.SetModelRequest(model="gateway"), context),
            await servicer.SetOffload(pb.OffloadSettings(budget=3), context),
        ]  # fmt: skip
        assert [json.loads(answer.json) for answer in answers] == [DOCUMENT] * 4
        assert json.loads((await servicer.Offloads(pb.Empty(), context)).json) == [DOCUMENT]
        assert plane.asked == [
            ("entities", "VM"),
            ("status",),
            ("set model", "gateway"),
            ("set offload", 3),
            ("offloads",),
        ]

    run(story())


REFUSING: list[Callable[[FabricManagerServicer, Context], Any]] = [
    lambda servicer, context: servicer.FullUpdate(pb.FullUpdateRequest(), context),
    lambda servicer, context: servicer.Diff(pb.DiffRequest(), context),
    lambda servicer, context: servicer.Plan(pb.DiffRequest(), context),
    lambda servicer, context: servicer.List(pb.EntityRef(), context),
    lambda servicer, context: servicer.Status(pb.Empty(), context),
    lambda servicer, context: servicer.Offloads(pb.Empty(), context),
    lambda servicer, context: servicer.SetModel(pb.SetModelRequest(), context),
    lambda servicer, context: servicer.SetOffload(pb.OffloadSettings(), context),
]
REFUSED = ["full update", "diff", "plan", "list", "status", "offloads", "set model", "set offload"]


@pytest.mark.parametrize("call", REFUSING, ids=REFUSED)
def test_a_refusal_ends_the_call_with_its_status(call: Callable[[FabricManagerServicer, Context], Any]) -> None:
    async def story() -> None:
        context = Context()
        with pytest.raises(Aborted):
            await call(FabricManagerServicer(Plane(RunError("no", where="here", next_step="wait"))), context)
        code, details = context.aborted
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert json.loads(details) == {"what": "no", "where": "here", "next_step": "wait", "kind": "RunError"}
        with pytest.raises(AssertionError):  # what would go on without an answer
            await call(FabricManagerServicer(Plane(RunError("no"))), Context(returns=True))

    run(story())


@pytest.mark.parametrize("call", REFUSING, ids=REFUSED)
def test_an_unexpected_exception_is_an_answer_too(
    call: Callable[[FabricManagerServicer, Context], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        context = Context()
        with pytest.raises(Aborted):
            await call(FabricManagerServicer(Plane(KeyError("b1"))), context)
        code, details = context.aborted
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert json.loads(details)["what"] == "the request failed in the control plane: KeyError: 'b1'"

    run(story())
    assert "KeyError" in caplog.text


def test_an_entity_that_is_wrong_is_refused_before_the_plane_hears_of_it() -> None:
    async def story() -> None:
        plane, context = Plane(), Context()
        with pytest.raises(Aborted):
            await FabricManagerServicer(plane).Diff(pb.DiffRequest(upsert=[pb.Entity(type="Volcano")]), context)
        assert context.aborted[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert plane.asked == []

    run(story())


async def turns_during(work: asyncio.Task[Any]) -> int:
    """How often the event loop came round until it was done."""
    count = 0
    while not work.done():
        await asyncio.sleep(0)
        count += 1
    return count


def test_a_long_list_gives_the_loop_a_turn_every_hundred_entities() -> None:
    async def story() -> None:
        messages = [encode_entity(one) for one in (B1, B2)] * 150 + [encode_entity(host(1))]
        work = asyncio.create_task(decode_entities(messages))
        assert await turns_during(work) == 5  # four of them, and its end
        assert await work == [B1, B2] * 150 + [host(1)]
        plane = Plane()
        names = [(f"T{number}", f"n{number}") for number in range(301)]
        request = pb.DiffRequest(remove=[pb.EntityRef(type=kind, name=name) for kind, name in names])
        diff = asyncio.create_task(FabricManagerServicer(plane).Diff(request, Context()))
        assert await turns_during(diff) == 5
        assert plane.asked == [("diff", [], names, None)]

    run(story())


class Many(Sequence[pb.Entity]):
    """As many messages as one likes, and not one of them."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        raise LookupError


def test_a_million_entities_are_looked_at_and_more_are_not() -> None:
    with pytest.raises(LookupError):
        run(decode_entities(Many(1_000_000)))
    with pytest.raises(EntityError, match="1000001 entities in one request; the maximum is 1000000") as refused:
        run(decode_entities(Many(1_000_001)))
    assert refused.value.where == "fabric manager"


# --- the client -----------------------------------------------------------------------------------------


@asynccontextmanager
async def served(plane: Plane, directory: Path) -> AsyncIterator[str]:
    """The servicer on a Unix socket."""
    server = grpc.aio.server()
    fabric_pb2_grpc.add_FabricManagerServicer_to_server(FabricManagerServicer(plane), server)
    address = f"unix:{directory}/control.sock"
    server.add_insecure_port(address)
    await server.start()
    try:
        yield address
    finally:
        await server.stop(grace=0)


def test_a_client_asks_and_gets_what_the_plane_answers(tmp_path: Path) -> None:
    def questions(address: str) -> None:
        with FabricClient(address) as client:
            client.wait_ready(5.0)
            assert client.full_update(cluster(1), expected_version=3) == RESULT
            assert client.diff([B1], [B2, ("Host", "h9")]) == RESULT
            assert client.diff(expected_version=0) == RESULT
            assert client.send(diff_request([B2])) == RESULT
            assert client.plan([B1], [("Host", "h9")], expected_version=4) == DOCUMENT
            assert (client.entities("VM"), client.entities(), client.status()) == (DOCUMENT,) * 3
            assert (client.offloads(), client.set_model("gateway")) == ([DOCUMENT], DOCUMENT)

    async def story() -> None:
        plane = Plane()
        async with served(plane, tmp_path) as address:
            await asyncio.to_thread(questions, address)
        assert plane.asked == [
            ("status",), ("full update", cluster(1), 3), ("diff", [B1], [("VM", "b2"), ("Host", "h9")], None),
            ("diff", [], [], 0), ("diff", [B2], [], None), ("plan", [B1], [("Host", "h9")], 4), ("entities", "VM"),
            ("entities", ""), ("status",), ("offloads",), ("set model", "gateway"),
        ]  # fmt: skip

    run(story())


def test_a_refusal_is_raised_as_the_plane_raised_it(tmp_path: Path) -> None:
    def ask(address: str) -> HoverboardError:
        with FabricClient(address) as client, pytest.raises(HoverboardError) as refused:
            client.diff([B1])
        return refused.value

    async def story() -> None:
        for error in (EntityError("wrong", where="VM/b1.ip", next_step="mend it"), RunError("no")):
            async with served(Plane(error), tmp_path) as address:
                again = await asyncio.to_thread(ask, address)
            assert (type(again), vars(again)) == (type(error), vars(error))

    run(story())


def test_the_error_for_a_missing_control_plane_has_its_address(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/control.sock"
    with FabricClient(address) as client:
        with pytest.raises(RunError) as refused:
            client.status()
        assert refused.value.what == "the control plane does not answer: it is down, or restarts"
        with pytest.raises(RunError, match=r"does not answer: no answer after 0\.05 s\n"):
            client.wait_ready(0.05)
    assert refused.value.where == address
    with pytest.raises(ValueError, match="closed channel"):
        client.status()


def test_a_client_waits_until_the_control_plane_is_there(tmp_path: Path) -> None:
    async def story() -> None:
        with FabricClient(f"unix:{tmp_path}/control.sock") as client:
            waiting = asyncio.create_task(asyncio.to_thread(client.wait_ready, 5.0))
            await asyncio.sleep(0)
            async with served(Plane(), tmp_path):
                await waiting

    run(story())


class Unanswered(grpc.RpcError):
    """gRPC's error without any words."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.CANCELLED

    def details(self) -> None:
        return None


def test_a_channel_is_made_for_large_requests_and_is_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, dict[str, int]]] = []
    seconds: list[float] = []

    class Channel:
        def __init__(self, address: str, options: list[tuple[str, int]]) -> None:
            made.append((address, dict(options)))

        def unary_unary(self, *_: object, **__: object) -> Callable[..., Any]:
            def call(request: object, *, timeout: float, wait_for_ready: bool) -> Any:
                seconds.append(timeout)
                assert not wait_for_ready
                raise Unanswered

            return call

    monkeypatch.setattr(grpc, "insecure_channel", Channel)
    client = FabricClient("unix:/x")
    assert made == [
        ("unix:/x", {
            "grpc.max_send_message_length": 268_435_456, "grpc.max_receive_message_length": 268_435_456,
            "grpc.initial_reconnect_backoff_ms": 50, "grpc.min_reconnect_backoff_ms": 50,
            "grpc.max_reconnect_backoff_ms": 500, "grpc.use_local_subchannel_pool": 1,
        }),
    ]  # fmt: skip
    with pytest.raises(RunError, match="does not answer: it is down, or restarts\n"):
        client.status()
    for ask in (
        lambda: client.status(2.0),
        lambda: client.offloads(3.0),
        lambda: client.plan(timeout=4.0),
        client.diff,
    ):
        with pytest.raises(RunError):
            ask()
    assert seconds == [60.0, 2.0, 3.0, 4.0, 60.0]
