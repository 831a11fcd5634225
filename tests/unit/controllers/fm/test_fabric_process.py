"""The gRPC service and its process: answers before an end, and no collection of garbage during a large request."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from controllers.fm.codec import encode_entity
from controllers.fm.fabric_server import FabricManagerServicer
from hoverboard.contract.wire import fabric_pb2 as pb
from tests.unit.controllers.event_loop import run
from tests.unit.controllers.fm.test_fabric_server import B1, Context, Plane


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """The collector of garbage, as it was."""
    yield
    gc.enable()
    gc.unfreeze()


def test_a_process_that_ends_waits_until_its_answers_have_been_sent() -> None:
    async def story() -> None:
        servicer, contexts = FabricManagerServicer(Plane()), [Context(), Context()]
        await servicer.answers.all_sent()  # nobody waits
        for context in contexts:
            await servicer.Status(pb.Empty(), context)
        waiting = asyncio.create_task(servicer.answers.all_sent())
        for context in contexts:
            await asyncio.sleep(0)
            assert not waiting.done()
            for callback in context.done:
                callback(context)
        await waiting

    run(story())


@pytest.mark.parametrize(("count", "collecting"), [(1_000, True), (1_001, False)])
def test_a_large_request_is_spared_the_collector_of_garbage(count: int, collecting: bool) -> None:
    async def story() -> None:
        plane = Plane()
        servicer = FabricManagerServicer(plane)
        one = encode_entity(B1)
        await servicer.FullUpdate(pb.FullUpdateRequest(entities=[one] * count), Context())
        half = [one] * (count // 2)
        gone = [pb.EntityRef(type="VM", name="x")] * (count - count // 2)
        await servicer.Diff(pb.DiffRequest(upsert=half, remove=gone), Context())
        assert plane.collecting == [collecting] * 2
        assert gc.isenabled()

    run(story())
